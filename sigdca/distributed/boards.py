"""The boards of a study: each measures a container at a time, while servers go on with others."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from sigdca.distributed.cluster import Cluster, is_emulated, selector
from sigdca.distributed.faults import root_cause
from sigdca.distributed.leg import TestLeg
from sigdca.edge.legs import DEFAULT_TIMEOUT_S, MAX_REPEATS, LegResult, device_required
from sigdca.errors import SigdcaError
from sigdca.job import Job
from sigdca.job.budget import bounds_at, figures_at
from sigdca.loop import noise_task
from sigdca.search import asked_targets
from sigdca.storage import Store
from sigdca.targets import Target, load_target

NUM_IMAGES = 100
NUM_EMULATED = 10  # one runs the instructions of a hundred; VGG-16 takes minutes
LOOK_EVERY_S = 5.0  # for boards that come back, and whether those at work are still there
# All legs of a measurement, the one that warms up too, and as long again as one for its energy.
ANSWER_TIMEOUT_S = (MAX_REPEATS + 2) * DEFAULT_TIMEOUT_S
MAX_LOSSES = 3  # of a container's legs, on a board that the cluster takes for alive
# So ends the reason of a version that held a change of class on random images against a container.
_NO_FLIPS = "images change class (bound 0)"

OnMeasured = Callable[[int, Mapping[str, float]], None]
OnRefused = Callable[[int, str], None]


@dataclass(frozen=True)
class _Ask:
    """A trial's container, and the target that is to measure it; `name` is the job's for it."""

    number: int
    container: str
    name: str
    target: Target
    emulated: bool

    @property
    def file(self) -> str:
        """Where the answer is kept."""
        return f"{self.target.name}-{self.container}{'.isa' if self.emulated else ''}.json"


@dataclass
class _Board:
    """The queue of all targets that one node stands for, and the leg that is at work.

    A board stands for all targets with its label, a node that emulates for one.
    """

    emulated: bool
    targets: dict[str, Target] = field(default_factory=dict)
    queue: deque[_Ask] = field(default_factory=deque)
    actor: Any = None
    at_work: tuple[_Ask, Any, float] | None = None
    looked: float = 0.0
    losses: Counter[str] = field(default_factory=Counter)

    @property
    def alive(self) -> bool:
        return self.actor is not None


class Boards:
    """Measures containers on the boards that the cluster has: latency, energy, power, memory.

    Nodes that emulate a target prove its containers, where the cluster has no board: they compute
    the target's bits and need its memory, but their time is no device's. All is asked for and
    gathered by `poll`, so nothing here waits. What a board has measured, or why it could not, is
    kept in the study's folder by target and container: no container is measured twice, unless
    nobody asked for its energy the first time.
    """

    def __init__(
        self,
        cluster: Cluster,
        job: Job,
        store: Store,
        on_measured: OnMeasured,
        on_refused: OnRefused,
    ) -> None:
        """Looks for the boards.

        Args:
            cluster: where they have joined.
            job: whose search asks for figures of targets.
            store: the study's folder.
            on_measured: called with a trial's number and its figures.
            on_refused: called with a trial's number, and why a board's own logits prove its
                container wrong.
        """
        self._cluster, self._job, self._store = cluster, job, store
        self._measured, self._on_measured = store.child("measured"), on_measured
        self._on_refused = on_refused
        objectives = job.search.objectives if job.search is not None else {}
        self._counts = {*objectives, *bounds_at(job.budget, job.targets)}
        boards: dict[str, _Board] = {}
        emulations = []
        for name in asked_targets(job):
            target = load_target(name)
            boards.setdefault(target.label, _Board(emulated=False)).targets[name] = target
            if target.emulator is not None and not target.emulator.blocked_by:
                emulations.append(_Board(emulated=True, targets={name: target}))
        self._boards = [*boards.values(), *emulations]
        for board in self._boards:
            self._look(board)

    def ask(self, number: int, container: str) -> None:
        """Queues a trial's container for every target."""
        for board in self._boards:
            for name, target in board.targets.items():
                asked = _Ask(number, container, name, target, board.emulated)
                if self._needs_no_proof(asked):
                    continue
                known = self._known(asked)
                if known is None:
                    board.queue.append(asked)
                else:
                    self._tell(asked, known)

    def owes(self, number: int) -> bool:
        """Whether a living board still has a trial to measure; an emulation's memory can wait."""
        return any(
            board.alive
            and not board.emulated
            and (
                any(asked.number == number for asked in board.queue)
                or (board.at_work is not None and board.at_work[0].number == number)
            )
            for board in self._boards
        )

    def is_idle(self) -> bool:
        """Whether no living board has anything to do."""
        return not any(board.alive and (board.queue or board.at_work) for board in self._boards)

    def poll(self) -> None:
        """Gathers what boards have measured, gives them more, and looks for lost ones."""
        for board in self._boards:
            if board.at_work is not None:
                self._gather(board)
            if not board.alive and board.queue and time.monotonic() - board.looked > LOOK_EVERY_S:
                self._look(board)
            if board.alive and board.queue and board.at_work is None:
                self._start(board)

    def close(self) -> None:
        """Lets go of the boards."""
        for board in self._boards:
            self._lose(board)

    def _look(self, board: _Board) -> None:
        """Pins a leg to the node, if it has joined."""
        labels = self._labels(board)
        if labels is None:
            return
        # It waits for its trials and answers one at a time; on a core of the board, which nobody
        # else must have while it measures.
        options = {
            "num_cpus": 0 if board.emulated else 1,
            "max_concurrency": 1,
            "label_selector": selector(labels),
        }
        board.actor = ray.remote(**options)(TestLeg).remote()

    def _labels(self, board: _Board) -> dict[str, str] | None:
        """Those of the node; None if the cluster has none: a board takes an emulation's place."""
        board.looked = time.monotonic()
        labels = self._cluster.node_for(next(iter(board.targets.values())))
        return labels if labels is not None and is_emulated(labels) == board.emulated else None

    def _start(self, board: _Board) -> None:
        asked = board.queue.popleft()
        if self._needs_no_proof(asked):
            return
        known = self._known(asked)
        if known is not None:
            self._tell(asked, known)
            return
        content = self._store.child("shared").get(asked.container)
        num_images = NUM_EMULATED if asked.emulated else NUM_IMAGES
        try:
            task = noise_task(content, asked.name, self._job.data, num_images)
        except SigdcaError:  # this machine lacks the engine: nothing to compare with
            return
        answer = board.actor.measure.remote(
            asked.target,
            task.model,
            task.images,
            task.reference_logits,
            asked.emulated,
            self._needs_energy(asked),
        )
        board.at_work = (asked, answer, time.monotonic())

    def _gather(self, board: _Board) -> None:
        assert board.at_work is not None
        _, answer, since = board.at_work
        ready, _ = ray.wait([answer], timeout=0)
        if ready:
            try:
                result: LegResult = ray.get(answer, timeout=0)
            except RayTaskError as error:  # the leg's own fault: it would come again
                self._keep(board, f"its test leg failed: {root_cause(error)}")
            except (RayError, TimeoutError) as error:
                self._cut_off(board, root_cause(error))
            else:
                self._keep(board, result)
        elif time.monotonic() - since > ANSWER_TIMEOUT_S:
            self._keep(board, f"its test leg did not answer within {ANSWER_TIMEOUT_S:.0f} s")
            self._lose(board)
        elif time.monotonic() - board.looked > LOOK_EVERY_S and self._labels(board) is None:
            self._cut_off(board, "")

    def _keep(self, board: _Board, result: LegResult | str) -> None:
        """Writes down what a board has measured, or why it could not: it is not asked again."""
        assert board.at_work is not None
        asked, _, _ = board.at_work
        board.at_work = None
        if isinstance(result, str):
            result = device_required(asked.target, f"target '{asked.target.name}': {result}")
        self._measured.write(asked.file, _dump(result))
        self._tell(asked, result)

    def _tell(self, asked: _Ask, result: LegResult) -> None:
        """What the board said of a container: its figures, or that it computes something else."""
        if result.verdict != "device-required":
            if figures := self._asked_for(asked.name, result):
                self._on_measured(asked.number, figures)
        elif result.evidence is not None:  # it ran there to its end; else nothing is known
            self._on_refused(asked.number, f"target '{asked.name}': {result.reason}")

    def _asked_for(self, name: str, result: LegResult) -> dict[str, float]:
        """What a leg has measured; its memory only where that counts."""
        figures = figures_at(name, vars(result))
        memory = f"memory_bytes@{name}"
        return {at: value for at, value in figures.items() if at != memory or at in self._counts}

    def _cut_off(self, board: _Board, why: str) -> None:
        """A board is dead or out of reach: its trials wait for its return.

        The cluster may take it for alive for a while. If it is so again and again, it is the
        container that ends the leg.
        """
        assert board.at_work is not None
        asked, _, _ = board.at_work
        board.losses[asked.file] += self._labels(board) is not None
        if board.losses[asked.file] < MAX_LOSSES:
            board.queue.appendleft(asked)
        else:
            self._keep(board, f"its test leg was lost {MAX_LOSSES} times: {why}")
        self._lose(board)

    def _lose(self, board: _Board) -> None:
        if board.actor is not None:
            ray.kill(board.actor)
        board.actor, board.at_work, board.looked = None, None, time.monotonic()

    def _known(self, asked: _Ask) -> LegResult | None:
        if not self._measured.exists(asked.file):
            return None
        told = json.loads(self._measured.read(asked.file))
        result = LegResult(**told)
        if result.verdict == "device-required":
            is_old = result.argmax_flips and result.reason.endswith(_NO_FLIPS)
            return None if is_old else result
        return None if self._lacks(asked, told) else result

    def _lacks(self, asked: _Ask, told: Mapping[str, Any]) -> bool:
        """Whether a figure is asked for that nobody asked for, or that no leg told, then."""
        if f"memory_bytes@{asked.name}" in self._counts and "memory_bytes" not in told:
            return True
        if not self._needs_energy(asked) or told["latency_us"] is None:
            return False
        if told["energy_mj"] is None:
            return not told["energy_note"]  # else it says why not
        return f"power_mw@{asked.name}" in self._counts and "power_mw" not in told

    def _needs_no_proof(self, asked: _Ask) -> bool:
        """Whether a board itself has said what an emulation is asked for."""
        of_board = replace(asked, emulated=False).file
        if not asked.emulated or not self._measured.exists(of_board):
            return False
        return json.loads(self._measured.read(of_board))["evidence"] is not None

    def _needs_energy(self, asked: _Ask) -> bool:
        names = {f"energy_mj@{asked.name}", f"power_mw@{asked.name}"}
        return not asked.emulated and not names.isdisjoint(self._counts)


def _dump(result: LegResult) -> bytes:
    return json.dumps(asdict(result), indent=1).encode()
