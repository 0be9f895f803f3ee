"""What a head tells of its nodes."""

from types import SimpleNamespace

import ray

from sigdca.distributed import submission
from sigdca.distributed.submission import Head
from sigdca.targets import load_target


def test_boards_of_another_site_prove_nothing_of_images_that_must_stay(monkeypatch):
    labels = {"sigdca.io/site": "edge", "sigdca.io/target": "jetson-tx2"}
    client = SimpleNamespace(_server_ray_version=ray.__version__)
    node = SimpleNamespace(labels=labels, state="ALIVE")
    monkeypatch.setattr(submission, "list_nodes", lambda **_: [node])
    monkeypatch.setattr(submission, "check_answers", lambda *_: None)
    monkeypatch.setattr(submission, "JobSubmissionClient", lambda *_, **__: client)
    head = Head("http://10.0.0.1:8265")
    targets = {"mine": load_target("jetson-tx2-cpu")}
    assert head.evidence_of(targets) == {"mine": "device"}
    assert head.evidence_of(targets, "private") == {}
    labels["sigdca.io/site"] = "private"
    assert head.evidence_of(targets, "private") == {"mine": "device"}
    labels |= {"sigdca.io/target": "jetson-tx2-cpu", "sigdca.io/emulated": "true"}
    assert head.evidence_of(targets) == {"mine": "isa"}
    labels["sigdca.io/temporary"] = "a run's"
    assert head.evidence_of(targets) == {}, "it will have ended with its run"
