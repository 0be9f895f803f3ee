"""What is known of a target: frozen models over `<name>.toml`, every figure with its source."""

from __future__ import annotations

import difflib
import os
import platform
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from sigdca.errors import TargetError
from sigdca.job.limits import Limits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_TARGET_BYTES = 100_000  # a target is a page of text; more is a mistake
MAX_IDENTITY_BYTES = 1_000_000  # /proc/cpuinfo of a server with hundreds of cores is below this
MOUNTED_DEVICE_TREE = "/run/device-tree"  # Docker hides the machine's own from a container

_FOLDER = Path(__file__).parent
_Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Source(_Section):
    """Where figures come from. `checked`: read or measured by the authors, not from memory."""

    text: _Text
    checked: bool


class Figure(_Section):
    """A number and the key of its source."""

    value: Annotated[int | float, Field(gt=0)]
    source: _Text


class Device(_Section):
    """How the device itself is told from other machines."""

    machine: _Text = Field(description="what platform.machine() says on it")
    file: _Text = Field(description="a file of the running system that names it")
    pattern: _Text = Field(description="a regular expression that is found in that file")
    label: str = Field("", description="what its nodes are labelled as; empty: the target's name")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        return pattern


class Cpu(_Section):
    """One kind of core. Sizes of caches are per core; the L2 is shared by `l2_shared_by` cores."""

    model: _Text
    cores: Figure
    clock_mhz: Figure
    boost_mhz: Figure | None = None
    l1i_bytes: Figure
    l1d_bytes: Figure
    l2_bytes: Figure
    l2_shared_by: Figure
    isa: tuple[_Text, ...] = Field(min_length=1)
    isa_source: _Text


class Gpu(_Section):
    """The graphics processor, if an engine can use it."""

    model: _Text
    compute_capability: _Text
    num_cores: Figure
    clock_mhz: Figure


class Memory(_Section):
    """Main memory."""

    max_bytes: Figure
    bandwidth_bytes_per_s: Figure | None = None


class Power(_Section):
    """What the board, or where that is not told its processor, is made to take."""

    min_mw: Figure | None = None
    max_mw: Figure


class EmulatorSpec(_Section):
    """The program that executes the target's instruction set elsewhere."""

    program: _Text
    cpu: _Text = Field(description="for the program's -cpu option")
    note: _Text = Field(description="what is and what is not emulated")
    source: _Text
    blocked_by: str = Field("", description="why the target's engine cannot run in it; empty: can")


class Target(_Section):
    """A kind of device.

    Attributes:
        name: what jobs call it.
        description: what people call it.
        engine: what executes models on it.
        generic: whether it stands for many kinds of boards, not for one.
        sources: where the figures come from, by key.
        device: how to recognise it.
        cpu: its kinds of cores.
        gpu: its graphics processor, if used.
        memory: its main memory.
        power: its power.
        emulator: what stands in for it; None: nothing can.
        limits: what a test leg may use, on the device as in its emulation.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    description: _Text
    engine: Literal[
        "onnxruntime", "openvino", "openvino-int8", "tensorrt", "tensorrt-fp16", "native"
    ]
    generic: bool = False
    sources: dict[str, Source]
    device: Device
    cpu: tuple[Cpu, ...] = Field(min_length=1)
    gpu: Gpu | None = None
    memory: Memory
    power: Power | None = None
    emulator: EmulatorSpec | None = None
    limits: Limits = Limits()

    @model_validator(mode="after")
    def _sources_are_known(self) -> Target:
        for where, key in _source_keys(self, ""):
            if key not in self.sources:
                raise ValueError(f"{where}: source '{key}' is not in [sources]")
        return self

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The figures whose source nobody has read, as dotted paths."""
        keys = _source_keys(self, "")
        return tuple(where for where, key in keys if not self.sources[key].checked)

    @property
    def label(self) -> str:
        """What a board's node is labelled as: several targets may be served by one board."""
        return self.device.label or self.name

    def why_not_here(self) -> str | None:
        """Why this machine is not such a device; None if it is one."""
        machine = platform.machine()
        if machine != self.device.machine:
            return f"it is {machine}, the target is {self.device.machine}"
        try:
            text = _identity(self.device.file)
        except OSError as error:
            return f"{self.device.file}: {error.strerror}"
        if re.search(self.device.pattern, text) is None:
            return f"{self.device.file} does not match '{self.device.pattern}'"
        return None


def _identity(path: str) -> str:
    """What a file says of the machine; in a container the device tree lies where it is mounted."""
    mounted = path.replace("/proc/device-tree/", f"{MOUNTED_DEVICE_TREE}/", 1)
    where = mounted if os.path.exists(mounted) else path
    with open(where, "rb") as file:
        return file.read(MAX_IDENTITY_BYTES).decode("utf-8", "replace")


def target_names() -> tuple[str, ...]:
    """The targets that sigdca brings along, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def this_board(engine: str | None = None) -> Target:
    """What this machine is, most exactly: a target that names it goes before a generic one.

    Args:
        engine: of targets with this engine; None: with any.

    Raises:
        TargetError: it is none of `target_names()`.
    """
    known = [load_target(name) for name in target_names()]
    here = [one for one in known if engine in (None, one.engine) and one.why_not_here() is None]
    if not here:
        raise TargetError("targets: this board is none of those known; name its .toml file")
    return max(here, key=_exactness)


def _exactness(target: Target) -> tuple[bool, int, float]:
    """Of two that name the board, or do not: what tells more of its instructions, then cores."""
    instructions = max(len(cpu.isa) for cpu in target.cpu)
    return not target.generic, instructions, sum(cpu.cores.value for cpu in target.cpu)


def load_target(name: str) -> Target:
    """Looks a target up.

    Args:
        name: one of `target_names()`, or the path of a `.toml` file of the user's own.

    Raises:
        TargetError: there is none, with the nearest name; or its file is wrong, with the key.
    """
    if name.endswith(".toml"):
        return _read(Path(name).absolute())
    known = target_names()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"known targets are {', '.join(known)}"
        raise TargetError(f"targets: unknown target '{name}'; {hint}")
    return _bundled(name)


@lru_cache
def _bundled(name: str) -> Target:
    return _read(_FOLDER / f"{name}.toml")


def _read(path: Path) -> Target:
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_TARGET_BYTES + 1)
    except OSError as error:
        raise TargetError(f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_TARGET_BYTES:
        raise TargetError(f"{path}: larger than a target may be ({MAX_TARGET_BYTES} bytes)")
    try:
        return Target.model_validate(tomllib.loads(raw.decode("utf-8")))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TargetError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        got = problem["input"]
        shown = f", got {got!r}" if isinstance(got, str | int | float) else ""
        raise TargetError(f"{path}: {where + ': ' if where else ''}{message}{shown}") from error


def _source_keys(section: BaseModel, prefix: str) -> Iterator[tuple[str, str]]:
    """Every figure's dotted path and its source's key."""
    for field in type(section).model_fields:
        value = getattr(section, field)
        path = f"{prefix}{field}"
        if isinstance(value, Figure):
            yield path, value.source
        elif field in ("source", "isa_source"):
            yield path, value
        elif isinstance(value, BaseModel):
            yield from _source_keys(value, f"{path}.")
        elif isinstance(value, tuple):
            for number, item in enumerate(value):
                if isinstance(item, BaseModel):
                    yield from _source_keys(item, f"{path}[{number}].")
