"""An observer that fails is told of, and training's other news still arrive."""

from queue import SimpleQueue

from ray.train import ControllerError
from ray.train.v2._internal.exceptions import (
    WorkerGroupStartupFailedError,
    WorkerGroupStartupTimeoutError,
)
from ray.train.v2._internal.execution.controller.state import (
    InitializingState,
    ReschedulingState,
    RunningState,
)

from sigdca.distributed.news import FromController, News, Unplaced, _listen
from tests.observers import Noting


class Failing(Noting):
    """Fails at steps, and at notes if it is told to."""

    def __init__(self, notes_too):
        super().__init__()
        self._notes_too = notes_too

    def step(self, figures):
        raise OSError("no room\nfor a curve")

    def note(self, line):
        if self._notes_too:
            raise RuntimeError("nor for notes")
        super().note(line)


def listen(observer, *items):
    queue = SimpleQueue()
    for item in (*items, None):
        queue.put(item)
    _listen(queue, observer)


ITEMS = (
    ("beginning", (2, 0)),
    ("step", {}),
    ("step", {}),
    ("epoch", {"epoch": 1}),
    ("beginning", (1, 1)),
)


def test_a_failing_observer_is_said_once_and_hears_the_rest():
    observer = Failing(notes_too=False)
    listen(observer, *ITEMS)
    assert observer.epochs == [{"epoch": 1}]
    assert observer.notes == [
        "who watches training failed at its news of a step (OSError: no room for a curve); "
        "training goes on",
        "training goes on after epoch 1, with 1 worker",
    ]


def test_one_that_cannot_take_notes_is_told_of_on_stderr(capsys):
    observer = Failing(notes_too=True)
    listen(observer, *ITEMS)
    assert observer.epochs == [{"epoch": 1}]
    first, second = capsys.readouterr().err.splitlines()
    assert "failed at its news of a step" in first
    assert "failed at its news of a beginning" in second


def test_workers_that_find_no_room_are_said_once_until_they_run():
    observer = Noting()
    unplaced = Unplaced(observer)
    no_room = ReschedulingState(ControllerError(WorkerGroupStartupTimeoutError(4)))
    lost = ReschedulingState(ControllerError(WorkerGroupStartupFailedError("one of them died")))
    for state in (no_room, no_room, lost, RunningState(), lost):
        unplaced.after_controller_state_update(InitializingState(), state)
    assert observer.notes == [
        "no room for 4 workers on the servers that may work on the data: waiting for it",
        "workers did not start: one of them died; trying again",
    ]


def test_an_epoch_is_told_once_its_checkpoint_is_one_to_go_on_from():
    queue = SimpleQueue()
    FromController(News(queue)).after_report(None, [{"epoch": 3}, {"epoch": 3, "other": 1}], None)
    assert queue.get() == ("epoch", {"epoch": 3})
    assert queue.empty()
