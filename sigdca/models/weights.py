"""Weights in files: safetensors both ways; Caffe's and Deep Compression's formats in."""

from __future__ import annotations

import os
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from sigdca.errors import FormatError, JobError, StorageError
from sigdca.models.caffemodel import CaffeLayer, parse_caffemodel
from sigdca.models.deep_compression import CONV_BITS, FC_BITS, NetLayer, max_net_bytes, parse_net
from sigdca.storage import write_file

MAX_FILE_BYTES = 2**31 - 1  # protobuf's own limit; AlexNet and VGG-16 have a quarter of it

_FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Fills `model` in place from a file; all of it, or nothing if that raises.

    A `.safetensors` file must have exactly the names and shapes of the model's `state_dict`. The
    layers of a `.caffemodel` are matched by name where all names are the model's, by order else.
    The layers of a `.net` have no names: they are the model's, in the order in which it defines
    them.

    Raises:
        FormatError: the file is damaged, or is another network's; one line that says where.
        JobError: the file is of another kind, or of one that cannot fill such a model.
        StorageError: it cannot be read.
    """
    where = str(path)
    suffix = Path(path).suffix.lower()
    if suffix == ".safetensors":
        tensors = _parse_safetensors(_read(path), where)
    elif suffix == ".caffemodel":
        tensors = _match_layers(model, parse_caffemodel(_read(path), where), where)
    elif suffix == ".net":
        tensors = _parse_net(model, path)
    else:
        raise JobError(f"{where}: weights must be a .safetensors, .caffemodel or .net file")
    state = model.state_dict()
    _check(state, tensors, where)
    with torch.no_grad():
        for name, tensor in state.items():
            tensor.copy_(tensors[name])


def dump_weights(model: nn.Module) -> bytes:
    """The model's `state_dict` as the bytes of a `.safetensors` file."""
    # Copies, for the format does not allow two names for one memory.
    state = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
    }
    content: bytes = safetensors.torch.save(state)
    return content


def save_weights(model: nn.Module, path: str | Path) -> None:
    """Writes a `.safetensors` file; the whole of it or nothing.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    write_file(path, dump_weights(model))


def _read(path: str | Path, limit: int = MAX_FILE_BYTES) -> bytes:
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            # Given the limit, `read` would take that much memory first.
            content = file.read() if size <= limit else b""
    except FileNotFoundError as error:
        raise JobError(f"{path}: no such file") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror}") from error
    if size > limit:
        raise FormatError(
            f"{path}: larger than a file of the model's weights may be ({limit} bytes)"
        )
    return content


def _parse_safetensors(content: bytes, where: str) -> dict[str, Tensor]:
    try:
        return safetensors.torch.load(content)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise FormatError(f"{where}: not a safetensors file, or damaged: {reason}") from error


def _check(state: dict[str, Tensor], tensors: dict[str, Tensor], where: str) -> None:
    """Raises on the first tensor that keeps `tensors` from filling `state`."""
    for name, tensor in state.items():
        if name not in tensors:
            have = ", ".join(sorted(tensors)[:8]) or "none"
            raise FormatError(f"{where}: tensor '{name}' is missing; the file has {have}")
        got = tensors[name]
        if got.shape != tensor.shape:
            raise FormatError(
                f"{where}: tensor '{name}' has shape {_shape(got)}, the model's {_shape(tensor)}"
            )
        if got.dtype != tensor.dtype and not {got.dtype, tensor.dtype} <= _FLOATS:
            raise FormatError(
                f"{where}: tensor '{name}' is {got.dtype}, the model's is {tensor.dtype}"
            )
        if not torch.isfinite(got.to(tensor.dtype)).all():
            raise FormatError(f"{where}: tensor '{name}' has values that are not finite")
    extra = [name for name in tensors if name not in state]
    if extra:
        raise FormatError(f"{where}: tensor '{extra[0]}' is not in the model")


def _match_layers(model: nn.Module, layers: list[CaffeLayer], where: str) -> dict[str, Tensor]:
    """The state_dict that the layers of a Caffe file make for this model."""
    expected = _parametered(model, ".caffemodel")
    by_name = {layer.name: layer for layer in layers}
    if len(by_name) == len(layers) == len(expected) and by_name.keys() == expected.keys():
        layers = [by_name[name] for name in expected]
    tensors = {}
    fits = len(layers) == len(expected)
    for (name, parameters), layer in zip(expected.items(), layers, strict=False):
        fits = fits and len(layer.blobs) == len(parameters)
        for (part, parameter), blob in zip(parameters.items(), layer.blobs, strict=False):
            fits = fits and _core(blob.shape) == _core(parameter.shape)
            if fits:
                tensors[f"{name}.{part}"] = torch.from_numpy(blob.reshape(parameter.shape).copy())
    if not fits:
        found = ", ".join(
            f"{layer.name} {'+'.join(_dims(_core(blob.shape)) for blob in layer.blobs)}"
            for layer in layers
        )
        wanted = ", ".join(
            f"{name} {'+'.join(_dims(_core(p.shape)) for p in parameters.values())}"
            for name, parameters in expected.items()
        )
        raise FormatError(f"{where}: another network's weights: found {found}; expected {wanted}")
    return tensors


def _parse_net(model: nn.Module, path: str | Path) -> dict[str, Tensor]:
    """The state_dict that a `.net` file makes for this model."""
    layers = []
    for name, own in _parametered(model, ".net").items():
        if "bias" not in own:
            raise JobError(f"model: layer '{name}' has no bias; a .net has one for every layer")
        shape = tuple(own["weight"].shape)
        layers.append(NetLayer(name, FC_BITS if len(shape) == 2 else CONV_BITS, shape))
    content = _read(path, max_net_bytes(layers))
    tensors = {}
    for layer, found in zip(layers, parse_net(content, layers, str(path)), strict=True):
        tensors[f"{layer.name}.weight"] = torch.from_numpy(found.weight)
        tensors[f"{layer.name}.bias"] = torch.from_numpy(found.bias)
    return tensors


def _parametered(model: nn.Module, suffix: str) -> dict[str, dict[str, Tensor]]:
    """The layers that such a file fills, in order: name -> the weight and, if any, the bias."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, layer in model.named_modules():
        own = {key: value for key, value in layer.state_dict().items() if "." not in key}
        if not own:
            continue
        if not isinstance(layer, nn.Conv2d | nn.Linear):
            kind = type(layer).__name__
            raise JobError(
                f"model: layer '{name}' is {kind}; a {suffix} can fill conv and fc layers only"
            )
        layers[name] = own
    return layers


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without leading ones: old Caffe files give every blob four axes."""
    first = next((index for index, axis in enumerate(shape) if axis != 1), len(shape))
    return tuple(shape[first:])


def _shape(tensor: Tensor) -> str:
    return _dims(tuple(tensor.shape))


def _dims(axes: tuple[int, ...]) -> str:
    return "x".join(map(str, axes)) or "1"
