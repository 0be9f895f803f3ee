"""The runner as a process of its own, with images that nobody vouches for."""

import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from sigdca.edge.runner import main, read_images
from sigdca.engines.onnxruntime import OnnxRuntimeEngine
from sigdca.errors import FormatError


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.fixture
def files(tmp_path, onnx_case):
    (tmp_path / "model.onnx").write_bytes(onnx_case.model)
    np.save(tmp_path / "images.npy", onnx_case.images)
    (tmp_path / "out").mkdir()
    return tmp_path


def arguments(folder, *more: str) -> list[str]:
    return [str(folder / name) for name in ("model.onnx", "images.npy", "out")] + list(more)


def test_gives_the_servers_bits_and_says_what_it_is(files, onnx_case):
    command = [sys.executable, "-m", "sigdca.edge.runner", *arguments(files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    logits = np.load(files / "out" / "logits.npy")
    assert logits.tobytes() == onnx_case.reference.tobytes()
    result = json.loads((files / "out" / "result.json").read_text())
    assert result["num_samples"] == len(onnx_case.images)
    assert result["machine"] == os.uname().machine
    assert result["engine"].startswith("onnxruntime ")
    assert result["latency_us"] > 0
    assert sorted(path.name for path in (files / "out").iterdir()) == ["logits.npy", "result.json"]


def test_takes_no_time_in_an_emulator(files):
    assert main(arguments(files, "--emulated")) == 0
    result = json.loads((files / "out" / "result.json").read_text())
    assert (result["emulated"], result["latency_us"]) == (True, None)


def test_threads_reach_the_engine(files, onnx_case):
    assert main(arguments(files, "--emulated", "--threads", "2")) == 0
    expected = OnnxRuntimeEngine(onnx_case.model, threads=2).logits(onnx_case.images)
    assert np.load(files / "out" / "logits.npy").tobytes() == expected.tobytes()


def test_start_is_light(files):
    """Under emulation every import counts double and more."""
    code = (
        "import sys, sigdca.edge.runner\n"
        "print([m for m in ('torch', 'onnx', 'pydantic', 'pyarrow', 'sigdca.codec') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def hostile(folder) -> dict[str, str]:
    """Hostile `.npy` files, each with what the message must say."""
    good = folder / "good.npy"
    np.save(good, np.zeros((4, 1, 28, 28), np.uint8))
    content = good.read_bytes()
    header = np.lib.format.header_data_from_array_1_0(np.zeros((4, 1, 28, 28), np.uint8))
    huge = folder / "huge.npy"
    with open(huge, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header | {"shape": (2**40, 1, 28, 28)})
        file.write(b"\0" * 64)
    objects = folder / "objects.npy"
    np.save(objects, np.array([Bomb(str(folder / "exploded"))], object), allow_pickle=True)
    (folder / "pickle.npy").write_bytes(pickle.dumps(Bomb(str(folder / "exploded"))))
    (folder / "cut.npy").write_bytes(content[:-1])
    (folder / "header.npy").write_bytes(content[:40])
    (folder / "text.npy").write_bytes(b"hello")
    (folder / "empty.npy").write_bytes(b"")
    np.save(folder / "float.npy", np.zeros((4, 1, 28, 28), np.float32))
    np.save(folder / "flat.npy", np.zeros((4, 784), np.uint8))
    np.save(folder / "none.npy", np.zeros((0, 1, 28, 28), np.uint8))
    np.savez(folder / "zip.npz", a=np.zeros(3))
    (folder / "zip.npz").rename(folder / "archive.npy")
    return {
        "huge": "not a .npy file of images",
        "objects": "not a .npy file of images",
        "pickle": "not a .npy file of images",
        "cut": "not a .npy file of images",
        "header": "not a .npy file of images",
        "text": "not a .npy file of images",
        "empty": "not a .npy file of images",
        "missing": "No such file",
        "float": "must be uint8 [n, C, H, W], got float32 [4, 1, 28, 28]",
        "flat": "must be uint8 [n, C, H, W], got uint8 [4, 784]",
        "none": "holds no images",
        "archive": "not a .npy file of images",
    }


@pytest.mark.parametrize(
    "name",
    [
        *("huge", "objects", "pickle", "cut", "header", "text"),
        *("empty", "missing", "float", "flat", "none", "archive"),
    ],
)
def test_hostile_images_are_refused_before_anything_is_made_of_them(files, name, capsys):
    message = hostile(files)[name]
    path = str(files / f"{name}.npy")
    with pytest.raises(FormatError) as caught:
        read_images(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    code = main([str(files / "model.onnx"), path, str(files / "out")])
    assert code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list((files / "out").iterdir()) == []
    assert not (files / "exploded").exists()


def test_images_of_another_shape_than_the_models(files, capsys):
    np.save(files / "images.npy", np.zeros((2, 3, 28, 28), np.uint8))
    assert main(arguments(files)) == 3
    message = "onnxruntime: images must be uint8 [n, 1, 28, 28], got uint8 [2, 3, 28, 28]\n"
    assert capsys.readouterr().err == message


def test_folder_that_cannot_be_written(files, capsys):
    command = [str(files / "model.onnx"), str(files / "images.npy"), str(files / "nowhere")]
    assert main(command) == 3
    assert "logits.npy: cannot write: No such file or directory" in capsys.readouterr().err
