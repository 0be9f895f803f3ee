"""Weights in and out of files: exact or refused, and a refusal changes nothing."""

import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from sigdca.data import load
from sigdca.errors import FormatError, JobError, StorageError
from sigdca.models import build, load_weights, save_weights


class Net(nn.Module):
    """A conv and an fc layer, small enough to write by hand."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)
        self.ip1 = nn.Linear(8, 3)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)
        self.bn1 = nn.BatchNorm2d(2)


def copy_of(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def refused(model, path, error=FormatError):
    """The message, after a check that the model is as it was."""
    before = copy_of(model)
    with pytest.raises(error) as raised:
        load_weights(model, path)
    assert same(before, copy_of(model))
    text = str(raised.value)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    return text.removeprefix(f"{path}: ")


@pytest.mark.parametrize("make", [Net, Normed])
def test_safetensors_round_trip(make, tmp_path):
    saved, loaded = make(), make()
    save_weights(saved, tmp_path / "net.safetensors")
    load_weights(loaded, tmp_path / "net.safetensors")
    assert same(copy_of(saved), copy_of(loaded))
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]


def test_tied_weights_can_be_saved(tmp_path):
    model = Net()
    model.again = model.conv1
    save_weights(model, tmp_path / "net.safetensors")
    content = safetensors.torch.load_file(tmp_path / "net.safetensors")
    assert torch.equal(content["again.weight"], content["conv1.weight"])


def test_save_into_a_place_that_cannot_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write: "):
        save_weights(Net(), tmp_path / "file" / "net.safetensors")


def test_half_precision_is_widened(tmp_path):
    model = Net()
    halves = {name: tensor.half() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(halves, tmp_path / "a.safetensors")
    load_weights(model, tmp_path / "a.safetensors")
    assert model.ip1.weight.dtype == torch.float32
    assert torch.equal(model.ip1.weight, halves["ip1.weight"].float())


CHANGES = {
    "missing": (
        lambda state: state.pop("ip1.bias"),
        "tensor 'ip1.bias' is missing; the file has conv1.bias, conv1.weight, ip1.weight",
    ),
    "extra": (
        lambda state: state.update(more=torch.zeros(1)),
        "tensor 'more' is not in the model",
    ),
    "shape": (
        lambda state: state.update({"ip1.weight": torch.zeros(3, 9)}),
        "tensor 'ip1.weight' has shape 3x9, the model's 3x8",
    ),
    "type": (
        lambda state: state.update({"ip1.weight": torch.zeros(3, 8, dtype=torch.int32)}),
        "tensor 'ip1.weight' is torch.int32, the model's is torch.float32",
    ),
    "not a number": (
        lambda state: state.update({"ip1.bias": torch.tensor([0, float("nan"), 0])}),
        "tensor 'ip1.bias' has values that are not finite",
    ),
    "too large": (
        lambda state: state.update({"ip1.bias": torch.tensor([0, 1e300, 0], dtype=torch.float64)}),
        "tensor 'ip1.bias' has values that are not finite",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_safetensors_of_another_network(case, tmp_path):
    change, message = CHANGES[case]
    state = copy_of(Net())
    change(state)
    path = tmp_path / "a.safetensors"
    safetensors.torch.save_file(dict(sorted(state.items())), path)
    assert refused(Net(), path) == message


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 100, bytes(100)])
def test_safetensors_that_is_damaged(content, tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    assert refused(Net(), path).startswith("not a safetensors file, or damaged: ")


def test_safetensors_that_is_cut(tmp_path):
    path = tmp_path / "a.safetensors"
    save_weights(Net(), path)
    path.write_bytes(path.read_bytes()[:-1])
    assert refused(Net(), path).startswith("not a safetensors file, or damaged: ")


def test_files_of_no_use(tmp_path):
    (tmp_path / "a.pt").write_bytes(b"")
    kinds = "weights must be a .safetensors, .caffemodel or .net file"
    assert refused(Net(), tmp_path / "a.pt", JobError) == kinds
    assert refused(Net(), tmp_path / "none.safetensors", JobError) == "no such file"
    (tmp_path / "folder.caffemodel").mkdir()
    text = refused(Net(), tmp_path / "folder.caffemodel", StorageError)
    assert text == "cannot be read: Is a directory"


def varint(value):
    return bytes([value & 0x7F | 0x80]) + varint(value >> 7) if value >= 0x80 else bytes([value])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def caffemodel(path, *layers):
    """Writes (name, array, ...) layers as Caffe does."""
    net = b""
    for name, *arrays in layers:
        body = field(1, name.encode())
        for array in arrays:
            shape = field(1, b"".join(map(varint, array.shape)))
            body += field(7, field(7, shape) + field(5, np.asarray(array, "<f4").tobytes()))
        net += field(100, body)
    path.write_bytes(net)


CONV = np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3), np.array([1, 2], np.float32)
FC = np.arange(24, dtype=np.float32).reshape(3, 8), np.array([3, 4, 5], np.float32)
FOUND = "another network's weights: found {}; expected conv1 2x1x3x3+2, ip1 3x8+3"


def is_filled(model):
    arrays = [tensor.numpy() for tensor in model.state_dict().values()]
    return all(map(np.array_equal, arrays, (*CONV, *FC)))


@pytest.mark.parametrize(
    "layers",
    [
        [("conv1", *CONV), ("ip1", *FC)],
        [("ip1", *FC), ("conv1", *CONV)],  # by name, whatever the order
        [("features", *CONV), ("classifier", *FC)],  # by order, whatever the names
        [("conv1", CONV[0], CONV[1].reshape(1, 1, 1, 2)), ("ip1", FC[0][None, None], FC[1])],
    ],
)
def test_caffemodel_fills_the_model(layers, tmp_path):
    path = tmp_path / "a.caffemodel"
    caffemodel(path, *layers)
    model = Net()
    load_weights(model, path)
    assert is_filled(model)


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ([("conv1", *CONV)], "conv1 2x1x3x3+2"),
        ([("conv1", *CONV), ("ip1", *FC), ("ip2", *FC)], "conv1 2x1x3x3+2, ip1 3x8+3, ip2 3x8+3"),
        ([("conv1", *CONV), ("ip1", FC[0])], "conv1 2x1x3x3+2, ip1 3x8"),
        ([("conv1", *CONV), ("ip1", FC[0].T, FC[1])], "conv1 2x1x3x3+2, ip1 8x3+3"),
        ([("ip1", *CONV), ("conv1", *FC)], "ip1 2x1x3x3+2, conv1 3x8+3"),
        ([("b", *FC), ("a", *CONV)], "b 3x8+3, a 2x1x3x3+2"),
        ([("conv1", *CONV), ("conv1", *FC), ("x", *FC)], "conv1 2x1x3x3+2, conv1 3x8+3, x 3x8+3"),
    ],
)
def test_caffemodel_of_another_network(layers, found, tmp_path):
    path = tmp_path / "a.caffemodel"
    caffemodel(path, *layers)
    if found.startswith("ip1"):  # matched by name, the message has the model's order
        found = ", ".join(reversed(found.split(", ")))
    assert refused(Net(), path) == FOUND.format(found)


def test_caffemodel_with_values_that_are_not_finite(tmp_path):
    path = tmp_path / "a.caffemodel"
    caffemodel(path, ("conv1", *CONV), ("ip1", np.full((3, 8), np.inf), FC[1]))
    assert refused(Net(), path) == "tensor 'ip1.weight' has values that are not finite"


def test_caffemodel_that_is_cut(tmp_path):
    path = tmp_path / "a.caffemodel"
    caffemodel(path, ("conv1", *CONV), ("ip1", *FC))
    path.write_bytes(path.read_bytes()[:-1])
    assert "are left" in refused(Net(), path)


def test_caffemodel_for_a_model_with_batch_norm(tmp_path):
    path = tmp_path / "a.caffemodel"
    caffemodel(path, ("conv1", *CONV))
    with pytest.raises(
        JobError, match=r"'bn1' is BatchNorm2d; a .caffemodel can fill conv and fc"
    ):
        load_weights(Normed(), path)


# The published networks of Dynamic Network Surgery (Guo, Yao, Chen 2016), with their test errors.
PUBLISHED = {
    "lenet-300-100": ("dns_caffe_lenet300100_original.caffemodel", 228),
    "lenet-5": ("dns_caffe_lenet5_original.caffemodel", 91),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_caffe_models_have_their_published_errors(name):
    root = Path(__file__).resolve().parents[3]
    folder = os.environ.get("SIGDCA_CAFFE_MODELS", root.parent / "shared" / "data" / "models")
    file, num_wrong = PUBLISHED[name]
    path = Path(folder) / file
    if not path.exists():
        pytest.skip(f"{file} is not in {folder}; set SIGDCA_CAFFE_MODELS to its folder")
    model = build(name)
    load_weights(model, path)
    dataset = load("mnist", "test")
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(dataset.images).float() / 256)
    assert int((logits.argmax(1).numpy() != dataset.labels).sum()) == num_wrong
    other = build("lenet-5" if name == "lenet-300-100" else "lenet-300-100")
    assert refused(other, path).startswith("another network's weights: found ")
