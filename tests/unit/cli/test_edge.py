"""The verbs of a board and of those who sign for it, as a user types them."""

import hashlib
import json

import numpy as np
import pytest

from sigdca.cli import main
from sigdca.codec import Graph, Op, encode_container
from sigdca.storage import Ledger, Record, open_store

TARGET = "atom-x5-e3940"


@pytest.fixture
def sigdca(capsys, tmp_path, monkeypatch):
    """Runs a command in an empty folder; gives its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return run


@pytest.fixture
def model(tmp_path):
    """`m.dca`, with the operators of a tiny network."""
    fc = Op("fc", "f", (1,), {"out_features": 3, "bias": 1})
    graph = Graph((1, 4, 4), 1 / 256, (Op("flatten", "", (0,)), fc))
    tensors = {"f.weight": np.ones((3, 16), np.float32), "f.bias": np.zeros(3, np.float32)}
    content = encode_container(graph, tensors)
    (tmp_path / "m.dca").write_bytes(content)
    return content


@pytest.fixture
def keys(sigdca):
    assert sigdca("keygen", "k")[0] == 0


def sign(sigdca, version: int, *more: str) -> tuple[int, str, str]:
    return sigdca(
        *("sign", "m.dca", "--key", "k.key", "--version", str(version)),
        *("--target", TARGET, "-o", f"{version}.dcu", *more),
    )


def test_from_a_key_to_a_board(sigdca, model, keys):
    assert sign(sigdca, 1)[0] == 0
    code, out, _ = sigdca("verify", "1.dcu", "--key", "k.pub", "--json")
    told = json.loads(out)
    assert (code, told["version"], told["targets"], told["model"]) == (0, 1, [TARGET], "m")
    assert sigdca("edge", "setup", "board", "--target", TARGET, "--key", "k.pub")[0] == 0
    code, out, _ = sigdca("edge", "status", "board", "--json")
    assert (code, json.loads(out)["live"]) == (0, None)
    assert sigdca("edge", "update", "board", "1.dcu")[0] == 0
    assert sign(sigdca, 2)[0] == 0
    assert sigdca("publish", "2.dcu", "--to", "store", "--key", "k.pub")[0] == 0
    assert sigdca("edge", "update", "board", "store")[0] == 0
    code, _, err = sigdca("edge", "update", "board", "store")
    assert (code, err) == (0, "board: nothing newer in channel 'stable'\n")
    told = json.loads(sigdca("edge", "status", "board", "--json")[1])
    assert (told["live"]["version"], told["live"]["on_trial"]) == (2, True)
    code, _, err = sigdca("edge", "update", "board", "1.dcu")
    assert code == 2
    assert err == "sigdca: update: version 1 is not newer than 2, which was live here\n"


def test_what_is_not_signed_or_published(sigdca, model, keys):
    assert sigdca("edge", "setup", "board", "--target", TARGET, "--key", "k.pub")[0] == 0
    for arguments, code, message in (
        (("edge", "update", "board", "m.dca"), 2, "a bare container, which is not signed"),
        (("edge", "update", "board", "none.dcu"), 3, "none.dcu: cannot read"),
        (("edge", "update", "nowhere", "m.dca"), 3, "see `sigdca edge setup`"),
        (("edge", "update", "board", "."), 3, f"channel 'stable' has nothing for {TARGET}"),
        (("verify", "m.dca", "--key", "k.pub"), 2, "a bare container"),
        (("verify", "m.dca", "--key", "k.key"), 2, "must be an Ed25519 public key in PEM"),
        (("edge", "setup", "b", "--target", "atom", "--key", "k.pub"), 2, "unknown target 'atom'"),
        (("keygen", "k"), 3, "a key is never overwritten"),
    ):
        got, _, err = sigdca(*arguments)
        assert (got, err.count("\n")) == (code, 1), err
        assert message in err
    code, _, err = sign(sigdca, 1, "--channel", "beta")
    assert code == 2
    assert "channel must be stable or canary, got 'beta'" in err


def test_an_update_takes_as_much_memory_as_it_is_large(sigdca, model, keys, monkeypatch):
    assert sigdca("edge", "setup", "board", "--target", TARGET, "--key", "k.pub")[0] == 0
    monkeypatch.setattr("sigdca.edge.slots.MAX_SLOT_BYTES", 2**62)  # which no machine has
    _, _, err = sigdca("edge", "update", "board", "m.dca")
    assert "a bare container" in err
    monkeypatch.setattr("sigdca.edge.slots.MAX_SLOT_BYTES", 80)
    code, _, err = sigdca("edge", "update", "board", "m.dca")
    assert code == 2
    assert err == f"sigdca: m.dca: {len(model)} bytes, an update has at most 80\n"


def record(tmp_path, container: bytes, verdict: str) -> None:
    metrics = {
        "container": hashlib.sha256(container).hexdigest(),
        "verdict": verdict,
        "reason": "why",
        "target": TARGET,
    }
    ledger = Ledger(open_store(str(tmp_path / "run")))
    fields = {
        "key": "x",
        "stage": "edge-test",
        "label": "my/board.toml",
        "iteration": 1,
        "duration_s": 1,
    }
    number = len(ledger.records) + 1
    ledger.append(Record(number=number, seed=0, metrics=metrics, **fields))


def test_a_run_s_verdict_decides(sigdca, model, keys, tmp_path):
    assert "there is no such run" in sign(sigdca, 1, "--run", "run")[2]
    record(tmp_path, b"another", "exact")
    code, _, err = sign(sigdca, 1, "--run", "run")
    assert code == 2
    assert f"run: has no EDGE TEST of this container on '{TARGET}'; not signed" in err
    record(tmp_path, model, "device-required")
    code, _, err = sign(sigdca, 1, "--run", "run")
    assert code == 2
    assert f"its verdict on '{TARGET}' is device-required: why; not signed" in err
    assert not (tmp_path / "1.dcu").exists()
    record(tmp_path, model, "exact")
    assert sign(sigdca, 1, "--run", "run")[0] == 0


def test_targets_probe(sigdca):
    code, out, _ = sigdca("targets", "probe", "cortex-a57", "--json")
    rows = json.loads(out)["cortex-a57"]
    assert code == 1, "this machine is none"
    assert {"figure", "says", "found", "agrees"} == set(rows[0])
    code, out, _ = sigdca("targets", "probe", "cortex-a57")
    assert "DIFFERS" in out
    assert sigdca("targets", "probe", "cortex")[0] == 2


def test_power_without_a_meter(sigdca, model):
    code, out, _ = sigdca("edge", "power", "m.dca", "--meter", "file:none", "--json")
    assert code == 0
    assert json.loads(out) == {"energy_mj": None, "unavailable": "power: none: is not there"}
    assert sigdca("edge", "power", "m.dca", "--meter", "volt")[0] == 2
    assert sigdca("edge", "power", "none.dca")[0] == 2
