import numpy as np

from sigdca.engines import latency


class Counted:
    """Says nothing, and counts how often it is asked."""

    def __init__(self):
        self.shapes = []

    def logits(self, images):
        self.shapes.append(images.shape)
        return np.zeros((len(images), 10), np.float32)


class OwnTimes(Counted):
    def latency_ms(self):
        return 1.5


def test_an_engine_is_timed_when_it_is_warm():
    engine = Counted()
    assert latency.measure_latency_us(engine, (1, 4, 4)) > 0
    assert engine.shapes == [(1, 1, 4, 4)] * (latency.NUM_WARM_UPS + latency.NUM_RUNS)


def test_each_image_counts_once():
    engine = Counted()
    assert latency.median_latency_us(engine, np.zeros((3, 1, 4, 4), np.uint8)) > 0
    assert len(engine.shapes) == 3


def test_an_engine_that_takes_its_own_times_is_asked_for_them():
    engine = OwnTimes()
    assert latency.measure_latency_us(engine, (1, 4, 4)) == 1500
    assert latency.median_latency_us(engine, np.zeros((3, 1, 4, 4), np.uint8)) == 1500
    assert engine.shapes == []
