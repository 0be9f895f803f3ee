"""Images that are bound to the private site, looked for in the bytes that other hosts were sent.

They lie on an S3 server on the private host and come by plain HTTP, and Ray's own transfers are
neither encrypted nor compressed here, so an image that travels is to be seen.
"""

import contextlib
import socket
import sys
import time

import numpy as np
import pyarrow.fs as pafs
import pytest
from lab import Lab, why_not
from studies import LABELS, study

from sigdca.data import Dataset
from sigdca.storage import open_store
from tests.conftest import ROOT
from tests.images import write_shards

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]

PORT = 5000
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}
NUM_IMAGES = {"train": 300, "test": 100}
ELSEWHERE = ("head", "two", "three")
QUICK = ("compress.recipe.0.prune.epochs=1",)


@pytest.fixture(scope="module")
def lab():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        with Lab(LABELS).running(240) as made:
            yield made


@pytest.fixture(scope="module")
def address(lab, tmp_path_factory):
    """Where a bucket is that the private host serves."""
    host, log = lab.address_of("one"), tmp_path_factory.mktemp("s3") / "log"
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(PORT)]
    with log.open("w") as output:
        server = lab.popen("one", *command, stdout=output, stderr=output, cwd=ROOT)
    try:
        wait_for(host, server)
        options = f"endpoint_override={host}:{PORT}&scheme=http&region=us-east-1"
        filesystem, _ = pafs.FileSystem.from_uri(f"s3://lab?{options}&allow_bucket_creation=true")
        filesystem.create_dir("lab")
        yield f"s3://lab/images?{options}"
    finally:
        server.terminate()
        server.wait()


def wait_for(host, server):
    for _ in range(600):
        assert server.poll() is None, "the S3 server ended"
        with socket.socket() as probe:
            if probe.connect_ex((host, PORT)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the S3 server did not come up")


@pytest.fixture(scope="module")
def images(address, tmp_path_factory):
    """Noise, which no coder makes smaller; no two images have eight bytes in common."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("images")
    made = {
        split: Dataset(
            rng.integers(0, 256, (count, 1, 28, 28), np.uint8),
            (np.arange(count) % 10).astype(np.uint8),
        )
        for split, count in NUM_IMAGES.items()
    }
    write_shards(folder, {split: [found] for split, found in made.items()}, 10, "noise")
    store = open_store(address)
    for path in folder.rglob("*"):
        if path.is_file():
            store.write(str(path.relative_to(folder)), path.read_bytes())
    return np.concatenate([found.images for found in made.values()])


def num_seen(images, content):
    """How many images have a row among the bytes, as pixels or as what a network is fed.

    Of two rows, one at most is cut by the end of a frame.
    """
    forms = (images, images.astype(np.float32) / 256)
    return sum(
        any(form[number, 0, row].tobytes() in content for form in forms for row in (7, 21))
        for number in range(len(images))
    )


def test_no_image_that_is_bound_enters_another_host(lab, address, images, tmp_path):
    def run(name, data, num_trials):
        """A study; gives its trials, and by host what it was sent meanwhile."""
        with contextlib.ExitStack() as stack:
            sent = {host: stack.enter_context(lab.frames_into(host)) for host in ELSEWHERE}
            _, trials = study(
                lab, tmp_path, name, f"data={data}", f"search.num_trials={num_trials}", *QUICK
            )
        assert {host: frames.num_lost for host, frames in sent.items()} == dict.fromkeys(sent, 0)
        assert all(trial["status"] == "done" for trial in trials)
        return trials, {host: frames.content for host, frames in sent.items()}

    trials, sent = run("bound", f"{{source: '{address}', site: private}}", 2)
    assert {trial["site"] for trial in trials} == {"private"}
    assert min(map(len, sent.values())) > 1000, "Ray talks to every node"
    seen = {host: num_seen(images, found) for host, found in sent.items()}
    assert seen == dict.fromkeys(ELSEWHERE, 0)

    trials, sent = run("free", f"{{source: '{address}'}}", 4)
    assert "public" in {trial["site"] for trial in trials}
    assert num_seen(images, sent["two"]) == len(images), "without the binding they are seen"
