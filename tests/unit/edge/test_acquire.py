"""The acquire leg: frames of files through a container, and the verbs that a user types."""

import csv
import json

import numpy as np
import pytest

from sigdca.cli import main
from sigdca.edge.acquire import Acquiring, FileModel, LiveModel
from sigdca.edge.acquired import LEAST_BYTES, About, Acquired, make_store
from sigdca.edge.choice import Chooser, Rules
from sigdca.edge.frames import FileFrames
from sigdca.errors import StorageError
from tests.unit.edge.conftest import SHAPE, container

ALL = Rules(margin=1, share=1)


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "m.dca"
    path.write_bytes(container(1))
    return path


@pytest.fixture
def frames(tmp_path):
    """30 frames of noise in a file."""
    path = tmp_path / "frames.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (30, *SHAPE), np.uint8))
    return path


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "new", About("b", SHAPE, 3, LEAST_BYTES, False))


def test_frames_become_samples_with_what_the_model_found(model, frames, store):
    source = FileModel(model, "exact")
    acquiring = Acquiring(source, store, Chooser(ALL), 60, limit=20)
    acquiring.run(FileFrames(frames, SHAPE, None, repeat=False))
    assert (acquiring.told.frames, acquiring.told.stored) == (20, 20)
    ((_, samples),) = store.read()
    assert (samples.images == np.load(frames)[:20]).all()
    assert set(samples.models) == {source.sha256}
    assert len(set(samples.classes)) > 1
    assert ((samples.margins >= 0) & (samples.margins <= 1)).all()


def test_a_full_disk_is_said_once_and_survived(model, frames, store, monkeypatch, capsys):
    def full(samples):
        raise StorageError("parts: cannot write: No space left on device")

    monkeypatch.setattr(store, "append", full)
    chooser = Chooser(ALL, buffer_bytes=10 * 16)
    acquiring = Acquiring(FileModel(model), store, chooser, 60, limit=None)
    acquiring.run(FileFrames(frames, SHAPE, None, repeat=False))
    assert (acquiring.told.frames, acquiring.told.lost) == (30, 30)
    assert capsys.readouterr().err.count("No space left on device") == 1


def test_it_follows_what_is_live_and_counts_no_start(device, bundle):
    device.install(bundle(1))
    live = LiveModel(device._slots.root)
    before = live.sha256
    device.install(bundle(2))
    live.follow()
    assert live.sha256 != before
    assert live.ready.version == 2
    assert device.state().starts == 0


@pytest.fixture
def sigdca(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("os.nice", lambda by: by)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(list(map(str, arguments)))
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return run


def test_from_frames_to_the_servers_by_the_command(sigdca, model, frames, tmp_path):
    options = ("--store", "new", "--margin", 1, "--share", 0.5, "--board", "b1", "--json")
    code, out, _ = sigdca("edge", "acquire", "m.dca", "--frames", "frames.npy", *options)
    told = json.loads(out)
    assert (code, told["frames"], told["stored"], told["store"]["samples"]) == (0, 30, 15, 15)
    code, out, _ = sigdca("edge", "samples", "new", "--to", "look", "--at-most", 4, "--json")
    assert (code, json.loads(out)["written"]) == (0, 4)
    with open(tmp_path / "look/labels.csv", newline="") as file:
        rows = list(csv.reader(file))
    text = "id,label\n" + "".join(f"{row[0]},2\n" for row in rows[1:])
    (tmp_path / "mine.csv").write_text(text + f"{'0' * 32},1\n")
    code, out, _ = sigdca("edge", "label", "new", "--from", "mine.csv", "--json")
    told = json.loads(out)
    assert (told["given"], told["not_there"], told["store"]["labelled"]) == (4, 1, 4)
    code, _, err = sigdca("edge", "send", "new", "--to", "servers")
    assert (code, err.split(",")[0]) == (0, "sent 4 samples")
    assert len(list((tmp_path / "servers/boards/b1/samples").iterdir())) == 1
    code, out, _ = sigdca("edge", "samples", "new")
    assert out.startswith("new: 15 samples, 4 with labels")


def test_labels_by_folder_and_private(sigdca, model, frames, tmp_path):
    images = np.load(frames)
    for name, some in (("cat", images[:4]), ("emu", images[4:7])):
        (tmp_path / "seen" / name).mkdir(parents=True)
        np.save(tmp_path / "seen" / name / "x.npy", some)
    (tmp_path / "names.txt").write_text("cat\ndog\nemu\n")
    options = ("--store", "new", "--margin", 1, "--share", 1, "--private")
    command = ("edge", "acquire", "m.dca", "--frames", "seen", "--labelled", *options)
    code, _, err = sigdca(*command)
    assert (code, "no class is called 'cat'; known are 0, 1, 2" in err) == (2, True)
    assert sigdca(*command, "--classes", "names.txt")[0] == 0
    _, labels = Acquired(tmp_path / "new").labelled()
    assert labels.tolist() == [0] * 4 + [2] * 3
    code, _, err = sigdca("edge", "send", "new", "--to", "servers")
    assert (code, err.count("\n")) == (2, 1)
    assert "is private" in err
    assert not (tmp_path / "servers").exists()
    (tmp_path / "d").write_bytes(b"delta")
    assert sigdca("edge", "send", "new", "--to", "servers", "--delta", "d")[0] == 0


def test_a_store_keeps_the_bound_that_it_was_given(sigdca, model, frames):
    command = ("edge", "acquire", "m.dca", "--frames", "frames.npy", "--store", "new", "--json")
    for more, bound in (((), 10**9), (("--most-bytes", "2MB"), 2 * 10**6), ((), 2 * 10**6)):
        code, out, _ = sigdca(*command, *more)
        assert (code, json.loads(out)["most_bytes"]) == (0, bound)


def test_bad_input_is_one_line(sigdca, model, frames):
    for more, message in (
        (("m.dca", "--most-bytes", "1 cow"), "must be such as 500MB"),
        (("m.dca", "--most-bytes", "1kB"), "most_bytes must be at least"),
        (("m.dca", "--share", "0"), "--share: must be above 0"),
        (("m.dca", "--board", "a b"), "board must be a name"),
        (("m.dca", "--frames", "none"), "none: cannot read"),
        ((), "give a MODEL.dca, or --device ROOT"),
        (("none.dca",), "none.dca: cannot read"),
    ):
        command = ("edge", "acquire", "--store", "new", "--frames", "frames.npy", *more)
        code, _, err = sigdca(*command)
        assert code in (2, 3)
        assert err.count("\n") == 1
        assert message in err
