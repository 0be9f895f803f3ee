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


def test_a_node_exports_the_figures_of_each_stage(executor, task):
    told = {"train-1": 98.5, "retrain-prune-1": 97.25}
    for stage, accuracy in told.items():
        figures = EpochFigures(1, 0.25, 1500.0, 0.0, accuracy=accuracy)
        named = replace(task, job="lenet", stage=stage)
        Metered(Unobserved(), named).epoch(asdict(figures))
    until, found = time.monotonic() + WAIT_S, []
    while len(found) < len(told) and time.monotonic() < until:
        time.sleep(1)
        found = [line for line in exported() if line.startswith("ray_sigdca_train_accuracy{")]
    for stage, accuracy in told.items():
        (line,) = [line for line in found if f'stage="{stage}"' in line]
        assert 'job="lenet"' in line
        assert line.endswith(f" {accuracy}")
