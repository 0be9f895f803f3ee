"""The claims of training: overhead by plain torch, time to an accuracy, bytes, memory; on a GPU.

Both sides of each ratio run in turns, in processes of one thread each.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from claims import Claim, at_most, main, seen
from link import two_hosts
from training_accuracy import RECIPES, time_to_accuracy
from training_gpu import WAYS, measure_gpu, ways

from sigdca.models import build

HERE = Path(__file__).resolve().parent
WORKER, PLAIN = HERE / "training_worker.py", HERE / "training_plain.py"
LINK_MEGABITS = 100
FLOAT = 4


@dataclass(frozen=True)
class Network:
    """One of the networks, and how much of it a measurement takes.

    Attributes:
        name: in `MODELS`.
        shape: of its images.
        batch: images a step where speed is measured.
        steps: so many of them.
    """

    name: str
    shape: tuple[int, int, int]
    batch: int
    steps: int

    def words(self, batch: int, steps: int) -> list[str]:
        """As the programs' options."""
        shape = [str(side) for side in self.shape]
        sizes = ["--batch", str(batch), "--steps", str(steps)]
        return ["--model", self.name, "--shape", *shape, *sizes]


LENET = Network("lenet-5", (1, 28, 28), 64, 200)
ALEXNET = Network("alexnet", (3, 224, 224), 16, 14)
VGG = Network("vgg-16", (3, 224, 224), 4, 10)


def strategy(
    network: Network,
    name: str,
    *,
    batch: int,
    steps: int,
    processes: int = 2,
    more: tuple[str, ...] = (),
    hosts: list[list[str]] | None = None,
) -> list[dict[str, Any]]:
    """Trains some steps under a strategy; what each process found."""
    environment = os.environ | ({"GLOO_SOCKET_IFNAME": "eth0"} if hosts else {})
    with tempfile.TemporaryDirectory() as folder:
        meeting = ["--meeting", f"file://{folder}/meeting", "--world-size", str(processes)]
        words = [*network.words(batch, steps), "--strategy", name, *meeting, *more]
        running = [
            subprocess.Popen(
                [
                    *(hosts[rank] if hosts else []),
                    *(sys.executable, str(WORKER), *words, "--rank", str(rank)),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
            )
            for rank in range(processes)
        ]
        outputs = [process.communicate()[0] for process in running]
    for process in running:
        if process.returncode != 0:
            raise SystemExit(f"{name} on {network.name}: exit code {process.returncode}")
    return [json.loads(output) for output in outputs]


def plain(network: Network, processes: int) -> list[float]:
    """Seconds of each step of the plain script; with several processes, under torchrun."""
    command = [sys.executable, str(PLAIN)]
    if processes > 1:
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        command = [*launcher, "--nproc-per-node", str(processes), str(PLAIN)]
    done = subprocess.run(
        [*command, *network.words(network.batch, network.steps)],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[float] = json.loads(done.stdout)["step_s"]
    return found


def overhead(network: Network, processes: int, rounds: int) -> list[Claim]:
    """A step of ddp by one of the plain script's; medians of a round, without the first steps."""
    ratios, rates = [], []
    for number in range(rounds):
        sides = ["plain", "ddp"] if number % 2 else ["ddp", "plain"]
        steps: dict[str, float] = {}
        for side in sides:
            if side == "plain":
                times = plain(network, processes)
            else:
                size = {"batch": network.batch, "steps": network.steps}
                times = strategy(network, "ddp", processes=processes, **size)[0]["step_s"]
            steps[side] = statistics.median(times[4:])
        ratios.append(100 * (steps["ddp"] / steps["plain"] - 1))
        rates.append(network.batch / steps["ddp"])
        say(f"{network.name}, {processes}: {steps['plain']:.4f} s plain, {steps['ddp']:.4f} s")
    where = f"{network.name}, {processes} process{'es' if processes > 1 else ''}"
    against = "torchrun" if processes > 1 else "a plain loop"
    speed = seen(f"{where}: images a second", rates, "images/s")
    return [at_most(f"{where}: step, longer by", ratios, 3.0, "%", against), speed]


def formula(network: Network, batch: int) -> dict[str, float]:
    """Bytes that each of two processes must send in a step, of weights and activations alone.

    ddp: an all-reduce of all gradients. hybrid: one of the convolutions'; the features before the
    first FC layer are gathered, and their gradients summed; the sums of each second FC layer and
    the gradients that enter each later pair are all-reduced.
    """
    layers = dict(build(network.name).named_modules())
    linear = [layer for layer in layers.values() if type(layer).__name__ == "Linear"]
    whole = sum(p.numel() for p in build(network.name).parameters())
    in_fc = sum(p.numel() for layer in linear for p in layer.parameters())
    # Of n processes each sends 2 (n - 1) / n of what is all-reduced, half of it if gathered.
    activations = batch * linear[0].in_features  # 1/2 forwards and 1/2 backwards
    for index, layer in enumerate(linear):
        second, later = index % 2 == 1, index % 2 == 0 and index > 0
        if second or (index == len(linear) - 1 and not second):
            activations += batch * layer.out_features
        if later:
            activations += batch * layer.in_features
    return {"ddp": FLOAT * whole, "hybrid": FLOAT * (whole - in_fc + activations)}


def bytes_sent(network: Network, parts: int, rounds: int, batch: int = 128) -> list[Claim]:
    """What hybrid sends, by ddp's; and its step over a slow link, by ddp's."""
    ratios, sent = [], {"ddp": 0.0, "hybrid": 0.0}
    times: dict[str, list[float]] = {"ddp": [], "hybrid": []}
    with two_hosts(LINK_MEGABITS) as hosts:
        for _ in range(rounds):
            for name in sent:
                found = strategy(
                    network,
                    name,
                    batch=batch,
                    steps=3,
                    more=("--parts", str(parts)),
                    hosts=hosts,
                )
                sent[name] = statistics.mean(found[0]["sent_bytes"])
                times[name].append(statistics.median(found[0]["step_s"]))
                say(f"{network.name}, {name}: {sent[name]:,.0f} bytes, {times[name][-1]:.1f} s")
            ratios.append(sent["hybrid"] / sent["ddp"])
    expected = formula(network, batch)
    by_formula = expected["hybrid"] / expected["ddp"]
    where = f"{network.name}, batch {batch}, 2 processes"
    steps = [mine / theirs for mine, theirs in zip(times["hybrid"], times["ddp"], strict=True)]
    link = f"{where}, {LINK_MEGABITS} Mbit/s"
    return [
        at_most(f"{where}: hybrid sends, by ddp", ratios, 0.25, "ratio", "ddp"),
        at_most(
            f"{where}: the same, off the formula's {by_formula:.4f} by",
            [abs(ratio / by_formula - 1) for ratio in ratios],
            0.15,
            "share",
            "the formula",
        ),
        at_most(f"{link}: hybrid's step, by ddp's", steps, 1.0, "ratio", "ddp"),
    ]


def memory(rounds: int) -> list[Claim]:
    """The most memory of a process that trains VGG-16 with one image, by ddp's."""
    kinds: dict[str, tuple[str, ...]] = {
        "ddp": (),
        "fsdp": (),
        "deepspeed": ("--stage", "3"),
    }
    found: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(rounds):
        for name, more in kinds.items():
            ranks = strategy(VGG, name, batch=2, steps=3, more=more)
            found[name].append(max(rank["peak_bytes"] for rank in ranks))
            say(f"vgg-16, {name}: {found[name][-1] / 1e6:,.0f} MB")
    titles = {"fsdp": "fsdp", "deepspeed": "deepspeed, ZeRO-3"}
    return [
        at_most(
            f"vgg-16, 2 processes: most memory, {title}",
            [mine / ddp for mine, ddp in zip(found[name], found["ddp"], strict=True)],
            0.65,
            "ratio",
            "ddp",
        )
        for name, title in titles.items()
    ]


def say(line: str) -> None:
    """Progress, for whoever watches."""
    print(line, file=sys.stderr, flush=True)


def measure(quick: bool) -> list[Claim]:
    """All claims; quickly, the small network's speed, AlexNet's bytes and the memory, once."""
    claims = []
    for network in [LENET] if quick else [LENET, ALEXNET, VGG]:
        for processes in (1, 2):
            # A step of the smallest takes so little that the machine's noise is most of it.
            claims += overhead(network, processes, 9 if network is LENET else 7)
    claims += bytes_sent(ALEXNET, 1, 1 if quick else 3)
    if not quick:
        claims += bytes_sent(VGG, 8, 1)
    claims += memory(1 if quick else 3)
    return claims if quick else claims + measure_accuracy(quick) + measure_ways(quick)


def measure_accuracy(quick: bool) -> list[Claim]:
    """Seconds to an accuracy on MNIST by a plain torch script's, with each seed."""
    return time_to_accuracy(RECIPES, 1 if quick else 3)


def measure_ways(quick: bool) -> list[Claim]:
    """What bf16, channels last and torch.compile do to a step, on this processor."""
    names = [ALEXNET] if quick else [ALEXNET, VGG]
    found = [ways(net.name, net.batch, 1 if quick else 7, "cpu", WAYS) for net in names]
    return [claim for claims in found for claim in claims]


if __name__ == "__main__":
    main(__doc__, measure, gpu=measure_gpu, accuracy=measure_accuracy, ways=measure_ways)
