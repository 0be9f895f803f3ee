"""A data set and a run on S3: a real S3 server program on loopback."""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pyarrow.fs as pafs
import pytest
from PIL import Image

from sigdca.data import load, open_imported
from sigdca.edge.acquired import LEAST_BYTES, About, make_store
from sigdca.edge.sending import send_samples
from sigdca.errors import FormatError
from sigdca.loop import arrivals as loop_arrivals
from sigdca.storage import beneath, open_store
from tests.conftest import ROOT
from tests.images import write_data_set
from tests.s3 import CREDENTIALS, wait_for
from tests.samples import samples_of


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    """The port of an S3 server that has an empty bucket `lab`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("s3") / "log"
    with open(log, "w") as output, pytest.MonkeyPatch.context() as patch:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            cwd=ROOT,
            stdout=output,
            stderr=output,
        )
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        try:
            wait_for("127.0.0.1", port, process)
            filesystem, _ = pafs.FileSystem.from_uri(
                address(port, "lab") + "&allow_bucket_creation=true"
            )
            filesystem.create_dir("lab")
            yield port
        finally:
            process.terminate()
            process.wait()


def address(port, path):
    return f"s3://{path}?endpoint_override=127.0.0.1:{port}&scheme=http&region=us-east-1"


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """600 images of MNIST's test split to train with, 300 more to test, as PNG files."""
    folder = tmp_path_factory.mktemp("digits")
    dataset = load("mnist", "test", 900)
    for number, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        place = folder / ("train" if number < 600 else "val") / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(place / f"{number}.png")
    return folder


JOB = """
name: digits
model: lenet-5
data: {{source: '{source}', streaming: true}}
train: {{workers: 2, epochs: 1, batch_size: 20, learning_rate: 0.05}}
storage: '{storage}'
"""


@pytest.mark.slow
def test_a_folder_is_imported_trained_from_and_the_run_is_kept_on_s3(
    sigdca, port, digits, tmp_path
):
    source = address(port, "lab/digits")
    size = ("--size", "28,28", "--grey")
    done = sigdca("data", "import", digits, source, *size, "--json", **CREDENTIALS)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["splits"] == {"train": 600, "test": 300}
    assert (told["name"], told["num_classes"], told["num_damaged"]) == ("digits", 10, 0)
    again = sigdca("data", "import", digits, source, *size, **CREDENTIALS)
    assert again.returncode == 2
    assert "holds a data set already" in again.stderr

    job = tmp_path / "digits.yaml"
    job.write_text(JOB.format(source=source, storage=address(port, "lab/runs")))
    done = sigdca("train", job, "--json", **CREDENTIALS)
    assert done.returncode == 0, done.stderr
    test = next(
        point for point in json.loads(done.stdout)["test_points"] if point["stage"] == "test"
    )
    assert test["metrics"]["num_samples"] == 300
    assert test["metrics"]["error"] < 60

    imported = open_imported(source)
    names = {name for name, _ in imported.store.files()}
    assert names == {"dataset.json", "train/part-00000.parquet", "test/part-00000.parquet"}
    filesystem = imported.store.filesystem
    kept = filesystem.get_file_info(pafs.FileSelector("lab/runs/digits", recursive=True))
    kept = {os.path.relpath(info.path, "lab/runs/digits") for info in kept if info.is_file}
    assert {"job.yaml", "report.html", "ledger/0001-train.json", "ledger/0002-test.json"} <= kept

    shard = "train/part-00000.parquet"
    content = imported.store.read(shard)
    imported.store.write(shard, content[:100] + bytes([content[100] ^ 1]) + content[101:])
    with pytest.raises(FormatError, match="not the sha256 of its manifest"):
        load(source, "train")


def test_boards_send_to_s3_and_the_watcher_sees_each_image_once(port, tmp_path):
    store = make_store(tmp_path / "new", About("b1", (1, 2, 4), 10, LEAST_BYTES, private=False))
    store.append(samples_of(range(6), labels={1: 2, 3: 0}, shape=(1, 2, 4)))
    to = address(port, "lab/new")
    there = open_store(to)
    write_data_set(tmp_path / "old", {"train": [2]})
    source = open_imported(str(tmp_path / "old")).source
    arrivals = loop_arrivals.Arrivals(there, source, pytest.fail)
    none = np.empty(0, np.uint64)
    assert arrivals.look((), none).num_images == 0
    assert [send_samples(store, to).samples for _ in range(2)] == [2, 0]
    new = arrivals.look((), none)
    assert (new.num_images, len(new.names)) == (2, 1)
    assert abs(new.arrived_s - time.time()) < 600
    cycles = beneath(address(port, "lab/runs"), "watch/0001/data")
    samples = loop_arrivals.samples_of(arrivals, new.names, none)
    loop_arrivals.write_data_set(samples, source, "n", 0.0, open_store(cycles))
    assert load(cycles, "train").labels.tolist() == [2, 0]
