"""A study on two servers and a board in network namespaces: bound, bursting, each one lost."""

import platform
import re
import signal
import threading
import time

import pytest
from lab import Lab, why_not
from studies import LABELS, study

from tests.conftest import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=why_not() or "-"),
]


@pytest.fixture(scope="module")
def meter(tmp_path_factory):
    """A file that a meter's program appends to: more power from moment to moment."""
    path, over = tmp_path_factory.mktemp("meter") / "power.txt", threading.Event()
    began = time.time()

    def measure():
        with path.open("a", buffering=1) as file:
            while not over.wait(0.1):
                now = time.time()
                file.write(f"{now:.3f} {1000 + 10 * (now - began):.1f}\n")

    thread = threading.Thread(target=measure)
    thread.start()
    yield path
    over.set()
    thread.join()


@pytest.fixture(scope="module")
def lab(meter):
    environment = {"SIGDCA_METER": f"file:{meter}"}
    with Lab(LABELS, gpus={"two": 1}, environment=environment).running(240) as made:
        yield made


def test_bound_data_stays_at_home_and_other_trials_go_where_there_is_room(lab, tmp_path):
    _, bound = study(lab, tmp_path, "bound", "data.site=private", "search.num_trials=3")
    assert {(trial["site"], trial["price"]) for trial in bound} == {("private", 0.36)}
    assert len({trial["node"] for trial in bound}) == 1
    outcome, free = study(lab, tmp_path, "free", "search.num_trials=6")
    assert {(trial["site"], trial["price"]) for trial in free} == {
        ("private", 0.36),
        ("public", 3.6),
    }
    assert outcome["cost"] == pytest.approx(
        sum(trial["price"] * trial["duration_s"] / 3600 for trial in free), rel=1e-3
    )


def test_trials_that_want_a_gpu_go_where_one_is(lab, tmp_path):
    settings = ("search.gpus_per_trial=0.5", "search.num_trials=3")
    _, trials = study(lab, tmp_path, "gpu", *settings)
    assert [trial["status"] for trial in trials] == ["done"] * 3
    assert {trial["site"] for trial in trials} == {"public"}
    assert len({trial["node"] for trial in trials}) == 1
    study(lab, tmp_path, "home", *settings, "data.site=private", ends=2)


def wait_for(path, seconds=120):
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.1)


def this_machine(folder):
    """The file of a target that this machine is, and so every host of the lab."""
    text = (ROOT / "sigdca/targets/atom-x5-e3940.toml").read_text()
    text = text[: text.index("[emulator]")]
    text = text.replace('name = "atom-x5-e3940"', 'name = "this-machine"')
    text = text.replace('engine = "native"', 'engine = "onnxruntime"')
    text = re.sub(r'machine = ".*"', f'machine = "{platform.machine()}"', text)
    text = re.sub(r"pattern = '.*'", "pattern = 'processor'", text)
    path = folder / "this-machine.toml"
    path.write_text(text)
    return path


def test_a_board_with_a_meter_measures_energy(lab, tmp_path):
    energy = f"energy_mj@{this_machine(tmp_path)}"
    objectives = f"search.objectives={{container_bytes: min, {energy}: min}}"
    _, trials = study(lab, tmp_path, "energy", objectives, "search.num_trials=2")
    fulls = [trial["rungs"][-1] for trial in trials]
    assert [energy in full["predicted"] for full in fulls] == [False, False]
    assert all(full["figures"][energy] > 0 for full in fulls)


def test_a_board_measures_while_it_is_there_and_then_its_figures_are_predicted(lab, tmp_path):
    latency = f"latency_us@{this_machine(tmp_path)}"
    measured = tmp_path / "board" / "measured"

    def kill(_driver):
        wait_for(measured)
        lab.kill("three")

    lines = iter([kill])
    objectives = f"search.objectives={{container_bytes: min, {latency}: min}}"
    _, trials = study(
        lab,
        tmp_path,
        "board",
        objectives,
        "search.num_trials=5",
        on_trial=lambda driver: next(lines, lambda _driver: None)(driver),
    )
    assert {trial["status"] for trial in trials} == {"done"}
    fulls = [trial["rungs"][-1] for trial in trials]
    by_board = [full for full in fulls if latency not in full["predicted"]]
    assert len(by_board) == len(list(measured.iterdir())) >= 1
    assert latency in fulls[-1]["predicted"], "the board was gone by then"
    assert all(full["figures"][latency] > 0 for full in fulls)


@pytest.mark.timeout(1200)
def test_a_board_that_was_cut_off_measures_again_when_it_is_back(lab, tmp_path):
    latency = f"latency_us@{this_machine(tmp_path)}"
    measured = tmp_path / "cut" / "measured"
    heard, back, ended, before = [], threading.Event(), threading.Event(), []

    def come_back():
        time.sleep(60)
        before.extend(measured.iterdir())
        lab.heal("three")
        lab.wait_until_left("three", 300)  # its supervisor starts another node
        lab.start_again("three")
        back.set()

    def follow(driver):
        """Cuts the link after the first trial; ends the study when the board measures again."""
        heard.append(back.is_set())
        if len(heard) == 1:
            wait_for(measured)
            lab.cut("three")
            threading.Thread(target=come_back).start()
        measures_again = len(list(measured.iterdir())) > len(before)
        if sum(heard) >= 6 and (measures_again or sum(heard) == 200) and not ended.is_set():
            ended.set()
            driver.send_signal(signal.SIGINT)

    objectives = f"search.objectives={{container_bytes: min, {latency}: min}}"
    lab.start_again("three")
    outcome, trials = study(
        lab,
        tmp_path,
        "cut",
        objectives,
        "search.num_trials=1000",
        "search.time_budget_s=900",
        on_trial=follow,
    )
    assert outcome["why"] == "interrupted", "the board came back in time"
    full = {trial["number"]: trial["rungs"][-1] for trial in trials if trial["status"] == "done"}
    by_board = [number for number, rung in full.items() if latency not in rung["predicted"]]
    files = list(measured.iterdir())
    assert len(files) - len(by_board) in (0, 1), "each once; one of a trial that was interrupted"
    assert len(files) > len(before) >= 1, "its trials waited for its return"
    assert len(by_board) < len(full), "those meanwhile are predicted"


def test_a_study_goes_on_after_its_driver_was_killed(lab, tmp_path):
    told = []

    def kill(driver):
        told.append(driver)
        if len(told) == 3:
            driver.kill()

    wanted = "search.num_trials=6"
    _, before = study(lab, tmp_path, "resumed", wanted, on_trial=kill, ends=-9)
    assert len(before) >= 3
    outcome, after = study(lab, tmp_path, "resumed", wanted, resume=True)
    assert outcome["num_trials"] == {"done": 6}
    assert [trial["number"] for trial in after] == list(range(1, 7))
    done = [trial for trial in before if trial["status"] == "done"]
    assert after[: len(done)] == done, "what was done is kept as it was"


def test_a_study_outlives_its_only_private_server(lab, tmp_path):
    killed = []

    def kill(_driver):
        if not killed:
            killed.append(True)
            lab.kill("one")

    outcome, trials = study(lab, tmp_path, "killed", "search.num_trials=8", on_trial=kill)
    assert killed
    assert outcome["num_trials"] == {"done": 8}
    assert [trial["number"] for trial in trials] == list(range(1, 9))
    assert {trial["site"] for trial in trials[-3:]} == {"public"}
