"""Imported data sets read whole and in parts, and Parquet that is not what it should be."""

import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sigdca.data import Dataset, fetch, load, open_imported
from sigdca.data import imported as imported_module
from sigdca.data import shards as shards_module
from sigdca.data.manifest import FILE_NAME
from sigdca.data.shards import dump_shard, overlaps, to_dataset
from sigdca.errors import FormatError, JobError, StorageError
from tests.images import numbered, numbers_of, write_data_set


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A data set of odd shards, whose row groups have 4 images."""
    folder = tmp_path_factory.mktemp("many")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module, "GROUP_BYTES", 4 * 8)
        write_data_set(folder, {"train": [1, 9, 4, 30, 2], "test": [17]})
    return open_imported(str(folder))


def test_the_whole_split_in_order(many):
    dataset = load(many.store.root, "train")
    assert numbers_of(dataset.images) == list(range(46))
    assert dataset.labels.tolist() == [number % 10 for number in range(46)]
    assert dataset.labels.dtype == np.uint8
    dataset.images[0] = 1  # its own memory


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_range_is_the_slice(many, data):
    start = data.draw(st.integers(0, 45))
    end = data.draw(st.integers(start + 1, 46))
    found = shards_module.read_range(many.store, many.manifest, "train", start, end)
    assert numbers_of(found.images) == list(range(start, end))
    assert found.labels.tolist() == [number % 10 for number in range(start, end)]


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.lists(st.integers(0, 300)))
def test_ranges_that_cover_a_split_take_each_row_once(counts, cuts):
    from sigdca.data.manifest import Manifest

    names = [f"train/{number}" for number in range(len(counts))]
    shards = [
        {"name": name, "num_images": count, "sha256": "0" * 64}
        for name, count in zip(names, counts, strict=True)
    ]
    manifest = Manifest.model_validate(
        {
            "version": 1,
            "name": "x",
            "classes": ["a"],
            "input_shape": [1, 1, 1],
            "input_scale": 1.0,
            "splits": {"train": {"num_images": sum(counts), "shards": shards}},
        }
    )
    ends = sorted({min(cut, sum(counts)) for cut in cuts} | {0, sum(counts)})
    rows = [
        (shard.name, row)
        for start, end in itertools.pairwise(ends)
        for shard, first, last in overlaps(manifest, "train", start, end)
        for row in range(first, last)
    ]
    assert rows == [
        (name, row) for name, count in zip(names, counts, strict=True) for row in range(count)
    ]


@pytest.mark.parametrize("unit", [1, 5, 250])
def test_parts_are_whole_units_and_cover_the_range(many, monkeypatch, unit):
    monkeypatch.setattr(imported_module, "PART_BYTES", 7 * 8)
    parts = list(many.parts("train", 3, 44, unit))
    assert [number for part in parts for number in numbers_of(part.images)] == list(range(3, 44))
    assert all(len(part) % unit == 0 for part in parts[:-1])


def test_the_first_images_alone(many):
    assert numbers_of(load(many.store.root, "train", 12).images) == list(range(12))
    assert len(load(many.store.root, "test", 100)) == 17


def test_a_thousand_classes(tmp_path):
    write_data_set(tmp_path, {"test": [1500]}, num_classes=1000)
    dataset = load(str(tmp_path), "test")
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [number % 1000 for number in range(1500)]


def test_the_same_images_give_the_same_bytes():
    assert dump_shard(numbered(range(9))) == dump_shard(numbered(range(9)))


def test_an_address_is_not_fetched_and_has_its_own_splits(many, tmp_path):
    with pytest.raises(JobError, match="there is nothing to get"):
        fetch(many.store.root)
    write_data_set(tmp_path, {"test": [2]})
    with pytest.raises(JobError, match="numbered has no split 'train'; it has test"):
        load(str(tmp_path), "train")


def rewritten(folder, content, num_images=None):
    """Puts another file in the place of the first test shard, with the right sha256."""
    import hashlib

    document = json.loads((folder / FILE_NAME).read_text())
    shard = document["splits"]["test"]["shards"][0]
    (folder / shard["name"]).write_bytes(content)
    shard["sha256"] = hashlib.sha256(content).hexdigest()
    if num_images is not None:
        shard["num_images"] = document["splits"]["test"]["num_images"] = num_images
    (folder / FILE_NAME).write_text(json.dumps(document))


def parquet(**columns):
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue().to_pybytes()


PIXELS = pa.array([bytes(8)] * 5, pa.binary(8))
LABELS = pa.array([0, 1, 2, 3, 4], pa.int8())

HOSTILE = {
    "not Parquet": (b"no", "damaged"),
    "an image": (b"\x89PNG\r\n\x1a\n" + bytes(100), "damaged"),
    "no labels": (parquet(image=PIXELS), "has no column 'label'"),
    "no images": (parquet(label=LABELS), "has no column 'image'"),
    "few rows": (parquet(image=PIXELS[:4], label=LABELS[:4]), "has 4 images, its manifest says 5"),
    "names": (parquet(image=PIXELS, label=pa.array(list("abcde"))), "must be whole numbers"),
    "fractions": (parquet(image=PIXELS, label=pa.array([0.5] * 5)), "must be whole numbers"),
    "minus": (parquet(image=PIXELS, label=pa.array([0, 1, -2, 3, 4])), "must be 0 to 9, got -2"),
    "beyond": (parquet(image=PIXELS, label=pa.array([0, 10, 2, 3, 4])), "must be 0 to 9, got 10"),
    "null label": (parquet(image=PIXELS, label=pa.array([0, None, 2, 3, 4])), "has nulls"),
    "null image": (
        parquet(image=pa.array([None] + [bytes(8)] * 4, pa.binary(8)), label=LABELS),
        "has nulls",
    ),
    "wide": (
        parquet(image=pa.array([bytes(9)] * 5, pa.binary(9)), label=LABELS),
        "images of 9 bytes, must be 8",
    ),
    "odd one": (
        parquet(image=pa.array([bytes(8)] * 4 + [bytes(7)], pa.binary()), label=LABELS),
        "an image of 7 bytes, must be 8",
    ),
    "words": (parquet(image=pa.array(["12345678"] * 5), label=LABELS), "images must be binary"),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("read", ["whole", "in part"])
def test_parquet_that_is_not_what_it_should_be(tmp_path, case, read):
    content, message = HOSTILE[case]
    write_data_set(tmp_path, {"test": [5]})
    rewritten(tmp_path, content)
    imported = open_imported(str(tmp_path))
    with pytest.raises(FormatError) as caught:
        imported.head("test") if read == "whole" else list(imported.parts("test", 0, 5, 1))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(8)])
@pytest.mark.parametrize("label", [pa.uint8(), pa.int16(), pa.int64(), pa.uint64()])
def test_a_users_own_parquet(tmp_path, kind, label):
    write_data_set(tmp_path, {"test": [5]})
    expected = numbered(range(5))
    pixels = pa.array([image.tobytes() for image in expected.images], kind)
    labels = pa.array(expected.labels, label)
    rewritten(tmp_path, parquet(more=labels, label=labels, image=pixels))
    found = load(str(tmp_path), "test")
    assert np.array_equal(found.images, expected.images)
    assert np.array_equal(found.labels, expected.labels)
    part = to_dataset(
        pa.table({"image": pixels, "label": labels}).slice(2, 2),
        open_imported(str(tmp_path)).manifest,
        "x",
    )
    assert numbers_of(part.images) == [2, 3]


def test_a_shard_that_was_changed_or_removed(tmp_path):
    write_data_set(tmp_path, {"test": [5]})
    path = tmp_path / "test/part-00000.parquet"
    whole = path.read_bytes()
    path.write_bytes(dump_shard(numbered(range(1, 6))))
    with pytest.raises(FormatError, match="not the sha256 of its manifest"):
        load(str(tmp_path), "test")
    path.write_bytes(whole[:-20])
    with pytest.raises(FormatError, match="damaged"):
        load(str(tmp_path), "test")
    path.unlink()
    with pytest.raises(StorageError, match=r"part-00000\.parquet: cannot read"):
        load(str(tmp_path), "test")


def test_every_flipped_byte_is_found(tmp_path):
    write_data_set(tmp_path, {"test": [5]})
    path = tmp_path / "test/part-00000.parquet"
    whole = path.read_bytes()
    for at in range(0, len(whole), 13):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x21]) + whole[at + 1 :])
        with pytest.raises(FormatError):
            load(str(tmp_path), "test")


def test_counts_that_no_memory_holds(tmp_path):
    write_data_set(tmp_path, {"test": [5]})
    rewritten(tmp_path, dump_shard(numbered(range(5))), num_images=2**39)
    with pytest.raises(FormatError, match="has 5 images, its manifest says 549755813888"):
        load(str(tmp_path), "test")


def test_dumping_takes_a_dataset_of_any_labels():
    wide = Dataset(np.zeros((2, 3, 2, 2), np.uint8), np.array([999, 0], np.int64))
    table = pq.read_table(pa.BufferReader(dump_shard(wide)))
    assert table.column("label").to_pylist() == [999, 0]
