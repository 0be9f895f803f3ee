"""Checkpoints that are damaged, and a disk that is full."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sigdca.errors import SigdcaError
from sigdca.loop import Unobserved
from sigdca.storage import open_store
from tests.observers import Noting

pytestmark = pytest.mark.slow


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


@pytest.fixture
def steady(task):
    """A task whose epochs do not depend on how many follow."""
    return replace(task, config=task.config.model_copy(update={"schedule_lr": "constant"}))


@pytest.fixture
def small_disk(tmp_path):
    """A file system with room for two checkpoints."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a file system")
    command = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", folder]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this container mounts nothing")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(executor, steady):
    undisturbed = executor.train(replace(steady, key="whole"), Unobserved())
    two = replace(steady, config=steady.config.model_copy(update={"epochs": 2}))
    executor.train(two, Unobserved())
    run = Path(steady.checkpoints.root, steady.key)
    *_, last = sorted(path for path in run.glob("checkpoint_*") if path.is_dir())
    path = last / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)
    seen = Noting()
    outcome = executor.train(steady, seen)
    assert [figures["epoch"] for figures in seen.epochs] == [2, 3]
    assert same(outcome.state, undisturbed.state)


def test_a_full_disk_ends_training_with_a_word_and_loses_nothing(executor, steady, small_disk):
    undisturbed = executor.train(replace(steady, key="whole"), Unobserved())
    task = replace(steady, checkpoints=open_store(str(small_disk / "checkpoints")))
    seen = Noting()
    with pytest.raises(SigdcaError, match="No space left on device") as caught:
        executor.train(task, seen)
    assert "\n" not in str(caught.value)
    assert any("No space left on device" in note for note in seen.notes)
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    seen = Noting()
    outcome = executor.train(task, seen)
    assert [figures["epoch"] for figures in seen.epochs] == [3]
    assert same(outcome.state, undisturbed.state)
