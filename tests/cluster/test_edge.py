"""EDGE TEST by an actor that is pinned to a target's node."""

import ray

from sigdca.distributed.cluster import TARGET_LABEL, emulating_node
from sigdca.distributed.edge import TestLeg
from sigdca.engines import to_onnx
from sigdca.loop import EdgeTask, TestTask

ATOM = "atom-x5-e3940"


def edge_task(executor, job, initial, target):
    graph, state = initial
    reference = executor.test(TestTask(graph, state, job.data, "onnxruntime", 2)).logits[:50]
    return EdgeTask(target, to_onnx(graph, state), job.data, 50, reference)


def test_the_leg_runs_on_the_emulating_node(executor, job, initial):
    with emulating_node(executor.cluster, ATOM, 1) as labels:
        assert labels["sigdca.io/emulated"] == "true"
        node_id = next(
            node["NodeID"]
            for node in ray.nodes()
            if node["Alive"] and node["Labels"].get(TARGET_LABEL) == ATOM
        )
        actor = ray.remote(num_cpus=1, label_selector={TARGET_LABEL: ATOM})(TestLeg)
        leg = actor.remote()
        assert ray.get(leg.ready.remote(), timeout=60) == node_id
        assert node_id != ray.get_runtime_context().get_node_id()
        ray.kill(leg)
        assert executor.cluster.num_cpus() == 2, "a board's CPUs are no server's"


def test_an_emulated_atom_gives_a_verdict_with_its_evidence(executor, job, initial):
    result = executor.edge_test(edge_task(executor, job, initial, ATOM))
    assert result.verdict in ("exact", "tolerance"), result.reason
    assert (result.evidence, result.emulated) == ("isa", True)
    assert result.num_samples == 50
    assert result.latency_us is None
    assert len(result.logits_sha256) == 64


def test_a_target_that_cannot_be_emulated_is_device_required(executor, job, initial):
    result = executor.edge_test(edge_task(executor, job, initial, "jetson-tx2"))
    assert result.verdict == "device-required"
    assert result.evidence is None
    assert "jetson-tx2" in result.reason


def test_without_qemu_the_loop_is_told_and_goes_on(executor, job, initial, monkeypatch, tmp_path):
    task = edge_task(executor, job, initial, ATOM)
    monkeypatch.setenv("PATH", str(tmp_path))
    result = executor.edge_test(task)
    assert result.verdict == "device-required"
    assert "qemu" in result.reason
