"""Points of a space, and the jobs that they stand for."""

import pytest

from sigdca.errors import JobError
from sigdca.job import dump_job, parse_job
from sigdca.search import corners, grid, job_of, own_point, own_points, settings_of, trial_job

PREFIX = "search.space"
RECIPES = """search.space={compress.recipe: {choice: {
  shared: {value: [{prune: {sparsity: 0.9}}, {share: {bits: 4}}, encode],
           space: {compress.recipe.0.prune.sparsity: {uniform: [0.5, 0.95]},
                   compress.recipe.1.share.bits: {int: [2, 3]}}},
  priced: {value: [{quantize: {rate_lambda: 1.0e-5, step: 0.1}}, {encode: {coder: arithmetic}}],
           space: {compress.recipe.0.quantize.rate_lambda: {loguniform: [1.0e-6, 1.0e-4]}}}}}}"""
OPTIONAL = """search.space={
  compress.recipe.1: {optional: {compress.recipe.1.share.bits: {int: [2, 6]}}},
  compress.recipe.0: {optional: {}},
  compress.recipe.0.prune.sparsity.ip1: {uniform: [0.8, 0.99]}}"""


def test_a_point_sets_its_paths_and_nothing_else(make_job):
    job = make_job()
    point = own_point(job, job.search.space)
    assert point == {
        "compress.recipe.0.prune.sparsity.ip1": 0.9,
        "compress.recipe.1.share.bits": 4,
        "compress.recipe.2.encode.coder": "huffman",
    }
    assert job_of(job, job.search.space, point, "") == job
    changed = job_of(job, job.search.space, point | {"compress.recipe.1.share.bits": 2}, "")
    assert changed.compress.recipe[1].share.bits == 2
    assert changed.compress.recipe[0] == job.compress.recipe[0]


def test_a_trials_job_reruns_alone(make_job):
    trial = trial_job(make_job(), "study-0001", 1.0)
    assert (trial.name, trial.search) == ("study-0001", None)
    assert (trial.train.workers, trial.train.strategy) == (1, "ddp")
    assert trial.compress.iterations == 1
    assert parse_job(dump_job(trial), "again") == trial


@pytest.mark.parametrize(("share", "epochs"), [(0.0, [0, 0]), (0.25, [2, 1]), (1.0, [8, 3])])
def test_a_fidelity_is_a_share_of_the_epochs(make_job, share, epochs):
    recipe = trial_job(make_job(), "t", share).compress.recipe
    assert [step.config.epochs for step in recipe[:2]] == epochs


def test_movement_is_seen_in_an_epoch_even_at_the_lowest_fidelity(make_job):
    job = make_job("compress.recipe.0.prune.importance=movement")
    assert trial_job(job, "t", 0.0).compress.recipe[0].prune.epochs == 1


def test_what_exists_only_in_an_alternative_is_drawn_only_there(make_job):
    job = make_job(RECIPES)
    name = "compress.recipe=priced:compress.recipe.0.quantize.rate_lambda"
    point = {"compress.recipe": "priced", name: 2e-5}
    changed = job_of(job, job.search.space, point, "")
    assert [step.name for step in changed.compress.recipe] == ["quantize", "encode"]
    assert changed.compress.recipe[0].quantize.rate_lambda == 2e-5
    names = [sorted(found) for found in corners(job.search.space)]
    assert ["compress.recipe", name] in names
    assert own_point(job, job.search.space) is None, "neither alternative is the job's own"
    written = {"compress.recipe": "priced", name: 1e-5}
    assert own_points(job, job.search.space) == [written], "4 bits are not in the other's space"


def test_an_alternative_that_lacks_what_it_draws_is_not_written_down(make_job):
    lacking = RECIPES.replace("rate_lambda: 1.0e-5, ", "")
    job = make_job(lacking)
    assert own_points(job, job.search.space) == [], "neither alternative is the job's own"
    own = "[{prune: {sparsity: 0.9}}, {share: {bits: 3}}, encode]"
    job = make_job(lacking.replace("bits: 4", "bits: 3"), f"compress.recipe={own}")
    point = own_point(job, job.search.space)
    assert point["compress.recipe"] == "shared"
    assert own_points(job, job.search.space) == [point]


def test_a_pass_may_be_left_out_and_its_paths_with_it(make_job):
    job = make_job(OPTIONAL)
    without = settings_of(
        job.search.space, {"compress.recipe.0": "without", "compress.recipe.1": "without"}
    )
    assert without.values == {}
    changed = job_of(
        job, job.search.space, {"compress.recipe.0": "without", "compress.recipe.1": "without"}, ""
    )
    assert [step.name for step in changed.compress.recipe] == ["encode"]
    own = own_point(job, job.search.space)
    assert own["compress.recipe.0"] == own["compress.recipe.1"] == "with"
    assert job_of(job, job.search.space, own, "") == job


def test_a_whole_recipe_is_set_before_what_lies_in_it(make_job):
    recipes = "[[{prune: {sparsity: 0.9}}, {share: {bits: 4}}, encode]]"
    job = make_job(
        f"search.space={{compress.recipe: {{choice: {recipes}}}, compress.recipe.1: "
        "{optional: {compress.recipe.1.share.bits: {int: [2, 6]}}}}"
    )
    name = "compress.recipe.1.share.bits"
    point = {"compress.recipe": "#1", "compress.recipe.1": "with", name: 2}
    settings = settings_of(job.search.space, point)
    assert list(settings.values) == ["compress.recipe", name]
    assert job_of(job, job.search.space, point, "").compress.recipe[1].share.bits == 2


def test_a_grid_has_every_point_once(make_job):
    job = make_job(
        "search.space={seed: {choice: [1, 2]}, compress.recipe.1: "
        "{optional: {compress.recipe.1.share.bits: {int: [2, 4]}}}, "
        "train.learning_rate: {quantized: [0.1, 0.3, 0.1]}}",
        "search.sampler=grid",
    )
    points = grid(job.search.space, "g.yaml")
    assert len(points) == 2 * (1 + 3) * 3
    assert len({tuple(sorted(point.items())) for point in points}) == len(points)
    assert {point["train.learning_rate"] for point in points} == {0.1, 0.2, 0.3}
    with pytest.raises(JobError, match=r"ip1: a grid needs quantized, int or choice"):
        grid(make_job().search.space, "g.yaml")


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ("{train.epoch: {int: [1, 2]}}", "at: train.epoch: unknown key; did you mean 'epochs'?"),
        ("{compress.recipe.0.prune.sparsity.ip1: {uniform: [-1, 0.5]}}", r"must be in [0, 1)"),
        ("{compress.recipe.7.prune.epochs: {int: [1, 2]}}", "at: compress.recipe.7: no such item"),
        ("{seed.x: {int: [1, 2]}}", "'seed' is a value, not a section"),
    ],
)
def test_a_wrong_path_or_end_is_found_by_the_corners(make_job, space, message):
    job = make_job(f"search.space={space}")
    point = next(iter(corners(job.search.space)))
    with pytest.raises(JobError) as found:
        job_of(job, job.search.space, point, "at:")
    assert message in str(found.value)


def test_a_trial_is_not_ended_by_the_time_that_a_run_may_take(make_job):
    job = make_job("budget={error: 2.0, time_s: 60}")
    assert trial_job(job, "t", 1.0).budget == job.budget.model_copy(update={"time_s": None})
