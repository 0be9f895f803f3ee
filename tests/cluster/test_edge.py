"""EDGE TEST by actors that are pinned to their targets' nodes."""

import dataclasses
import re
import signal
import subprocess
import sys

import pytest
import ray

from sigdca.codec import encode_container
from sigdca.distributed.cluster import TARGET_LABEL, emulating_nodes, selector
from sigdca.distributed.edge import TestLeg
from sigdca.engines import to_onnx
from sigdca.loop import EdgeTask, TestTask
from sigdca.targets import load_target, spec
from tests.cluster.processes import kill_one
from tests.conftest import emulated

ATOM, TX2_CPU = "atom-x5-e3940", "jetson-tx2-cpu"


def edge_task(executor, job, initial, target, engine="native"):
    graph, state = initial
    container = encode_container(graph, state)
    test = TestTask(graph, state, job.data, engine, 2, container)
    model = container if engine == "native" else to_onnx(graph, state)
    return EdgeTask(target, model, job.data, 50, executor.test(test).logits[:50])


def test_each_leg_runs_on_its_own_emulating_node(executor, job):
    targets = [emulated(ATOM), emulated(TX2_CPU)]
    with emulating_nodes(executor.cluster, targets, 1) as failed:
        assert failed == {}
        node_ids = {
            node["Labels"].get(TARGET_LABEL): node["NodeID"]
            for node in ray.nodes()
            if node["Alive"]
        }
        for target in targets:
            labels = executor.cluster.node_for(target)
            assert labels["sigdca.io/emulated"] == "true"
            actor = ray.remote(num_cpus=1, label_selector=selector(labels))(TestLeg)
            leg = actor.remote()
            assert ray.get(leg.ready.remote(), timeout=60) == node_ids[target.name]
            ray.kill(leg)
        assert ray.get_runtime_context().get_node_id() not in (
            node_ids[ATOM],
            node_ids[TX2_CPU],
        )
        assert executor.cluster.num_cpus(job.data) == 2, "a board's CPUs are no server's"
        tx2 = load_target("jetson-tx2")
        assert executor.cluster.node_for(tx2) is None, "an emulated CPU is no whole TX2"
    assert executor.cluster.node_for(targets[0]) is None
    assert executor.cluster.lost_node_of(targets[0]) is None, "it was a run's own"


def test_a_board_serves_all_targets_of_its_label(executor, monkeypatch):
    board = {"sigdca.io/site": "edge", TARGET_LABEL: "jetson-tx2"}
    emulation = {TARGET_LABEL: TX2_CPU, "sigdca.io/emulated": "true"}
    nodes = [{"Alive": True, "Labels": labels} for labels in (emulation, board)]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    cluster = executor.cluster
    assert cluster.node_for(load_target("jetson-tx2")) == board
    assert cluster.node_for(load_target(TX2_CPU)) == board, "rather than its emulation"
    assert selector(board) == {TARGET_LABEL: "jetson-tx2", "sigdca.io/emulated": "!true"}
    assert cluster.lost_node_of(load_target("jetson-tx2")) is None
    nodes[1] |= {"Alive": False, "NodeManagerAddress": "10.0.0.9", "DeathReasonMessage": "why"}
    lost = cluster.lost_node_of(load_target("jetson-tx2"))
    assert str(lost) == "its node 10.0.0.9 has left the cluster (why)"
    del nodes[1]
    assert cluster.node_for(load_target("jetson-tx2")) is None
    assert cluster.node_for(load_target(TX2_CPU)) == emulation


def test_both_emulated_targets_are_exact_and_the_gpu_needs_its_board(executor, job, initial):
    names = [emulated(ATOM).name, "jetson-tx2", emulated(TX2_CPU).name]
    task = edge_task(executor, job, initial, ATOM)
    tasks = [EdgeTask(name, task.model, job.data, 50, task.reference_logits) for name in names]
    results = executor.edge_tests(tasks)
    assert [result.target for result in results] == names
    assert [result.verdict for result in results] == ["exact", "device-required", "exact"], [
        result.reason for result in results
    ]
    for result in (results[0], results[2]):
        assert (result.evidence, result.emulated) == ("isa", True)
        assert result.num_samples == 50
        assert result.latency_us is None
        assert result.logits_sha256 == result.reference_logits_sha256
    assert "jetson-tx2" in results[1].reason


def test_onnxruntime_stays_an_engine_of_targets(executor, job, initial, tmp_path):
    emulated(ATOM)
    text = (spec.Path(spec.__file__).parent / f"{ATOM}.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace('engine = "native"', 'engine = "onnxruntime"'))
    (result,) = executor.edge_tests([edge_task(executor, job, initial, str(mine), "onnxruntime")])
    assert result.verdict in ("exact", "tolerance"), result.reason
    assert (result.evidence, result.engine.split()[0]) == ("isa", "onnxruntime")


def test_without_qemu_the_loop_is_told_and_goes_on(executor, job, initial, monkeypatch, tmp_path):
    task = edge_task(executor, job, initial, ATOM)
    monkeypatch.setenv("PATH", str(tmp_path))
    (result,) = executor.edge_tests([task])
    assert result.verdict == "device-required"
    assert "qemu" in result.reason


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (signal.SIGSTOP, r"did not answer within 2 s \(edge_test.timeout_s 1 \+ 1\)$"),
        (signal.SIGKILL, r"failed: .*(?i:died|exit|connection).*$"),
    ],
    ids=["frozen", "killed"],
)
def test_a_leg_that_is_lost_is_given_up_and_said(
    executor, job, initial, monkeypatch, number, said
):
    emulated(ATOM)
    task = dataclasses.replace(edge_task(executor, job, initial, ATOM), timeout_s=1.0)
    monkeypatch.setattr("sigdca.distributed.edge.GRACE_S", 1.0)
    # As soon as it has begun, well before it could give a result.
    monkeypatch.setattr("sigdca.distributed.edge._begun", begun_and_lost(number))
    (result,) = executor.edge_tests([task])
    assert result.verdict == "device-required"
    address = ray.util.get_node_ip_address()
    assert re.match(f"target '{ATOM}': its test leg on {address} {said}", result.reason)


def begun_and_lost(number):
    from sigdca.distributed.edge import _begun

    def begun(cluster, leg):
        node_id = _begun(cluster, leg)
        kill_one("ray::TestLeg", number)
        return node_id

    return begun


def test_a_board_needs_no_torch():
    code = "import sys, sigdca.distributed.leg; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
