"""Power meters; `unavailable` with the reason where a board has none.

A Jetson's INA3221 (by sysfs, or by tegrastats), an Intel processor's RAPL counters, and an
external one that leaves lines in a file: `SECONDS MILLIWATTS`, seconds since 1970 on this board's
clock.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from sigdca.errors import JobError, SigdcaError

SAMPLE_S = 0.02  # an INA3221 as Jetsons set it up has a new value every few milliseconds
TEGRASTATS_MS = 100
MAX_GAP_S = 1.0  # of an external meter's samples; a longer one could hide anything
LAST_SAMPLE_S = 3.0  # how long its last sample may take to appear
MIN_SAMPLES = 10
METER_VARIABLE = "SIGDCA_METER"  # which meter a board has, as `find_meter` takes it
# The rail that all of the board's power comes through, by what the boards call it.
_TOTALS = ("VDD_IN", "POM_5V_IN", "SYS_VIN_HV")


class UnavailableError(SigdcaError):
    """Power cannot be measured, and why."""


class Meter(Protocol):
    """Measures energy.

    Attributes:
        name: what it is, for the record.
    """

    name: str

    def start(self) -> None:
        """Begins to measure.

        Raises:
            UnavailableError: it cannot be read.
        """
        ...

    def stop(self) -> float:
        """Millijoules from `start` to this call, however long it takes to learn of them.

        Raises:
            UnavailableError: it cannot be read, or was read too rarely.
        """
        ...


class _Sampler:
    """Adds up power that is read again and again by a thread of its own."""

    def __init__(self, name: str, read_mw: Callable[[], float]) -> None:
        self.name = name
        self._read_mw = read_mw

    def start(self) -> None:
        """See `Meter.start`."""
        self._energy_mj, self._count = 0.0, 1
        self._error: UnavailableError | None = None
        self._last_mw, self._last_s = self._read_mw(), time.monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._sample, name="power", daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """See `Meter.stop`."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        self._add()
        if self._count < MIN_SAMPLES:
            raise UnavailableError(
                f"power: {self.name}: only {self._count} samples, at least {MIN_SAMPLES}; "
                "run longer"
            )
        return self._energy_mj

    def _sample(self) -> None:
        try:
            while not self._stop.wait(SAMPLE_S):
                self._add()
        except UnavailableError as error:
            self._error = error

    def _add(self) -> None:
        power_mw, now = self._read_mw(), time.monotonic()
        self._energy_mj += (power_mw + self._last_mw) / 2 * (now - self._last_s)
        self._last_mw, self._last_s = power_mw, now
        self._count += 1


def total_mw(rails: Mapping[str, float]) -> tuple[float, str]:
    """The board's power, and of which rails: its input's if it has one, else all together."""
    for name in _TOTALS:
        if name in rails:
            return rails[name], name
    return sum(rails.values()), " + ".join(rails)


def ina3221(root: Path) -> Meter:
    """A Jetson's own meter, by its driver's files: of L4T (iio) or of newer kernels (hwmon).

    Raises:
        UnavailableError: there is none, or it may not be read.
    """
    rails = _iio_rails(root) or _hwmon_rails(root)
    if not rails:
        raise UnavailableError("power: ina3221: /sys/bus/i2c/drivers has none with named rails")
    _, which = total_mw(dict.fromkeys(rails, 0.0))
    used = [rails[name] for name in which.split(" + ")]
    meter = _Sampler(f"ina3221 ({which})", lambda: sum(read() for read in used))
    meter._read_mw()
    return meter


def _iio_rails(root: Path) -> dict[str, Callable[[], float]]:
    """Milliwatts."""
    found: dict[str, Callable[[], float]] = {}
    for label in sorted((root / "sys/bus/i2c/drivers").glob("ina3221x/*/iio*device*/rail_name_?")):
        power = label.with_name(f"in_power{label.name[-1]}_input")
        name = _text(label)
        if name and power.exists():
            found[name] = partial(_figure, power)
    return found


def _hwmon_rails(root: Path) -> dict[str, Callable[[], float]]:
    """Millivolts and milliamperes."""
    found: dict[str, Callable[[], float]] = {}
    for label in sorted((root / "sys/bus/i2c/drivers").glob("ina3221/*/hwmon/hwmon*/in?_label")):
        number, name = label.name[2], _text(label)
        volt, ampere = (label.with_name(f"{one}{number}_input") for one in ("in", "curr"))
        if name not in ("", "NC") and volt.exists() and ampere.exists():
            found[name] = partial(_milliwatts, volt, ampere)
    return found


def _milliwatts(volt: Path, ampere: Path) -> float:
    return _figure(volt) * _figure(ampere) / 1000


_RAIL = re.compile(r"\b([A-Z][A-Z0-9_]*) (\d+)(?:mW)?/(\d+)(?:mW)?(?=\s|$)")
_NOT_RAILS = ("RAM", "SWAP", "IRAM")


def parse_tegrastats(line: str) -> dict[str, float]:
    """The rails of a line of tegrastats, in mW now (not the average behind the stroke)."""
    found = ((name, float(now)) for name, now, _ in _RAIL.findall(line))
    return {name: mw for name, mw in found if name not in _NOT_RAILS}


class Tegrastats:
    """tegrastats, where the driver's files cannot be read. One line is one sample.

    Attributes:
        name: with the rail.
    """

    def __init__(self, program: str) -> None:
        """Runs nothing yet."""
        self.name = "tegrastats"
        self._program = program

    def start(self) -> None:
        """See `Meter.start`."""
        command = [self._program, "--interval", str(TEGRASTATS_MS)]
        try:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError as error:
            raise UnavailableError(f"power: {self._program}: {error.strerror}") from error
        self._samples: list[float] = []
        self._start_s = time.monotonic()
        self._thread = threading.Thread(target=self._read, name="tegrastats", daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """See `Meter.stop`."""
        seconds = time.monotonic() - self._start_s
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        if len(self._samples) < MIN_SAMPLES:
            raise UnavailableError(
                f"power: {self.name}: only {len(self._samples)} lines with a rail, at least "
                f"{MIN_SAMPLES}; run longer"
            )
        return sum(self._samples) / len(self._samples) * seconds

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                rails = parse_tegrastats(line)
                if rails:
                    power_mw, which = total_mw(rails)
                    self.name = f"tegrastats ({which})"
                    self._samples.append(power_mw)


def tegrastats(_root: Path) -> Meter:
    """tegrastats, if it is installed.

    Raises:
        UnavailableError: it is not.
    """
    program = shutil.which("tegrastats")
    if program is None:
        raise UnavailableError("power: tegrastats: is not installed")
    return Tegrastats(program)


class Rapl:
    """An Intel processor's own energy counters: of its packages, not of the board.

    Attributes:
        name: with the zones.
    """

    def __init__(self, root: Path) -> None:
        """Finds the packages' zones.

        Raises:
            UnavailableError: there are none, or they may not be read.
        """
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:[0-9]*"))
        self._zones = [zone for zone in zones if _text(zone / "name").startswith("package-")]
        if not self._zones:
            raise UnavailableError("power: rapl: /sys/class/powercap has no package")
        self.name = f"rapl ({' + '.join(_text(zone / 'name') for zone in self._zones)})"
        self._ranges = [_figure(zone / "max_energy_range_uj") for zone in self._zones]
        self.start()

    def start(self) -> None:
        """See `Meter.start`."""
        self._before = self._now()

    def stop(self) -> float:
        """See `Meter.stop`. A counter may have gone round once, which takes it about an hour."""
        spent_uj = 0.0
        for now, before, whole in zip(self._now(), self._before, self._ranges, strict=True):
            spent_uj += now - before if now >= before else now - before + whole
        return spent_uj / 1000

    def _now(self) -> list[float]:
        return [_figure(zone / "energy_uj") for zone in self._zones]


class FileMeter:
    """An external meter, whose own program appends lines `SECONDS MILLIWATTS` to a file.

    Attributes:
        name: with the path.
    """

    def __init__(self, path: Path) -> None:
        """Reads nothing yet."""
        self.name = f"file:{path}"
        self._path = path

    def start(self) -> None:
        """See `Meter.start`."""
        self._start_s = time.time()
        if not self._path.is_file():
            raise UnavailableError(f"power: {self._path}: is not there")

    def stop(self) -> float:
        """See `Meter.stop`."""
        end_s = time.time()
        deadline = time.monotonic() + LAST_SAMPLE_S
        samples = self._samples()
        while (not samples or samples[-1][0] < end_s) and time.monotonic() < deadline:
            time.sleep(0.05)
            samples = self._samples()
        return integrate(samples, self._start_s, end_s, self.name)

    def _samples(self) -> list[tuple[float, float]]:
        try:
            text = self._path.read_text(errors="replace")
        except OSError as error:
            raise UnavailableError(f"power: {self._path}: {error.strerror}") from error
        # The last line may be half written.
        return [_sample(line, self._path) for line in text.split("\n")[:-1] if line.strip()]


def _sample(line: str, path: Path) -> tuple[float, float]:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s+(\d+(?:\.\d+)?)\s*", line)
    if found is None:
        raise UnavailableError(f"power: {path}: must be `SECONDS MILLIWATTS`, got '{line[:60]}'")
    return float(found[1]), float(found[2])


def integrate(
    samples: list[tuple[float, float]], start_s: float, end_s: float, name: str
) -> float:
    """Millijoules between two times, of power that runs straight from sample to sample.

    Raises:
        UnavailableError: the samples do not cover the time, or leave a gap of over a second.
    """
    before = [sample for sample in samples if sample[0] <= start_s][-1:]
    inside = [sample for sample in samples if start_s < sample[0] < end_s]
    after = [sample for sample in samples if sample[0] >= end_s][:1]
    points = before + inside + after
    if not before or not after:
        raise UnavailableError(f"power: {name}: its samples do not cover the measurement")
    energy_mj = 0.0
    for (t0, p0), (t1, p1) in pairwise(points):
        if not 0 <= t1 - t0 <= MAX_GAP_S:
            raise UnavailableError(f"power: {name}: a gap of {t1 - t0:.1f} s, at most {MAX_GAP_S}")
        left, right = max(t0, start_s), min(t1, end_s)
        if t1 > t0:
            slope = (p1 - p0) / (t1 - t0)
            middle = p0 + slope * ((left + right) / 2 - t0)
            energy_mj += middle * (right - left)
    return energy_mj


_KINDS: dict[str, Callable[[Path], Meter]] = {
    "ina3221": ina3221,
    "tegrastats": tegrastats,
    "rapl": Rapl,
}


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()[:100]
    except OSError:
        return ""


def _figure(path: Path) -> float:
    try:
        return float(path.read_text())
    except OSError as error:
        hint = "; root may" if isinstance(error, PermissionError) else ""
        raise UnavailableError(f"power: {path}: cannot read: {error.strerror}{hint}") from error
    except ValueError as error:
        raise UnavailableError(f"power: {path}: holds no number") from error


def find_meter(name: str = "auto", root: Path = Path("/")) -> Meter:
    """The meter that this board has.

    Args:
        name: `ina3221`, `tegrastats`, `rapl`, `file:PATH`; `auto`: the first of them but a file.
        root: where /sys is.

    Raises:
        JobError: there is no such kind.
        UnavailableError: there is none here, with the reason of each.
    """
    if name.startswith("file:"):
        return FileMeter(Path(name.removeprefix("file:")))
    if name not in ("auto", *_KINDS):
        raise JobError(
            f"power: meter must be auto, {', '.join(_KINDS)} or file:PATH, got '{name}'"
        )
    reasons = []
    for kind in _KINDS if name == "auto" else (name,):
        try:
            return _KINDS[kind](root)
        except UnavailableError as error:
            reasons.append(str(error).removeprefix("power: "))
    raise UnavailableError(f"power: unavailable: {'; '.join(reasons)}")
