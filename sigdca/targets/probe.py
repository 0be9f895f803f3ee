"""What this machine says of itself, beside what a target's file says."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sigdca.targets.spec import MAX_IDENTITY_BYTES, Cpu, Target

CLOCK_TOLERANCE = 0.05  # a kernel's idea of a clock's limit is rounded
_CPUS = "sys/devices/system/cpu"
# What /proc/cpuinfo calls it, where that is another name.
_FLAGS = {
    "sse3": "pni",
    "sse4.1": "sse4_1",
    "sse4.2": "sse4_2",
    "pclmul": "pclmulqdq",
    "sha": "sha_ni",
    "lahf": "lahf_lm",
    "lzcnt": "abm",
}


@dataclass(frozen=True)
class Finding:
    """One figure.

    Attributes:
        figure: its dotted path in the target's file.
        says: what the file says.
        found: what this machine says; empty where it says nothing.
        agrees: whether they agree; None where there is nothing to compare.
    """

    figure: str
    says: str
    found: str
    agrees: bool | None


def probe(target: Target, root: Path = Path("/")) -> list[Finding]:
    """Compares the machine with a target's file.

    Args:
        target: the target.
        root: where /proc and /sys are.
    """
    machine, device = platform.machine(), target.device
    named = re.search(device.pattern, _read(root / device.file.lstrip("/"))) is not None
    cores = sum(int(cpu.cores.value) for cpu in target.cpu)
    caches = _caches(root)
    return [
        Finding("device.machine", device.machine, machine, machine == device.machine),
        Finding("device.pattern", device.pattern, "found" if named else "not found", named),
        _one_of("cpu.cores", cores, _cores(root)),
        *(
            finding
            for number, cpu in enumerate(target.cpu)
            for finding in _of_cpu(f"cpu[{number}]", cpu, caches, root)
        ),
        _memory(target, root),
    ]


def _of_cpu(where: str, cpu: Cpu, caches: dict[str, set[int]], root: Path) -> list[Finding]:
    """A kind of core agrees if any core here is of that kind: a TX2 has two."""
    low = cpu.clock_mhz.value * (1 - CLOCK_TOLERANCE)
    high = (cpu.boost_mhz or cpu.clock_mhz).value * (1 + CLOCK_TOLERANCE)
    clocks = _clocks(root)
    says = f"{cpu.clock_mhz.value}" + (f" to {cpu.boost_mhz.value}" if cpu.boost_mhz else "")
    runs = any(low <= clock <= high for clock in clocks) if clocks else None
    missing = _missing(cpu, root)
    lacks = "" if missing is None else f"lacks {', '.join(missing)}" if missing else "all"
    return [
        Finding(f"{where}.clock_mhz", says, _listed(clocks), runs),
        *(
            _one_of(f"{where}.{name}", int(getattr(cpu, name).value), caches[name])
            for name in ("l1i_bytes", "l1d_bytes", "l2_bytes", "l2_shared_by")
        ),
        Finding(
            f"{where}.isa", ", ".join(cpu.isa), lacks, None if missing is None else not missing
        ),
    ]


def _one_of(figure: str, says: int, found: set[int]) -> Finding:
    return Finding(figure, str(says), _listed(found), says in found if found else None)


def _listed(values: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(values)))


def _cores(root: Path) -> set[int]:
    """Cores, not threads."""
    cores = {
        (_read(cpu / "topology/physical_package_id"), _read(cpu / "topology/core_id"))
        for cpu in (root / _CPUS).glob("cpu[0-9]*")
    }
    return {len(cores)} if cores and ("", "") not in cores else set()


def _clocks(root: Path) -> set[int]:
    """The highest clocks, in MHz."""
    files = (root / _CPUS).glob("cpu[0-9]*/cpufreq/cpuinfo_max_freq")
    return {int(text) // 1000 for file in files if (text := _read(file)).isdecimal()}


def _caches(root: Path) -> dict[str, set[int]]:
    """Sizes as the kernel has them from the processor or the device tree."""
    found: dict[str, set[int]] = {
        name: set() for name in ("l1i_bytes", "l1d_bytes", "l2_bytes", "l2_shared_by")
    }
    for cache in (root / _CPUS).glob("cpu[0-9]*/cache/index[0-9]*"):
        level, kind = _read(cache / "level"), _read(cache / "type")
        size = re.fullmatch(r"(\d+)([KM]?)", _read(cache / "size"))
        if size is None:
            continue
        in_bytes = int(size[1]) * {"": 1, "K": 2**10, "M": 2**20}[size[2]]
        if level == "1" and kind in ("Instruction", "Data"):
            found["l1i_bytes" if kind == "Instruction" else "l1d_bytes"].add(in_bytes)
        elif level == "2":
            found["l2_bytes"].add(in_bytes)
            threads = _count(_read(cache.parent.parent / "topology/thread_siblings_list"))
            sharing = _count(_read(cache / "shared_cpu_list"))
            if sharing:
                found["l2_shared_by"].add(sharing // max(threads, 1))
    return found


def _count(cpus: str) -> int:
    """How many are in a list such as `0-3,8`."""
    total = 0
    for part in filter(None, cpus.split(",")):
        first, _, last = part.partition("-")
        if first.isdecimal() and (not last or last.isdecimal()):
            total += int(last or first) - int(first) + 1
    return total


def _missing(cpu: Cpu, root: Path) -> list[str] | None:
    """What of the instruction set the kernel does not name; None if it names nothing."""
    text = _read(root / "proc/cpuinfo")
    lines = re.findall(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
    if not lines:
        return None
    flags = set(lines[0].split())
    if re.search(r"^CPU architecture\s*:\s*8$", text, re.MULTILINE):
        flags.add("armv8.0-a")
    return [name for name in cpu.isa if _FLAGS.get(name, name) not in flags]


def _memory(target: Target, root: Path) -> Finding:
    limit = int(target.memory.max_bytes.value)
    found = re.search(r"^MemTotal:\s*(\d+) kB$", _read(root / "proc/meminfo"), re.MULTILINE)
    in_bytes = 1024 * int(found[1]) if found else 0
    says = f"at most {limit}"
    return Finding(
        "memory.max_bytes", says, str(in_bytes or ""), in_bytes <= limit if found else None
    )


def _read(path: Path) -> str:
    """What is in a file of the kernel's; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            return file.read(MAX_IDENTITY_BYTES).decode("utf-8", "replace").strip()
    except OSError:
        return ""
