"""docs/data.md's commands for a folder of images, run as they stand there."""

import re
import shlex
import subprocess
import sys

import pytest
import torch

from sigdca.data import find_source, load
from sigdca.models import build, save_weights
from tests.conftest import ROOT
from tests.images import write_image

DATA = (ROOT / "docs/data.md").read_text()
BLOCK = re.search(r"```sh\n(.*?)```", DATA, re.S).group(1)
COMMANDS = [shlex.split(line) for line in BLOCK.splitlines()]


@pytest.fixture
def folder(tmp_path):
    """What the commands begin with: images, jobs and two containers."""
    from sigdca.cli import main

    for split, count in (("train", 30), ("val", 10)):
        for name in range(10):
            for number in range(count):
                place = tmp_path / "digits" / split / str(name) / f"{number}.png"
                write_image(place, 20 * name, (32, 30), "RGB" if number % 2 else "L")
    for seed, name in enumerate("ab"):
        torch.manual_seed(seed)
        save_weights(build("lenet-5"), tmp_path / f"{name}.safetensors")
        file, output = str(tmp_path / f"{name}.safetensors"), str(tmp_path / f"{name}.dca")
        with pytest.raises(SystemExit):
            main(["encode", file, "--model", "lenet-5", "-o", output])
    (tmp_path / "jobs").symlink_to(ROOT / "jobs")
    return tmp_path


def run(folder, words, *more):
    assert words[0] == "sigdca"
    return subprocess.run(
        [sys.executable, "-m", "sigdca", *words[1:], *more],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_do_what_they_say(folder):
    importing, running, testing = COMMANDS
    done = run(folder, importing)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "./digits-28: 300 train images, 100 test images of 10 classes\n"
    assert done.stderr == ""
    source = find_source(str(folder / "digits-28"))
    assert (source.name, source.input_shape, source.num_classes) == ("digits-28", (1, 28, 28), 10)
    first = load(str(folder / "digits-28"), "test", 30)
    assert len(set(first.labels.tolist())) > 5
    assert run(folder, importing).returncode == 2

    job = ("--set", "train.epochs=1", "--set", "train.accuracy_at_least=null")
    job += ("--set", "compress=null", "--set", "storage=here", "--smoke-test")
    done = run(folder, running, *job)
    assert done.returncode == 0, done.stderr
    assert (folder / "here/lenet-5-mnist-smoke/report.html").is_file()

    done = run(folder, testing)
    assert done.returncode == 0, done.stderr
    assert "a.dca" in done.stdout
    assert "100 images each" in done.stdout


@pytest.mark.slow  # the import itself is shown without Ray
def test_a_damaged_image_is_named_or_left_out(folder):
    damaged = folder / "digits/val/3/1.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    done = run(folder, COMMANDS[0])
    assert done.returncode == 2
    assert done.stderr.startswith(f"sigdca: {damaged}: damaged")
    assert done.stderr.endswith("--skip-damaged leaves such images out\n")
    assert not (folder / "digits-28/dataset.json").exists()
    done = run(folder, COMMANDS[0], "--skip-damaged")
    assert done.returncode == 0, done.stderr
    assert "99 test images of 10 classes, 1 left out" in done.stdout
    assert done.stderr.startswith(f"left out: {damaged}: damaged")
