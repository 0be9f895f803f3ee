"""TensorRT by trtexec: command lines and files of 8.2, by a program that stands for it.

No TensorRT was here. The lines and files have the forms that NVIDIA's samples print.
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from sigdca.engines import open_engine
from sigdca.engines.latency import measure_latency_us
from sigdca.engines.tensorrt import (
    BATCH,
    _version_of,
    find_trtexec,
    parse_output,
    parse_times,
    why_failed,
)
from sigdca.errors import EngineError
from sigdca.training import SHARE_UNIT

STAND_IN = Path(__file__).with_name("trtexec_stand_in.py")


class Trtexec:
    """The program that stands for it, and what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "log"
        self.program = folder / "trtexec"
        self.program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{STAND_IN}" "$@"\n')
        self.program.chmod(0o755)
        self.log.write_text("")

    @property
    def runs(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    @property
    def plans(self) -> list[Path]:
        return sorted((self.folder / "cache/sigdca/tensorrt").glob("*"))


@pytest.fixture
def trtexec(tmp_path, monkeypatch):
    found = Trtexec(tmp_path)
    monkeypatch.setenv("SIGDCA_TRTEXEC", str(found.program))
    monkeypatch.setenv("STAND_IN_LOG", str(found.log))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return found


@pytest.fixture
def sample(make):
    return make.networks["conv"]


def test_agrees_and_builds_once(trtexec, sample):
    images = np.tile(sample.images, (6, 1, 1, 1))
    assert BATCH < len(images) < 2 * BATCH
    expected = open_engine("onnxruntime", sample.graph, sample.tensors).logits(images)
    engine = open_engine("tensorrt", sample.graph, sample.tensors)
    got = engine.logits(images)
    assert np.allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert engine.version == "8.2.1"
    again = open_engine("tensorrt", sample.graph, sample.tensors)
    assert again.plan == engine.plan
    builds = [run for run in trtexec.runs if any(one.startswith("--onnx") for one in run)]
    assert len(builds) == 1
    assert builds[0][2:] == [
        "--minShapes=pixels:1x3x9x7",
        "--optShapes=pixels:25x3x9x7",
        "--maxShapes=pixels:25x3x9x7",
        "--workspace=1024",
        "--buildOnly",
        "--noTF32",
    ]
    shapes = [one for run in trtexec.runs for one in run if one.startswith("--shapes")]
    assert shapes == ["--shapes=pixels:25x3x9x7", f"--shapes=pixels:{len(images) - 25}x3x9x7"]
    assert trtexec.plans == [engine.plan], "nothing half-built is left"


def test_half_precision_is_another_engine(trtexec, sample):
    one = open_engine("tensorrt", sample.graph, sample.tensors)
    other = open_engine("tensorrt-fp16", sample.graph, sample.tensors)
    assert other.name == "tensorrt-fp16"
    assert one.plan != other.plan
    assert "--fp16" in trtexec.runs[-1]
    assert "--noTF32" not in trtexec.runs[-1]


def test_latency_leaves_the_warm_up_out(trtexec, sample):
    engine = open_engine("tensorrt", sample.graph, sample.tensors)
    assert engine.latency_ms() == 1.1
    assert "--warmUp=500" in trtexec.runs[-1]
    calls = len(trtexec.runs)
    assert measure_latency_us(engine, sample.graph.input_shape) == pytest.approx(1100)
    assert len(trtexec.runs) == calls + 1, "the start of a process is no latency"


def test_shares_of_a_test_are_whole_batches():
    assert SHARE_UNIT % BATCH == 0


def test_a_model_that_it_refuses(trtexec, sample, monkeypatch):
    why = '[TRT] ModelImporter.cpp:776: While parsing node number 13 [Pad -> "x"]:'
    monkeypatch.setenv("STAND_IN_FAILS", why)
    with pytest.raises(EngineError) as caught:
        open_engine("tensorrt", sample.graph, sample.tensors)
    assert str(caught.value) == f"tensorrt: trtexec failed: {why.removeprefix('[TRT] ')}"
    assert trtexec.plans == []


def test_other_images(trtexec, sample):
    engine = open_engine("tensorrt", sample.graph, sample.tensors)
    with pytest.raises(EngineError, match=r"images must be uint8 \[n, 3, 9, 7\], got float32"):
        engine.logits(sample.images.astype(np.float32))


def test_no_trtexec(monkeypatch, tmp_path):
    monkeypatch.delenv("SIGDCA_TRTEXEC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if not any(os.access(place, os.X_OK) for place in ("/usr/src/tensorrt/bin/trtexec",)):
        with pytest.raises(
            EngineError, match="trtexec is not on the PATH or in /usr/src/tensorrt"
        ):
            find_trtexec()
    monkeypatch.setenv("SIGDCA_TRTEXEC", "/nowhere/trtexec")
    with pytest.raises(
        EngineError, match=r"trtexec is not on SIGDCA_TRTEXEC \(/nowhere/trtexec\)"
    ):
        find_trtexec()


@pytest.mark.parametrize(
    ("tag", "version"),
    [("v8201", "8.2.1"), ("v8601", "8.6.1"), ("v100300", "10.3.0"), ("v110201", "11.2.1")],
)
def test_versions(tag, version):
    assert _version_of(f"&&&& RUNNING TensorRT.trtexec [TensorRT {tag}] # trtexec") == version


def test_no_version():
    with pytest.raises(EngineError, match="does not say its version"):
        _version_of("&&&& RUNNING TensorRT.trtexec # trtexec")


@pytest.mark.parametrize(
    ("said", "code", "why"),
    [
        ("[09/01/2025-18:07:04] [I] x\n[09/01/2025-18:07:04] [E] one\n[E] two", 1, "one"),
        ("", -9, "ended with signal 9, out of memory?"),
        ("", 137, "ended with code 137, out of memory?"),
        ("Segmentation", -11, "ended with signal 11"),
    ],
)
def test_why_it_failed(said, code, why):
    assert why_failed(said, code) == why


def output(**changes: object) -> str:
    tensor = {"name": "logits", "dimensions": "2x3", "values": [1, 2.5, -3e-05, 4, 5, 6]}
    return json.dumps([tensor | changes])


def test_output():
    assert parse_output(output(), 2, "x").tolist() == [
        [1, 2.5, np.float32(-3e-5)],
        [4, 5, 6],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "wrote no JSON"),
        ('[{"name" : "logits", "values" : [ nan ]}]', "wrote no JSON"),
        ("[" * 100_000, "wrote no JSON"),
        ("{}", "another JSON than a list of objects"),
        ("[1]", "another JSON than a list of objects"),
        ("[]", "no output 'logits' among none"),
        (output(name="other"), "no output 'logits' among other"),
        (output(dimensions="6"), "must be n x K, got 6"),
        (output(dimensions="2x-3"), "must be n x K, got 2x-3"),
        (output(dimensions="3x2"), "2 images gave 3x2 with 6 values"),
        (output(dimensions="2x4"), "2 images gave 2x4 with 6 values"),
        (output(dimensions="2x99999999999"), "2 images gave 2x99999999999 with 6 values"),
        (output(values=None), "2 images gave 2x3 with no values"),
        (output(values=[1, 2, 3, 4, 5, "6"]), "'logits' has values that are no numbers"),
        (output(values=[1, 2, 3, 4, 5, True]), "'logits' has values that are no numbers"),
    ],
)
def test_output_that_is_none(text, message):
    with pytest.raises(EngineError, match=message):
        parse_output(text, 2, "x")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "no run began after the warm-up of 5 ms"),
        ('[{"startComputeMs": 1, "latencyMs": 1}]', "no run began after the warm-up"),
        ('[{"startComputeMs": 9}]', "a run without startComputeMs or latencyMs"),
        ("[[]]", "another JSON than a list of objects"),
    ],
)
def test_times_that_are_none(text, message):
    with pytest.raises(EngineError, match=message):
        parse_times(text, 5, "x")
