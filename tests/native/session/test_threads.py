"""Sessions of several threads: side by side, asleep, beside signals and fork; float modes."""

import gc
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from sigdca.native import Model, Session, isas


class TestThreads:
    def test_sessions_of_one_model_run_side_by_side(self, lenet):
        images = lenet.images(20)
        expected = Session(lenet.model).run(images).tobytes()
        sessions = [Session(lenet.model, threads=n, max_batch=8) for n in (1, 2, 3)]
        got: list[bool] = []

        def work(session):
            got.extend(session.run(images).tobytes() == expected for _ in range(20))

        threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [True] * 60

    def test_more_threads_than_cores_end(self, lenet):
        session = Session(lenet.model, threads=16, max_batch=1)
        expected = Session(lenet.model).run(lenet.images(20)).tobytes()
        assert session.run(lenet.images(20)).tobytes() == expected

    def test_a_session_that_sleeps_wakes_up(self, lenet):
        session = Session(lenet.model, threads=2, max_batch=16)
        first = session.run(lenet.images(16)).tobytes()
        for _ in range(5):
            threading.Event().wait(0.01)
            assert session.run(lenet.images(16)).tobytes() == first

    def test_signals_are_the_programs_own(self, lenet):
        seen = []
        before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(threading.get_ident()))
        try:
            session = Session(lenet.model, threads=4)
            session.run(lenet.images(2))
            os.kill(os.getpid(), signal.SIGUSR1)
            session.run(lenet.images(2))
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert seen == [threading.main_thread().ident]
        masks = [
            int(line.split()[1], 16)
            for task in Path("/proc/self/task").iterdir()
            for line in (task / "status").read_text().splitlines()
            if line.startswith("SigBlk")
        ]
        assert sum(bool(mask >> (signal.SIGUSR1 - 1) & 1) for mask in masks) >= 3

    def test_threads_end_with_their_session(self, lenet):
        def count():
            return len(list(Path("/proc/self/task").iterdir()))

        gc.collect()
        before = count()
        session = Session(lenet.model, threads=8)
        assert count() == before + 7
        del session
        gc.collect()
        assert count() == before


FORK = """
import os, numpy as np
from sigdca.native import Model, Session, NativeError
model = Model(PATH)
images = np.zeros((64, *model.info.input_shape), np.uint8)
session = Session(model, threads=2, max_batch=64)
session.run(images)
if os.fork() == 0:
    try:
        session.run(images)
    except NativeError as error:
        print(error, flush=True)
    del session
    Session(model, threads=2, max_batch=64).run(images)
    print("made its own", flush=True)
    os._exit(0)
os.wait()
session.run(images)
print("still runs")
"""


def test_a_child_process_is_told_and_does_not_hang(lenet, make, in_python, tmp_path):
    path = tmp_path / "lenet.dca"
    path.write_bytes(make.case_bytes(lenet))
    lines = in_python(FORK.replace("PATH", repr(str(path)))).splitlines()
    assert lines == [
        "session: made before fork(), by a process whose threads are not here",
        "made its own",
        "still runs",
    ]


AHEAD = """
import numpy as np
from sigdca.native import Model, Session
rng = np.random.default_rng(0)
images = rng.integers(1, 256, (512, 1, 28, 28), np.uint8)
images[::2] *= rng.random((256, 1, 28, 28)) < 0.15
model, options = Model(PATH), {"isa": ISA, "profile": "int8", "max_batch": 16}
expected = Session(model, **options).run(images).tobytes()
session = Session(model, threads=2, **options)
print({session.run(images).tobytes() == expected for _ in range(100)})
"""


@pytest.mark.parametrize("isa", isas())
def test_a_thread_may_be_an_image_ahead(make, in_python, tmp_path, isa):
    """Images of few and of many zeros in turn, for which a layer takes different kernels."""
    path = tmp_path / "fc.dca"
    ops = [
        make.plain("flatten", 0),
        make.fc("f", 1, 300),
        make.plain("relu", 2),
        make.fc("g", 3, 10),
    ]
    case = make.case(*ops, shape=(1, 28, 28), density=0.2, centroids=32)
    path.write_bytes(make.case_bytes(case))
    code = AHEAD.replace("PATH", repr(str(path))).replace("ISA", repr(isa))
    assert in_python(code) == "{True}"


def test_the_callers_float_mode_changes_no_bit(make):
    """Numbers too small for float32's full precision are part of the result."""
    torch = pytest.importorskip("torch")
    case = make.case(make.plain("flatten", 0), make.fc("f", 1, 8), shape=(1, 1, 16))
    case.tensors["f.weight"] *= np.float32(1e-38)
    case.tensors["f.bias"][:] = 0
    model = Model(make.case_bytes(case))
    for threads in (1, 2):
        session = Session(model, threads=threads, max_batch=4)
        expected = session.run(case.images(4))
        assert ((expected != 0) & (np.abs(expected) < 1.17e-38)).any()
        try:
            assert torch.set_flush_denormal(True)
            flushed = Session(model, threads=threads, max_batch=4)
            got = [session.run(case.images(4)), flushed.run(case.images(4))]
            still = torch.tensor([1e-38]) / 4
            assert still.view(torch.int32).item() == 0  # the caller's mode is as it was
        finally:
            torch.set_flush_denormal(False)
        assert [g.tobytes() for g in got] == [expected.tobytes()] * 2
