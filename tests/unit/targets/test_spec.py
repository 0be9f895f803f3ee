"""Targets: what the bundled files say, a user's own file, and the errors."""

import platform
from pathlib import Path

import pytest

from sigdca.errors import TargetError
from sigdca.targets import Target, load_target, target_names, this_board
from sigdca.targets import spec as spec_module

ATOM = Path(spec_module.__file__).parent / "atom-x5-e3940.toml"


def write(tmp_path: Path, old: str, new: str) -> str:
    """The Atom's file with one change, as a user's own."""
    text = ATOM.read_text()
    assert text.count(old) == 1, f"{old!r} must be in the file once"
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new))
    return str(path)


def test_bundled_targets_are_those_of_the_project():
    assert target_names() == (
        "atom-x5-e3930",
        "atom-x5-e3940",
        "cortex-a57",
        "jetson-tx2",
        "jetson-tx2-cpu",
        "x86-64-v2",
        "x86-64-v3",
        "x86-64-v4",
    )


@pytest.mark.parametrize("name", target_names())
def test_every_bundled_target_loads_under_its_own_name(name):
    target = load_target(name)
    assert target.name == name
    if not name.startswith("x86-64-"):
        assert target.why_not_here() is not None, "a development machine is no embedded board"


def test_levels_of_x86_64_hold_each_other():
    isas = [set(load_target(f"x86-64-v{level}").cpu[0].isa) for level in (2, 3, 4)]
    assert isas[0] < isas[1] < isas[2]
    assert load_target("x86-64-v4").emulator is None, "QEMU has no AVX-512"


def test_atom_is_a_goldmont_without_avx():
    target = load_target("atom-x5-e3940")
    (cpu,) = target.cpu
    assert (cpu.model, cpu.cores.value, cpu.l1d_bytes.value) == ("Goldmont", 4, 24 * 1024)
    assert "sse4.2" in cpu.isa
    assert not [name for name in cpu.isa if name.startswith(("avx", "fma"))]
    assert target.emulator is not None
    assert (target.emulator.program, target.emulator.cpu) == ("qemu-x86_64", "Denverton")
    assert target.engine == "native"
    assert target.label == "atom-x5-e3940"


def test_tx2_has_two_kinds_of_cores_and_an_engine_that_cannot_be_emulated():
    target = load_target("jetson-tx2")
    assert [(cpu.model, cpu.cores.value) for cpu in target.cpu] == [
        ("Denver 2", 2),
        ("Cortex-A57", 4),
    ]
    assert target.engine == "tensorrt"
    assert target.emulator is not None
    assert "sm_62" in target.emulator.blocked_by


def test_tx2_without_its_gpu_is_a_target_of_its_own_on_the_same_board():
    whole, cpu = load_target("jetson-tx2"), load_target("jetson-tx2-cpu")
    assert [core.model for core in cpu.cpu] == ["Cortex-A57"]
    assert cpu.cpu[0] == whole.cpu[1]
    assert (cpu.engine, cpu.gpu) == ("native", None)
    assert (cpu.device.machine, cpu.device.pattern) == ("aarch64", whole.device.pattern)
    assert cpu.label == whole.label == "jetson-tx2"
    assert cpu.emulator is not None
    assert (cpu.emulator.program, cpu.emulator.cpu) == ("qemu-aarch64", "cortex-a57")
    assert not cpu.emulator.blocked_by


TX2 = {"cortex-a57", "jetson-tx2", "jetson-tx2-cpu"}


@pytest.mark.parametrize(
    ("matches", "engine", "found"),
    [
        (TX2, None, "jetson-tx2"),
        (TX2, "native", "jetson-tx2-cpu"),
        ({"cortex-a57"}, None, "cortex-a57"),
        ({"atom-x5-e3940", "x86-64-v2"}, None, "atom-x5-e3940"),
        ({"x86-64-v2", "x86-64-v3"}, "native", "x86-64-v3"),
        ({"x86-64-v2", "x86-64-v3", "x86-64-v4"}, None, "x86-64-v4"),
    ],
)
def test_a_target_that_names_the_board_goes_before_a_generic_one(
    monkeypatch, matches, engine, found
):
    monkeypatch.setattr(Target, "why_not_here", lambda self: None if self.name in matches else "")
    assert this_board(engine).name == found


def test_a_board_that_nobody_knows(monkeypatch):
    monkeypatch.setattr(Target, "why_not_here", lambda self: "it is another")
    with pytest.raises(TargetError, match=r"none of those known; name its \.toml file"):
        this_board()


def test_figures_from_memory_are_marked():
    assert "memory.bandwidth_bytes_per_s" in load_target("atom-x5-e3940").unchecked
    assert "cpu[0].l1d_bytes" not in load_target("atom-x5-e3940").unchecked


def test_users_own_target_by_path(tmp_path):
    path = write(tmp_path, 'name = "atom-x5-e3940"', 'name = "my-board"')
    assert load_target(path).name == "my-board"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("atom-x5", "targets: unknown target 'atom-x5'; did you mean 'atom-x5-e3940'?"),
        (
            "zx81",
            "targets: unknown target 'zx81'; known targets are atom-x5-e3930, "
            "atom-x5-e3940, cortex-a57, jetson-tx2, jetson-tx2-cpu, x86-64-v2, x86-64-v3, "
            "x86-64-v4",
        ),
    ],
)
def test_unknown_target_names_the_nearest(name, message):
    with pytest.raises(TargetError) as caught:
        load_target(name)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('source = "cpuid"', 'source = "rumour"', "source 'rumour' is not in [sources]"),
        ('name = "atom-x5-e3940"', 'nmae = "atom"', "name: Field required"),
        ('engine = "native"', 'engine = "abacus"', "engine: Input should be"),
        ("cores = { value = 4,", "cores = { value = -4,", "cpu.0.cores.value: Input should be"),
        ("pattern = '", "pattern = '(", "device.pattern: not a regular expression"),
        ("[memory]", "[memory", "not TOML"),
    ],
)
def test_wrong_file_says_what_is_wrong_in_one_line(tmp_path, old, new, message):
    path = write(tmp_path, old, new)
    with pytest.raises(TargetError) as caught:
        load_target(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_key_is_refused(tmp_path):
    path = write(tmp_path, 'model = "Goldmont"', 'model = "Goldmont"\nflops = 1')
    with pytest.raises(TargetError, match=r"cpu\.0\.flops: Extra inputs are not permitted"):
        load_target(path)


def test_missing_huge_and_binary_files_are_refused(tmp_path):
    with pytest.raises(TargetError, match="cannot be read: No such file"):
        load_target(str(tmp_path / "none.toml"))
    huge = tmp_path / "huge.toml"
    huge.write_text("#" * (spec_module.MAX_TARGET_BYTES + 1))
    with pytest.raises(TargetError, match="larger than a target may be"):
        load_target(str(huge))
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe")
    with pytest.raises(TargetError, match="not TOML"):
        load_target(str(binary))


def test_device_is_recognised_by_machine_and_file(tmp_path):
    board = tmp_path / "model"
    board.write_text("Fruit Pie 9\0")
    text = ATOM.read_text()
    text = text.replace('machine = "x86_64"', f'machine = "{platform.machine()}"')
    text = text.replace('file = "/proc/cpuinfo"', f'file = "{board}"')
    text = text.replace(r"pattern = 'model name\s*:.*Atom.*\bE3940\b'", "pattern = 'Pie [89]'")
    path = tmp_path / "pie.toml"
    path.write_text(text)
    target = load_target(str(path))
    assert target.why_not_here() is None
    board.write_text("Fruit Pie 1")
    assert target.why_not_here() == f"{board} does not match 'Pie [89]'"
    board.unlink()
    assert target.why_not_here() == f"{board}: No such file or directory"
    other = target.model_copy(
        update={"device": target.device.model_copy(update={"machine": "m68k"})}
    )
    assert other.why_not_here() == f"it is {platform.machine()}, the target is m68k"


def test_in_a_container_the_device_tree_lies_where_it_is_mounted(monkeypatch, tmp_path):
    monkeypatch.setattr(spec_module, "MOUNTED_DEVICE_TREE", str(tmp_path))
    tx2 = load_target("jetson-tx2-cpu")
    monkeypatch.setattr(spec_module.platform, "machine", lambda: "aarch64")
    assert tx2.why_not_here() is not None
    (tmp_path / "model").write_bytes(b"NVIDIA Jetson TX2 Developer Kit\0")
    assert tx2.why_not_here() is None
    (tmp_path / "model").write_bytes(b"Raspberry Pi 4\0")
    assert "does not match" in tx2.why_not_here()
