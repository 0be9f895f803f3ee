"""What Ray's metrics have of training: gauges, which a node exports for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Gauge

from sigdca.loop.executor import Observer, TrainTask
from sigdca.training import SpeedChoice

TAGS = ("job", "stage")

# By figure: the gauge's name after `sigdca_train_`, and what it is. Of an epoch, and of the steps.
OF_EPOCHS = {
    "epoch": ("epoch", "Epochs done"),
    "loss": ("loss", "Mean loss of the last epoch's images"),
    "accuracy": ("accuracy", "Percent of the last epoch's training images that were known"),
    "images_per_s": ("images_per_second", "Images per second over all workers"),
    "input_s": ("input_seconds", "The last epoch's time that went into input"),
    "compute_s": ("compute_seconds", "The last epoch's time that went into computing"),
    "communication_s": ("communication_seconds", "The last epoch's wait for other workers"),
    "sent_bytes": ("sent_bytes", "Bytes that all workers sent in the last epoch"),
}
OF_STEPS = {
    "loss": ("step_loss", "Loss of rank 0's last step"),
    "images_per_s": OF_EPOCHS["images_per_s"],
    "left_s": ("left_seconds", "Seconds until the stage's last step"),
}


class Metered:
    """Passes on what is heard of a training, and sets Ray's gauges by it.

    They keep their last values for as long as this process is connected.
    """

    def __init__(self, observer: Observer, task: TrainTask) -> None:
        """Tells `observer` first; the gauges are tagged with the task's job and stage."""
        self._observer = observer
        tags = {"job": task.job, "stage": task.stage}
        told = dict([*OF_EPOCHS.values(), *OF_STEPS.values()])
        self._gauges = {
            name: Gauge(f"sigdca_train_{name}", text, TAGS).set_default_tags(tags)
            for name, text in told.items()
        }

    def epoch(self, figures: Mapping[str, Any]) -> None:
        """See `Observer`."""
        self._observer.epoch(figures)
        self._set(OF_EPOCHS, figures)

    def step(self, figures: Mapping[str, Any]) -> None:
        """See `Observer`."""
        self._observer.step(figures)
        self._set(OF_STEPS, figures)

    def speed(self, choice: SpeedChoice) -> None:
        """See `Observer`."""
        self._observer.speed(choice)

    def note(self, line: str) -> None:
        """See `Observer`."""
        self._observer.note(line)

    def _set(self, gauges: Mapping[str, tuple[str, str]], figures: Mapping[str, Any]) -> None:
        for figure, (name, _) in gauges.items():
            self._gauges[name].set(figures[figure])
