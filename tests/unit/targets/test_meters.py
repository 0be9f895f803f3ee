"""Meters, on the files and lines that real boards have; energies by hand."""

import os
import time
from pathlib import Path

import pytest

from sigdca.errors import JobError
from sigdca.targets.meters import (
    UnavailableError,
    find_meter,
    integrate,
    parse_tegrastats,
    total_mw,
)
from sigdca.targets.power import measure_energy

# As published of a TX2 (L4T 28), and the rails' part of a Nano's (L4T 32) and an Orin's (L4T 35).
TX2 = (
    "RAM 1004/7852MB (lfb 7x2MB) CPU [0%@350,4%@345,0%@345,1%@350,0%@350,6%@350] EMC_FREQ 17%@40 "
    "GR3D_FREQ 0%@114 APE 150 MTS fg 0% bg 0% PLL@34C MCPU@34C PMIC@100C Tboard@28C GPU@32C "
    "BCPU@34C thermal@33.2C Tdiode@30.5C VDD_SYS_GPU 153/153 VDD_SYS_SOC 383/383 VDD_4V0_WIFI 0/0 "
    "VDD_IN 1876/1876 VDD_SYS_CPU 229/229 VDD_SYS_DDR 134/134"
)
NANO = (
    "RAM 613/3964MB (lfb 634x4MB) SWAP 0/1982MB (cached 0MB) CPU [2%@102,off] thermal@41C "
    "POM_5V_IN 900/943 POM_5V_GPU 0/0 POM_5V_CPU 123/123"
)
ORIN = (
    "11-14-2024 12:34:56 RAM 3162/30536MB (lfb 6x4MB) SWAP 0/15268MB (cached 0MB) tj@47.968C "
    "VDD_GPU_SOC 3175mW/3170mW VDD_CPU_CV 794mW/800mW VIN_SYS_5V0 4538mW/4538mW"
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("line", "total"),
    [
        (TX2, (1876, "VDD_IN")),
        (NANO, (900, "POM_5V_IN")),
        (ORIN, (3175 + 794 + 4538, "VDD_GPU_SOC + VDD_CPU_CV + VIN_SYS_5V0")),
    ],
)
def test_lines_of_tegrastats(line, total):
    assert total_mw(parse_tegrastats(line)) == total


def test_all_rails_of_a_tx2():
    assert parse_tegrastats(TX2) == {
        "VDD_SYS_GPU": 153,
        "VDD_SYS_SOC": 383,
        "VDD_4V0_WIFI": 0,
        "VDD_IN": 1876,
        "VDD_SYS_CPU": 229,
        "VDD_SYS_DDR": 134,
    }


@pytest.mark.parametrize("line", ["", "RAM 1/2MB", "nonsense 1/2", "VDD_IN 1876"])
def test_lines_without_rails(line):
    assert parse_tegrastats(line) == {}


def tx2(root: Path) -> Path:
    """The files of a TX2's two INA3221."""
    drivers = root / "sys/bus/i2c/drivers/ina3221x"
    rails = {
        "0-0040/iio:device0": (("VDD_SYS_GPU", 153), ("VDD_SYS_SOC", 383), ("VDD_4V0_WIFI", 0)),
        "0-0041/iio:device1": (("VDD_IN", 2000), ("VDD_SYS_CPU", 229), ("VDD_SYS_DDR", 134)),
    }
    for chip, channels in rails.items():
        for number, (name, power) in enumerate(channels):
            write(drivers / chip / f"rail_name_{number}", f"{name}\n")
            write(drivers / chip / f"in_power{number}_input", f"{power}\n")
    return drivers / "0-0041/iio:device1/in_power0_input"


def test_the_input_of_a_tx2(tmp_path):
    tx2(tmp_path)
    meter = find_meter(root=tmp_path)
    assert meter.name == "ina3221 (VDD_IN)"
    start = time.monotonic()
    meter.start()
    time.sleep(0.4)
    energy = meter.stop()
    assert 2000 * 0.4 <= energy <= 2000 * (time.monotonic() - start)


def test_rails_of_a_newer_kernel_are_added_up(tmp_path):
    folder = tmp_path / "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    for number, (name, volt, ampere) in enumerate(
        (("VDD_GPU_SOC", 20_000, 100), ("VDD_CPU_CV", 20_000, 50), ("NC", 5, 5)), start=1
    ):
        write(folder / f"in{number}_label", name)
        write(folder / f"in{number}_input", str(volt))
        write(folder / f"curr{number}_input", str(ampere))
    write(folder / "in7_label", "sum of shunt voltages")
    meter = find_meter("ina3221", tmp_path)
    assert meter.name == "ina3221 (VDD_GPU_SOC + VDD_CPU_CV)"
    assert meter._read_mw() == 3000


def test_a_rail_that_breaks(tmp_path):
    rail = tx2(tmp_path)
    meter = find_meter("ina3221", tmp_path)
    meter.start()
    rail.write_text("")
    time.sleep(0.1)
    with pytest.raises(UnavailableError, match="in_power0_input: holds no number"):
        meter.stop()


def test_too_short_a_time(tmp_path):
    tx2(tmp_path)
    meter = find_meter("ina3221", tmp_path)
    meter.start()
    with pytest.raises(UnavailableError, match="only 2 samples, at least 10; run longer"):
        meter.stop()


def rapl(root: Path, energies: tuple[int, ...]) -> list[Path]:
    """The zones of a processor with two packages, each with a core zone in it."""
    folder = root / "sys/class/powercap"
    found = []
    for number, energy in enumerate(energies):
        zone = folder / f"intel-rapl:{number}"
        write(zone / "name", f"package-{number}\n")
        write(zone / "max_energy_range_uj", "262143328850\n")
        found.append(write(zone / "energy_uj", f"{energy}\n"))
        inner = folder / f"intel-rapl:{number}:0"
        write(inner / "name", "core\n")
        write(inner / "energy_uj", "1\n")
    return found


def test_packages_are_added_up_and_a_counter_goes_round(tmp_path):
    zones = rapl(tmp_path, (1_000_000, 262_143_000_000))
    meter = find_meter("rapl", tmp_path)
    assert meter.name == "rapl (package-0 + package-1)"
    meter.start()
    zones[0].write_text("3000000\n")
    zones[1].write_text("671150\n")
    assert meter.stop() == pytest.approx((2_000_000 + 1_000_000) / 1000)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_counters_that_only_root_may_read(tmp_path):
    rapl(tmp_path, (1,))[0].chmod(0)
    with pytest.raises(UnavailableError, match="Permission denied; root may"):
        find_meter("rapl", tmp_path)


def test_energy_between_samples():
    samples = [(0.0, 1000.0), (1.0, 1000.0), (2.0, 3000.0), (3.0, 3000.0)]
    assert integrate(samples, 0.5, 2.5, "x") == pytest.approx(500 + 2000 + 1500)
    assert integrate(samples, 1.25, 1.75, "x") == pytest.approx(1000)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "do not cover the measurement"),
        ([(2.0, 1.0), (3.0, 1.0)], "do not cover the measurement"),
        ([(0.0, 1.0), (1.5, 1.0)], "do not cover the measurement"),
        ([(0.0, 1.0), (1.5, 1.0), (2.0, 1.0)], "a gap of 1.5 s, at most 1.0"),
    ],
)
def test_samples_that_do_not_do(samples, message):
    with pytest.raises(UnavailableError, match=message):
        integrate(samples, 1.0, 2.0, "x")


def test_a_file_of_an_external_meter(tmp_path):
    path = tmp_path / "meter.txt"
    path.write_text("")
    meter = find_meter(f"file:{path}")
    now = time.time()
    meter.start()
    lines = [f"{now + 0.5 * step:.3f} 1500.0" for step in range(-2, 60)]
    path.write_text("\n".join(lines) + "\n17")  # the last line is being written
    time.sleep(0.05)
    energy = meter.stop()
    assert 1500 * 0.05 <= energy <= 1500 * 29


@pytest.mark.parametrize("line", ["yes", "1 2 3", "1,5 2", "-1 2", "nan 2"])
def test_a_line_of_another_kind(tmp_path, line):
    path = write(tmp_path / "meter.txt", f"{line}\n")
    meter = find_meter(f"file:{path}")
    meter.start()
    with pytest.raises(UnavailableError, match="must be `SECONDS MILLIWATTS`, got"):
        meter.stop()


def test_a_tegrastats_of_a_script(tmp_path, monkeypatch):
    """A program in place of tegrastats, with its lines at its pace."""
    program = write(
        tmp_path / "bin/tegrastats", f"#!/bin/sh\nwhile :; do echo '{TX2}'; sleep 0.02; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    meter = find_meter("tegrastats")
    meter.start()
    time.sleep(0.8)
    energy = meter.stop()
    # All lines say the same power; how long they were read, a busy machine decides.
    assert 1876 * 0.8 <= energy <= 1876 * 20
    assert meter.name == "tegrastats (VDD_IN)"


def test_unavailable_says_why_of_each(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UnavailableError) as caught:
        find_meter(root=tmp_path)
    assert str(caught.value) == (
        "power: unavailable: ina3221: /sys/bus/i2c/drivers has none with named rails; tegrastats: "
        "is not installed; rapl: /sys/class/powercap has no package"
    )
    with pytest.raises(UnavailableError, match="is not there"):
        find_meter(f"file:{tmp_path}/none").start()
    with pytest.raises(
        JobError, match="meter must be auto, ina3221, tegrastats, rapl or file:PATH"
    ):
        find_meter("wattmeter")


class Steady:
    """A meter of a board that takes so much idle, and so much at work."""

    name = "steady"

    def __init__(self, *powers_mw: float) -> None:
        self.powers_mw = list(powers_mw)

    def start(self) -> None:
        self.start_s = time.monotonic()

    def stop(self) -> float:
        return self.powers_mw.pop(0) * (time.monotonic() - self.start_s)


def work() -> int:
    time.sleep(0.2)
    return 100


def test_the_idle_share_is_taken_off():
    energy = measure_energy(Steady(2000, 5000), work, idle_s=0.1)
    assert energy.idle_mw == pytest.approx(2000, rel=0.05)
    assert energy.active_mw == pytest.approx(5000, rel=0.05)
    assert energy.energy_mj == pytest.approx(3000 * energy.duration_s / 100, rel=0.05)
    assert energy.gross_energy_mj == pytest.approx(5000 * energy.duration_s / 100, rel=0.05)
    assert (energy.num_inferences, energy.meter) == (100, "steady")


def test_the_wait_for_a_last_sample_is_not_work():
    class Late(Steady):
        def stop(self) -> float:
            spent_mj = super().stop()
            time.sleep(0.2)
            return spent_mj

    energy = measure_energy(Late(2000, 5000), work, idle_s=0.1)
    assert energy.idle_mw == pytest.approx(2000, rel=0.05)
    assert energy.active_mw == pytest.approx(5000, rel=0.05)
    assert energy.energy_mj == pytest.approx(3000 * energy.duration_s / 100, rel=0.05)


def test_work_that_does_not_rise_above_idle():
    with pytest.raises(UnavailableError, match=r"at work is not above the \d+ mW before it"):
        measure_energy(Steady(5000, 4000), work, idle_s=0.05)
