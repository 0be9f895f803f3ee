"""New data closes the loop: from a board's frames to the update that the same board takes."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest

from sigdca.cli import main
from sigdca.edge.samples import ids_of
from sigdca.native import Model, Session
from sigdca.storage import Releases, open_store
from tests.conftest import ROOT, emulated
from tests.pairs import images_of, write_data

JOB = """
name: closed
model: tests.tiny:Tiny
data: {{source: {folder}/old}}
train: {{epochs: 12, batch_size: 20, learning_rate: 0.5}}
compress: {{recipe: [encode]}}
targets: [jetson-tx2-cpu]
edge_test: {{num_samples: 20}}
budget: {{error: 40}}
storage: {folder}/runs
watch:
  data: {folder}/new
  at_least: 40
  releases: {folder}/releases
  channel: stable
  key: {folder}/k.key
  poll_s: 0.5
  cycles: 1
"""


@pytest.fixture
def board(capsys, monkeypatch):
    """Runs a verb of `sigdca` in this process; gives what it printed."""
    monkeypatch.setattr("os.nice", lambda by: by)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)

    def run(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(list(map(str, arguments)))
        told = capsys.readouterr()
        assert not caught.value.code, told.err
        return told.out

    return run


def error_of(container, images, labels):
    logits = Session(Model(container)).run(images)
    return 100 * (logits.argmax(1) != labels).mean()


def wait_for(watcher, line):
    for said in watcher.stderr:
        if line in said:
            return said
    raise AssertionError(f"it ended with {watcher.wait()}")


def test_from_a_boards_frames_to_its_update(tmp_path, board):
    emulated("jetson-tx2-cpu")
    write_data(tmp_path / "old")
    (tmp_path / "closed.yaml").write_text(JOB.format(folder=tmp_path))
    board("keygen", tmp_path / "k")
    root, target = tmp_path / "board", "jetson-tx2-cpu"
    board("edge", "setup", root, "--target", target, "--key", tmp_path / "k.pub")
    command = [sys.executable, "-m", "sigdca", "run", str(tmp_path / "closed.yaml"), "--watch"]
    with subprocess.Popen(
        [*command, "--json"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as watcher:
        try:
            assert "the first run is released as version 1" in wait_for(watcher, "the first run")
            board("edge", "update", root, tmp_path / "releases")
            frames, labels = images_of(600, 3, moved=1)
            np.save(tmp_path / "frames.npy", frames)
            store = tmp_path / "store"
            options = ("--store", store, "--share", 0.5, "--margin", 0.9, "--board", "b1")
            where = ("--device", root, "--frames", tmp_path / "frames.npy")
            told = json.loads(board("edge", "acquire", *where, *options, "--json"))
            assert told["frames"] == 600
            assert 60 <= told["stored"] <= 300
            board("edge", "samples", store, "--to", tmp_path / "look", "--at-most", 300)
            known = dict(zip([one.hex() for one in ids_of(frames)], labels, strict=True))
            with open(tmp_path / "look/labels.csv", newline="") as file:
                rows = list(csv.DictReader(file))
            for row in rows:
                row["label"] = known[row["file"].partition(".")[0]]
            with open(tmp_path / "look/labels.csv", "w", newline="") as file:
                table = csv.DictWriter(file, rows[0])
                table.writeheader()
                table.writerows(rows)
            board("edge", "label", store, "--from", tmp_path / "look/labels.csv")
            board("edge", "send", store, "--to", tmp_path / "new")
            told, said = watcher.communicate(timeout=500)
            assert watcher.returncode == 0, said
        finally:
            watcher.kill()
    _, second = json.loads(told)["cycles"]
    assert (second["version"], second["num_images"]) == (2, len(rows)), second
    assert 0 < second["redeployment_s"] < 3600
    board("edge", "update", root, tmp_path / "releases")
    status = json.loads(board("edge", "status", root, "--json"))
    assert (status["live"]["version"], status["live"]["on_trial"]) == (2, True)
    before = (tmp_path / "runs/closed/model.dca").read_bytes()
    after = (tmp_path / "runs/closed/watch/0001/model.dca").read_bytes()
    shifted = images_of(400, 4, moved=1)
    assert error_of(after, *shifted) < error_of(before, *shifted) / 2
    report = json.loads((tmp_path / "runs/closed/watch/0001/report.json").read_text())
    released = [point for point in report["test_points"] if point["stage"] == "release"]
    assert released[0]["metrics"]["redeployment_s"] == second["redeployment_s"]
    page = (tmp_path / "runs/closed/watch/0001/report.html").read_text()
    assert f"{len(rows)} images" in page
    releases = Releases(open_store(str(tmp_path / "releases"))).all("stable")
    assert [release.version for release in releases] == [1, 2]
