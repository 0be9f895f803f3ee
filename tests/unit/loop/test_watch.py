"""The loop goes round again with new data: when, with what, and what it never does."""

import contextlib
import hashlib

import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sigdca.codec import decode_container
from sigdca.edge.acquired import LEAST_BYTES, About, make_store
from sigdca.edge.bundle import get_bundle
from sigdca.edge.delta import Evidence, make_delta, with_tensors
from sigdca.edge.keys import make_keys
from sigdca.edge.legs import LegResult, device_required
from sigdca.edge.samples import dump_samples
from sigdca.edge.sending import send_delta, send_samples
from sigdca.engines import NotFiniteError
from sigdca.errors import JobError, SigdcaError, StorageError
from sigdca.job import parse_job
from sigdca.loop import Surroundings, TrainOutcome, watch_job
from sigdca.loop.dataset import num_images
from sigdca.loop.network import pack
from sigdca.storage import Ledger, Releases, Store, Walk, open_store
from sigdca.targets import load_target
from sigdca.training import TestCounts
from tests.images import write_data_set
from tests.samples import samples_of
from tests.unit.loop.test_run import Quiet

TARGET = "atom-x5-e3940"


class Stopped(BaseException):
    """Whoever waits for new data waits for ever."""


class Told:
    """Trains by adding 1 to each weight; every container is right as often as it was told."""

    def __init__(self, *accuracies, verdict="exact"):
        self.accuracies, self.verdict = list(accuracies), verdict
        self.trained, self.known = [], {}

    def train(self, task, observer):
        self.trained.append(task)
        figures = {"epoch": 1, "loss": 0.5, "images_per_s": 1.0, "sparsity": 0.0}
        state = {name: value + 1 for name, value in task.state.items()}
        return TrainOutcome(state, (figures,))

    def test(self, task):
        count = num_images(task.source, "test")
        accuracy = 1.0
        if task.container is not None:
            key = hashlib.sha256(task.container).hexdigest(), count
            if key not in self.known and task.source.limit is None:
                self.known[key] = self.accuracies.pop(0)
            accuracy = self.known.get(key, 1.0)
        return TestCounts(round(accuracy * count), np.zeros((count, 10), np.float32))

    def nodes_for(self, targets):
        return {}

    def edge_tests(self, tasks):
        if self.verdict == "device-required":
            return [device_required(load_target(task.target), "told so") for task in tasks]
        return [LegResult(t.target, "exact", "isa", "told so", emulated=True) for t in tasks]


class Place:
    """A job with its run, its boards and its releases in a folder."""

    def __init__(self, folder):
        self.folder, self.progress, self.lines = folder, Quiet(), []
        self.progress.note = self.lines.append
        self.store = open_store(str(folder / "runs/t"))
        self.releases = Releases(open_store(str(folder / "releases")))
        self.reported = []

    def job(self, *settings):
        text = f"""
name: t
model: tests.tiny:Tiny
data: {{source: {self.folder}/old}}
train: {{epochs: 1, batch_size: 20}}
compress: {{recipe: [encode]}}
targets: [{TARGET}]
storage: {self.folder}/runs
watch:
  data: {self.folder}/new
  at_least: 10
  releases: {self.folder}/releases
  key: {self.folder}/k.key
  poll_s: 1
"""
        return parse_job(text, "t.yaml", settings)

    def watch(self, executor, *settings, pause=None):
        @contextlib.contextmanager
        def connected():
            yield executor

        def stop(_seconds):
            raise Stopped

        where = Surroundings(
            store=self.store,
            address=f"{self.folder}/runs/t",
            connect=connected,
            progress=self.progress,
            report=lambda store: self.reported.append(store.root),
            pause=pause or stop,
        )
        return watch_job(self.job(*settings), where)

    def send(self, numbers, board="b1", label=3, shape=(1, 2, 4)):
        store = make_store(
            self.folder / board, About(board, shape, 10, LEAST_BYTES, private=False)
        )
        store.append(samples_of(numbers, labels=dict.fromkeys(numbers, label), shape=shape))
        return send_samples(store, str(self.folder / "new"))

    @property
    def released(self):
        """Version and container of each release, verified by the public key."""
        key = load_pem_public_key((self.folder / "k.pub").read_bytes())
        bundles = [self.releases.fetch(one) for one in self.releases.all("canary")]
        found = [get_bundle(bundle, [key]) for bundle in bundles]
        return [(one.manifest.version, one.container) for one in found]


@pytest.fixture
def place(tmp_path):
    write_data_set(tmp_path / "old", {"train": [20], "test": [10]})
    make_keys(tmp_path / "k.key", tmp_path / "k.pub")
    return Place(tmp_path)


def test_new_data_becomes_a_release(place):
    place.send(range(8))
    place.send(range(6, 12), board="b2")  # 6 and 7 came already
    executor = Told(0.8, 0.9, 0.7)  # the first; the next; the first on the new images
    first, second = place.watch(executor, "watch.cycles=1")
    assert (first.version, first.number, first.redeployment_s) == (1, 0, None)
    assert (second.version, second.num_images, second.kind) == (2, 12, "data")
    assert (second.live_error, second.error) == pytest.approx((30, 10), abs=5)
    assert second.targets == (TARGET,)
    assert 0 <= second.redeployment_s < 600
    more = second.more
    assert [task.source.more for task in executor.trained] == [(), more]
    assert num_images(executor.trained[1].source, "train") > 20
    # It begins with the weights that were live.
    assert pack(executor.trained[1].state) == pack(
        {name: value + 1 for name, value in executor.trained[0].state.items()}
    )
    run = place.store.child("watch/0001")
    assert [version for version, _ in place.released] == [1, 2]
    assert place.released[1][1] == run.read("model.dca")
    (record,) = Ledger(run).of("release")
    assert record.metrics["redeployment_s"] == second.redeployment_s
    assert place.reported == [place.store.root, run.root]
    assert not run.exists("artifacts")
    assert any("cycle 1 is released as version 2 (canary)" in line for line in place.lines)


def test_data_are_used_once_and_then_it_waits(place):
    place.send(range(12))
    place.watch(Told(0.8, 0.9, 0.7), "watch.cycles=1")
    with pytest.raises(Stopped):
        place.watch(Told(), "watch.cycles=2")
    assert place.lines[-1] == "watch: 0 of 10 new images are there"
    place.send(range(9, 15))
    with pytest.raises(Stopped):
        place.watch(Told(), "watch.cycles=2")
    assert place.lines[-1] == "watch: 3 of 10 new images are there"
    place.send(range(15, 24))
    executor = Told(0.95, 0.9)
    *_, third = place.watch(executor, "watch.cycles=2")
    assert (third.num_images, third.version) == (12, 3)
    assert len(executor.trained[0].source.more) == 2


def test_what_is_worse_is_not_released_and_its_data_stay(place):
    place.send(range(10))
    *_, end = place.watch(Told(0.8, 0.6, 0.9), "watch.cycles=1")
    assert (end.accepted, end.version) == (False, None)
    assert end.reason.startswith("no better: error ")
    assert [version for version, _ in place.released] == [1]
    assert "the release before stays" in place.lines[-1]
    place.send(range(10, 20))
    executor = Told(0.9, 0.8)
    *_, end = place.watch(executor, "watch.cycles=2")
    assert end.version == 2
    assert len(executor.trained[0].source.more) == 2
    bias = executor.trained[0].state["fc.bias"]
    assert bias.mean() == pytest.approx(1, abs=0.3), "begins with the first run's, not cycle 1's"


@pytest.mark.parametrize(
    ("settings", "verdict", "reason"),
    [
        (("budget={error: 0.5}",), "exact", "budget not met: error: bound 0.5, got"),
        ((), "device-required", f"no target's verdict allows it: {TARGET}: device-required"),
        (("targets=[]",), "exact", "the job has no targets"),
        (("watch={data: x/new, cycles: 1}",), "exact", "watch.releases is not set"),
    ],
)
def test_why_nothing_is_released(place, settings, verdict, reason, monkeypatch):
    new = open_store(f"{place.folder}/new")
    monkeypatch.setattr("sigdca.loop.watch.open_store", lambda _: new)
    place.send(range(120))
    executor = Told(0.8, 0.9, 0.8, verdict=verdict)
    pauses = []
    ends = place.watch(executor, "watch.cycles=1", *settings, pause=pauses.append)
    assert pauses == [1.0] * (4 if verdict == "device-required" else 0)  # a board may come back
    assert all(end.version is None and end.reason.startswith(reason) for end in ends), ends
    assert place.released == []


def test_what_train_has_not_made_accurate_enough_is_not_released(place):
    place.send(range(10))

    class Half(Told):
        def test(self, task):
            if task.container is not None:
                return super().test(task)
            count = num_images(task.source, "test")
            return TestCounts(count // 2, np.zeros((count, 10), np.float32))

    ends = place.watch(Half(0.8, 0.9), "watch.cycles=1", "train.accuracy_at_least=60")
    reason = "budget not met: accuracy: bound 60, got 50"
    assert [(end.accepted, end.reason) for end in ends] == [(False, reason)] * 2
    assert place.released == []


def test_faults_are_tried_again_and_then_given_up(place):
    place.send(range(10))
    calls = []

    @contextlib.contextmanager
    def connect():
        calls.append(len(calls))
        if len(calls) in (2, 3, 4, 5):
            raise SigdcaError("no cluster")
        yield executor

    class Failing(Told):
        def train(self, task, observer):
            if task.source.more:
                raise SigdcaError("a worker was lost")
            return super().train(task, observer)

    executor = Failing(0.8)
    where = Surroundings(
        *(place.store, f"{place.folder}/runs/t", connect, place.progress, lambda store: None),
        pause=lambda seconds: None,
    )
    *_, end = watch_job(place.job("watch.cycles=1"), where)
    assert end.reason == "failed: a worker was lost"
    assert len(calls) == 1 + 4 + 3, "a cluster that is not there is no fault of the cycle"
    assert [version for version, _ in place.released] == [1]


@pytest.mark.parametrize("fails", ["report", "remove", "disconnect"])
def test_what_fails_behind_its_end_does_not_begin_a_cycle_anew(place, fails, monkeypatch):
    def fail(*_):
        raise StorageError(f"{fails}: no space left")

    @contextlib.contextmanager
    def connect():
        yield executor
        if fails == "disconnect" and len(executor.trained) > 1:
            fail()

    if fails == "remove":
        monkeypatch.setattr(Store, "remove", lambda _, name: name == "artifacts" and fail())
    place.send(range(10))
    executor = Told(0.8, 0.9, 0.8)
    report = fail if fails == "report" else lambda store: None
    where = Surroundings(
        *(place.store, f"{place.folder}/runs/t", connect, place.progress, report),
        pause=lambda seconds: None,
    )
    first, second = watch_job(place.job("watch.cycles=1"), where)
    assert (first.version, second.version, second.accepted) == (1, 2, True)
    assert len(executor.trained) == 2
    assert any(f"{fails}: no space left" in line for line in place.lines)


def test_a_board_that_comes_back_is_asked_again(place):
    place.send(range(10))
    executor = Told(0.8, 0.9, 0.8, verdict="device-required")

    def comes_back(_seconds):
        executor.verdict = "exact"

    first, second = place.watch(executor, "watch.cycles=1", pause=comes_back)
    assert (first.version, second.version) == (1, 2)
    assert len(executor.trained) == 2, "all but EDGE TEST is in the ledger"


def points_of(run):
    """What the cycle's report is of."""
    walk = Walk(run)
    assert walk.ended
    return [f"{point.stage} {point.label}".strip() for point in walk.of(Ledger(run))]


def test_a_cycle_s_report_has_the_retest_of_what_was_live(place):
    place.send(range(10))
    place.watch(Told(0.8, 0.9, 0.8), "watch.cycles=1")
    assert points_of(place.store.child("watch/0001")) == [
        *("train", "test", "compress encode", "retest encode", "package"),
        *(f"edge-test {TARGET}", "retest live", "release canary"),
    ]


def test_a_report_of_deltas_is_of_the_last_attempt(place):
    with pytest.raises(Stopped):
        place.watch(Told(0.8))
    base = place.store.read("model.dca")
    delta = make_delta(base, tuned(base, 0.5), Evidence(400, 100, 60, 90))
    send_delta("b1", delta, open_store(str(place.folder / "new")))
    executor = Told(0.9, 0.8, verdict="device-required")

    def comes_back(_seconds):
        executor.verdict = "exact"

    _, end = place.watch(executor, "watch.cycles=1", pause=comes_back)
    assert end.version == 2, end.reason
    assert points_of(place.store.child("watch/0001")) == [
        *("retest encode", "package", f"edge-test {TARGET}", "retest live", "release canary")
    ]


CRASHES = ["/cycle.json", "-train.json", "/releases/canary/", "-release.json", "/0001/end.json"]


@pytest.fixture
def ready(place):
    """The first run is done, and there is enough new data."""
    with pytest.raises(Stopped):
        place.watch(Told(0.8))
    place.send(range(10))
    return place


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("crash", CRASHES)
def test_killed_at_any_moment_it_goes_on(ready, crash, when, monkeypatch):
    write = Store.write

    def dying(self, name, content):
        hit = crash in self.path(name) and ("train" not in crash or "watch" in self.root)
        if not hit or when == "after":
            write(self, name, content)
        if hit:
            raise Stopped

    executor = Told(0.9, 0.7)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "write", dying)
        with pytest.raises(Stopped):
            ready.watch(executor, "watch.cycles=1")
    first, second = ready.watch(executor, "watch.cycles=1")
    assert (first.version, second.version, second.num_images) == (1, 2, 10)
    assert [version for version, _ in ready.released] == [1, 2]
    with pytest.raises(Stopped):
        ready.watch(Told(), "watch.cycles=2")
    assert ready.lines[-1] == "watch: 0 of 10 new images are there"


def test_what_no_board_would_send_is_left_out(ready):
    place, folder = ready, ready.folder / "new/boards/b9/samples"
    folder.mkdir(parents=True)
    good = dump_samples(samples_of(range(50, 70), labels={50: 1}, shape=(1, 2, 4)))
    for content in (b"PAR1", dump_samples(samples_of([1], labels={1: 2})), good[:-9]):
        (folder / f"{hashlib.sha256(content).hexdigest()}.parquet").write_bytes(content)
    label = dump_samples(samples_of([1], labels={1: 10}, shape=(1, 2, 4)))
    (folder / f"{hashlib.sha256(label).hexdigest()}.parquet").write_bytes(label)
    (folder / f"{'0' * 64}.parquet").write_bytes(good)
    (folder / "x.parquet").write_bytes(good)
    with pytest.raises(Stopped):
        place.watch(Told(), "watch.at_least=11")
    told = " ".join(line for line in place.lines if "left out" in line)
    assert told.count("left out") == 5
    for message in (
        "not a file of samples",
        "images (1, 4, 4)",
        "label 10",
        "damaged: its sha256 is not its name",
    ):
        assert message in told
    assert place.lines[-1] == "watch: 10 of 11 new images are there"


def test_a_file_that_is_gone_again_is_not_counted(ready):
    pauses = []

    def pause(_seconds):
        pauses.append(ready.lines[-1])
        for path in (ready.folder / "new").rglob("*.parquet"):
            path.unlink()
        ready.send(range(20, 29), board=f"b{len(pauses)}")
        if len(pauses) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        ready.watch(Told(), "watch.at_least=11", pause=pause)
    assert pauses == [f"watch: {count} of 11 new images are there" for count in (10, 9)]


def tuned(container, by, name="fc.bias"):
    """The container with other biases, or weights."""
    tensors = dict(decode_container(container).tensors)
    tensors[name] = (tensors[name] + np.float32(by)).astype(np.float32)
    return with_tensors(container, tensors)


def test_the_best_delta_of_the_boards_is_released(place):
    with pytest.raises(Stopped):
        place.watch(Told(0.8))
    base = place.store.read("model.dca")
    there = open_store(str(place.folder / "new"))
    wanted = tuned(base, 0.5)
    told = ((0.25, 80, "b1"), (0.5, 90, "b2"), (0.75, 60, "b3"), (1.0, 99, "b4"))
    for by, after, board in told:
        evidence = Evidence(400, 100, 60, after)
        send_delta(board, make_delta(base, tuned(base, by), evidence), there)
    stale = make_delta(tuned(base, 2.0), base, Evidence(400, 100, 0, 99))
    send_delta("b5", stale, there)  # of another base
    send_delta("b6", b"no delta", there)

    class Servers(Told):
        """The server's images: b4's delta is far too bad there."""

        def test(self, task):
            is_b4 = task.container == tuned(base, 1.0)
            self.accuracies = [0.2 if is_b4 else 0.8]
            return super().test(task)

    _, end = place.watch(Servers(), "watch.cycles=1", "budget={accuracy_drop: 30}")
    assert (end.kind, end.version, end.accepted) == ("deltas", 2, True), end.reason
    assert place.released[1][1] == wanted
    assert place.store.child("watch/0001").read("model.dca") == wanted
    said = " ".join(place.lines)
    assert "starts from a container that is no longer live" in said
    assert "its board saw no gain" in said
    with pytest.raises(Stopped):
        place.watch(Told(), "watch.cycles=2")


def test_a_delta_whose_logits_are_not_finite_costs_the_others_nothing(place):
    with pytest.raises(Stopped):
        place.watch(Told(0.8))
    base = place.store.read("model.dca")
    wanted = tuned(base, 0.5)
    on_any_images, on_the_servers = tuned(base, 3e38, "fc.weight"), tuned(base, 3e38)
    for board, found in (("b1", on_any_images), ("b2", on_the_servers), ("b3", wanted)):
        delta = make_delta(base, found, Evidence(400, 100, 60, 70 + (found is not wanted)))
        send_delta(board, delta, open_store(str(place.folder / "new")))

    class Servers(Told):
        def test(self, task):
            if task.container == on_the_servers:
                raise NotFiniteError("native: logits of image 7 are not finite")
            return super().test(task)

    executor = Servers(0.9, 0.8)
    _, end = place.watch(executor, "watch.cycles=1", pause=lambda seconds: None)
    assert (end.kind, end.version) == ("deltas", 2), end.reason
    assert place.released[1][1] == wanted
    said = [line for line in place.lines if "not finite" in line]
    assert [line.partition("boards/")[2][:2] for line in said] == ["b1", "b2"]


def test_a_delta_that_its_board_finds_too_slow_is_not_released(place):
    with pytest.raises(Stopped):
        place.watch(Told(0.8))
    base = place.store.read("model.dca")
    delta = make_delta(base, tuned(base, 0.5), Evidence(400, 100, 60, 90))
    send_delta("b1", delta, open_store(str(place.folder / "new")))

    class Board(Told):
        def edge_tests(self, tasks):
            told = {"emulated": False, "latency_us": 50_000.0}
            return [LegResult(t.target, "exact", "device", "told so", **told) for t in tasks]

    _, end = place.watch(Board(0.9, 0.8), "watch.cycles=1", "budget={fps: 30}")
    assert (end.kind, end.accepted) == ("deltas", False)
    assert end.reason == f"budget not met: fps@{TARGET}: bound 30, got 20"


def test_without_a_bound_a_delta_may_not_cost_anything(place):
    with pytest.raises(Stopped):
        place.watch(Told(0.8))
    base = place.store.read("model.dca")
    delta = make_delta(base, tuned(base, 0.5), Evidence(400, 100, 60, 90))
    send_delta("b1", delta, open_store(str(place.folder / "new")))
    _, end = place.watch(Told(0.7, 0.8), "watch.cycles=1")
    assert (end.accepted, end.reason[:9]) == (False, "no better")


def test_a_job_that_cannot_be_watched_is_refused(place, monkeypatch):
    for settings, message in (
        (("watch=null",), "has no section 'watch'"),
        (("compress=null",), "has no section 'compress'"),
        (("data.streaming=true",), "new data are for images in memory"),
    ):
        with pytest.raises(JobError, match=message):
            place.watch(Told(), *settings)
    with monkeypatch.context() as large:
        large.setattr("sigdca.loop.watch.is_streamed", lambda source: True)
        with pytest.raises(JobError, match="new data are for images in memory; false keeps"):
            place.watch(Told())
    (place.folder / "k.key").chmod(0o644)
    with pytest.raises(SigdcaError, match=r"k.key: "):
        place.watch(Told())
    with pytest.raises(JobError, match="releases and key belong together"):
        place.job("watch={data: x, releases: y}")
