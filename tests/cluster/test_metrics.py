"""A node exports what training sets of Ray's gauges, as Prometheus reads it."""

import time
import urllib.request
from dataclasses import asdict, replace

import ray

from sigdca.distributed.metrics import Metered
from sigdca.loop import Unobserved
from sigdca.training import EpochFigures

WAIT_S = 60.0  # Ray exports every ten seconds


def exported():
    (node,) = ray.nodes()
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    with urllib.request.urlopen(address, timeout=10) as answer:
        return answer.read().decode().splitlines()


def test_a_node_exports_the_figures_of_training(executor, task):
    figures = EpochFigures(1, 0.25, 1500.0, 0.0, accuracy=98.5)
    Metered(Unobserved(), replace(task, job="lenet", stage="train-1")).epoch(asdict(figures))
    until, found = time.monotonic() + WAIT_S, []
    while not found and time.monotonic() < until:
        time.sleep(1)
        found = [line for line in exported() if line.startswith("ray_sigdca_train_accuracy{")]
    (line,) = found
    assert 'job="lenet"' in line
    assert 'stage="train-1"' in line
    assert line.endswith(" 98.5")
