"""What of a search is found wrong before Ray starts."""

import pytest

from sigdca.errors import SigdcaError
from sigdca.job import parse_job
from sigdca.loop import check_job
from sigdca.targets import spec

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
        (
            "search.space={compress.recipe.0.prune.sparsity.ip4: {uniform: [0.1, 0.9]}}",
            "s.yaml: search.space: compress.recipe[0].prune.sparsity: no layer 'ip4' in the model",
        ),
        (
            "search.space={compress.recipe.0.prune.sparsity.ip1: {uniform: [0.5, 1.0]}}",
            "s.yaml: search.space: compress.recipe[0].prune.sparsity.ip1: must be in [0, 1)",
        ),
        (
            "search.space={compress.recipe: {choice: {x: {value: [share]}}}}",
            "s.yaml: search.space: compress.recipe[0].share.bits: is missing",
        ),
        (
            "search.objectives={latency_us@atom-x5: min}",
            "unknown target 'atom-x5'; did you mean 'atom-x5-e3940'?",
        ),
        (
            "search.sampler=grid",
            "search.space.compress.recipe.0.prune.sparsity.ip1: a grid needs quantized",
        ),
    ],
)
def test_one_line_says_where_and_what(setting, message):
    job = parse_job(JOB, "s.yaml", [setting])
    with pytest.raises(SigdcaError) as found:
        check_job(job, "s.yaml")
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_energy_needs_a_figure_of_the_targets_power(tmp_path, monkeypatch):
    known = spec.load_target("atom-x5-e3940")
    job = parse_job(JOB, "s.yaml", ["search.objectives={energy_mj@atom-x5-e3940: min}"])
    check_job(job, "s.yaml")
    bare = known.model_copy(update={"power": None})
    monkeypatch.setattr("sigdca.loop.check.load_target", lambda name: bare)
    with pytest.raises(SigdcaError, match="says nothing of its power; use latency_us@atom"):
        check_job(job, "s.yaml")
