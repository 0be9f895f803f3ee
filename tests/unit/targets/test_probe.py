"""Probing: what a board's own files say, beside the target's."""

import os
from pathlib import Path

import pytest

from sigdca.targets import load_target, probe

ATOM_FLAGS = (
    "fpu sse sse2 pni pclmulqdq ssse3 cx16 sse4_1 sse4_2 movbe popcnt aes rdrand lahf_lm sha_ni"
)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n")


def cpu(root: Path, number: int, core: int, caches: list[tuple[str, str, str, str]], khz: int):
    folder = root / f"sys/devices/system/cpu/cpu{number}"
    write(folder / "topology/physical_package_id", "0")
    write(folder / "topology/core_id", str(core))
    write(folder / "topology/thread_siblings_list", str(number))
    write(folder / "cpufreq/cpuinfo_max_freq", str(khz))
    for index, (level, kind, size, shared) in enumerate(caches):
        cache = folder / f"cache/index{index}"
        for name, text in (("level", level), ("type", kind), ("size", size)):
            write(cache / name, text)
        write(cache / "shared_cpu_list", shared)


@pytest.fixture
def atom(tmp_path, monkeypatch):
    """An E3940's files."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    name = "model name\t: Intel(R) Atom(TM) Processor E3940 @ 1.60GHz"
    write(tmp_path / "proc/cpuinfo", f"{name}\nflags\t\t: {ATOM_FLAGS}")
    write(tmp_path / "proc/meminfo", "MemTotal:        7934536 kB\nMemFree: 1 kB")
    for number in range(4):
        pair = "0-1" if number < 2 else "2,3"
        caches = [
            ("1", "Data", "24K", str(number)),
            ("1", "Instruction", "32K", str(number)),
            ("2", "Unified", "1M", pair),
        ]
        cpu(tmp_path, number, number, caches, 1_800_000)
    return tmp_path


def found(root: Path, name: str) -> dict[str, tuple[str, bool | None]]:
    return {one.figure: (one.found, one.agrees) for one in probe(load_target(name), root)}


def test_a_board_that_is_what_it_should_be(atom):
    rows = found(atom, "atom-x5-e3940")
    assert {agrees for _, agrees in rows.values()} == {True}
    assert rows["cpu.cores"] == ("4", True)
    assert rows["cpu[0].clock_mhz"] == ("1800", True)
    assert rows["cpu[0].l2_bytes"] == ("1048576", True)
    assert rows["cpu[0].l2_shared_by"] == ("2", True)
    assert rows["memory.max_bytes"] == (str(7934536 * 1024), True)


def test_another_board_of_the_family(atom):
    rows = found(atom, "atom-x5-e3930")
    assert {name for name, (_, agrees) in rows.items() if agrees is False} == {
        "cpu.cores",
        "device.pattern",
    }


def test_what_the_instruction_set_lacks(atom):
    text = (atom / "proc/cpuinfo").read_text()
    (atom / "proc/cpuinfo").write_text(text.replace(" sha_ni", "").replace(" pni", ""))
    assert found(atom, "atom-x5-e3940")["cpu[0].isa"] == ("lacks sse3, sha", False)


def test_two_kinds_of_cores(tmp_path, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    write(tmp_path / "proc/device-tree/model", "NVIDIA Jetson TX2 Developer Kit\0")
    features = "Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32"
    write(tmp_path / "proc/cpuinfo", f"{features}\nCPU architecture: 8")
    write(tmp_path / "proc/meminfo", "MemTotal:        8166840 kB")
    for number in range(6):
        denver = number in (1, 2)
        caches = [
            ("1", "Data", "64K" if denver else "32K", str(number)),
            ("1", "Instruction", "128K" if denver else "48K", str(number)),
            ("2", "Unified", "2048K", "1-2" if denver else "0,3-5"),
        ]
        cpu(tmp_path, number, number, caches, 2_035_200)
    rows = found(tmp_path, "jetson-tx2")
    assert {agrees for _, agrees in rows.values()} == {True}
    assert rows["cpu[0].l1i_bytes"] == ("49152, 131072", True)


def test_threads_are_no_cores(atom):
    for number, twin in ((0, 1), (1, 0), (2, 3), (3, 2)):
        topology = atom / f"sys/devices/system/cpu/cpu{number}/topology"
        write(topology / "core_id", str(number // 2))
        write(topology / "thread_siblings_list", f"{min(number, twin)}-{max(number, twin)}")
    rows = found(atom, "atom-x5-e3940")
    assert rows["cpu.cores"] == ("2", False)
    assert rows["cpu[0].l2_shared_by"] == ("1", False)


def test_a_machine_that_says_nothing(tmp_path):
    rows = found(tmp_path, "cortex-a57")
    del rows["device.machine"]
    assert rows.pop("device.pattern") == ("not found", False)
    assert set(rows.values()) == {("", None)}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x86-64 alone")
def test_this_machine():
    assert found(Path("/"), "x86-64-v2")["device.pattern"] == ("found", True)
