"""What a head tells of its nodes, and what Ctrl-C does to whoever listens."""

import asyncio
from types import SimpleNamespace

import pytest
import ray

from sigdca.distributed import submission
from sigdca.distributed.submission import Head
from sigdca.targets import load_target


@pytest.fixture
def head(monkeypatch):
    """A head whose client answers what a test gives it."""
    client = SimpleNamespace(_server_ray_version=ray.__version__)
    monkeypatch.setattr(submission, "check_answers", lambda *_: None)
    monkeypatch.setattr(submission, "JobSubmissionClient", lambda *_, **__: client)
    return Head("http://10.0.0.1:8265")


def test_boards_of_another_site_prove_nothing_of_images_that_must_stay(head, monkeypatch):
    labels = {"sigdca.io/site": "edge", "sigdca.io/target": "jetson-tx2"}
    node = SimpleNamespace(labels=labels, state="ALIVE")
    monkeypatch.setattr(submission, "list_nodes", lambda **_: [node])
    targets = {"mine": load_target("jetson-tx2-cpu")}
    assert head.evidence_of(targets) == {"mine": "device"}
    assert head.evidence_of(targets, "private") == {}
    labels["sigdca.io/site"] = "private"
    assert head.evidence_of(targets, "private") == {"mine": "device"}
    labels |= {"sigdca.io/target": "jetson-tx2-cpu", "sigdca.io/emulated": "true"}
    assert head.evidence_of(targets) == {"mine": "isa"}
    labels["sigdca.io/temporary"] = "a run's"
    assert head.evidence_of(targets) == {}, "it will have ended with its run"


def test_ctrl_c_while_a_submission_says_nothing_is_no_fault(head):
    def interrupt():
        raise KeyboardInterrupt

    async def tail(_name):
        yield "TRAIN #1 ..."
        asyncio.get_running_loop().call_soon(interrupt)
        await asyncio.Event().wait()

    head._client.tail_job_logs = tail
    chunks = head.follow("j-run-1")
    assert next(chunks) == "TRAIN #1 ..."
    with pytest.raises(KeyboardInterrupt):
        next(chunks)
