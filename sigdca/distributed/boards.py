"""The boards of a study: each measures a container at a time, while servers go on with others."""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from sigdca.distributed.cluster import Cluster, is_emulated, selector
from sigdca.distributed.faults import root_cause
from sigdca.distributed.leg import TestLeg
from sigdca.edge.legs import DEFAULT_TIMEOUT_S, MAX_REPEATS, LegResult, device_required
from sigdca.errors import SigdcaError
from sigdca.job import Job
from sigdca.loop import noise_task
from sigdca.storage import Store
from sigdca.targets import Target, load_target

NUM_IMAGES = 100
LOOK_EVERY_S = 5.0  # for boards that come back, and whether those at work are still there
# All legs of a measurement, the one that warms up too, and as long again as one for its energy.
ANSWER_TIMEOUT_S = (MAX_REPEATS + 2) * DEFAULT_TIMEOUT_S
MAX_LOSSES = 3  # of a container's legs, on a board that the cluster takes for alive

OnMeasured = Callable[[int, Mapping[str, float]], None]


@dataclass
class _Board:
    """A target's queue, and the leg that is at work; `name` is what the job calls it."""

    name: str
    target: Target
    queue: deque[tuple[int, str]] = field(default_factory=deque)
    actor: Any = None
    at_work: tuple[int, str, Any, float] | None = None
    looked: float = 0.0
    losses: Counter[str] = field(default_factory=Counter)

    @property
    def alive(self) -> bool:
        return self.actor is not None


class Boards:
    """Measures latency and energy of containers on the boards that the cluster has.

    All is asked for and gathered by `poll`, so nothing here waits. What a board has measured, or
    why it could not, is kept in the study's folder by target and container: no container is
    measured twice.
    """

    def __init__(self, cluster: Cluster, job: Job, store: Store, on_measured: OnMeasured) -> None:
        """Looks for the boards.

        Args:
            cluster: where they have joined.
            job: whose search asks for figures of targets.
            store: the study's folder.
            on_measured: called with a trial's number and its figures.
        """
        self._cluster, self._job, self._store = cluster, job, store
        self._measured, self._on_measured = store.child("measured"), on_measured
        wanted = job.search.targets if job.search is not None else ()
        self._objectives = job.search.objectives if job.search is not None else {}
        if job.budget.fps is not None:
            wanted = tuple(dict.fromkeys((*wanted, *job.targets)))
        self._boards = {name: _Board(name, load_target(name)) for name in wanted}
        for board in self._boards.values():
            self._look(board)

    def ask(self, number: int, container: str) -> None:
        """Queues a trial's container for every target."""
        for board in self._boards.values():
            known = self._known(board, container)
            if known is None:
                board.queue.append((number, container))
            elif known:
                self._on_measured(number, known)

    def owes(self, number: int) -> bool:
        """Whether a living board still has a trial to measure."""
        return any(
            board.alive
            and (
                any(other == number for other, _ in board.queue)
                or (board.at_work is not None and board.at_work[0] == number)
            )
            for board in self._boards.values()
        )

    def is_idle(self) -> bool:
        """Whether no living board has anything to do."""
        return not any(
            board.alive and (board.queue or board.at_work) for board in self._boards.values()
        )

    def poll(self) -> None:
        """Gathers what boards have measured, gives them more, and looks for lost ones."""
        for board in self._boards.values():
            if board.at_work is not None:
                self._gather(board)
            if not board.alive and board.queue and time.monotonic() - board.looked > LOOK_EVERY_S:
                self._look(board)
            if board.alive and board.queue and not self._is_busy(board):
                self._start(board)

    def _is_busy(self, board: _Board) -> bool:
        """Whether its board measures, for this target or for another one of the same label."""
        label = board.target.label
        return any(one.at_work for one in self._boards.values() if one.target.label == label)

    def close(self) -> None:
        """Lets go of the boards."""
        for board in self._boards.values():
            self._lose(board)

    def _look(self, board: _Board) -> None:
        """Pins a leg to the target's board, if one has joined; an emulation has no latency."""
        board.looked = time.monotonic()
        labels = self._cluster.node_for(board.target)
        if labels is None or is_emulated(labels):
            return
        # It waits for its trials and answers one at a time, on a core of the board.
        options = {"num_cpus": 1, "max_concurrency": 1, "label_selector": selector(labels)}
        board.actor = ray.remote(**options)(TestLeg).remote()

    def _start(self, board: _Board) -> None:
        number, container = board.queue[0]
        known = self._known(board, container)
        if known is not None:
            board.queue.popleft()
            if known:
                self._on_measured(number, known)
            return
        content = self._store.child("shared").get(container)
        try:
            task = noise_task(content, board.name, self._job.data, NUM_IMAGES)
        except SigdcaError:  # this machine lacks the engine: nothing to compare with
            board.queue.popleft()
            return
        board.queue.popleft()
        asked = board.actor.measure.remote(
            board.target,
            task.model,
            task.images,
            task.reference_logits,
            f"energy_mj@{board.name}" in self._objectives,
        )
        board.at_work = (number, container, asked, time.monotonic())

    def _gather(self, board: _Board) -> None:
        assert board.at_work is not None
        _, _, asked, since = board.at_work
        ready, _ = ray.wait([asked], timeout=0)
        if ready:
            try:
                result: LegResult = ray.get(asked, timeout=0)
            except RayTaskError as error:  # the leg's own fault: it would come again
                self._keep(board, f"its test leg failed: {root_cause(error)}")
            except (RayError, TimeoutError) as error:
                self._cut_off(board, root_cause(error))
            else:
                self._keep(board, result)
        elif time.monotonic() - since > ANSWER_TIMEOUT_S:
            self._keep(board, f"its test leg did not answer within {ANSWER_TIMEOUT_S:.0f} s")
            self._lose(board)
        elif time.monotonic() - board.looked > LOOK_EVERY_S and not self._is_there(board):
            self._cut_off(board, "")

    def _keep(self, board: _Board, result: LegResult | str) -> None:
        """Writes down what a board has measured, or why it could not: it is not asked again."""
        assert board.at_work is not None
        number, container, _, _ = board.at_work
        board.at_work = None
        if isinstance(result, str):
            result = device_required(board.target, f"target '{board.target.name}': {result}")
        self._measured.write(_file(board, container), _dump(result))
        if figures := _figures(board.name, result):
            self._on_measured(number, figures)

    def _cut_off(self, board: _Board, why: str) -> None:
        """A board is dead or out of reach: its trials wait for its return.

        The cluster may take it for alive for a while. If it is so again and again, it is the
        container that ends the leg.
        """
        assert board.at_work is not None
        number, container, _, _ = board.at_work
        board.losses[container] += self._is_there(board)
        if board.losses[container] < MAX_LOSSES:
            board.queue.appendleft((number, container))
        else:
            self._keep(board, f"its test leg was lost {MAX_LOSSES} times: {why}")
        self._lose(board)

    def _is_there(self, board: _Board) -> bool:
        """Whether the cluster has a board of the target."""
        board.looked = time.monotonic()
        labels = self._cluster.node_for(board.target)
        return labels is not None and not is_emulated(labels)

    def _lose(self, board: _Board) -> None:
        if board.actor is not None:
            ray.kill(board.actor)
        board.actor, board.at_work, board.looked = None, None, time.monotonic()

    def _known(self, board: _Board, container: str) -> dict[str, float] | None:
        name = _file(board, container)
        if not self._measured.exists(name):
            return None
        return _figures(board.name, _load(self._measured.read(name)))


def _file(board: _Board, container: str) -> str:
    return f"{board.target.name}-{container}.json"


def _dump(result: LegResult) -> bytes:
    return json.dumps(asdict(result), indent=1).encode()


def _load(content: bytes) -> LegResult:
    return LegResult(**json.loads(content))


def _figures(target: str, result: LegResult) -> dict[str, float]:
    """What a leg says of the target; nothing if it took no time, or its logits are wrong."""
    if result.latency_us is None or result.verdict == "device-required":
        return {}
    figures = {
        f"latency_us@{target}": result.latency_us,
        f"fps@{target}": 1e6 / result.latency_us,
    }
    if result.energy_mj is not None:
        figures[f"energy_mj@{target}"] = result.energy_mj
    return figures
