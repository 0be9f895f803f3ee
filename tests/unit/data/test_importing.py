"""An import without a cluster: the same plan, shard by shard."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from sigdca.data import importing as importing_module
from sigdca.data import load, open_imported
from sigdca.data.folder import list_folder
from sigdca.data.importing import Plan, Shape, begin, finish, write_shard
from sigdca.errors import JobError
from sigdca.storage import open_store
from tests.images import write_image


@pytest.fixture
def plan(tmp_path, monkeypatch):
    """Twelve train and four test images, five to a shard."""
    monkeypatch.setattr(importing_module, "PART_BYTES", 5 * 16)
    for split, count in (("train", 6), ("test", 2)):
        for label, name in enumerate(("cat", "dog")):
            for number in range(count):
                value = 100 * label + number + 50 * (split == "test")
                write_image(tmp_path / "from" / split / name / f"{number}.png", value)
    source = open_store(str(tmp_path / "from"))
    folder = list_folder(source, "from")
    destination = open_store(str(tmp_path / "to"))
    return Plan(source, destination, folder, Shape((1, 4, 4)), "animals")


def carried_out(plan):
    begin(plan, "to")
    return finish(plan, [write_shard(plan, task) for task in reversed(plan.tasks())])


def files(plan):
    return {name: plan.destination.read(name) for name, _ in plan.destination.files()}


def test_all_images_come_once_with_their_classes(plan):
    manifest = carried_out(plan)
    assert [len(task.images) for task in plan.tasks()] == [5, 5, 2, 4]
    assert (manifest.name, manifest.classes) == ("animals", ["cat", "dog"])
    train, test = (load(plan.destination.root, split) for split in ("train", "test"))
    assert sorted(train.images[:, 0, 0, 0]) == [*range(6), *range(100, 106)]
    assert sorted(test.images[:, 0, 0, 0]) == [50, 51, 150, 151]
    assert np.array_equal(train.labels, train.images[:, 0, 0, 0] >= 100)
    assert set(files(plan)) == {
        "dataset.json",
        *(f"train/part-0000{number}.parquet" for number in range(3)),
        "test/part-00000.parquet",
    }


def test_an_import_that_was_cut_off_ends_with_the_same_files(plan, tmp_path, monkeypatch):
    other = replace(plan, destination=open_store(str(tmp_path / "other")))
    carried_out(other)
    tasks = plan.tasks()
    begin(plan, "to")
    for task in tasks[:3]:
        write_shard(plan, task)
    # One is cut in half, and of another the note was not written.
    plan.destination.filesystem.delete_file(plan.destination.path(tasks[1].note))
    half = plan.destination.read(tasks[2].name)[:40]
    plan.destination.write(tasks[2].name, half)
    with pytest.raises(JobError, match=r"holds no dataset\.json"):
        open_imported(plan.destination.root)
    decoded = []
    monkeypatch.setattr(
        importing_module,
        "decode_image",
        lambda *arguments: decoded.append(1) or original(*arguments),
    )
    carried_out(plan)
    assert len(decoded) == 5 + 2 + 4  # the first shard was kept
    assert files(plan) == files(other)


original = importing_module.decode_image


def test_a_destination_that_holds_something_is_refused(plan, tmp_path):
    (tmp_path / "to").mkdir()
    (tmp_path / "to/mine.txt").write_text("x")
    with pytest.raises(JobError, match=r"to: holds other files, such as mine\.txt"):
        begin(plan, "to")
    (tmp_path / "to/mine.txt").unlink()
    begin(plan, "to")
    begin(plan, "to")
    with pytest.raises(JobError, match="an unfinished import of other images or with other"):
        begin(replace(plan, shape=Shape((3, 4, 4))), "to")
    (tmp_path / "to/importing/plan.json").write_text("[]")
    with pytest.raises(JobError, match="an unfinished import"):
        begin(plan, "to")
    (tmp_path / "to/dataset.json").write_text("{}")
    with pytest.raises(JobError, match="holds a data set already"):
        begin(plan, "to")


def test_damaged_images_end_the_import_or_are_counted(plan, tmp_path):
    (tmp_path / "from/train/cat/0.png").write_bytes(b"not an image")
    whole = (tmp_path / "from/train/dog/1.png").read_bytes()
    (tmp_path / "from/train/dog/1.png").write_bytes(whole[: len(whole) // 2])
    begin(plan, "to")
    results = [write_shard(plan, task) for task in plan.tasks()]
    lines = [line for result in results for line in result.damaged]
    assert lines
    assert all(line.startswith(f"{tmp_path}/from/train/") for line in lines)
    assert all(not result.num_images for result in results if result.damaged)
    skipping = replace(plan, skip_damaged=True, destination=open_store(str(tmp_path / "skipped")))
    begin(skipping, "skipped")
    results = [write_shard(skipping, task) for task in skipping.tasks()]
    assert sum(len(result.damaged) for result in results) == 2
    again = [write_shard(skipping, task) for task in skipping.tasks()]
    assert again == results
    assert finish(skipping, results).split("train").num_images == 10
    assert len(load(skipping.destination.root, "train")) == 10


def test_a_split_of_which_nothing_is_left(plan, tmp_path):
    for path in (tmp_path / "from/test").rglob("*.png"):
        path.write_bytes(b"\x89PNG")
    skipping = replace(plan, skip_damaged=True)
    begin(skipping, "to")
    results = [write_shard(skipping, task) for task in skipping.tasks()]
    with pytest.raises(JobError, match="from/test: no image could be decoded"):
        finish(skipping, results)
    assert not skipping.destination.exists("dataset.json")


def test_a_file_larger_than_any_image_is_not_read(plan, monkeypatch):
    monkeypatch.setattr(importing_module, "MAX_FILE_BYTES", 10)
    (result, *_) = [write_shard(plan, task) for task in plan.tasks()[:1]]
    assert "bytes, at most 10" in result.damaged[0]


def test_colour_and_another_size(plan, tmp_path):
    Image.new("RGB", (40, 20), (10, 20, 30)).save(tmp_path / "from/test/cat/0.png")
    colour = replace(plan, shape=Shape((3, 6, 8), shorter_side=10))
    manifest = carried_out(colour)
    assert manifest.input_shape == [3, 6, 8]
    images = load(colour.destination.root, "test").images
    assert [10, 20, 30] in images[:, :, 3, 3].tolist()


def test_notes_of_no_import_are_not_trusted(plan):
    begin(plan, "to")
    task = plan.tasks()[0]
    for note in (b"", b"{}", b"[]", json.dumps({"name": "x", "damaged": 1}).encode()):
        plan.destination.write(task.note, note)
        assert write_shard(plan, task).num_images == 5
