from sigdca.job import Budget, Train
from sigdca.job.budget import check_accuracy, check_budget, figures_at, is_met, written


def lines(budget, **changes):
    figures = {
        "accuracy_drop": 0.1,
        "error": 1.5,
        "container_bytes": 20_000,
        "targets": ["atom-x5-e3940"],
        "at": {},
    }
    return check_budget(budget, **(figures | changes))


def test_an_empty_budget_has_no_lines():
    assert lines(Budget()) == []


def test_a_bound_is_met_up_to_itself():
    assert lines(Budget(error=1.5))[0].met is True
    assert lines(Budget(error=1.49))[0].met is False
    assert lines(Budget(container_bytes=19_999))[0].met is False


def test_a_drop_of_zero_allows_a_gain():
    assert lines(Budget(accuracy_drop=0.0), accuracy_drop=-0.2)[0].met is True


def test_fps_without_a_device_is_neither_met_nor_missed():
    (line,) = lines(Budget(fps=30))
    assert (line.name, line.met) == ("fps@atom-x5-e3940", None)
    assert "device" in line.note


def test_fps_from_a_device_is_held_against_the_bound():
    (line,) = lines(Budget(fps=30), at={"fps@atom-x5-e3940": 29.0})
    assert line.met is False


def test_a_target_has_bounds_of_its_own():
    tx2 = {"latency_us": 3000, "energy_mj": 20, "power_mw": 7500, "memory_bytes": 2000}
    budget = Budget(fps=30, at={"jetson-tx2": tx2, "atom-x5-e3940": {"fps": 60}})
    told = {"latency_us": 3000.0, "energy_mj": 20.5, "power_mw": 7500.5, "memory_bytes": 2000}
    at = figures_at("atom-x5-e3940", {"latency_us": 20_000.0}) | figures_at("jetson-tx2", told)
    found = {line.name: line for line in lines(budget, at=at)}
    assert {name: (line.bound, line.met) for name, line in found.items()} == {
        "fps@atom-x5-e3940": (60, False),
        "latency_us@jetson-tx2": (3000, True),
        "energy_mj@jetson-tx2": (20, False),
        "power_mw@jetson-tx2": (7500, False),
        "memory_bytes@jetson-tx2": (2000, True),
    }
    at = figures_at("jetson-tx2", {"latency_us": 3001.0})
    told = lines(budget, at=at)
    assert [line.met for line in told] == [None, False, None, None, None]
    assert {line.note for line in told[:-1] if line.met is None} == {"only the device can tell"}
    assert told[-1].note == "only the device or its emulation can tell"


def test_what_no_device_has_measured_has_no_figures_but_the_memory_that_an_emulation_needs():
    emulated = {"latency_us": None, "energy_mj": None, "power_mw": None, "memory_bytes": 2000}
    assert figures_at("atom-x5-e3940", emulated) == {"memory_bytes@atom-x5-e3940": 2000.0}
    assert figures_at("atom-x5-e3940", {}) == {}


def test_an_accuracy_that_was_asked_for_is_met_or_says_how_often_it_was_tried():
    assert check_accuracy(Train(), 10.0, 1) is None
    asked = Train(accuracy_at_least=99.2)
    met = check_accuracy(asked, 99.2, 2)
    assert (met.met, met.note) == (True, "")
    missed = check_accuracy(asked, 97.1, 3)
    assert (missed.name, missed.value, missed.met) == ("accuracy", 97.1, False)
    assert missed.note == "train.accuracy_at_least 99.2 was not reached in 3 iterations"
    assert check_accuracy(asked, 97.1, 1).note.endswith("in 1 iteration")


def test_without_a_container_its_size_is_neither_met_nor_missed():
    (line,) = lines(Budget(container_bytes=1), container_bytes=None)
    assert (line.value, line.met, line.note) == (None, None, "there is no container")


def test_what_cannot_be_checked_is_not_missed():
    assert is_met(lines(Budget(fps=30, error=1.5)))
    assert not is_met(lines(Budget(fps=30, error=1.4)))


def test_no_bounds_of_single_targets_are_no_key():
    told = Budget(fps=30).model_dump()
    assert "at" not in told
    assert told["error"] is None, "a run's key has what is not asked for, too"
    named = Budget(at={"jetson-tx2": {"fps": 60}})
    assert Budget.model_validate(named.model_dump()) == named


def test_millions_of_bytes_are_written_to_the_last():
    assert written(6_900_123.0) == "6900123"
    assert (written(27000), written(1.5), written(0.004)) == ("27000", "1.5", "0.004")
