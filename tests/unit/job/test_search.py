"""The search section: what is refused, with the nearest fix, before anything starts."""

import pytest

from sigdca.errors import JobError
from sigdca.job import parse_job, with_values

JOB = """
name: s
model: lenet-300-100
data: {source: mnist}
train: {}
compress: {recipe: [{prune: {sparsity: {ip1: 0.5}}}, {share: {bits: 4}}, encode]}
search:
  space: {compress.recipe.0.prune.sparsity.ip1: {uniform: [0.8, 0.99]}}
  num_trials: 4
"""


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("search.objectives={latency@x: min}", "did you mean 'latency_us@TARGET'?"),
        ("search.objectives={eror: min}", "unknown figure 'eror'; did you mean 'error'?"),
        ("search.objectives={error: less}", "must be one of 'min' or 'max', got 'less'"),
        ("search.objectives={}", "search.objectives: must not be empty"),
        ("search.space.a={unifrm: [1, 2]}", "unifrm: unknown key; did you mean 'uniform'?"),
        ("search.space.a={uniform: [1, 2], int: [1, 2]}", "must be exactly one distribution"),
        ("search.space.a={uniform: [2, 1]}", "the first end must be below the second"),
        ("search.space.a={loguniform: [0, 1]}", "loguniform must begin above 0"),
        ("search.space.a={quantized: [0, 1, 2]}", "the step must lie within the ends"),
        ("search.space.a={quantized: [0.8, 0.9, 0.1001]}", "the step must lie within the ends"),
        ("search.space.a={choice: []}", "choice must not be empty"),
        ("search.space.a={choice: {x: {value: 1, spce: {}}}}", "did you mean 'space'?"),
        ("search.num_trials=null", "must end: give num_trials, time_budget_s or cost"),
        ("search.fidelities=[0.5, 0.2, 1]", "must rise and end with 1"),
        ("search.fidelities=[0, 0.5]", "must rise and end with 1"),
        ("search.sampler=tpee", "must be one of 'tpe', 'nsga2', 'nsga3', 'random' or 'grid'"),
        ("compress=null", "a search needs a 'compress' section"),
        ("data.site=edge", "must be one of 'private' or 'public'"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_fix(setting, message):
    with pytest.raises(JobError) as found:
        parse_job(JOB, "s.yaml", [setting])
    assert message in str(found.value)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("ends", [(0.8, 0.9, 0.1), (0.2, 0.3, 0.1), (0, 1, 1)])
def test_a_range_of_two_steps_is_one(ends):
    job = parse_job(JOB, "s.yaml", [f"search.space.seed={{quantized: {list(ends)}}}"])
    assert job.search.space["seed"].quantized == ends


def test_values_are_set_in_order_then_items_are_left_out():
    job = parse_job(JOB, "s.yaml")
    recipe = [{"share": {"bits": 2}}, "encode"]
    changed = with_values(
        job, {"compress.recipe": recipe, "compress.recipe.0.share.bits": 3}, "here:"
    )
    assert changed.compress.recipe[0].share.bits == 3
    left = with_values(job, {}, "here:", ["compress.recipe.0", "compress.recipe.1"])
    assert [step.name for step in left.compress.recipe] == ["encode"]
    assert recipe == [{"share": {"bits": 2}}, "encode"], "what is given is not changed"
    with pytest.raises(JobError, match=r"here: compress\.recipe\.9: no such item"):
        with_values(job, {}, "here:", ["compress.recipe.9"])


def test_a_rate_that_nobody_wrote_down_is_none_for_lars():
    rate, first = "compress.recipe.0.prune.learning_rate", "compress.recipe=[{prune: {"
    job = parse_job(JOB, "s.yaml", [first + "sparsity: 0.5}}, encode]"])
    drawn = {"compress.recipe.0.prune.optimizer": "lars"}
    told = r"here: compress\.recipe\[0\]\.prune: optimizer: lars needs a learning_rate: 10"
    with pytest.raises(JobError, match=told):
        with_values(job, drawn, "here:")
    with pytest.raises(JobError, match="here: train: optimizer: lars needs"):
        with_values(job, {"train.optimizer": "lars"}, "here:")
    written = parse_job(JOB, "s.yaml", [first + "sparsity: 0.5, learning_rate: 7}}, encode]"])
    for changed in (
        with_values(job, {rate: 7} | drawn, "here:"),
        with_values(
            job,
            {"compress.recipe": [{"prune": {"sparsity": 0.5, "learning_rate": 7}}, "encode"]}
            | drawn,
            "here:",
        ),
        with_values(written, drawn, "here:"),
    ):
        config = changed.compress.recipe[0].prune
        assert (config.optimizer, config.learning_rate) == ("lars", 7)
    sgd = with_values(job, {"train.optimizer": "sgd"}, "here:")
    assert sgd.train.learning_rate == job.train.learning_rate


def test_a_smoke_test_searches_briefly_and_without_a_clock():
    job = parse_job(JOB, "s.yaml", ["search.time_budget_s=3600"]).smoke_test()
    assert (job.search.num_trials, job.search.time_budget_s) == (4, None)
    assert job.search.space == parse_job(JOB, "s.yaml").search.space
