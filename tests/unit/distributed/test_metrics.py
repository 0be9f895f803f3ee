"""What Ray's gauges are set to; that a node exports them is tested in `tests/cluster`."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest

from sigdca.distributed import metrics
from sigdca.training import EpochFigures, StepFigures
from tests.observers import Noting

TASK = SimpleNamespace(job="lenet", stage="retrain-prune-2")
EPOCH = asdict(EpochFigures(3, 0.25, 1500.0, 0.9, 1.0, 2.0, 0.5, sent_bytes=70, accuracy=98.5))
STEP = asdict(StepFigures(4, 10, 200, 0.125, 1600.0, left_s=60.0))


class Gauge:
    """Ray's, as far as it is used here; it keeps all it is told in `seen`."""

    def __init__(self, name, description, tag_keys):
        assert description
        self._name, self._keys = name, tag_keys

    def set_default_tags(self, tags):
        assert tuple(tags) == self._keys
        self._tags = tags
        return self

    def set(self, value):
        if value is not None:  # as Ray's
            name = self._name.removeprefix("sigdca_train_")
            self.seen[name, self._tags["job"], self._tags["stage"]] = value


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.setattr(metrics, "Gauge", Gauge)
    monkeypatch.setattr(Gauge, "seen", {}, raising=False)
    return Gauge.seen


def of(**figures):
    return {(name, "lenet", "retrain-prune-2"): value for name, value in figures.items()}


def test_an_epoch_sets_its_figures_and_is_passed_on(seen):
    observer = Noting()
    metrics.Metered(observer, TASK).epoch(EPOCH)
    assert observer.epochs == [EPOCH]
    assert seen == of(
        epoch=3,
        loss=0.25,
        accuracy=98.5,
        images_per_second=1500.0,
        input_seconds=1.0,
        compute_seconds=2.0,
        communication_seconds=0.5,
        sent_bytes=70,
    )


def test_steps_set_what_changes_in_an_epoch(seen):
    metered = metrics.Metered(Noting(), TASK)
    metered.epoch(EPOCH)
    metered.step(STEP)
    assert seen.items() >= of(loss=0.25, step_loss=0.125, images_per_second=1600.0).items()
    assert seen.items() >= of(left_seconds=60.0).items()


def test_notes_are_passed_on(seen):
    observer = Noting()
    metrics.Metered(observer, TASK).note("worker 1 lost")
    assert observer.notes == ["worker 1 lost"]
    assert seen == {}
