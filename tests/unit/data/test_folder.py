"""What is found in an image folder, and how folders may be wrong."""

import pytest

from sigdca.data.folder import list_folder
from sigdca.errors import JobError, StorageError
from sigdca.storage import open_store
from tests.images import write_image


@pytest.fixture
def root(tmp_path):
    for split, count in (("train", 3), ("val", 2)):
        for name in ("cat", "dog"):
            for number in range(count):
                write_image(tmp_path / split / name / f"{number}.png")
    return tmp_path


def listed(root, **options):
    return list_folder(open_store(str(root)), "pictures", **options)


def paths(images):
    return sorted(image.path for image in images)


def test_classes_are_sorted_and_val_is_the_test_split(root):
    found = listed(root)
    assert found.classes == ("cat", "dog")
    assert {name: len(images) for name, images in found.splits.items()} == {"train": 6, "test": 4}
    assert all(image.label == ("dog" in image.path) for image in found.splits["train"])
    assert all(image.path.startswith("val/") for image in found.splits["test"])


def test_the_order_is_mixed_and_the_same_each_time(root):
    for number in range(40):
        write_image(root / "val" / "cat" / f"more-{number}.png")
        write_image(root / "val" / "dog" / f"more-{number}.png")
    images = listed(root).splits["test"]
    assert images == listed(root).splits["test"]
    assert 3 <= sum(image.label for image in images[:20]) <= 17
    assert len(set(paths(images))) == len(images) == 84


def test_a_labelled_test_folder_comes_before_val_and_an_unlabelled_one_does_not(root):
    write_image(root / "test" / "1.png")
    assert paths(listed(root).splits["test"])[0].startswith("val/")
    (root / "test" / "1.png").unlink()
    write_image(root / "test" / "cat" / "1.png")
    assert paths(listed(root).splits["test"]) == ["test/cat/1.png"]
    assert len(listed(root, test_folder="val").splits["test"]) == 4


def test_other_files_and_hidden_ones_are_passed_by(root):
    (root / "train/cat/notes.txt").write_text("x")
    (root / "train/cat/.DS_Store").write_text("x")
    (root / "README").write_text("x")
    write_image(root / "train/cat/deep/er/9.png")
    write_image(root / "train/cat/.hidden.png")
    write_image(root / "elsewhere/cat/1.png")
    found = listed(root).splits["train"]
    assert "train/cat/deep/er/9.png" in paths(found)
    assert len(found) == 7


@pytest.mark.parametrize(
    "text",
    ["a.png dog\nc.png dog\nb.png cat\n", "dog\ncat\ndog\n", "\n dog \ncat\n\ndog"],
)
def test_a_test_folder_without_classes_takes_a_labels_file(root, tmp_path, text):
    for name in "abc":
        write_image(root / "test" / f"{name}.png")
    file = tmp_path / "labels.txt"
    file.write_text(text)
    found = listed(root, test_folder="test", labels_file=str(file))
    labels = {image.path: found.classes[image.label] for image in found.splits["test"]}
    assert labels == {"test/a.png": "dog", "test/b.png": "cat", "test/c.png": "dog"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dog\n", r"1 lines, but pictures/test has 2 images"),
        ("a.png dog\nx.png cat\n", r"no line for b\.png"),
        ("a b c\na b c\n", "each line must be CLASS, or each FILE CLASS"),
        ("a.png dog\ncat\n", "each line must be CLASS, or each FILE CLASS"),
        ("a.png dog\na.png cat\n", r"a\.png is named twice"),
        ("dog\ncow\n", "class 'cow' is not in train"),
        ("", "0 lines"),
    ],
)
def test_labels_that_do_not_fit(root, tmp_path, text, message):
    write_image(root / "test" / "a.png")
    write_image(root / "test" / "b.png")
    (tmp_path / "labels.txt").write_text(text)
    with pytest.raises(JobError, match=message):
        listed(root, test_folder="test", labels_file=str(tmp_path / "labels.txt"))


def test_a_labels_file_that_is_not_there_or_no_text(root, tmp_path):
    write_image(root / "test" / "a.png")
    with pytest.raises(JobError, match="none: cannot be read"):
        listed(root, test_folder="test", labels_file="none")
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(JobError, match="not UTF-8 text"):
        listed(root, test_folder="test", labels_file=str(tmp_path / "x.bin"))


def test_links_count_as_what_they_lead_to(root):
    (root / "train/cow").symlink_to(root / "train/cat")
    (root / "train/cow/.old.png").symlink_to("nowhere.png")
    assert len(listed(root).splits["train"]) == 9
    (root / "train/dog/9.png").symlink_to("nowhere.png")
    with pytest.raises(StorageError, match=r"^pictures/train/dog/9\.png: a link that leads no"):
        listed(root)


def test_folders_that_are_wrong(root, tmp_path):
    with pytest.raises(JobError, match=r"no images in train/CLASS/ or test/CLASS/"):
        listed(root / "train")
    with pytest.raises(JobError, match="pictures/testing: no images there"):
        listed(root, test_folder="testing")
    (root / "train" / "cow").mkdir()
    with pytest.raises(JobError, match="pictures/train/cow: a class folder without images"):
        listed(root)
    (root / "train" / "cow").rmdir()
    write_image(root / "val" / "cow" / "1.png")
    with pytest.raises(JobError, match="pictures/val: class 'cow' is not in train"):
        listed(root)
    write_image(root / "train" / "1.png")
    with pytest.raises(JobError, match=r"images without a class folder, such as train/1\.png"):
        listed(root)


def test_images_without_classes_point_to_a_labels_file(tmp_path):
    write_image(tmp_path / "train" / "cat" / "1.png")
    write_image(tmp_path / "val" / "1.png")
    with pytest.raises(JobError, match="--labels FILE gives the classes"):
        listed(tmp_path)


def test_train_or_test_alone(root):
    import shutil

    shutil.rmtree(root / "val")
    assert set(listed(root).splits) == {"train"}
    shutil.move(root / "train", root / "test")
    found = listed(root)
    assert (set(found.splits), found.classes) == ({"test"}, ("cat", "dog"))
