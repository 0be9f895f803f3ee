"""Labels by people: pictures and a table out, labels in."""

import csv

import pytest

from sigdca.edge.acquired import LEAST_BYTES, About, make_store
from sigdca.edge.frames import read_images
from sigdca.edge.labels import Labels, picture, read_labels, write_unlabelled
from sigdca.edge.samples import ids_of
from sigdca.errors import FormatError, JobError, StorageError
from tests.samples import samples_of

NUMBERS = Labels(None, 3)


@pytest.fixture
def store(tmp_path):
    found = make_store(tmp_path / "new", About("b", (1, 4, 4), 3, LEAST_BYTES, False))
    for number in range(5):
        found.append(samples_of([number], margin=0.5 - 0.1 * number))
    return found


def test_a_person_fills_in_the_table(store, tmp_path):
    ids, to = ids_of(samples_of(range(5)).images), tmp_path / "look"
    store.label({ids[4]: 1})
    assert write_unlabelled(store, to, 3) == 3
    with open(to / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["file"] for row in rows] == [f"{ids[number].hex()}.pgm" for number in (3, 2, 1)]
    assert (rows[0]["class_found"], rows[0]["margin"]) == ("0", "0.200")
    assert (read_images(to / rows[0]["file"], (1, 4, 4)) == samples_of([3]).images).all()
    rows[0]["label"], rows[2]["label"] = "2", "cat"
    with open(to / "labels.csv", "w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    with pytest.raises(FormatError, match=r"labels.csv: line 4: no class is called 'cat'; known"):
        read_labels(to / "labels.csv", NUMBERS)
    found = read_labels(to / "labels.csv", Labels(["dog", "cat", "2"], 3))
    assert found == {ids[3]: 2, ids[1]: 1}
    assert store.label(found) == 2
    with pytest.raises(JobError, match="is there already"):
        write_unlabelled(store, to, 3)


def test_a_person_sorts_the_pictures_into_folders(store, tmp_path):
    to = tmp_path / "look"
    write_unlabelled(store, to, 9)
    first, second, *_ = sorted(to.glob("*.pgm"))
    for path, name in ((first, "0"), (second, "2")):
        (to / name).mkdir()
        path.rename(to / name / path.name)
    found = read_labels(to, NUMBERS)
    assert found == {bytes.fromhex(first.stem): 0, bytes.fromhex(second.stem): 2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 must name the columns"),
        ("file,class\na,b\n", "line 1 must name the columns"),
        ("id,label\nxyz,1\n", "line 2: 'xyz' is not a sample's id"),
        (f"id,label\n{'a' * 32},7\n", "line 2: no class is called '7'"),
        ('id,label\n"a"b,1\n', "not a table"),
    ],
)
def test_a_table_that_is_none_is_named(text, message, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(FormatError, match=message):
        read_labels(tmp_path / "t.csv", NUMBERS)


def test_what_is_not_there(store, tmp_path):
    with pytest.raises(StorageError, match=r"none.csv: cannot read: No such file"):
        read_labels(tmp_path / "none.csv", NUMBERS)
    with pytest.raises(FormatError, match="has no CLASS/ID files"):
        read_labels(tmp_path / "new" / "parts", NUMBERS)
    with pytest.raises(JobError, match="at most 3 different names, got 4"):
        Labels("abcd", 3)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_picture_is_read_back_as_a_frame(channels, tmp_path):
    image = samples_of([1], shape=(channels, 5, 7)).images[0]
    suffix, content = picture(image)
    (tmp_path / f"x{suffix}").write_bytes(content)
    assert (read_images(tmp_path / f"x{suffix}", (channels, 5, 7))[0] == image).all()
