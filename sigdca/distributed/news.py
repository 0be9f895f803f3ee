"""What the driver hears of training while it goes on: epochs, steps, and what went wrong."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import ray
from ray.train import UserCallback
from ray.train.v2._internal.exceptions import WorkerGroupStartupTimeoutError
from ray.train.v2._internal.execution.callback import ControllerCallback
from ray.train.v2._internal.execution.controller.state import ReschedulingState, RunningState
from ray.util.queue import Queue

from sigdca.distributed.faults import root_cause
from sigdca.loop.executor import Observer
from sigdca.training import SpeedChoice, StepFigures


class News:
    """The workers' and the controller's end; it can be sent to them."""

    def __init__(self, queue: Queue) -> None:
        """Puts all it is told into `queue`."""
        self._queue = queue

    def epoch(self, figures: dict[str, Any]) -> None:
        """An epoch is done, and its checkpoint is kept."""
        self._queue.put(("epoch", figures))

    def step(self, figures: StepFigures) -> None:
        """Some steps of an epoch are done."""
        self._queue.put(("step", asdict(figures)))

    def speed(self, choice: SpeedChoice) -> None:
        """Two ways of computing were compared."""
        self._queue.put(("speed", choice))

    def began(self, num_workers: int, num_epochs: int) -> None:
        """Training begins, or goes on after so many epochs."""
        self._queue.put(("beginning", (num_workers, num_epochs)))

    def note(self, line: str) -> None:
        """Workers were lost, or will be."""
        self._queue.put(("note", line))


class FromController(UserCallback):  # type: ignore[misc]  # Ray's classes are not typed here
    """Ray Train's controller tells of epochs, and which workers ended, and why."""

    def __init__(self, news: News) -> None:
        """Passes it on."""
        self._news = news

    def after_report(
        self,
        run_context: Any,
        metrics: list[dict[str, Any]],
        checkpoint: ray.train.Checkpoint | None,
    ) -> None:
        """Only now is the checkpoint one to go on from: a worker does not know when that is."""
        self._news.epoch(metrics[0])

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Of several reasons, the first worker's: the others lost their peer."""
        ranks = sorted(worker_exceptions)
        self._news.note(f"{ranked(ranks)} lost: {root_cause(worker_exceptions[ranks[0]])}")


class Unplaced(ControllerCallback):  # type: ignore[misc]  # Ray's classes are not typed here
    """Ray Train's controller says, once until they do, that workers do not start."""

    def __init__(self, news: News) -> None:
        """Passes it on."""
        self._news, self._told = news, False

    def after_controller_state_update(self, previous_state: Any, current_state: Any) -> None:
        """Ray tries again, for as long as it takes."""
        if isinstance(current_state, RunningState):
            self._told = False
        elif isinstance(current_state, ReschedulingState) and not self._told:
            self._told = True
            self._news.note(waiting(current_state.training_failed_error))


def waiting(error: BaseException) -> str:
    """What is said of workers that do not start."""
    failure = getattr(error, "controller_failure", error)
    if not isinstance(failure, WorkerGroupStartupTimeoutError):
        return f"workers did not start: {root_cause(failure)}; trying again"
    workers = "1 worker" if failure.num_workers == 1 else f"{failure.num_workers} workers"
    return f"no room for {workers} on the servers that may work on the data: waiting for it"


def ranked(ranks: list[int]) -> str:
    """As in `worker 1` or `workers 1, 2`."""
    return f"worker{'s' if len(ranks) > 1 else ''} {', '.join(map(str, ranks))}"


@contextlib.contextmanager
def listening(observer: Observer) -> Iterator[News]:
    """Tells the observer in this process as news come, until the block ends."""
    # With the driver: a node that is lost must not take the news along.
    here = {ray._raylet.RAY_NODE_ID_KEY: ray.get_runtime_context().get_node_id()}
    queue = Queue(actor_options={"num_cpus": 0, "label_selector": here})
    listener = threading.Thread(target=_listen, args=(queue, observer), daemon=True)
    listener.start()
    try:
        yield News(queue)
    finally:
        queue.put(None)
        listener.join()
        queue.shutdown()


def _listen(queue: Queue, observer: Observer) -> None:
    """Tells the observer all there is to hear; training does not end of an observer that fails."""
    told = _Told(observer)
    failed: set[str] = set()
    while (item := queue.get()) is not None:
        kind, content = item
        try:
            told.tell(kind, content)
        except Exception as error:
            if kind not in failed:
                failed.add(kind)
                _complain(observer, kind, error)


class _Told:
    """What an observer is told; that training begins goes without saying, that it goes on not."""

    def __init__(self, observer: Observer) -> None:
        self._observer, self._began = observer, False

    def tell(self, kind: str, content: Any) -> None:
        if kind == "epoch":
            self._observer.epoch(content)
        elif kind == "step":
            self._observer.step(content)
        elif kind == "speed":
            self._observer.speed(content)
        elif kind == "note":
            self._observer.note(content)
        else:
            began, self._began = self._began, True
            if began:
                self._observer.note(going_on(*content))


def _complain(observer: Observer, kind: str, error: Exception) -> None:
    """Says once for each kind of news that it does not arrive: where notes go, else on stderr."""
    why = " ".join(f"{type(error).__name__}: {error}".split())
    line = f"who watches training failed at its news of a {kind} ({why}); training goes on"
    try:
        observer.note(line)
    except Exception:  # it fails at notes too
        print(line, file=sys.stderr, flush=True)


def going_on(num_workers: int, num_epochs: int) -> str:
    """What is said when training starts anew from a checkpoint."""
    workers = "1 worker" if num_workers == 1 else f"{num_workers} workers"
    where = f"after epoch {num_epochs}" if num_epochs else "from the beginning"
    return f"training goes on {where}, with {workers}"
