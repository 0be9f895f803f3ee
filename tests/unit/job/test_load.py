import pytest
import yaml

from sigdca.errors import JobError
from sigdca.job import dump_job, load_job, parse_job, with_values
from sigdca.job.limits import Limits

JOB = """
name: lenet5
model: lenet-5
data: {source: mnist}
train: {epochs: 2, workers: 2, batch_size: 64}
compress:
  recipe:
    - prune: {sparsity: {conv1: 0.3, ip1: 0.9}, epochs: 4}
    - share: {bits: {conv: 8, ip: 5}}
    - encode
"""


def test_defaults_are_filled_in():
    job = parse_job(JOB, "a.yaml")
    assert job.seed == 0
    assert job.compress is not None
    assert [step.name for step in job.compress.recipe] == ["prune", "share", "encode"]
    assert job.compress.recipe[1].share.init == "linear"
    assert job.train.precision == "float32"
    assert job.train.augment.flip is False


def test_words_of_training_are_read():
    job = parse_job(JOB, "a.yaml", ["train.precision=bf16", "train.augment={flip: true}"])
    assert job.train.precision == "bf16"
    assert job.train.augment.flip is True


def test_a_resolved_job_reads_back_as_itself():
    job = parse_job(JOB, "a.yaml")
    assert parse_job(dump_job(job), "b.yaml") == job


def test_set_overrides_one_value():
    job = parse_job(JOB, "a.yaml", ["seed=7", "compress.recipe.0.prune.sparsity.ip1=0.95"])
    assert job.seed == 7
    assert job.compress.recipe[0].prune.sparsity == {"conv1": 0.3, "ip1": 0.95}


def test_set_makes_sections_that_the_file_has_not():
    assert parse_job(JOB, "a.yaml", ["budget.error=1.5"]).budget.error == 1.5


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("sede=1", "a.yaml: sede: unknown key; did you mean 'seed'?"),
        ("train.epoch=1", "a.yaml: train.epoch: unknown key; did you mean 'epochs'?"),
        (
            "budget.at.a.latency=3",
            "a.yaml: budget.at.a.latency: unknown key; did you mean 'latency_us'?",
        ),
        ("compress.recipe.².share.bits=3", "--set compress.recipe.²: no such item"),
        (
            "compress.recipe.1.share.bit=3",
            "a.yaml: compress.recipe[1].share.bit: unknown key; did you mean 'bits'?",
        ),
        (
            "compress.recipe.0.prune.sparsity.ip1=1.5",
            "a.yaml: compress.recipe[0].prune.sparsity.ip1: must be in [0, 1), got 1.5",
        ),
        (
            "compress.recipe.0.prune.sparsity=1.5",
            "a.yaml: compress.recipe[0].prune.sparsity: must be in [0, 1), got 1.5",
        ),
        (
            "compress.recipe.1.share.bits.ip=77",
            "a.yaml: compress.recipe[1].share.bits.ip: must be in [1, 12], got 77",
        ),
        ("train.epochs=x", "a.yaml: train.epochs: must be a whole number, got 'x'"),
        (
            "train.optimizer=sgdd",
            "a.yaml: train.optimizer: must be one of 'sgd', 'adam' or 'lars', got 'sgdd'",
        ),
        ("train.optimizer=lars", "optimizer: lars needs a learning_rate: 10 (with warm_up: 0.1)"),
        (
            "train.precision=bf17",
            "a.yaml: train.precision: must be one of 'float32', 'bf16' or 'fp16', got 'bf17'",
        ),
        (
            "train.precision=16",
            "a.yaml: train.precision: must be one of 'float32', 'bf16' or 'fp16', got 16",
        ),
        ("train.augment.flip=2", "a.yaml: train.augment.flip: "),
        ("compress.recipe=[]", "a.yaml: compress.recipe: must not be empty"),
        ("seed=.nan", "a.yaml: seed: must be a finite number, got nan"),
        ("seed=-1", "a.yaml: seed: must be at least 0, got -1"),
        ("model=null", "a.yaml: model: must be text, got None"),
        ("budget.error=101", "a.yaml: budget.error: must be at most 100.0, got 101"),
        ("train.epochs=0", "train.epochs is 0 and no 'weights' are given: nothing to start from"),
        (
            "train.batch_size=63",
            "train.batch_size must be a multiple of train.workers (2), got 63",
        ),
        (
            "train.accumulation_steps=3",
            "train.batch_size must be a multiple of train.workers (2) times "
            "train.accumulation_steps (3), got 64",
        ),
        (
            "train.workers_at_least=3",
            "train.workers_at_least must be at most train.workers (2), got 3",
        ),
        (
            "train={epochs: 2, workers: 2, strategy: hybrid, workers_at_least: 1}",
            "train.workers_at_least is not for strategy hybrid",
        ),
        (
            "train={epochs: 2, strategy: hybrid, precision: fp16}",
            "train.precision: fp16 is not for strategy hybrid: use bf16",
        ),
        (
            "train={epochs: 2, strategy: hybrid, compile: true}",
            "train.compile is not for strategy hybrid, whose cut layers torch.compile cannot "
            "follow: leave it out, or use ddp or fsdp",
        ),
        (
            "train={epochs: 2, strategy: deepspeed, optimizer: lars, learning_rate: 10}",
            "train.optimizer: lars is not for strategy deepspeed, whose parts are not layers: use "
            "ddp or fsdp",
        ),
        (
            "train.deepspeed={zero_optimization: {stage: 1}, fp16: {enabled: true}}",
            "a.yaml: train.deepspeed: fp16 is set by the job itself: write train.precision",
        ),
        (
            "train={epochs: 2, strategy: deepspeed, deepspeed: {zero_optimization: {stage: 0}}}",
            "a.yaml: train.deepspeed: zero_optimization.stage must be 1, 2 or 3, got 0; strategy "
            "ddp spreads nothing",
        ),
        (
            "train={epochs: 2, strategy: deepspeed, deepspeed: {zero_optimization: true}}",
            "a.yaml: train.deepspeed: zero_optimization must be a mapping like {stage: 3}, got "
            "True",
        ),
        (
            "train.deepspeed={zero_optimization: {stage: 3}}",
            "train.deepspeed is for strategy deepspeed, got ddp: leave it out, or set "
            "train.strategy to deepspeed",
        ),
        (
            "compress.recipe=[share: {bits: 3}]",
            "a.yaml: compress.recipe: must end with its only 'encode' pass",
        ),
        (
            "compress.recipe.2={encode: {}, share: {bits: 3}}",
            "a.yaml: compress.recipe[2]: must hold exactly one pass (prune, share, quantize, "
            "rdoq or encode)",
        ),
        (
            "compress.recipe.0={prun: {sparsity: 0.1}}",
            "a.yaml: compress.recipe[0].prun: unknown key; did you mean 'prune'?",
        ),
        (
            "compress.recipe.0.prune={sparsity: 0.5, importance: movement, epochs: 0}",
            "a.yaml: compress.recipe[0].prune: importance: movement is seen in training: epochs "
            "must be 1 at least",
        ),
        ("compress.recipe.9.x=1", "--set compress.recipe.9: no such item; the list has 3"),
        ("data.source.x=1", "--set data.source.x: 'data.source' is a value, not a section"),
        ("seed", "--set seed: must be path=value, for example seed=1"),
        ("data=[1", "--set data: line 1, column 3: not YAML"),
    ],
)
def test_a_wrong_value_is_one_line_that_helps(setting, message):
    with pytest.raises(JobError) as caught:
        parse_job(JOB, "a.yaml", [setting])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a.yaml: must be a mapping of keys, got NoneType"),
        ("- a", "a.yaml: must be a mapping of keys, got list"),
        ("name: [", "a.yaml: line 1, column"),
        ("a: &x 1\nb: *x", "a.yaml: YAML aliases (*x) are not allowed"),
        ("name: !!python/object/apply:os.system [id]", "a.yaml: line 1, column 7: not YAML"),
        ("[" * 5000, "a.yaml:"),
        ("name: x", "a.yaml: model: is missing"),
        ("name: !!map [x]", "a.yaml: line 1, column 7: not YAML: expected a mapping node"),
        ("name: x\nname: y", "a.yaml: line 2, column 1: not YAML: key 'name' is there twice"),
        ("train: {epochs: 1, epochs: 2}", "a.yaml: line 1, column 20: not YAML: key 'epochs'"),
    ],
)
def test_a_file_that_is_no_job_is_refused(text, message):
    with pytest.raises(JobError) as caught:
        parse_job(text, "a.yaml")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(JobError, match=r"none\.yaml: cannot be read: No such file"):
        load_job(tmp_path / "none.yaml")


def test_a_huge_file_is_refused(tmp_path):
    (tmp_path / "big.yaml").write_bytes(b"#" * 1_000_001)
    with pytest.raises(JobError, match="larger than a job file may be"):
        load_job(tmp_path / "big.yaml")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "bin.yaml").write_bytes(b"name: \xff\xfe")
    with pytest.raises(JobError, match="not UTF-8 text"):
        load_job(tmp_path / "bin.yaml")


def test_what_is_switched_off_stays_off_in_every_copy():
    recipe = "[{quantize: {rate_lambda: 1.0e-6, step: 0.1, norm_step: null}}, encode]"
    job = parse_job(JOB, "a.yaml", [f"compress.recipe={recipe}"])
    copies = [parse_job(dump_job(job), "copy.yaml"), job.smoke_test(), with_values(job, {}, "set")]
    assert [copy.compress.recipe[0].quantize.norm_step for copy in copies] == [None] * 3
    assert copies[0] == job
    assert "limit" not in dump_job(job)  # what is None by default is left out
    assert "at" not in yaml.safe_load(dump_job(job))["budget"]  # nor what is empty


def test_layers_may_be_called_by_numbers():
    given = "compress.recipe=[{prune: {sparsity: {0: 0.4, '0.1': 0.5}}}, encode]"
    job = parse_job(JOB, "a.yaml", [given])
    assert job.compress.recipe[0].prune.sparsity == {"0": 0.4, "0.1": 0.5}
    assert parse_job(dump_job(job), "copy.yaml") == job
    other = parse_job(JOB, "a.yaml", [given, "compress.recipe.0.prune.sparsity.0=0.6"])
    assert other.compress.recipe[0].prune.sparsity == {"0": 0.6, "0.1": 0.5}
    with pytest.raises(JobError, match=r"sparsity\.0\.1.*: must be text, got 0\.1"):
        parse_job(JOB, "a.yaml", ["compress.recipe=[{prune: {sparsity: {0.1: 0.4}}}, encode]"])


def test_the_smoke_test_is_a_small_job_of_another_name():
    small = parse_job(
        JOB,
        "a.yaml",
        ["budget.error=1.0", "train.accuracy_at_least=99", "compress.recipe.1.share.epochs=0"],
    ).smoke_test()
    assert small.name == "lenet5-smoke"
    assert small.data.limit == 1000
    assert small.budget.error is None
    assert small.train.accuracy_at_least is None
    assert [step.config.epochs for step in small.compress.recipe[:2]] == [1, 0]
    assert yaml.safe_load(dump_job(small))["edge_test"]["num_samples"] == 100


@pytest.mark.parametrize(
    ("workers", "parts", "batch_size", "found", "num_images"),
    [
        (1, 1, 64, 64, 1000),
        (1, 1, 2048, 1000, 1000),
        (16, 1, 2048, 992, 1000),
        (8, 3, 2400, 984, 1000),
        (1200, 1, 2400, 1200, 1200),
    ],
)
def test_a_smoke_tests_batch_is_shared_out_evenly(workers, parts, batch_size, found, num_images):
    train = [f"train.workers={workers}", f"train.accumulation_steps={parts}"]
    job = parse_job(JOB, "a.yaml", [*train, f"train.batch_size={batch_size}"])
    small = job.smoke_test()
    assert small.train.batch_size == found
    assert small.data.limit == num_images


def test_what_a_leg_may_use():
    job = parse_job(f"{JOB}\nedge_test: {{cores: 1, clock_share: 0.5}}", "a.yaml")
    assert job.edge_test.limits == Limits(cores=1, clock_share=0.5)
    assert job.edge_test.num_samples is None
    with pytest.raises(JobError, match=r"edge_test\.clock_share: "):
        parse_job(f"{JOB}\nedge_test: {{clock_share: 1.5}}", "a.yaml")
