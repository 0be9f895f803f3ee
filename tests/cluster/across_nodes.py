"""Trains on a lab's cluster; run by `test_across_nodes.py` on the lab's head.

python across_nodes.py ADDRESS FOLDER STRATEGY[,...]|at-least-N-STRATEGY-EPOCHS

prints a line of JSON an event
"""

import json
import sys
from pathlib import Path

from sigdca.distributed import connect
from sigdca.job import parse_job
from sigdca.loop import TrainTask, Unobserved
from sigdca.loop.network import initial_model, state_of
from sigdca.storage import open_store

JOB = """
name: across
model: lenet-5
data: {source: mnist, limit: 3000}
train: {workers: 3, epochs: 1, batch_size: 60, learning_rate: 0.02}
"""


def tell(kind, content):
    print(json.dumps([kind, content]), flush=True)


class Telling(Unobserved):
    def epoch(self, figures):
        tell("epoch", figures)

    def note(self, line):
        tell("note", line)


def main(address, folder, what):
    with connect(address, 3) as executor:
        if what.startswith("at-least-"):
            least, strategy, epochs = what.removeprefix("at-least-").split("-")
            few = {"workers_at_least": int(least), "strategy": strategy, "epochs": int(epochs)}
            train(executor, folder, what, few)
            return
        for strategy in what.split(","):
            train(executor, folder, strategy, {"strategy": strategy})


def train(executor, folder, key, settings):
    import torch

    job = parse_job(JOB, "across.yaml")
    config = job.train.model_copy(update=settings)
    torch.manual_seed(0)
    task = TrainTask(
        key=key,
        model=job.model,
        state=state_of(initial_model(job)),
        source=job.data,
        config=config,
        train=config,
        retrained=None,
        seed=5,
        checkpoints=open_store(str(Path(folder) / "checkpoints")),
    )
    outcome = executor.train(task, Telling())
    tell("done", {"key": key, "epochs": outcome.epochs})


if __name__ == "__main__":
    main(*sys.argv[1:])
