"""What targets are compared with, and what is said where there is nothing to compare."""

from pathlib import Path

import pytest

from sigdca.errors import JobError
from sigdca.job import DataSource, EdgeTest, parse_job
from sigdca.loop import check_job, legs_of
from sigdca.targets import spec
from tests.bright import model
from tests.images import write_data_set
from tests.unit.loop.test_run import ToldExecutor

ATOM = "atom-x5-e3940"


@pytest.fixture
def int8(tmp_path):
    """A target of the user's own with OpenVINO in int8, and data that are for tests alone."""
    write_data_set(tmp_path / "set", {"test": [10]})
    path = tmp_path / "int8.toml"
    text = (Path(spec.__file__).parent / f"{ATOM}.toml").read_text()
    path.write_text(text.replace('engine = "native"', 'engine = "openvino-int8"'))
    return str(path)


def test_int8_without_training_images_is_a_verdict_and_no_end(tmp_path, int8):
    source, executor = DataSource(source=f"{tmp_path}/set"), ToldExecutor([10])
    legs = legs_of(executor, model(), [int8, ATOM], source, 10, EdgeTest())
    assert legs[int8].verdict == "device-required"
    assert legs[int8].reason.endswith(
        "no reference: openvino-int8: data: numbered has no split 'train'; it has test"
    )
    assert [task.target for task in executor.edge_tasks[0]] == [ATOM]


def test_int8_without_training_images_is_said_before_anything_is_run(tmp_path, int8, monkeypatch):
    monkeypatch.setattr("sigdca.loop.network.load_weights", lambda model, path: None)
    text = f"""
name: s
model: tests.tiny:Tiny
weights: w.safetensors
data: {{source: {tmp_path}/set}}
train: {{epochs: 0}}
compress: {{recipe: [encode]}}
targets: [{int8}]
"""
    with pytest.raises(JobError) as found:
        check_job(parse_job(text, "s.yaml"), "s.yaml")
    assert str(found.value) == (
        f"s.yaml: targets: '{int8}' needs training images: data: numbered has no split 'train'; "
        "it has test"
    )
    check_job(parse_job(text, "s.yaml", [f"targets=[{ATOM}]"]), "s.yaml")
