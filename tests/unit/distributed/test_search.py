"""What ends a search from outside."""

import os
import signal
from types import SimpleNamespace

import pytest

from sigdca.distributed.search import INTERRUPTED, _signals


def signalled_twice(study, number):
    with _signals(study):
        assert study.stop is None
        os.kill(os.getpid(), number)
        assert study.stop == INTERRUPTED
        os.kill(os.getpid(), number)
        signal.pause()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_ends_with_the_best_so_far_a_second_one_at_once(number):
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    study = SimpleNamespace(stop=None)
    try:
        with pytest.raises(KeyboardInterrupt):
            signalled_twice(study, number)
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
