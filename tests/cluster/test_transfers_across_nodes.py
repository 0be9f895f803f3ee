"""Images that are bound to the private site, looked for in what other hosts were sent."""

import contextlib

import pytest
from lab import Lab, why_not
from private_images import num_seen, served, write_noise
from studies import LABELS, study

from tests.s3 import CREDENTIALS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]

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
    with served(lab, "one", tmp_path_factory.mktemp("s3")) as found:
        yield found


@pytest.fixture(scope="module")
def images(address, tmp_path_factory):
    return write_noise(address, tmp_path_factory.mktemp("images"))


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
