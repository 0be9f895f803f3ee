"""Emulators: found, started, and every way in which they can fail. Real programs throughout."""

import subprocess
import sys
from pathlib import Path

import pytest

from sigdca.errors import TargetError
from sigdca.native.programs import find_program
from sigdca.targets import Target, find_emulator, load_target
from tests.conftest import emulated


def atom(engine: str = "onnxruntime", **changes: str) -> Target:
    target = load_target("atom-x5-e3940")
    assert target.emulator is not None
    emulator = target.emulator.model_copy(update=changes)
    return target.model_copy(update={"engine": engine, "emulator": emulator})


def script(folder: Path, name: str, body: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def test_qemu_is_found_and_named():
    emulator = find_emulator(emulated(atom()))
    assert emulator.version.startswith("qemu-x86_64 version ")
    assert str(emulator) == f"{emulator.version} -cpu Denverton"


def test_command_passes_cpu_environment_and_arguments():
    emulator = find_emulator(emulated(atom()))
    command = emulator.command(["/bin/sh", "-c", 'echo "$COLOUR"; exit 7'], {"COLOUR": "blue"})
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("blue\n", 7)


def test_missing_emulator_says_what_to_install(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(TargetError) as caught:
        find_emulator(atom())
    assert str(caught.value) == (
        "target 'atom-x5-e3940': emulator qemu-x86_64 not found; install Debian's qemu-user or "
        "run on the device"
    )


@pytest.mark.parametrize("name", ["toy-emulator", "toy-emulator-static"])
def test_emulator_beside_the_interpreter_and_under_its_static_name(tmp_path, monkeypatch, name):
    script(tmp_path, name, "echo 'toy version 1.5 (home made)'")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    emulator = find_emulator(atom(program="toy-emulator"))
    assert emulator.path == str(tmp_path / name)
    assert emulator.version == "toy version 1.5"


@pytest.mark.parametrize("name", ["atom-x5-e3940", "jetson-tx2-cpu"])
def test_native_targets_are_probed_with_their_own_program(name):
    target = emulated(name)
    emulator = find_emulator(target)
    assert find_program(target.device.machine) is not None
    assert str(emulator).endswith(f"-cpu {target.emulator.cpu}")


@pytest.mark.parametrize(
    ("name", "machine", "way"),
    [
        ("jetson-tx2-cpu", "aarch64", "build it with `make native-programs` or set {}"),
        (
            "atom-x5-e3940",
            "x86_64",
            "set {} to the one in a package for boards (`make native-targets`)",
        ),
    ],
)
def test_missing_program_says_how_to_get_it(tmp_path, monkeypatch, name, machine, way):
    target = emulated(name)
    variable = f"SIGDCA_DCA_RUN_{machine.upper()}"
    monkeypatch.setattr("sigdca.native.__path__", [str(tmp_path)])
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(TargetError) as caught:
        find_emulator(target)
    assert str(caught.value) == (
        f"target '{name}': dca-run for {machine} not found; {way.format(variable)}; "
        "or run on the device"
    )


def test_a_program_that_the_emulator_cannot_run(tmp_path, monkeypatch):
    emulated(atom())
    monkeypatch.setenv("SIGDCA_DCA_RUN_X86_64", str(script(tmp_path, "dca-run", "exit 0")))
    with pytest.raises(TargetError, match=r"cannot run /.*/dca-run: ") as caught:
        find_emulator(atom("native"))
    assert str(caught.value).endswith("; run on the device")
    assert "\n" not in str(caught.value)


def test_tests_lack_a_target_whose_programs_are_not_installed(tmp_path, monkeypatch):
    emulated(atom())
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="none-such is not installed"):
        emulated(atom(program="none-such"))
    monkeypatch.setattr("sigdca.native.__path__", [str(tmp_path)])
    monkeypatch.delenv("SIGDCA_DCA_RUN_X86_64", raising=False)
    with pytest.raises(pytest.fail.Exception, match="dca-run for x86_64 not found"):
        emulated(atom("native"))


def test_tests_fail_where_an_installed_program_does_not_work(monkeypatch):
    emulated(atom())
    monkeypatch.setenv("CI", "true")  # where a skip, too, would fail
    monkeypatch.setenv("SIGDCA_DCA_RUN_X86_64", "/bin/false")
    with pytest.raises(TargetError, match="cannot run /bin/false: "):
        emulated(atom("native"))
    with pytest.raises(TargetError, match="unable to find CPU model 'abacus'"):
        emulated(atom(cpu="abacus"))


def test_unknown_cpu_is_found_out_by_the_probe():
    emulated(atom())
    with pytest.raises(TargetError, match="qemu-x86_64 -cpu abacus cannot run /") as caught:
        find_emulator(atom(cpu="abacus"))
    assert "unable to find CPU model 'abacus'" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_emulator_that_does_not_start(tmp_path):
    path = tmp_path / "broken"
    path.write_bytes(b"\x7fELF nothing more")
    path.chmod(0o755)
    with pytest.raises(TargetError, match="cannot be started: Exec format error"):
        find_emulator(atom(program=str(path)))


def test_emulator_that_hangs(tmp_path, monkeypatch):
    path = script(tmp_path, "asleep", "exec sleep 60")
    monkeypatch.setattr("sigdca.targets.emulate.PROBE_TIMEOUT_S", 0.2)
    with pytest.raises(TargetError, match="did not answer within"):
        find_emulator(atom(program=str(path)))


def test_engine_that_cannot_be_emulated():
    with pytest.raises(TargetError) as caught:
        find_emulator(load_target("jetson-tx2"))
    assert str(caught.value) == (
        "target 'jetson-tx2': its engine tensorrt runs on the Pascal GPU (sm_62), which cannot be "
        "emulated; run on the device"
    )


def test_target_without_an_emulator():
    target = atom().model_copy(update={"emulator": None})
    with pytest.raises(TargetError, match="has no emulator; run on the device"):
        find_emulator(target)
