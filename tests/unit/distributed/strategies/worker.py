"""One of several processes that train under a strategy; run by `test_contract.py`.

worker.py STRATEGY[-STAGE]|fsdp-streamed|alone RANK PROCESSES MEETING_FILE OUTPUT [OTHER]
"""

import copy
import itertools
import pickle
import sys
import tempfile
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from sigdca.compression import hook_for, prepare_
from sigdca.distributed.strategies import STRATEGIES, sharded, streamed
from sigdca.errors import JobError, SigdcaError
from sigdca.job import Prune, Quantize, Share
from sigdca.job.recipe import Optimisation
from sigdca.loop.work import make_repeatable
from sigdca.models import trace
from sigdca.training import (
    InMemory,
    Parallel,
    Place,
    load_checkpoint,
    loop,
    meter,
    save_checkpoint,
    tensors,
    train_,
)

BATCH = 12  # of 1, 2 or 3 processes
CONFIG = Optimisation(epochs=3, learning_rate=0.05, weight_decay=1e-3)
HOOKED = {
    "prune": Prune(sparsity={"conv": 0.3, "ip": 0.7}, epochs=3, learning_rate=0.05),
    "movement": Prune(sparsity=0.5, importance="movement", epochs=2, learning_rate=0.05),
    "share": Share(bits=3, epochs=2, learning_rate=1e-3),
    "quantize": Quantize(step=0.05, rate_lambda=1e-5, epochs=3, learning_rate=0.05),
}


class Net(nn.Module):
    """Convolutions with a batch norm, dropout, and three fully connected layers of odd sizes."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 5, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(5)
        self.conv2 = nn.Conv2d(5, 3, 3, bias=False)
        self.ip1 = nn.Linear(3 * 36, 13)
        self.drop = nn.Dropout(dropout)
        self.ip2 = nn.Linear(13, 7)
        self.drop2 = nn.Dropout(dropout)
        self.ip3 = nn.Linear(7, 3)

    def forward(self, x):
        x = torch.relu(self.norm1(self.conv1(x)))
        x = torch.relu(self.conv2(x)).flatten(1)
        x = self.drop(torch.relu(self.ip1(x)))
        return self.ip3(self.drop2(torch.relu(self.ip2(x))))


class Spare(Net):
    """With a layer that nothing reads."""

    def __init__(self):
        super().__init__()
        self.norm1 = nn.Identity()
        self.spare = nn.Linear(7, 3)


class Headless(nn.Module):
    """A network without fully connected layers."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 3, 8)

    def forward(self, x):
        return self.conv1(x).flatten(1)


def data(num=48):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, num).astype(np.uint8)
    images = rng.integers(0, 100, (num, 1, 8, 8)).astype(np.uint8)
    for number, label in enumerate(labels):
        images[number, :, 2 * label : 2 * label + 3] += 120
    return images, labels


def fresh(norm=False, dropout=0.0):
    """The network; without batch norm, whose statistics are those of a process's own images."""
    torch.manual_seed(0)
    net = Net(dropout)
    if not norm:
        net.norm1 = nn.Identity()
    return net


@dataclass(frozen=True)
class Way:
    """How the processes share the work."""

    strategy: type[Parallel] = Parallel
    place: Place = field(default_factory=Place)
    options: dict = field(default_factory=dict)


def read(checkpoint, rank_0):
    """The checkpoint as it comes back from a file of rank 0; None in the other processes."""
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(folder if rank_0 else None, checkpoint)
        if not rank_0:
            return None
        found = load_checkpoint(folder)
        return replace(
            found,
            model={name: value[...] for name, value in found.model.items()},
            optimizer={
                number: {name: value[...] for name, value in state.items()}
                for number, state in found.optimizer.items()
            },
            file=None,
        )


def train(way, config=CONFIG, net=None, hook=None, **options):
    """What a stage does: gives the state, the losses and the checkpoints (of rank 0)."""
    net = fresh() if net is None else net
    checkpoints = []
    images, labels = data()
    options = {"input_scale": 1 / 255, "batch_size": BATCH, "seed": 7} | options
    figures = train_(
        net,
        InMemory(images, labels),
        config,
        hook=None if hook is None else hook_for(hook, net),
        place=way.place,
        strategy=way.strategy,
        options=way.options,
        on_epoch=lambda _, checkpoint: checkpoints.append(read(checkpoint(), way.place.rank == 0)),
        **options,
    )
    state = {name: value.clone() for name, value in net.state_dict().items()}
    return {
        "state": state,
        "losses": [figure.loss for figure in figures],
        "accuracies": [figure.accuracy for figure in figures],
        "sparsity": figures[-1].sparsity if figures else None,
        "sent_bytes": [figure.sent_bytes for figure in figures],
        "checkpoints": checkpoints,
    }


def from_rank_0(checkpoint, alike):
    """The checkpoint of rank 0. Where no process group is, the strategy must take its values."""
    box = [checkpoint]
    if dist.is_initialized():
        dist.broadcast_object_list(box, 0)
    if box[0] is not None:
        return box[0]
    taken = copy.deepcopy(alike)
    for group in (taken.model, *taken.optimizer.values()):
        for tensor in group.values():
            tensor.zero_()
    return taken


def misplaced(way):
    """What a strategy says whose environment is that of another place, or None."""
    place = Place(way.place.rank, way.place.world_size + 1)
    try:
        train(Way(way.strategy, place))
    except SigdcaError as error:
        return str(error)
    return None


def scenes(way, alone=None):
    """Every scene of the contract; of more than two processes, those that differ there."""
    few = way.place.world_size <= 2
    found = {"plain": train(way)}
    adam = CONFIG.model_copy(update={"optimizer": "adam", "learning_rate": 0.01})
    found["adam"] = train(way, adam)
    found["dropout"] = train(way, net=fresh(dropout=0.5))
    if way.strategy is not STRATEGIES["hybrid"]:
        found["uneven"] = train(way, batch_size=11)
    if few:
        found["norm"] = train(way, net=fresh(norm=True))
        found["bf16"] = train(way, precision="bf16")
        found["parts"] = train(way, accumulation_steps=3)
        torch.manual_seed(0)
        found["spare"] = train(way, net=Spare())
        # What a job may say; see `Job`.
        if way.strategy not in (STRATEGIES["deepspeed"], STRATEGIES["hybrid"]):
            found["fp16"] = train(way, precision="fp16")
        if way.strategy is not STRATEGIES["deepspeed"]:
            lars = CONFIG.model_copy(update={"optimizer": "lars", "learning_rate": 3.0})
            found["lars"] = train(way, lars)
    for kind, config in (("sgd", CONFIG), ("adam", adam)):
        scene = "plain" if kind == "sgd" else "adam"
        others = (alone or found)[scene]["checkpoints"][0]
        own = from_rank_0(found[scene]["checkpoints"][0], others)
        found[f"resumed {kind}"] = train(way, config, resume=own)
        if alone is not None:
            found[f"taken over {kind}"] = train(way, config, resume=others)
    for name, config in HOOKED.items() if few else []:
        net = fresh(norm=True)
        prepare_(net, config, 0, trace(net, (1, 8, 8), 1 / 255))
        found[name] = train(way, config, net, config)
    try:
        train(way, net=Headless(), config=CONFIG.model_copy(update={"epochs": 1}))
        found["headless"] = "trained"
    except JobError as error:
        found["headless"] = str(error)
    return found


def main(name, rank, world_size, meeting, output, alone=None):
    torch.set_num_threads(1)
    make_repeatable(Place())
    meter.SAMPLED_STEPS = (-1,)  # its own test is another
    tensors.PIECE_BYTES = sharded.PIECE_BYTES = 100  # so that checkpoints have several pieces
    sent = itertools.count(0, rank + 1)
    loop.sent_bytes = lambda _: next(sent)  # rank + 1 bytes in each epoch
    if name == "alone":
        found = scenes(Way())
    else:
        kind, _, stage = name.partition("-")
        if kind != "horovod":  # it has all it needs in the environment
            dist.init_process_group(
                "gloo", init_method=f"file://{meeting}", rank=rank, world_size=world_size
            )
        if stage == "streamed":  # all FC layers, in tiles of a few rows
            streamed.STREAMED_FROM, streamed.TILE_WEIGHTS, stage = 0, 100, ""
        options = {"zero_optimization": {"stage": int(stage)}} if stage else {}
        with open(alone, "rb") as file:
            first = pickle.load(file)
        way = Way(STRATEGIES[kind], Place(rank, world_size), options)
        found = scenes(way, first)
        if dist.is_initialized():
            dist.destroy_process_group()
        else:
            found["misplaced"] = misplaced(way)
    with open(output, "wb") as file:
        pickle.dump(found, file)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
