"""`edge test`, as a user types it."""

import json

import pytest

from sigdca.cli import main
from sigdca.data import Dataset
from sigdca.loop import LocalExecutor
from tests.bright import model, samples
from tests.conftest import emulated
from tests.images import write_shards

TEST = ("edge", "test", "m.dca", "--data", "./bright", "--target")


@pytest.fixture
def sigdca(capsys, tmp_path, monkeypatch):
    """Runs a command in a folder with a model and a data set; its exit code, and what it said."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.dca").write_bytes(model())
    images, labels = samples(40)
    write_shards(
        tmp_path / "bright", {"test": [Dataset(images, labels.astype("uint8"))]}, 3, "bright"
    )

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(list(arguments))
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return run


def test_emulated_targets_give_the_servers_logits(sigdca):
    emulated("atom-x5-e3940")
    emulated("jetson-tx2-cpu")
    both = (*TEST, "atom-x5-e3940", "--target", "jetson-tx2-cpu", "--limit", "20")
    code, out, _ = sigdca(*both, "--json")
    legs = json.loads(out)["legs"]
    assert (code, [leg["verdict"] for leg in legs]) == (0, ["exact", "exact"])
    assert len({leg["logits_sha256"] for leg in legs}) == 1
    assert {leg["reference_logits_sha256"] for leg in legs} == {legs[0]["logits_sha256"]}
    assert [leg["num_samples"] for leg in legs] == [20, 20]


def test_what_only_a_board_can_prove_is_exit_code_1(sigdca):
    code, out, err = sigdca(*TEST, "jetson-tx2")
    assert code == 1
    assert "device-required" in out
    assert err.startswith("target 'jetson-tx2': ")


def test_with_an_address_the_legs_are_the_clusters(sigdca, monkeypatch):
    asked = []

    class Connected(LocalExecutor):
        def __init__(self, address, workers):
            asked.append((address, workers))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr("sigdca.distributed.connect", Connected)
    code, _, _ = sigdca(*TEST, "jetson-tx2", "--address", "head:6379")
    assert (code, asked) == (1, [("head:6379", 1)])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no-such-board",), "sigdca: target"),
        (("atom-x5-e3940", "--data", "no-such-data"), "sigdca: data"),
    ],
)
def test_bad_input_is_one_line(sigdca, words, said):
    code, out, err = sigdca(*TEST, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(said)


def test_a_damaged_container_is_refused_before_anything_runs(sigdca, tmp_path):
    (tmp_path / "m.dca").write_bytes(model()[:-5])
    code, out, err = sigdca(*TEST, "atom-x5-e3940")
    assert (code, out, err.count("\n")) == (2, "", 1)
