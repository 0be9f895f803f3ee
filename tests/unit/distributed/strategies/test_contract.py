"""What every strategy must do: the same training, whoever holds which part.

Each one trains a small network in processes of its own, with and without each compression pass.
"""

import contextlib
import faulthandler
import importlib.util
import multiprocessing
import os
import pickle
import runpy
import sys
from pathlib import Path

import pytest
import torch

from sigdca.compression.quantize import grid_step
from sigdca.distributed.rendezvous import meeting
from sigdca.distributed.strategies import STRATEGIES
from sigdca.job import Train

WORKER = Path(__file__).with_name("worker.py")
HOOKED = ("prune", "movement", "share", "quantize")
ALL = sorted({*STRATEGIES, "deepspeed-1", "deepspeed-3", "fsdp-streamed"})
OTHERS = sorted({*ALL} - {"ddp"})
# What these do with three processes, `fsdp` and `deepspeed` do too.
COSTLY = ("deepspeed-1", "deepspeed-3", "fsdp-streamed")
OF_THREE = [pytest.param(name, marks=pytest.mark.slow if name in COSTLY else ()) for name in ALL]
OF_TWO_OR_THREE = [
    pytest.param(name, count, marks=pytest.mark.slow if name in COSTLY and count == 3 else ())
    for name in ALL
    for count in (2, 3)
]
# Sums in another order: relative to the loss, and to the largest weight of a tensor.
LOSS_BOUND, WEIGHT_BOUND = 1e-4, 2e-3


# What its processes are forked from has imported what all of them need.
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["sigdca.compression", "sigdca.distributed.strategies.hybrid"])


def work(words, log, environment):
    """What a process does."""
    with log.open("w") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    faulthandler.enable(2)
    os.environ |= environment
    sys.argv = [str(WORKER), *map(str, words)]
    runpy.run_path(str(WORKER), run_name="__main__")


def run(strategy, num_processes, folder, *alone):
    """What each process found, by rank; `alone` is the output of the one that trains alone."""
    outputs = [folder / f"{rank}.pkl" for rank in range(num_processes)]
    with contextlib.ExitStack() as stack:
        processes = []
        environments = [{}] * num_processes
        if strategy == "horovod":
            # The last one is on a node of its own.
            nodes = ["first"] * (num_processes - 1) + ["second"]
            environments = stack.enter_context(meeting("127.0.0.1", nodes))
        for rank, output in enumerate(outputs):
            words = [strategy, str(rank), str(num_processes), folder / "meeting", output, *alone]
            process = SERVER.Process(
                target=work, args=(words, output.with_suffix(".log"), environments[rank])
            )
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
            processes.append(process)
        for process, output in zip(processes, outputs, strict=True):
            process.join(timeout=240)
            assert process.exitcode == 0, output.with_suffix(".log").read_text()
    return [pickle.loads(output.read_bytes()) for output in outputs]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """(strategy, number of processes) -> what they found; each is run once."""
    first = tmp_path_factory.mktemp("alone")
    done = {("alone", 1): run("alone", 1, first)}

    def find(*key):
        if key[0] == "horovod" and importlib.util.find_spec("horovod") is None:
            pytest.skip("Horovod is not installed: run `make horovod`")
        if key not in done:
            done[key] = run(*key, tmp_path_factory.mktemp(key[0]), first / "0.pkl")
        return done[key]

    return find


@pytest.fixture(scope="module")
def alone(runs):
    (found,) = runs("alone", 1)
    return found


def assert_same(found, expected, weight_bound=WEIGHT_BOUND):
    assert found["losses"] == pytest.approx(expected["losses"], rel=LOSS_BOUND)
    assert found["state"].keys() == expected["state"].keys()
    for name, value in expected["state"].items():
        error = (found["state"][name].double() - value.double()).abs().max()
        assert error <= weight_bound * max(1e-2, float(value.abs().max())), name


def test_a_job_can_name_every_strategy():
    for name in STRATEGIES:
        assert Train(strategy=name).strategy == name
    assert "alone" not in STRATEGIES


@pytest.mark.parametrize("scene", ["plain", "adam", "resumed sgd", "resumed adam"])
@pytest.mark.parametrize(("strategy", "num_processes"), OF_TWO_OR_THREE)
def test_many_processes_train_as_one_does(runs, alone, strategy, num_processes, scene):
    for found in runs(strategy, num_processes):
        assert_same(found[scene], alone[scene])


@pytest.mark.parametrize("kind", ["sgd", "adam"])
@pytest.mark.parametrize(("strategy", "num_processes"), OF_TWO_OR_THREE)
def test_it_goes_on_from_a_checkpoint_of_another(runs, alone, strategy, num_processes, kind):
    whole = alone["plain" if kind == "sgd" else "adam"]
    for found in runs(strategy, num_processes):
        assert_same(found[f"taken over {kind}"], whole)


@pytest.mark.parametrize("strategy", ALL)
def test_going_on_from_a_checkpoint_changes_no_bit(runs, strategy):
    num_processes = 3 if strategy == "horovod" else 2  # more of others add in another order
    found, *_ = runs(strategy, num_processes)
    for kind, whole in (("sgd", "plain"), ("adam", "adam")):
        for name, value in found[whole]["state"].items():
            assert torch.equal(found[f"resumed {kind}"]["state"][name], value), name


@pytest.mark.parametrize("scene", ["norm", "bf16", *HOOKED])
@pytest.mark.parametrize("strategy", OTHERS)
def test_it_trains_as_ddp_does(runs, strategy, scene):
    found, *_ = runs(strategy, 2)
    expected, *_ = runs("ddp", 2)
    if scene == "bf16":  # rounds sums of another order
        assert found[scene]["losses"] == pytest.approx(expected[scene]["losses"], rel=0.02)
    else:  # Adam turns rounding of a gradient near 0 into a step
        bound = 10 * WEIGHT_BOUND if scene == "share" else WEIGHT_BOUND
        assert_same(found[scene], expected[scene], bound)
    assert found[scene]["sparsity"] == pytest.approx(expected[scene]["sparsity"], abs=0.02)


@pytest.mark.parametrize("strategy", OTHERS)
@pytest.mark.parametrize("scene", HOOKED)
def test_passes_see_the_same_network_in_every_process(runs, strategy, scene):
    first, second = (found[scene]["state"] for found in runs(strategy, 2))
    for name, value in first.items():  # statistics of batch norms as well
        assert torch.equal(second[name], value), name


@pytest.mark.parametrize("strategy", ALL)
def test_parts_of_a_step_add_up_to_it(runs, alone, strategy):
    for found in runs(strategy, 2):
        assert_same(found["parts"], alone["plain"])


@pytest.mark.parametrize("strategy", ALL)
def test_a_layer_that_nothing_reads_is_left_alone(runs, alone, strategy):
    for found in runs(strategy, 2):
        assert_same(found["spare"], alone["spare"])


@pytest.mark.parametrize(
    ("strategy", "num_processes"), [one for one in OF_TWO_OR_THREE if "hybrid" not in one.values]
)
def test_an_image_counts_the_same_in_each_process(runs, alone, strategy, num_processes):
    for found in runs(strategy, num_processes):
        assert_same(found["uneven"], alone["uneven"])


@pytest.mark.parametrize(("strategy", "num_processes"), OF_TWO_OR_THREE)
def test_all_processes_report_the_accuracy_of_one(runs, alone, strategy, num_processes):
    for found in runs(strategy, num_processes):
        for scene in sorted({"plain", "uneven", "parts"} & found.keys()):
            assert found[scene]["accuracies"] == alone[scene]["accuracies"], scene


@pytest.mark.parametrize("strategy", [name for name in ALL if "deepspeed" not in name])
def test_lars_knows_whole_layers(runs, alone, strategy):
    assert_same(runs(strategy, 2)[0]["lars"], alone["lars"])


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "horovod"])
def test_fp16_learns_as_well(runs, alone, strategy):
    found = runs(strategy, 2)[0]["fp16"]
    assert found["losses"] == pytest.approx(alone["fp16"]["losses"], rel=0.02)
    assert found["losses"][-1] < found["losses"][0]
    assert found["checkpoints"][-1].scaler["scale"] > 0


@pytest.mark.parametrize("strategy", ALL)
def test_masks_hold(runs, strategy):
    found, *_ = runs(strategy, 2)
    for layer, share in (("conv1", 0.3), ("conv2", 0.3), ("ip1", 0.7), ("ip3", 0.7)):
        weight = found["prune"]["state"][f"{layer}.weight"]
        assert int((weight == 0).sum()) == round(share * weight.numel())
    weight = found["movement"]["state"]["ip1.weight"]
    assert int((weight == 0).sum()) == round(0.5 * weight.numel())


@pytest.mark.parametrize("strategy", ALL)
def test_shared_weights_stay_tied(runs, strategy):
    found, *_ = runs(strategy, 2)
    for layer in ("conv1", "conv2", "ip1", "ip2", "ip3"):
        assert len(found["share"]["state"][f"{layer}.weight"].unique()) <= 8


@pytest.mark.parametrize("strategy", ALL)
def test_quantized_weights_lie_on_the_grid(runs, strategy):
    found, *_ = runs(strategy, 2)
    levels = found["quantize"]["state"]["ip1.weight"] / grid_step(0.05)
    assert torch.equal(levels, levels.round())


@pytest.mark.parametrize("strategy", ALL)
def test_dropout_trains_as_well(runs, alone, strategy):
    losses = runs(strategy, 2)[0]["dropout"]["losses"]
    assert losses == pytest.approx(alone["dropout"]["losses"], rel=0.25)
    assert losses != runs(strategy, 2)[0]["plain"]["losses"]


@pytest.mark.parametrize("strategy", OF_THREE)
def test_all_processes_report_the_same_loss(runs, strategy):
    for scene in ("plain", "dropout"):
        first, *others = (found[scene]["losses"] for found in runs(strategy, 3))
        assert all(other == pytest.approx(first, rel=1e-9) for other in others)


@pytest.mark.parametrize("strategy", OF_THREE)
def test_all_processes_report_what_all_have_sent(runs, strategy):
    for found in runs(strategy, 3):
        assert found["plain"]["sent_bytes"] == [1 + 2 + 3] * 3


def test_horovod_is_not_trained_in_another_place(runs):
    for rank, found in enumerate(runs("horovod", 2)):
        assert found["misplaced"] == (
            f"horovod: its environment says rank {rank} of 2; this is rank {rank} of 3"
        )


def test_hybrid_needs_fully_connected_layers(runs):
    for found in runs("hybrid", 2):
        assert found["headless"] == (
            "train.strategy: hybrid is for networks with fully connected layers; this one has "
            "none: use ddp"
        )


@pytest.mark.parametrize("strategy", sorted(set(ALL) - {"hybrid"}))
def test_others_do_not(runs, strategy):
    assert runs(strategy, 2)[0]["headless"] == "trained"
