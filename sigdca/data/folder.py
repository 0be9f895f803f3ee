"""An image folder (`split/class/image`, as torchvision's ImageFolder and ImageNet have it)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sigdca.errors import JobError, StorageError
from sigdca.storage import Store

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp")
TEST_FOLDERS = ("test", "val", "validation")


@dataclass(frozen=True)
class Image:
    """One image file.

    Attributes:
        path: inside the image folder.
        label: its class's number.
        size: bytes of the file.
    """

    path: str
    label: int
    size: int


@dataclass(frozen=True)
class ImageFolder:
    """What was found.

    Attributes:
        classes: their names, sorted; the labels are their places.
        splits: the images of `train` and `test`, in an order that is drawn once and for all, so
            that any part of a split has all classes.
    """

    classes: tuple[str, ...]
    splits: Mapping[str, tuple[Image, ...]]


def list_folder(
    store: Store,
    where: str,
    test_folder: str | None = None,
    labels_file: str | None = None,
) -> ImageFolder:
    """Finds the images and classes of a folder.

    Args:
        store: the folder.
        where: what to call it in messages.
        test_folder: which folder inside gives the test split. None: `test`, `val` or `validation`,
            the first that has class folders (or has images, with a labels file).
        labels_file: a local text file with the classes of the images of a test folder that has no
            class folders: `FILE CLASS` a line, or `CLASS` a line in the order of the files' names.

    Raises:
        JobError: the folder is not laid out so, has no images or unknown classes.
        StorageError: it cannot be listed, or a link in it leads nowhere.
    """
    for link in store.broken_links():
        if not _is_hidden(link):
            raise StorageError(f"{where}/{link}: a link that leads nowhere")
    found = _by_split(store)
    if not found:
        raise JobError(f"{where}: no images in train/CLASS/ or test/CLASS/")
    train = found.get("train", {})
    test_name = test_folder or _test_folder(found, labels_file is not None)
    test = found.get(test_name, {}) if test_name else {}
    if test_folder is not None and not test:
        raise JobError(f"{where}/{test_folder}: no images there")
    for name, folders in (("train", train), (test_name, test)):
        if "" in folders and not (name == test_name and labels_file):
            raise JobError(
                f"{where}/{name}: images without a class folder, such as {folders[''][0][0]}"
                + ("; --labels FILE gives the classes of a test folder" if name != "train" else "")
            )
        _refuse_empty(store, where, name, folders)
    if labels_file is not None:
        test = _labelled(test, labels_file, f"{where}/{test_name}")
    classes = tuple(sorted(train or test))
    if not classes:
        raise JobError(f"{where}: no images in train/CLASS/ or test/CLASS/")
    if unknown := sorted(set(test) - set(classes)):
        raise JobError(f"{where}/{test_name}: class '{unknown[0]}' is not in train")
    splits = {"train": _ordered(train, classes), "test": _ordered(test, classes)}
    return ImageFolder(classes, {name: images for name, images in splits.items() if images})


_Found = dict[str, list[tuple[str, int]]]
"""Images (path, bytes) by class; the class of those beside the class folders is ''."""


def _by_split(store: Store) -> dict[str, _Found]:
    found: dict[str, _Found] = {}
    for path, size in store.files():
        parts = path.split("/")
        if _is_hidden(path) or len(parts) < 2:
            continue
        if not path.lower().endswith(SUFFIXES):
            continue
        class_name = parts[1] if len(parts) > 2 else ""
        found.setdefault(parts[0], {}).setdefault(class_name, []).append((path, size))
    return found


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in path.split("/"))


def _test_folder(found: Mapping[str, _Found], is_labelled: bool) -> str | None:
    for name in TEST_FOLDERS:
        classes = set(found.get(name, {}))
        if classes and (is_labelled or "" not in classes):
            return name
    return next((name for name in TEST_FOLDERS if name in found), None)


def _refuse_empty(store: Store, where: str, name: str | None, folders: _Found) -> None:
    """A class folder without images is a mistake, or a copy that was not finished."""
    if name is None or not folders:
        return
    for folder in store.child(name).folders():
        if folder not in folders and not folder.startswith("."):
            raise JobError(f"{where}/{name}/{folder}: a class folder without images")


def _labelled(test: _Found, labels_file: str, where: str) -> _Found:
    """The images of a test folder by the classes that a file gives them."""
    images = sorted(image for folder in test.values() for image in folder)
    if not images:
        raise JobError(f"{where}: no images there, but a labels file: {labels_file}")
    try:
        text = Path(labels_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise JobError(f"{labels_file}: cannot be read: {reason}") from error
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) != len(images):
        raise JobError(f"{labels_file}: {len(lines)} lines, but {where} has {len(images)} images")
    width = len(lines[0])
    if width not in (1, 2) or any(len(line) != width for line in lines):
        raise JobError(f"{labels_file}: each line must be CLASS, or each FILE CLASS")
    if width == 1:
        named = [line[0] for line in lines]
    else:
        known: dict[str, str] = {}
        for name, class_name in lines:
            if name in known:
                raise JobError(f"{labels_file}: {name} is named twice")
            known[name] = class_name
        named = []
        for path, _ in images:
            base = path.rpartition("/")[2]
            if base not in known:
                raise JobError(f"{labels_file}: no line for {base}")
            named.append(known[base])
    by_class: _Found = {}
    for image, class_name in zip(images, named, strict=True):
        by_class.setdefault(class_name, []).append(image)
    return by_class


def _ordered(folders: _Found, classes: Sequence[str]) -> tuple[Image, ...]:
    """All images in an order without a pattern, the same for the same files."""
    labels = {name: label for label, name in enumerate(classes)}
    found = ((path, labels[name], size) for name in folders for path, size in folders[name])
    images = [Image(*image) for image in sorted(found)]
    order = np.random.default_rng(0).permutation(len(images))
    return tuple(images[number] for number in order)
