"""Four Ray nodes in four network namespaces: every strategy, a node killed, a link cut."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from lab import HOSTS, Lab, why_not

from sigdca.distributed.strategies import STRATEGIES

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]
SCRIPT = Path(__file__).with_name("across_nodes.py")


@pytest.fixture(scope="module")
def running():
    with Lab().running() as made:
        yield made


@pytest.fixture
def lab(running):
    yield running
    running.heal(HOSTS[2])  # whatever a test has lost is there for the next one
    for host in HOSTS[2:]:
        running.start_again(host)


def events(lab, folder, what, on_epoch=lambda number: None):
    """What the driver on the head tells; `on_epoch` is called as epochs end."""
    said = folder / "driver.log"
    with said.open("w") as errors:
        driver = lab.popen(
            "head",
            *(sys.executable, str(SCRIPT), lab.address, str(folder), what),
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        found = []
        with driver:
            for line in driver.stdout:
                if not line.startswith("["):  # Ray says here what it thinks of its nodes
                    continue
                kind, content = json.loads(line)
                found.append((kind, content))
                if kind == "epoch":
                    on_epoch(content["epoch"])
    assert driver.returncode == 0, said.read_text()[-4000:]
    return found


def test_every_strategy_trains_across_nodes(lab, tmp_path):
    names = sorted(STRATEGIES)
    found = events(lab, tmp_path, ",".join(names))
    done = {content["key"]: content["epochs"][0] for kind, content in found if kind == "done"}
    assert sorted(done) == names
    expected = done["ddp"]["loss"]
    for name, epoch in done.items():
        assert epoch["loss"] == pytest.approx(expected, rel=1e-4), name
        assert epoch["sent_bytes"] > 0
        assert epoch["communication_s"] > 0


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "deepspeed", "horovod"])
def test_training_goes_on_without_a_killed_node_and_then_a_cut_one(lab, tmp_path, strategy):
    lost = iter([lambda: lab.kill(HOSTS[3]), lambda: lab.cut(HOSTS[2])])

    def lose(epoch):
        if epoch in (1, 3):  # in the middle of the next
            next(lost, lambda: None)()

    found = events(lab, tmp_path, f"at-least-1-{strategy}-6", lose)
    notes = [content for kind, content in found if kind == "note"]
    assert any("lost" in note for note in notes)
    goes_on = [note for note in notes if note.startswith("training goes on after epoch")]
    assert goes_on[0].endswith("with 2 workers")
    assert goes_on[-1].endswith("with 1 worker")
    assert_whole(found, 6)


def test_training_takes_a_node_that_comes_back(lab, tmp_path):
    lose_and_find = iter([lambda: lab.kill(HOSTS[3]), lambda: lab.start_again(HOSTS[3])])

    def change(epoch):
        if epoch in (1, 3):
            next(lose_and_find, lambda: None)()

    # Ray Train looks for more workers once a minute.
    found = events(lab, tmp_path, "at-least-1-ddp-120", change)
    notes = [content for kind, content in found if kind == "note"]
    goes_on = [note for note in notes if note.startswith("training goes on after epoch")]
    assert goes_on[0].endswith("with 2 workers")
    assert goes_on[-1].endswith("with 3 workers")
    assert_whole(found, 120)


def assert_whole(found, num_epochs):
    """Each epoch is there once, and training got somewhere."""
    kind, outcome = found[-1]
    assert kind == "done"
    epochs = list(range(1, num_epochs + 1))
    assert [figures["epoch"] for figures in outcome["epochs"]] == epochs
    losses = [figures["loss"] for figures in outcome["epochs"]]
    assert losses[-1] < losses[0]
