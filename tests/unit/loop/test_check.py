"""What is found wrong with a job before it runs: its search, and what it wants proven."""

import re

import pytest
from torch import nn

from sigdca.errors import JobError, SigdcaError, TargetError
from sigdca.job import parse_job
from sigdca.loop import check_job, check_targets
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
PASSES = ("prune", "share")


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
            "search.space={weights: {choice: [a.safetensors, b.safetensors]}}",
            "s.yaml: search.space: weights: all trials begin with the job's own",
        ),
        (
            "search.space={compress.recipe: {choice: {x: {value: [encode], "
            "space: {weights: {choice: [a.safetensors]}}}}}}",
            "s.yaml: search.space: weights: all trials begin with the job's own",
        ),
        (
            "search.space={train.optimizer: {choice: [sgd, lars]}}",
            "s.yaml: search.space: train: optimizer: lars needs a learning_rate: 10",
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


@pytest.mark.parametrize(
    "settings",
    [[], ["train.epochs=0", "weights=w.safetensors"]],  # retraining takes the same batches
)
def test_a_batch_is_no_larger_than_the_train_split(settings, monkeypatch):
    monkeypatch.setattr("sigdca.loop.network.load_weights", lambda model, path: None)
    fits = ["search=null", "data.limit=100", "train.batch_size=100", *settings]
    check_job(parse_job(JOB, "s.yaml", fits), "s.yaml")
    with pytest.raises(JobError) as raised:
        check_job(parse_job(JOB, "s.yaml", [*fits, "train.batch_size=101"]), "s.yaml")
    assert str(raised.value) == (
        "s.yaml: train.batch_size: must be at most the 100 images of the train split, got 101"
    )
    still = [f"compress.recipe.{number}.{name}.epochs=0" for number, name in enumerate(PASSES)]
    if settings:  # nothing is trained
        check_job(parse_job(JOB, "s.yaml", [*fits, "train.batch_size=101", *still]), "s.yaml")


def test_a_network_of_the_users_own_is_tried_out(monkeypatch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 5))
    monkeypatch.setattr("sigdca.loop.check.initial_model", lambda job: model)
    with pytest.raises(JobError, match="model: gives 5 logits, but the data has 10 classes"):
        check_job(parse_job(JOB, "s.yaml", ["model=mine:Net", "search=null"]), "s.yaml")


@pytest.fixture
def with_norms(monkeypatch):
    """Networks have a batch norm."""
    layers = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 26 * 26, 10)
    model = nn.Sequential(*layers)
    monkeypatch.setattr("sigdca.loop.check.initial_model", lambda job: model)


QUANTIZE = "{quantize: {rate_lambda: 0, step: 0.1}}"
FOLDED_EARLY = f"[{QUANTIZE}, {{share: {{bits: 4}}}}, encode]"


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ([f"compress.recipe={FOLDED_EARLY}", "search=null"], "s.yaml"),
        (
            [
                "compress.recipe=[{prune: {sparsity: 0.5}}, encode]",
                f"search.space={{compress.recipe: {{choice: {{a: {{value: {FOLDED_EARLY}}}}}}}}}",
            ],
            "s.yaml: search.space",
        ),
    ],
)
def test_no_pass_retrains_norms_that_are_folded(settings, where, with_norms):
    with pytest.raises(JobError) as found:
        check_job(parse_job(JOB, "s.yaml", settings), "s.yaml")
    assert str(found.value) == (
        f"{where}: compress.recipe[1].share.epochs: must be 0 behind compress.recipe[0].quantize, "
        "which folds the batch norms, got 1; retrain before that, or set its norm_step: null"
    )


@pytest.mark.parametrize(
    "recipe",
    [
        "{quantize: {rate_lambda: 0, step: 0.1, norm_step: null}}, {share: {bits: 4}}",
        f"{QUANTIZE}, {{rdoq: {{rate_lambda: 0, step: 0.1}}}}",
        f"{{share: {{bits: 4}}}}, {QUANTIZE}",
    ],
)
def test_norms_may_be_folded_last_or_not_at_all(recipe, with_norms):
    job = parse_job(JOB, "s.yaml", [f"compress.recipe=[{recipe}, encode]", "search=null"])
    check_job(job, "s.yaml")


def test_without_batch_norms_a_quantize_may_be_anywhere():
    job = parse_job(JOB, "s.yaml", [f"compress.recipe={FOLDED_EARLY}", "search=null"])
    check_job(job, "s.yaml")


def test_a_target_that_the_budget_names_must_be_one():
    job = parse_job(JOB, "s.yaml", ["budget.at={atom-x5-e3941: {fps: 30}}"])
    with pytest.raises(SigdcaError, match="unknown target 'atom-x5-e3941'; did you mean"):
        check_job(job, "s.yaml")


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "search.objectives={energy_mj@atom-x5-e3940: min}",
            "s.yaml: search.objectives.energy_mj@atom-x5-e3940: target 'atom-x5-e3940' says "
            "nothing of its power; use search.objectives.latency_us@atom-x5-e3940",
        ),
        (
            "budget.at={atom-x5-e3940: {energy_mj: 3}}",
            "s.yaml: budget.at.atom-x5-e3940.energy_mj: target 'atom-x5-e3940' says nothing of "
            "its power; use budget.at.atom-x5-e3940.latency_us",
        ),
        (
            "budget.at={atom-x5-e3940: {power_mw: 3000}}",
            "s.yaml: budget.at.atom-x5-e3940.power_mw: target 'atom-x5-e3940' says nothing of "
            "its power; use budget.at.atom-x5-e3940.latency_us",
        ),
    ],
)
def test_energy_needs_a_figure_of_the_targets_power(monkeypatch, setting, message):
    known = spec.load_target("atom-x5-e3940")
    job = parse_job(JOB, "s.yaml", [setting])
    check_job(job, "s.yaml")
    bare = known.model_copy(update={"power": None})
    monkeypatch.setattr("sigdca.loop.check.load_target", lambda name: bare)
    with pytest.raises(SigdcaError, match=f"^{re.escape(message)}$"):
        check_job(job, "s.yaml")


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("search.objectives={memory_bytes@%s: min}", "search.objectives.memory_bytes@%s"),
        ("budget.at={%s: {memory_bytes: 300000}}", "budget.at.%s.memory_bytes"),
    ],
)
def test_only_the_native_engines_memory_is_known(setting, path):
    check_job(parse_job(JOB, "s.yaml", [setting % "jetson-tx2-cpu"]), "s.yaml")
    job = parse_job(JOB, "s.yaml", [setting % "jetson-tx2"])
    message = (
        f"s.yaml: {path % 'jetson-tx2'}: target 'jetson-tx2' runs tensorrt, of whose memory "
        "nothing is known; only the native engine tells it"
    )
    with pytest.raises(SigdcaError, match=f"^{re.escape(message)}$"):
        check_job(job, "s.yaml")
    if path.startswith("budget"):
        job = job.model_copy(update={"search": None})
        with pytest.raises(SigdcaError, match=f"^{re.escape(message)}$"):
            check_job(job, "s.yaml")


ATOM = "atom-x5-e3940"


def with_targets(require, target):
    wanted = f"targets=[{target}]"
    settings = [wanted] if require is None else [wanted, f"edge_test.require={require}"]
    return parse_job(JOB, "j.yaml", settings)


def no_qemu(target):
    raise TargetError(f"target '{target.name}': emulator not found")


@pytest.mark.parametrize(
    ("require", "nodes", "emulator", "said"),
    [
        (None, {}, no_qemu, "target 'atom-x5-e3940': emulator not found; the report will say"),
        (None, {}, str, None),
        (None, {ATOM: "isa"}, no_qemu, None),
        ("isa", {}, str, None),
        ("device", {ATOM: "device"}, no_qemu, None),
    ],
)
def test_what_cannot_be_proven_is_said_beforehand(require, nodes, emulator, said):
    lines = check_targets(with_targets(require, ATOM), "j.yaml", nodes, emulator)
    assert [line[: len(said or "")] for line in lines] == ([] if said is None else [said])


@pytest.mark.parametrize(
    ("require", "target", "nodes", "emulator", "message"),
    [
        ("isa", ATOM, {}, no_qemu, "isa: target 'atom-x5-e3940': emulator not found"),
        ("device", ATOM, {}, no_qemu, "device: target 'atom-x5-e3940': emulator not found"),
        ("device", ATOM, {ATOM: "isa"}, str, f"no board has joined .* join --target {ATOM}"),
        ("device", ATOM, {}, str, f"no board has joined .* join --target {ATOM}"),
        ("isa", "jetson-tx2", {}, str, "target 'jetson-tx2': .*tensorrt"),
    ],
)
def test_evidence_that_cannot_be_had_is_refused(require, target, nodes, emulator, message):
    with pytest.raises(JobError, match=rf"^j.yaml: edge_test.require: {require}: ") as error:
        check_targets(with_targets(require, target), "j.yaml", nodes, emulator)
    assert re.search(message, str(error.value))


def test_a_board_with_a_gpu_can_prove_what_no_emulation_can():
    job = with_targets("device", "jetson-tx2")
    assert check_targets(job, "j.yaml", {"jetson-tx2": "device"}, no_qemu) == []


def test_what_nodes_of_another_site_would_prove_is_not_counted():
    required = with_targets("device", ATOM)
    bound = required.model_copy(
        update={"data": required.data.model_copy(update={"site": "private"})}
    )
    with pytest.raises(JobError, match=r"no board of site private has joined .* leave out data"):
        check_targets(bound, "j.yaml", {}, str)
    with pytest.raises(
        JobError, match=r"not found \(data\.site: only nodes of site private count"
    ):
        check_targets(bound, "j.yaml", {}, no_qemu)
