"""A manifest that lies, or is none."""

import json

import pytest

from sigdca.data import find_source, open_imported
from sigdca.data.manifest import FILE_NAME, dump_manifest, parse_manifest
from sigdca.errors import FormatError, JobError
from tests.images import write_data_set

SHARD = ("splits", "train", "shards", 0)


@pytest.fixture
def folder(tmp_path):
    write_data_set(tmp_path / "set", {"train": [3, 4], "test": [5]})
    return tmp_path / "set"


def changed(folder, path, value):
    """The manifest with one value changed, on disk."""
    document = json.loads((folder / FILE_NAME).read_text())
    at = document
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    (folder / FILE_NAME).write_text(json.dumps(document))


def test_it_tells_what_a_source_is(folder):
    source = find_source(str(folder))
    assert (source.name, source.input_shape, source.num_classes) == ("numbered", (1, 2, 4), 10)
    assert {name: split.num_images for name, split in source.splits.items()} == {
        "train": 7,
        "test": 5,
    }
    content = (folder / FILE_NAME).read_bytes()
    assert dump_manifest(parse_manifest(content, "x")) == content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("version",), 2, "version"),
        (("more",), 1, "more"),
        (("name",), "../x", "name"),
        (("classes",), [], "classes"),
        (("classes",), ["a", "a"], "a class is named twice"),
        (("input_shape",), [1, 2], "input_shape"),
        (("input_shape",), [1, 0, 4], "input_shape"),
        (("input_shape",), [1, 2, 1 << 40], "input_shape"),
        (("input_shape",), [3, 16384, 16384], "bytes an image, at most"),
        (("input_shape",), [1, 2, "4"], "input_shape"),
        (("input_scale",), 0, "input_scale"),
        (("input_scale",), float("nan"), "input_scale"),
        (("splits",), {}, "splits"),
        (("splits", "val"), {}, "splits"),
        (("splits", "train", "num_images"), 8, "num_images is 8, its shards have 7"),
        (("splits", "train", "shards"), [], "shards"),
        ((*SHARD, "num_images"), -3, "num_images"),
        ((*SHARD, "sha256"), "0" * 63, "sha256"),
        ((*SHARD, "name"), "../../etc/passwd", "name"),
        ((*SHARD, "name"), "/etc/passwd", "name"),
        ((*SHARD, "name"), "train/../../x", "name"),
        ((*SHARD, "name"), "train/..", "name"),
        ((*SHARD, "name"), "train//x", "name"),
        ((*SHARD, "name"), ".hidden/x", "name"),
        ((*SHARD, "name"), "train\\..\\x", "name"),
        ((*SHARD, "name"), "train/x\n", "name"),
        ((*SHARD, "name"), "", "name"),
        ((*SHARD, "name"), "test/part-00000.parquet", "a shard is named twice"),
    ],
)
def test_a_lie_is_one_line_that_says_where(folder, path, value, message):
    changed(folder, path, value)
    with pytest.raises(FormatError) as caught:
        find_source(str(folder))
    text = str(caught.value)
    assert text.startswith(f"{folder}/{FILE_NAME}: ")
    assert message in text
    assert "\n" not in text
    assert len(text) < 400 + len(str(folder))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_what_is_no_manifest_at_all(folder, content):
    (folder / FILE_NAME).write_bytes(content)
    with pytest.raises(FormatError, match=r"dataset\.json"):
        open_imported(str(folder))


def test_a_folder_without_one_is_no_data_set(tmp_path):
    with pytest.raises(JobError, match=r"holds no dataset\.json; `sigdca data import"):
        find_source(str(tmp_path))
    with pytest.raises(JobError, match=r"holds no dataset\.json"):
        find_source("./nowhere")


def test_a_bare_word_is_a_name_and_the_hint_says_how_to_write_a_folder():
    with pytest.raises(JobError, match=r"a folder is written \./zzz"):
        find_source("zzz")
