"""dca-run as its users see it: what it prints, what it refuses, and that its bits are Python's."""

from __future__ import annotations

import json
import os
import re
import struct
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from sigdca.codec import inspect_container
from sigdca.engines import logits_sha256
from sigdca.native import Model, Session, isas

TARGETS = ("aarch64-a57", "x86-64-v2-goldmont")
TIMES = {"duration_s", "images_per_s", "latency_us"}
README = Path(__file__).resolve().parents[2] / "README.md"
HOSTILE = Path(__file__).resolve().parents[1] / "golden/hostile"


def run(*command: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env=os.environ | environment,
    )


def answer(*command: object, **environment: str) -> dict:
    done = run(*command, "--json", **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refusal(*command: object, code: int = 2) -> str:
    done = run(*command)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("dca-run: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_gives_pythons_logits(dca_run, case, tmp_path):
    files = ["--images", case.images, "--labels", case.labels, "--logits", tmp_path / "l.npy"]
    result = answer(dca_run, "test", case.model, *files)
    assert result["logits_sha256"] == logits_sha256(case.reference)
    assert (result["num_samples"], result["num_correct"]) == (37, 32)
    assert result["accuracy"] == pytest.approx(100 * 32 / 37)
    assert result["error"] == pytest.approx(100 * 5 / 37)
    assert result["engine"].startswith("native ")
    assert (result["isa"], result["profile"]) == (Session(Model(case.model)).info.isa, "exact")
    assert (result["threads"], result["batch"]) == (1, 1)
    model = Model(case.model)
    parts = case.model.stat().st_size, model.info.memory_bytes, Session(model).info.peak_bytes
    assert result["memory_bytes"] == sum(parts)
    assert set(result) >= TIMES
    assert min(result[key] for key in TIMES) > 0
    assert np.array_equal(np.load(tmp_path / "l.npy"), case.reference)
    assert [path.name for path in tmp_path.iterdir()] == ["l.npy"]


def test_readmes_commands_work(dca_run, case):
    files = {
        "dca-run": dca_run,
        "model.dca": case.model,
        "t10k-images-idx3-ubyte": case.images,
        "t10k-labels-idx1-ubyte": case.labels,
    }
    lines = re.findall(r"^dca-run .*$", README.read_text(), re.M)
    assert len(lines) == 3
    for line in lines:
        done = run(*(files.get(word, word) for word in line.split()))
        assert (done.returncode, done.stderr) == (0, ""), line


@pytest.mark.parametrize("isa", isas())
@pytest.mark.parametrize(("threads", "batch"), [(1, 1), (2, 16), (3, 256)])
def test_exact_bits_on_every_instruction_set(dca_run, case, isa, threads, batch):
    options = ["--threads", threads, "--batch", batch, "--isa", isa]
    result = answer(dca_run, "test", case.model, "--images", case.images, *options)
    assert result["logits_sha256"] == logits_sha256(case.reference)
    assert (result["isa"], result["threads"], result["batch"]) == (isa, threads, batch)
    assert "accuracy" not in result


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("batch", [1, 16])
def test_exact_bits_on_emulated_targets(native_package, emulator, case, target, batch):
    program = [*emulator(target), native_package(target) / "bin/dca-run"]
    files = ["--images", case.images, "--labels", case.labels, "--batch", batch, "--threads", 2]
    result = answer(*program, "test", case.model, *files, "--no-times")
    assert result["logits_sha256"] == logits_sha256(case.reference)
    assert result["isa"] == {"aarch64-a57": "neon", "x86-64-v2-goldmont": "sse4.2"}[target]
    assert not TIMES & set(result)


def test_the_wheels_program_finds_what_an_atom_has(dca_run, emulator, case):
    program = [*emulator("x86-64-v2-goldmont"), dca_run]
    result = answer(*program, "test", case.model, "--images", case.images, "--no-times")
    assert result["logits_sha256"] == logits_sha256(case.reference)
    assert result["isa"] == "sse4.2"


def test_isa_by_environment(dca_run, case):
    files = ["--images", case.images]
    assert (
        answer(dca_run, "test", case.model, *files, SIGDCA_ISA="reference")["isa"] == "reference"
    )
    done = run(dca_run, "test", case.model, *files, SIGDCA_ISA="mmx")
    assert done.returncode == 2
    assert "mmx" in done.stderr


@pytest.mark.parametrize("profile", ["fast", "int8"])
def test_other_profiles_are_near(dca_run, case, tmp_path, profile):
    files = ["--images", case.images, "--logits", tmp_path / "l.npy", "--profile", profile]
    assert answer(dca_run, "test", case.model, *files)["profile"] == profile
    scale = np.abs(case.reference).max()
    difference = np.abs(np.load(tmp_path / "l.npy") - case.reference).max()
    assert difference <= scale * (1e-4 if profile == "fast" else 0.1)


@pytest.mark.parametrize("num", range(1, 10))  # all lengths behind which SHA-256 is filled up
def test_num(dca_run, case, num):
    files = ["--images", case.images, "--labels", case.labels]
    result = answer(dca_run, "test", case.model, *files, "--num", num, "--no-times")
    assert result["num_samples"] == num
    assert result["logits_sha256"] == logits_sha256(case.reference[:num])
    message = refusal(dca_run, "test", case.model, *files, "--num", 38)
    assert "at most 37" in message


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (lambda x: idx(x[:, 0]), idx),
        (idx, idx),
        (lambda x: x[:, 0], lambda y: y.astype(np.int32)),
        (lambda x: x, lambda y: y.astype(np.int64)),
    ],
    ids=["idx3", "idx4", "npy3", "npy4-int64"],
)
def test_formats(dca_run, case, tmp_path, images, labels):
    for name, content in (
        ("x", images(case.pixels)),
        ("y", labels(np.load(case.labels))),
    ):
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        else:
            with open(tmp_path / name, "wb") as file:
                np.save(file, content)
    files = ["--images", tmp_path / "x", "--labels", tmp_path / "y"]
    result = answer(dca_run, "test", case.model, *files)
    assert result["logits_sha256"] == logits_sha256(case.reference)
    assert result["num_correct"] == 32


def test_info_is_what_inspect_says(dca_run, case):
    result = answer(dca_run, "info", case.model)
    expected = inspect_container(case.model.read_bytes())
    assert result["container_bytes"] == expected.container_bytes
    assert result["dense_bytes"] == expected.dense_bytes
    assert result["compression_ratio"] == pytest.approx(expected.compression_ratio, abs=1e-4)
    assert (result["input_shape"], result["num_classes"]) == ([1, 21, 19], 10)
    assert [layer["name"] for layer in result["layers"]] == [x.name for x in expected.layers]
    assert [layer["bytes"] for layer in result["layers"]] == [x.bytes for x in expected.layers]
    assert tuple(result["isas"]) == isas()


def test_bench(dca_run, case):
    options = ["--runs", 30, "--warm-up", 3, "--batch", 4, "--images", case.images]
    start = time.monotonic_ns()
    result = answer(dca_run, "bench", case.model, *options, DCA_RUN_START_NS=str(start))
    elapsed_us = (time.monotonic_ns() - start) / 1000
    quantiles = [result[f"{key}_us"] for key in ("min", "p50", "p90", "p99", "max")]
    assert quantiles == sorted(quantiles)
    assert quantiles[0] > 0
    assert result["images_per_s"] == pytest.approx(4e6 / result["p50_us"], rel=1e-2)
    assert result["runs"] == 30
    assert result["start_is_parents"] is True
    parts = result["open_us"] + result["create_us"] + result["first_run_us"]
    assert parts < result["start_to_first_result_us"] < elapsed_us
    session = Session(Model(case.model), max_batch=4)
    assert result["weight_bytes"] == session.info.weight_bytes
    assert result["activation_bytes"] == session.info.activation_bytes
    assert [layer["kernel"] for layer in result["layers"]] == [x.kernel for x in session.layers()]
    assert result["weight_bytes"] < result["peak_resident_bytes"] < 100_000_000


def test_bench_for_a_time_without_times(dca_run, case):
    result = answer(dca_run, "bench", case.model, "--seconds", "0.05", "--no-times")
    assert result["runs"] > 1
    assert not any(key.endswith("_us") for key in result)
    assert "peak_resident_bytes" not in result


def test_text_output(dca_run, case):
    for verb, *options in (["info"], ["test", "--images", case.images], ["bench", "--runs", 2]):
        done = run(dca_run, verb, case.model, *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert f"file: {case.model}\n" in done.stdout
    assert "Exit codes" in run(dca_run, "--help").stdout
    assert run(dca_run, "test", "--help").returncode == 0


def test_names_of_any_bytes_are_json(dca_run, case, tmp_path):
    path = os.fsencode(tmp_path) + b'/"\\\x01\xff\xc3\xa9.dca'
    with open(path, "wb") as file:
        file.write(case.model.read_bytes())
    done = subprocess.run([dca_run, "info", path, "--json"], capture_output=True, check=True)
    assert json.loads(done.stdout)["file"].endswith('/"\\\x01�é.dca')


def npy(header: str, content: bytes = b"", version: bytes = b"\x01") -> bytes:
    text = header.encode()
    size = struct.pack("<H" if version == b"\x01" else "<I", len(text))
    return b"\x93NUMPY" + version + b"\x00" + size + text + content


def shaped(shape: str, descr: str = "|u1", order: str = "False", size: int = 399) -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"
    return npy(header, bytes(size))


BAD_IMAGES = {
    "empty": b"",
    "text": b"hello, world",
    "gzip": b"\x1f\x8b\x08\x00" + bytes(100),
    "idx of floats": struct.pack(">HBB3I", 0, 0x0D, 3, 1, 21, 19) + bytes(1596),
    "idx of rank 0": struct.pack(">HBB", 0, 8, 0),
    "idx of rank 255": struct.pack(">HBB", 0, 8, 255) + bytes(1020),
    "idx that ends in its header": struct.pack(">HBB2I", 0, 8, 3, 1, 21),
    "idx one byte short": idx(np.zeros((1, 21, 19), np.uint8))[:-1],
    "idx one byte long": idx(np.zeros((1, 21, 19), np.uint8)) + b"\0",
    "idx whose size overflows": struct.pack(">HBB4I", 0, 8, 4, *[2**32 - 1] * 4) + bytes(8),
    "idx without images": struct.pack(">HBB3I", 0, 8, 3, 0, 21, 19),
    "idx of another size": idx(np.zeros((1, 19, 21), np.uint8)),
    "idx of vectors": idx(np.zeros((1, 399), np.uint8)),
    "npy version 9": npy("{}", version=b"\x09"),
    "npy of floats": shaped("(1, 21, 19)", "<f4", size=1596),
    "npy of objects": shaped("(1, 21, 19)", "|O8"),
    "npy of a record": npy("{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,), }"),
    "npy in Fortran's order": shaped("(1, 21, 19)", order="True"),
    "npy big-endian": shaped("(1, 21, 19)", ">u2", size=798),
    "npy of one number": shaped("()", size=1),
    "npy of rank 9": shaped("(1, 1, 1, 1, 1, 1, 1, 21, 19)"),
    "npy whose size overflows": shaped("(4294967296, 4294967296, 21, 19)"),
    "npy whose number overflows": shaped("(99999999999999999999, 21, 19)"),
    "npy of a negative size": shaped("(-1, 21, 19)"),
    "npy one byte long": shaped("(1, 21, 19)", size=400),
    "npy with a key twice": npy("{'shape': (1,), 'shape': (1,), }"),
    "npy with a key too much": npy("{'a': 1, }"),
    "npy without a shape": npy("{'descr': '|u1', 'fortran_order': False, }"),
    "npy with text behind": shaped("(1, 21, 19), } 1 #"),
    "npy without braces": npy("'descr': '|u1'"),
    "npy with a tuple of no comma": shaped("(399)"),
}


@pytest.mark.parametrize("content", BAD_IMAGES.values(), ids=BAD_IMAGES.keys())
def test_bad_images(dca_run, case, tmp_path, content):
    (tmp_path / "x").write_bytes(content)
    message = refusal(dca_run, "test", case.model, "--images", tmp_path / "x")
    assert message.startswith(f"dca-run: {tmp_path / 'x'}: ")


@pytest.mark.parametrize("make", [idx, lambda x: case_npy(x)], ids=["idx", "npy"])
def test_every_cut(dca_run, case, tmp_path, make):
    content = make(case.pixels[:1, 0])
    for length in range(min(len(content), 140)):
        (tmp_path / "x").write_bytes(content[:length])
        refusal(dca_run, "test", case.model, "--images", tmp_path / "x")


def case_npy(array: np.ndarray) -> bytes:
    return npy(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {array.shape}}}", array.data)


@pytest.mark.parametrize(
    "labels",
    [
        np.zeros(36, np.uint8),
        np.zeros((37, 1), np.uint8),
        np.zeros(37, np.float32),
        np.zeros(37, np.int16),
        np.full(37, 10, np.uint8),
        np.full(37, -1, np.int64),
        np.full(37, 2**40, np.int64),
    ],
    ids=["too few", "matrix", "float", "int16", "too large", "negative", "huge"],
)
def test_bad_labels(dca_run, case, tmp_path, labels):
    np.save(tmp_path / "y.npy", labels)
    files = ["--images", case.images, "--labels", tmp_path / "y.npy"]
    assert "label" in refusal(dca_run, "test", case.model, *files)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["tset"],
        ["test"],
        ["test", "MODEL"],
        ["test", "MODEL", "MODEL"],
        ["test", "MODEL", "--images"],
        ["info", "MODEL", "--images", "x"],
        ["bench", "MODEL", "--labels", "x"],
        ["bench", "MODEL", "--threads", "0"],
        ["bench", "MODEL", "--threads", "65"],
        ["bench", "MODEL", "--threads", "-1"],
        ["bench", "MODEL", "--threads", "1x"],
        ["bench", "MODEL", "--threads", "99999999999999999999"],
        ["bench", "MODEL", "--batch", "257"],
        ["bench", "MODEL", "--runs", "0"],
        ["bench", "MODEL", "--seconds", "nan"],
        ["bench", "MODEL", "--seconds", "0"],
        ["bench", "MODEL", "--profile", "quick"],
        ["bench", "MODEL", "--isa", "mmx"],
        ["bench", "no-such-file.dca"],
        ["bench", "/"],
        ["bench", "/dev/null"],
    ],
    ids=" ".join,
)
def test_bad_arguments(dca_run, case, arguments):
    done = run(dca_run, *[str(case.model) if a == "MODEL" else a for a in arguments])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


@pytest.mark.parametrize("path", sorted(HOSTILE.glob("*.dca")), ids=lambda path: path.stem)
def test_hostile_containers(dca_run, path):
    refusal(dca_run, "bench", path)


def test_what_an_earlier_process_of_the_same_number_left_is_replaced(dca_run, case, tmp_path):
    logits = tmp_path / "l.npy"
    begin = ': > "$1.$$.part"; shift; exec "$@"'
    files = ["--images", case.images, "--logits", logits]
    done = run("sh", "-c", begin, "sh", logits, dca_run, "test", case.model, *files)
    assert done.returncode == 0, done.stderr
    assert np.array_equal(np.load(logits), case.reference)
    assert [path.name for path in tmp_path.iterdir()] == ["l.npy"]


def test_writing_fails(dca_run, case, tmp_path):
    files = ["test", case.model, "--images", case.images]
    refusal(dca_run, *files, "--logits", tmp_path / "none" / "l.npy")
    (tmp_path / "folder").mkdir()
    refusal(dca_run, *files, "--logits", tmp_path / "folder", code=3)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [dca_run, *files, "--json"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 3
