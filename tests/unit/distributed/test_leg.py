"""What a board's leg makes of random images, by logits that an engine might give."""

import numpy as np
import pytest

from sigdca.distributed.leg import TestLeg
from sigdca.edge import legs
from sigdca.edge.processes import Outcome
from sigdca.targets import load_target

# Of the first image, two classes are nearly equal.
REFERENCE = np.array([[0.0, 5.0, 5.01], [1.0, 4.0, 2.0]], np.float32)


@pytest.mark.parametrize(
    ("change", "verdict"),
    [((0.0, 0.02, 0.0), "tolerance"), ((0.0, 0.2, 0.0), "device-required")],
    ids=["rounding", "something else"],
)
def test_of_random_images_the_difference_alone_counts(monkeypatch, change, verdict):
    found = REFERENCE + np.array([change, (0.0, 0.0, 0.0)], np.float32)
    outcome = Outcome(found, "trtexec 10", 20.0, "", "")
    monkeypatch.setattr(legs, "_place", lambda *_: (None, None))
    monkeypatch.setattr(legs, "run_processes", lambda *_: outcome)
    target = load_target("jetson-tx2").model_copy(update={"engine": "tensorrt-fp16"})
    images = np.zeros((2, 1, 1, 1), np.uint8)
    result = TestLeg().measure(target, b"", images, REFERENCE, False, False)
    assert (result.verdict, result.argmax_flips, result.latency_us) == (verdict, 1, 20.0)
    labels = np.zeros(2, np.int64)
    tested = legs.run_test_leg(
        target, b"", images, labels, reference_logits=REFERENCE, emulated=False
    )
    assert tested.verdict == "device-required", "of images that count, none may change its class"
