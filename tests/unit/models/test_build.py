"""`build` by import path, and what it says to a wrong name."""

import sys

import pytest
from torch import nn

from sigdca.errors import JobError
from sigdca.models import MODELS, build

OWN = """
import collections
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, num_classes=4):
        super().__init__()
        self.fc = nn.Linear(6, num_classes)

class Fixed(nn.Module):
    pass

class Greedy(nn.Module):
    def __init__(self, width):
        super().__init__()

class Broken(nn.Module):
    def __init__(self):
        raise ValueError("no such file\\nsecond line")

class Plain:
    pass

def make(num_classes):
    return Net(num_classes + 1)

def nothing():
    return 3

number = 3
"""


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    """A current folder with modules of the user's own."""
    (tmp_path / "own_net.py").write_text(OWN)
    (tmp_path / "needs_more.py").write_text("import not_there_at_all\n")
    (tmp_path / "raises.py").write_text("1 / 0\n")
    package = tmp_path / "own_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "nets.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith(("own_", "needs_more", "raises")):
            del sys.modules[name]


def test_own_class_in_the_current_folder():
    assert build("own_net:Net").fc.out_features == 4
    assert build("own_net:Net", num_classes=9).fc.out_features == 9
    assert isinstance(build("own_net:Fixed", num_classes=9), nn.Module)
    assert build("own_package.nets:Net", num_classes=2).fc.out_features == 2


def test_own_function_that_makes_a_network():
    assert build("own_net:make", num_classes=9).fc.out_features == 10


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lenet5", "model: unknown model 'lenet5'; did you mean 'lenet-5'?"),
        ("vgg16", "model: unknown model 'vgg16'; did you mean 'vgg-16'?"),
        (
            "zzz",
            f"model: unknown model 'zzz'; there are {', '.join(MODELS)}, your own as "
            "pkg.module:Class",
        ),
        (
            "own_nt:Net",
            "model: 'own_nt:Net': no module 'own_nt' in {folder} or installed; did you "
            "mean 'own_net'?",
        ),
        (
            "own_package.nest:Net",
            "model: 'own_package.nest:Net': no module 'own_package.nest' in {folder} or "
            "installed; did you mean 'own_package.nets'?",
        ),
        ("own_net:Nett", "model: 'own_net:Nett': own_net has no 'Nett'; did you mean 'Net'?"),
        ("own_net:Plain", "model: 'own_net:Plain' must be a torch.nn.Module, got Plain"),
        ("own_net:number", "model: 'own_net:number' must be a torch.nn.Module, got int"),
        ("own_net:nothing", "model: 'own_net:nothing' must be a torch.nn.Module, got int"),
        (
            "own_net:Broken",
            "model: 'own_net:Broken' cannot be constructed: ValueError: no such file",
        ),
        (
            "needs_more:Net",
            "model: 'needs_more:Net': its import fails: ModuleNotFoundError: No module named "
            "'not_there_at_all'",
        ),
        (
            "raises:Net",
            "model: 'raises:Net': its import fails: ZeroDivisionError: division by zero",
        ),
        (":Net", "model: ':Net' must have the form pkg.module:Class"),
        ("own_net:", "model: 'own_net:' must have the form pkg.module:Class"),
    ],
)
def test_wrong_name(folder, name, message):
    with pytest.raises(JobError) as raised:
        build(name)
    assert str(raised.value) == message.format(folder=folder)


def test_constructor_that_needs_more():
    with pytest.raises(
        JobError, match=r"'own_net:Greedy' cannot be constructed: TypeError: .*width"
    ):
        build("own_net:Greedy", 10)
