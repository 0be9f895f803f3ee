"""A network by name: the table of known ones, and a user's own by import path."""

from __future__ import annotations

import difflib
import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable, Iterable
from types import ModuleType

from torch import nn

from sigdca.errors import JobError
from sigdca.models.alexnet import AlexNet, AlexNetCaffe, AlexNetCifar
from sigdca.models.lenet import LeNet5, LeNet300100
from sigdca.models.mobilenet import MobileNetV2, MobileNetV2Cifar
from sigdca.models.squeezenet import SqueezeNet10
from sigdca.models.vgg import Vgg16, Vgg16Cifar

MODELS: dict[str, Callable[..., nn.Module]] = {
    "lenet-300-100": LeNet300100,
    "lenet-5": LeNet5,
    "alexnet": AlexNet,
    "alexnet-caffe": AlexNetCaffe,
    "alexnet-cifar": AlexNetCifar,
    "vgg-16": Vgg16,
    "vgg-16-cifar": Vgg16Cifar,
    "squeezenet-1.0": SqueezeNet10,
    "mobilenet-v2": MobileNetV2,
    "mobilenet-v2-cifar": MobileNetV2Cifar,
}


def build(name: str, num_classes: int | None = None) -> nn.Module:
    """A network with initial weights, which depend on torch's seed alone.

    Args:
        name: a key of `MODELS`, or `pkg.module:Class` with the module in the current folder or
            installed.
        num_classes: outputs; given to every network whose constructor has a parameter of that
            name. None: the network's own default.

    Raises:
        JobError: there is no such network, or it cannot be made; one line with the nearest name.
    """
    make = _import(name) if ":" in name else MODELS.get(name)
    if make is None:
        hint = _nearest(name, (*MODELS, "your own as pkg.module:Class"))
        raise JobError(f"model: unknown model '{name}'{hint}")
    try:
        takes_classes = "num_classes" in inspect.signature(make).parameters
        model = make(num_classes=num_classes) if takes_classes and num_classes else make()
    except Exception as error:  # a user's constructor may raise anything
        raise JobError(f"model: '{name}' cannot be constructed: {_one_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise JobError(f"model: '{name}' must be a torch.nn.Module, got {type(model).__name__}")
    return model


def _import(path: str) -> Callable[..., nn.Module]:
    module_name, _, attribute = path.partition(":")
    if not module_name or not attribute.isidentifier():
        raise JobError(f"model: '{path}' must have the form pkg.module:Class")
    module = _import_module(path, module_name)
    found = getattr(module, attribute, None)
    if found is None:
        classes = [name for name, value in vars(module).items() if inspect.isclass(value)]
        near = _nearest(attribute, classes)
        raise JobError(f"model: '{path}': {module_name} has no '{attribute}'{near}")
    if not callable(found) or (inspect.isclass(found) and not issubclass(found, nn.Module)):
        kind = found.__name__ if inspect.isclass(found) else type(found).__name__
        raise JobError(f"model: '{path}' must be a torch.nn.Module, got {kind}")
    make: Callable[..., nn.Module] = found
    return make


def _import_module(path: str, module_name: str) -> ModuleType:
    folder = os.getcwd()
    if folder not in sys.path:  # an installed command has its own folder there, not the user's
        sys.path.insert(0, folder)
    importlib.invalidate_caches()  # the file may be newer than the interpreter's last look
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise JobError(f"model: '{path}': its import fails: {_one_line(error)}") from error
        near = _nearest(error.name, _modules_beside(error.name, folder))
        raise JobError(
            f"model: '{path}': no module '{error.name}' in {folder} or installed{near}"
        ) from error
    except Exception as error:  # a user's module may raise anything
        raise JobError(f"model: '{path}': its import fails: {_one_line(error)}") from error


def _modules_beside(name: str, folder: str) -> list[str]:
    """The modules of the package that `name` should be in, or of the folder."""
    package = name.rpartition(".")[0]
    if package:
        paths, prefix = getattr(sys.modules.get(package), "__path__", []), f"{package}."
    else:
        paths, prefix = [folder], ""
    return [module.name for module in pkgutil.iter_modules(paths, prefix)]


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(names)}" if 0 < len(names) <= 12 else ""


def _one_line(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
