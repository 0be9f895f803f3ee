"""A process that puts samples into a store, batch by batch, until something ends it.

`python benchmarks/edge_filling.py STORE NUMBER`: says `ready`, waits for a line, then says the
number of each batch that is on the disk.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from sigdca.edge.acquired import Acquired
from sigdca.edge.samples import NO_LABEL, Samples

SHAPE = (1, 28, 28)
BATCH = 20  # samples
BATCHES = 12  # of a process that lives long enough


def batch(number: int, turn: int) -> Samples:
    """What process `number` stores as its batch `turn`: images that no other has."""
    rng = np.random.default_rng((number, turn))
    return Samples(
        images=rng.integers(0, 256, (BATCH, *SHAPE), np.uint8),
        times_s=np.full(BATCH, number + turn / BATCHES),
        classes=np.zeros(BATCH, np.int64),
        margins=np.zeros(BATCH, np.float32),
        labels=np.full(BATCH, NO_LABEL, np.int64),
        models=np.full(BATCH, "0" * 64),
    )


if __name__ == "__main__":
    store, process = Acquired(Path(sys.argv[1])), int(sys.argv[2])
    print("ready", flush=True)
    sys.stdin.readline()
    for turn in range(BATCHES):
        store.append(batch(process, turn))
        print(turn, flush=True)
