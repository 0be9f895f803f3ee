"""The boards of a study, by what Ray would answer: measured once, lost, back again."""

import json
from dataclasses import asdict, replace
from typing import ClassVar

import pytest
import ray
from ray.exceptions import RayError, RayTaskError

from sigdca.distributed import boards as module
from sigdca.distributed.boards import Boards
from sigdca.edge.legs import DEFAULT_TIMEOUT_S, MAX_REPEATS, device_required
from sigdca.job import parse_job
from sigdca.storage import open_store
from sigdca.targets import load_target

ATOM = "atom-x5-e3940"
JOB = f"""
name: s
model: lenet-300-100
data: {{source: mnist}}
train: {{}}
compress: {{recipe: [{{prune: {{sparsity: 0.9}}}}, encode]}}
search:
  space: {{seed: {{int: [1, 9]}}}}
  objectives: {{error: min, latency_us@{ATOM}: min}}
  num_trials: 3
"""
LEG = replace(device_required(load_target(ATOM), ""), verdict="exact", latency_us=20.0)


class FakeRay:
    """A board that answers when it is told to."""

    def __init__(self):
        self.answers, self.asked, self.killed, self.energies = {}, [], 0, []
        self.actors, self.targets = 0, []

    @property
    def measure(self):
        return self

    def remote(self, *arguments):
        if not arguments:
            self.actors += 1
            return self
        self.targets.append(arguments[0].name)
        self.energies.append(arguments[-1])
        self.asked.append(len(self.asked))
        return self.asked[-1]

    def wait(self, asked, timeout):
        assert timeout == 0, "the study must never wait"
        return ([asked[0]], []) if asked[0] in self.answers else ([], asked)

    def get(self, asked, timeout):
        answer = self.answers[asked]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def kill(self, _actor):
        self.killed += 1


class Cluster:
    labels: ClassVar = {"sigdca.io/target": ATOM}

    def node_for(self, target):
        return self.labels


def refuses_nothing(number, reason):
    raise AssertionError(f"trial {number}: {reason}")


@pytest.fixture
def fake(monkeypatch):
    found = FakeRay()
    monkeypatch.setattr(ray, "remote", lambda **_options: lambda _kind: found)
    for name in ("wait", "get", "kill"):
        monkeypatch.setattr(ray, name, getattr(found, name))
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    noise = type("Noise", (), {"model": b"", "images": None, "reference_logits": None})()
    monkeypatch.setattr(module, "noise_task", lambda *_: noise)
    return found


@pytest.fixture
def job():
    return parse_job(JOB, "s")


@pytest.fixture
def made(fake, tmp_path, job):
    measured = []
    store = open_store(str(tmp_path))
    digest = [store.child("shared").put(content) for content in (b"a", b"b")]
    cluster = Cluster()
    boards = Boards(cluster, job, store, lambda *what: measured.append(what), refuses_nothing)
    return boards, cluster, measured, digest


def test_one_at_a_time_and_no_container_twice(fake, made):
    boards, _, measured, (a, b) = made
    for number, container in ((1, a), (2, b), (3, a)):
        boards.ask(number, container)
    boards.poll()
    boards.poll()
    assert len(fake.asked) == 1
    assert all(boards.owes(number) for number in (1, 2, 3))
    fake.answers[0] = LEG
    boards.poll()
    assert measured == [(1, {f"latency_us@{ATOM}": 20.0, f"fps@{ATOM}": 50000.0})]
    fake.answers[1] = replace(LEG, latency_us=40.0)
    boards.poll()
    boards.poll()
    assert [number for number, _ in measured] == [1, 2, 3]
    assert measured[2][1] == measured[0][1]
    assert len(fake.asked) == 2
    assert not any(fake.energies), "nobody asks for them"
    assert boards.is_idle()
    boards.ask(4, a)
    assert measured[-1][0] == 4


@pytest.mark.parametrize(
    "job",
    [
        parse_job(JOB.replace("min, latency_us", "min, energy_mj"), "s"),
        parse_job(JOB, "s", [f"budget.at={{{ATOM}: {{energy_mj: 3}}}}"]),
    ],
    ids=["objective", "bound"],
)
def test_energy_is_measured_where_it_counts(fake, made):
    boards, _, measured, (a, b) = made
    boards.ask(1, a)
    boards.ask(2, b)
    boards.poll()
    fake.answers[0] = replace(LEG, energy_mj=0.25)
    fake.answers[1] = replace(LEG, energy_note="power: unavailable")
    for _ in range(3):
        boards.poll()
    assert fake.energies == [True, True]
    assert measured[0][1][f"energy_mj@{ATOM}"] == 0.25
    assert f"energy_mj@{ATOM}" not in measured[1][1]
    boards.ask(3, a)
    assert measured[2][1] == measured[0][1], "from the file"


def test_energy_that_nobody_asked_for_before_is_measured(fake, tmp_path, job):
    store, measured, refused = open_store(str(tmp_path)), [], []
    containers = [store.child("shared").put(content) for content in (b"a", b"b", b"c")]

    def measure(job, *legs):
        told = (lambda *what: measured.append(what)), (lambda *what: refused.append(what))
        boards = Boards(Cluster(), job, store, *told)
        for number, container in enumerate(containers, 1):
            boards.ask(number, container)
        boards.poll()
        for leg in legs:
            fake.answers[fake.asked[-1]] = leg
            boards.poll()
        assert boards.is_idle()

    measure(job, LEG, LEG, device_required(load_target(ATOM), "crashed"))
    job = parse_job(JOB.replace("min, latency_us", "min, energy_mj"), "s")
    new = replace(LEG, energy_mj=0.25), replace(LEG, energy_note="power: unavailable")
    measure(job, *new)
    assert fake.energies == [False] * 3 + [True] * 2, "not of what has no latency"
    assert measured[2] == (1, measured[0][1] | {f"energy_mj@{ATOM}": 0.25})
    measure(job)
    assert measured[4:] == measured[2:4], "from the files"
    assert not refused


def test_a_lost_board_owes_nothing_until_it_is_back(fake, made):
    boards, cluster, measured, (a, _) = made
    boards.ask(1, a)
    boards.poll()
    cluster.labels = None
    fake.answers[0] = RayError("cut off")
    boards.poll()
    assert fake.killed == 1
    assert not boards.owes(1)
    assert boards.is_idle()
    boards.poll()
    assert measured == []
    cluster.labels = Cluster.labels
    fake.answers[1] = LEG
    boards.poll()
    boards.poll()
    assert [number for number, _ in measured] == [1]


def test_what_a_board_proves_wrong_is_refused_and_stays_so(fake, tmp_path, job):
    store, told = open_store(str(tmp_path)), []
    container = store.child("shared").put(b"a")
    said = "beyond tolerance: logits differ from the server's by at most 3 (bound 0.1)"
    for _ in range(2):  # the second time by what is in the folder

        def measured(*what):
            raise AssertionError(what)

        boards = Boards(Cluster(), job, store, measured, lambda *what: told.append(what))
        boards.ask(1, container)
        boards.poll()
        fake.answers[0] = replace(LEG, verdict="device-required", evidence="device", reason=said)
        boards.poll()
        assert boards.is_idle()
    assert told == 2 * [(1, f"target '{ATOM}': {said}")]
    assert len(fake.asked) == 1


def test_what_was_refused_for_a_change_of_class_is_measured_once_more(fake, tmp_path, job):
    store, measured, refused = open_store(str(tmp_path)), [], []
    old, new, good = (store.child("shared").put(content) for content in (b"old", b"new", b"good"))
    for container, verdict, flips, bound in (
        (old, "device-required", 1, 0),
        (new, "device-required", 1, 100),
        (good, "tolerance", 0, 0),
    ):
        said = f"logits differ by at most 0.01 (bound 0.02), {flips} of 100 images change class "
        said += f"(bound {bound})"
        leg = replace(LEG, verdict=verdict, evidence="device", reason=said, argmax_flips=flips)
        content = json.dumps(asdict(leg)).encode()
        store.child("measured").write(f"{ATOM}-{container}.json", content)
    told = (lambda *what: measured.append(what)), (lambda *what: refused.append(what))
    boards = Boards(Cluster(), job, store, *told)
    for number, container in enumerate((old, new, good), 1):
        boards.ask(number, container)
    assert [number for number, _ in refused] == [2]
    assert [number for number, _ in measured] == [3]
    boards.poll()
    fake.answers[0] = LEG
    boards.poll()
    boards.ask(4, old)
    assert [number for number, _ in measured] == [3, 1, 4], "the new verdict counts"
    assert len(fake.asked) == 1


def reason_of(store, container):
    return json.loads(store.child("measured").read(f"{ATOM}-{container}.json"))["reason"]


def test_what_could_not_be_measured_is_kept_with_its_reason(fake, tmp_path, job):
    store, measured = open_store(str(tmp_path)), []
    a, b = (store.child("shared").put(content) for content in (b"a", b"b"))
    boards = Boards(Cluster(), job, store, lambda *what: measured.append(what), refuses_nothing)
    boards.ask(1, a)
    boards.ask(2, b)
    boards.poll()
    fake.answers[0] = RayTaskError("measure", "", ValueError("no such thing"))
    boards.poll()
    fake.answers[1] = replace(LEG, latency_us=None, reason="no result within 3600 s")
    boards.poll()
    assert (len(fake.asked), fake.killed) == (2, 0), "each once, by one actor"
    assert reason_of(store, a).startswith(f"target '{ATOM}': its test leg failed: ")
    assert reason_of(store, b) == "no result within 3600 s"
    again = Boards(Cluster(), job, store, lambda *what: measured.append(what), refuses_nothing)
    again.ask(1, a)
    again.poll()
    assert again.is_idle()
    assert measured == []


def test_a_board_that_does_not_answer_is_given_the_next_container(fake, made, monkeypatch):
    boards, _, measured, (a, b) = made
    boards.ask(1, a)
    boards.ask(2, b)
    boards.poll()
    monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 0.0)
    boards.poll()
    assert not boards.owes(1)
    monkeypatch.setattr(module, "ANSWER_TIMEOUT_S", 60.0)
    boards.poll()
    fake.answers[1] = LEG
    boards.poll()
    assert [number for number, _ in measured] == [2]


def test_a_leg_has_the_time_that_all_its_runs_may_take():
    assert module.ANSWER_TIMEOUT_S > (MAX_REPEATS + 1) * DEFAULT_TIMEOUT_S


def test_a_board_that_has_left_without_a_word_owes_nothing(fake, made):
    boards, cluster, _, (a, _) = made
    boards.ask(1, a)
    boards.poll()
    cluster.labels = None
    boards.poll()
    assert fake.killed == 1
    assert not boards.owes(1)


def test_a_container_that_ends_each_leg_is_given_up(fake, made, tmp_path):
    boards, _, measured, (a, b) = made
    boards.ask(1, a)
    boards.ask(2, b)
    boards.poll()
    for number in range(module.MAX_LOSSES):
        fake.answers[number] = RayError("The actor died")
        boards.poll()
    said = f"target '{ATOM}': its test leg was lost 3 times: The actor died"
    assert reason_of(open_store(str(tmp_path)), a) == said
    fake.answers[module.MAX_LOSSES] = LEG
    boards.poll()
    assert [number for number, _ in measured] == [2]


EMULATED = {"sigdca.io/target": ATOM, "sigdca.io/emulated": "true"}
PROVEN = replace(LEG, latency_us=None, evidence="isa", emulated=True)


def test_an_emulation_proves_and_gives_no_figures(fake, tmp_path, job):
    cluster, store, measured = Cluster(), open_store(str(tmp_path)), []
    cluster.labels = EMULATED
    a, b = (store.child("shared").put(content) for content in (b"a", b"b"))
    boards = Boards(cluster, job, store, lambda *what: measured.append(what), refuses_nothing)
    boards.ask(1, a)
    boards.ask(2, b)
    boards.poll()
    assert not boards.owes(1), "the sampler need not wait: figures stay predicted"
    assert not boards.is_idle()
    for number in range(2):
        fake.answers[number] = PROVEN
        boards.poll()
    assert boards.is_idle()
    boards.ask(3, a)
    boards.poll()
    assert (len(fake.asked), measured) == (2, [])
    assert sorted(store.child("measured").names()) == sorted(
        f"{ATOM}-{container}.isa.json" for container in (a, b)
    )


def test_what_an_emulation_refutes_is_refused(fake, tmp_path, job):
    cluster, told = Cluster(), []
    cluster.labels = EMULATED
    store = open_store(str(tmp_path))
    boards = Boards(cluster, job, store, None, lambda *what: told.append(what))
    boards.ask(1, store.child("shared").put(b"a"))
    boards.poll()
    fake.answers[0] = replace(PROVEN, verdict="device-required", reason="beyond tolerance")
    boards.poll()
    assert told == [(1, f"target '{ATOM}': beyond tolerance")]


def test_a_board_that_joins_or_comes_back_measures_whatever_an_emulation_has_proven(fake, made):
    boards, cluster, measured, (a, b) = made
    boards.ask(1, a)
    boards.poll()
    cluster.labels = EMULATED
    boards.poll()  # the board is lost
    boards.poll()
    fake.answers[1] = PROVEN  # by the emulation
    boards.poll()
    assert (len(fake.asked), measured) == (2, [])
    boards.ask(2, b)
    cluster.labels = Cluster.labels
    fake.answers |= {2: LEG, 3: PROVEN, 4: LEG}
    for _ in range(3):
        boards.poll()
    assert [number for number, _ in measured] == [1, 2]
    assert boards.is_idle()
    cluster.labels = EMULATED
    boards.ask(3, a)
    boards.ask(4, b)
    boards.poll()
    assert len(fake.asked) == 5, "a board has said it, and no emulation is asked again"


def test_an_emulation_tells_the_memory_that_the_board_needs(fake, tmp_path):
    job = parse_job(JOB, "s", [f"budget.at={{{ATOM}: {{memory_bytes: 9000, power_mw: 9000}}}}"])
    cluster, measured, store = Cluster(), [], open_store(str(tmp_path))
    cluster.labels = EMULATED
    boards = Boards(cluster, job, store, lambda *what: measured.append(what), refuses_nothing)
    boards.ask(1, store.child("shared").put(b"a"))
    boards.poll()
    fake.answers[0] = replace(PROVEN, memory_bytes=8000)
    boards.poll()
    assert measured == [(1, {f"memory_bytes@{ATOM}": 8000.0})]
    cluster.labels = Cluster.labels
    boards = Boards(cluster, job, store, lambda *what: measured.append(what), refuses_nothing)
    boards.ask(1, store.child("shared").put(b"a"))
    boards.poll()
    assert fake.energies == [False, True], "a board with a meter tells the power"
    fake.answers[1] = replace(LEG, memory_bytes=8000, energy_mj=0.1, power_mw=8500.0)
    boards.poll()
    _, figures = measured[-1]
    assert {name: figures[f"{name}@{ATOM}"] for name in ("memory_bytes", "power_mw")} == {
        "memory_bytes": 8000.0,
        "power_mw": 8500.0,
    }


def test_what_a_leg_of_before_did_not_tell_is_asked_for_again(fake, tmp_path):
    store, measured = open_store(str(tmp_path)), []
    container = store.child("shared").put(b"a")
    before = asdict(replace(LEG, energy_mj=0.25, energy_note="a meter"))
    del before["memory_bytes"], before["power_mw"]
    file = f"{ATOM}-{container}.json"
    for bound, legs in (("energy_mj: 1", 0), ("power_mw: 1", 1), ("memory_bytes: 1", 2)):
        store.child("measured").write(file, json.dumps(before).encode())
        job = parse_job(JOB, "s", [f"budget.at={{{ATOM}: {{{bound}}}}}"])
        boards = Boards(
            Cluster(), job, store, lambda *what: measured.append(what), refuses_nothing
        )
        boards.ask(1, container)
        boards.poll()
        assert len(fake.asked) == legs, bound


def test_a_boards_leg_that_failed_does_not_keep_an_emulation_from_proving(fake, made):
    boards, cluster, _, (a, _) = made
    boards.ask(1, a)
    boards.poll()
    fake.answers[0] = device_required(load_target(ATOM), "its test leg was lost 3 times")
    boards.poll()
    cluster.labels = EMULATED
    boards.poll()
    boards.poll()
    assert len(fake.asked) == 2, "the board has said nothing of the container"


def test_no_emulation_is_asked_of_an_engine_that_cannot_be_emulated(fake, tmp_path):
    cluster = Cluster()
    cluster.labels = EMULATED
    job = parse_job(JOB.replace(f"latency_us@{ATOM}", "latency_us@jetson-tx2"), "s")
    store = open_store(str(tmp_path))
    boards = Boards(cluster, job, store, None, None)
    boards.ask(1, store.child("shared").put(b"a"))
    boards.poll()
    assert fake.asked == []
    assert not boards.owes(1)


def test_two_targets_of_one_board_are_measured_trial_by_trial(fake, tmp_path):
    job = JOB.replace(f"latency_us@{ATOM}", "latency_us@jetson-tx2-cpu")
    job = job.replace("{error: min", "{fps@jetson-tx2: max")
    store, measured = open_store(str(tmp_path)), []
    boards = Boards(
        Cluster(), parse_job(job, "s"), store, lambda *what: measured.append(what), refuses_nothing
    )
    for number in (1, 2, 3):
        boards.ask(number, store.child("shared").put(str(number).encode()))
    boards.poll()
    for number in (1, 2, 3):
        for place in (2 * number - 2, 2 * number - 1):
            boards.poll()
            assert fake.asked[-1] == place, "one at a time"
            assert boards.owes(number)
            fake.answers[place] = LEG
            boards.poll()
        assert not boards.owes(number), "the sampler hears of it while others wait"
    assert fake.targets == ["jetson-tx2", "jetson-tx2-cpu"] * 3
    assert [(number, min(figures)) for number, figures in measured] == [
        (number, f"fps@{target}")
        for number in (1, 2, 3)
        for target in ("jetson-tx2", "jetson-tx2-cpu")
    ]
    assert boards.is_idle()
    assert fake.actors == 1, "a second one would wait for the core of the first"
