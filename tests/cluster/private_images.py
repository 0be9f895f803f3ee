"""Images on an S3 server of a lab's host, looked for in the bytes that other hosts were sent.

They come by plain HTTP, and Ray's own transfers are neither encrypted nor compressed in a lab, so
an image that travels is to be seen.
"""

import contextlib
import sys

import numpy as np
import pyarrow.fs as pafs

from sigdca.data import Dataset
from sigdca.storage import open_store
from tests.conftest import ROOT
from tests.images import write_shards
from tests.s3 import wait_for

PORT = 5000
NUM_IMAGES = {"train": 300, "test": 100}


@contextlib.contextmanager
def served(lab, host, folder):
    """The address of a data set that a host of the lab serves; it asks for `CREDENTIALS`."""
    address = lab.address_of(host)
    command = [sys.executable, "-m", "moto.server", "-H", address, "-p", str(PORT)]
    with (folder / "s3.log").open("w") as output:
        server = lab.popen(host, *command, stdout=output, stderr=output, cwd=ROOT)
    try:
        wait_for(address, PORT, server)
        options = f"endpoint_override={address}:{PORT}&scheme=http&region=us-east-1"
        filesystem, _ = pafs.FileSystem.from_uri(f"s3://lab?{options}&allow_bucket_creation=true")
        filesystem.create_dir("lab")
        yield f"s3://lab/images?{options}"
    finally:
        server.terminate()
        server.wait()


def write_noise(address, folder):
    """A data set that no coder makes smaller; no two of its images have eight bytes in common.

    Returns:
        All of its images, uint8 [n, 1, 28, 28].
    """
    rng = np.random.default_rng(2026)  # not 0: so are the random images that boards measure with
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
