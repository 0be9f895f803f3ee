"""The loop's order, iterations, budget and resume, with an executor that does as it is told."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from sigdca.edge.legs import device_required
from sigdca.errors import EngineError, SigdcaError
from sigdca.job import parse_job
from sigdca.loop import LocalExecutor, TrainOutcome, run_job
from sigdca.storage import Ledger, open_store
from sigdca.targets import load_target, spec
from sigdca.training import SpeedChoice, TestCounts
from tests.conftest import emulated

JOB = """
name: told
model: lenet-300-100
data: {source: mnist, limit: 200}
train: {epochs: 1}
compress:
  recipe:
    - prune: {sparsity: 0.9, epochs: 1}
    - encode
targets: [atom-x5-e3940, jetson-tx2-cpu, jetson-tx2]
"""


class ToldExecutor:
    """Trains nothing; each test finds as many of 200 images as it was told."""

    def __init__(self, num_correct):
        self.num_correct = list(num_correct)
        self.trained = []
        self.tested = []
        self.edge_tasks = []
        self.gains = None

    def train(self, task, observer):
        self.trained.append(task)
        figures = {"epoch": 1, "loss": 0.5, "images_per_s": 1.0, "sparsity": 0.0}
        observer.epoch(figures)
        if self.gains is not None:
            observer.speed(self.gains)
        state = dict(task.state)
        if task.retrained is not None:  # prune by magnitude, so that the bytes follow the job
            weight = state["ip1.weight"]
            bound = np.quantile(np.abs(weight), getattr(task.retrained, "sparsity", 0.9))
            state["ip1.weight"] = np.where(np.abs(weight) > bound, weight, 0).astype(np.float32)
        return TrainOutcome(state, (figures,))

    def test(self, task):
        self.tested.append(task)
        return TestCounts(self.num_correct.pop(0), np.zeros((200, 10), np.float32))

    def nodes_for(self, targets):
        return {}

    def edge_tests(self, tasks):
        self.edge_tasks.append(list(tasks))
        return [device_required(load_target(task.target), "told so") for task in tasks]


class Quiet:
    def __init__(self):
        self.ended, self.notes = [], []

    def begin(self, stage, label, iteration, num_epochs):
        pass

    def step(self, figures):
        pass

    def note(self, line):
        self.notes.append(line)

    def epoch(self, figures):
        pass

    def end(self, record, reused):
        self.ended.append((record.stage, record.label, record.iteration, reused))


def run(tmp_path, num_correct, *settings, until="edge-test", job=JOB):
    executor, progress = ToldExecutor(num_correct), Quiet()
    parsed = parse_job(job, "told.yaml", settings)
    store = open_store(str(tmp_path)).child("told")
    return run_job(parsed, executor, store, progress, until), executor, progress


def test_the_boxes_come_in_the_flows_order(tmp_path):
    outcome, executor, progress = run(tmp_path, [190, 180, 185, 185])
    named = [(task.job, task.stage) for task in executor.trained]
    assert named == [("told", "train-1"), ("told", "retrain-prune-1")]
    assert [(stage, label) for stage, label, *_ in progress.ended] == [
        ("train", ""),
        ("test", ""),
        ("compress", "prune"),
        ("retrain", "prune"),
        ("retest", "prune"),
        ("compress", "encode"),
        ("retest", "encode"),
        ("package", ""),
        ("edge-test", "atom-x5-e3940"),
        ("edge-test", "jetson-tx2-cpu"),
        ("edge-test", "jetson-tx2"),
    ]
    assert outcome.best.figures["accuracy_drop"] == pytest.approx(2.5)
    assert outcome.meets_budget
    assert {record.status for record in outcome.edge} == {"device-required"}


def test_train_is_repeated_until_accurate_enough(tmp_path):
    settings = ["train.accuracy_at_least=95", "train.iterations=5"]
    outcome, executor, progress = run(tmp_path, [150, 180, 191], *settings, until="test")
    assert len(executor.trained) == 3
    assert outcome.baseline.metrics["accuracy"] == 95.5
    assert (outcome.is_accurate, progress.notes) == (True, [])


def test_the_best_training_is_kept_when_none_is_accurate_enough(tmp_path):
    settings = ["train.accuracy_at_least=99", "train.iterations=3"]
    outcome, _, progress = run(tmp_path, [150, 180, 170], *settings, until="test")
    assert outcome.baseline.metrics["num_correct"] == 180
    assert not outcome.is_accurate
    line = "accuracy 90 %, train.accuracy_at_least 99 was not reached in 3 iterations"
    assert progress.notes == [line]
    _, _, progress = run(tmp_path, [], *settings, until="test")
    assert progress.notes == [line], "a run that goes on says it again"


def test_a_run_that_is_not_accurate_enough_goes_on_to_its_container(tmp_path):
    settings = ["train.accuracy_at_least=99", "train.iterations=1"]
    outcome, *_ = run(tmp_path, [180] * 4, *settings)
    assert (outcome.is_accurate, outcome.meets_budget) == (False, True)
    assert outcome.best is not None


def test_a_missed_error_relaxes_the_pruning_until_it_is_met(tmp_path):
    settings = ["budget.error=5", "compress.iterations=4"]
    told = [195, 150, 150, 160, 160, 192, 192]
    outcome, executor, _ = run(tmp_path, told, *settings, until="retest")
    assert outcome.meets_budget
    assert outcome.best.iteration == 3
    sparsities = [task.retrained.sparsity for task in executor.trained[1:]]
    assert sparsities == sorted(sparsities, reverse=True)
    assert len(set(sparsities)) == 3


def test_each_pass_is_told_what_earlier_ones_pruned(tmp_path):
    recipe = (
        "compress.recipe=[{prune: {sparsity: 0.9}}, {share: {bits: {ip1: 4}, epochs: 1}}, "
        "{quantize: {step: 0.1, rate_lambda: 0}}, {share: {bits: 4}}, encode]"
    )
    _, executor, _ = run(tmp_path, [195] * 6, recipe, until="retest")
    layers = ("ip1", "ip2", "ip3")
    assert [task.held for task in executor.trained] == [(), (), layers[1:], layers, ()]


def test_a_missed_size_prunes_more(tmp_path):
    settings = ["budget.container_bytes=120000", "compress.iterations=2"]
    outcome, executor, _ = run(tmp_path, [195] * 5, *settings, until="retest")
    first, second = (task.retrained.sparsity for task in executor.trained[1:])
    assert second > first
    assert not outcome.meets_budget  # told weights never shrink that far


def test_the_best_container_survives_a_worse_iteration(tmp_path):
    settings = ["budget.error=1", "compress.iterations=2"]
    outcome, *_ = run(tmp_path, [199, 195, 195, 150, 150], *settings, until="retest")
    assert not outcome.meets_budget
    assert outcome.best.iteration == 1
    packaged = (tmp_path / "told/model.dca").read_bytes()
    store = open_store(str(tmp_path)).child("told")
    assert packaged == store.get(outcome.best.container)


def test_a_container_that_was_removed_is_packaged_again(tmp_path):
    first, *_ = run(tmp_path, [190, 180, 185], until="retest")
    path = tmp_path / "told/model.dca"
    whole = path.read_bytes()
    path.unlink()
    again, *_ = run(tmp_path, [], until="retest")
    assert (again.best, path.read_bytes()) == (first.best, whole)


def test_no_iteration_starts_when_time_is_up(tmp_path):
    settings = ["budget.error=1", "budget.time_s=1.0e-9", "compress.iterations=9"]
    outcome, *_ = run(tmp_path, [199, 150, 150], *settings, until="retest")
    assert outcome.best.iteration == 1


def test_a_finished_run_is_read_from_its_ledger(tmp_path):
    first, *_ = run(tmp_path, [190, 180, 185, 185])
    again, executor, progress = run(tmp_path, [185])  # the missing board's reference logits
    assert executor.trained == []
    assert [reused for *_, reused in progress.ended] == [True] * 8 + [False] * 3
    assert again.best == first.best


def test_legs_of_all_targets_run_together_on_one_reference(tmp_path):
    outcome, executor, _ = run(tmp_path, [190, 180, 185, 185])
    ((atom, tx2),) = executor.edge_tasks
    assert (atom.target, tx2.target) == ("atom-x5-e3940", "jetson-tx2-cpu")
    container = (tmp_path / "told/model.dca").read_bytes()
    assert atom.model == tx2.model == container, "native legs take the container as it is"
    retest, reference = executor.tested[-2:]
    assert (retest.engine, reference.engine) == ("native", "native")
    assert retest.container == reference.container == container
    assert "Pascal GPU" in outcome.edge[2].metrics["reason"], "no leg was asked for TensorRT"


class DoneExecutor(ToldExecutor):
    """Finds every target as the server, but for one."""

    missing = "jetson-tx2-cpu"

    def edge_tests(self, tasks):
        there = {"verdict": "exact", "evidence": "isa", "reason": "", "duration_s": 2.5}
        return [
            leg if task.target == self.missing else dataclasses.replace(leg, **there)
            for task, leg in zip(tasks, super().edge_tests(tasks), strict=True)
        ]


def test_only_missing_legs_are_run_again(tmp_path):
    job, store = parse_job(JOB, "told.yaml"), open_store(str(tmp_path)).child("told")
    first = run_job(job, DoneExecutor([190, 180, 185, 185]), store, Quiet())
    assert [record.status for record in first.edge] == ["done"] + ["device-required"] * 2
    assert first.edge[0].duration_s == 2.5, "a leg's own time, not that of all"
    executor = DoneExecutor([185])
    again = run_job(job, executor, store, Quiet())
    assert [[task.target for task in tasks] for tasks in executor.edge_tasks] == [
        ["jetson-tx2-cpu"]
    ]
    assert again.edge[0].number == first.edge[0].number


@pytest.mark.parametrize(
    ("old", "new", "is_known"),
    [
        ("Denverton", "Skylake-Server", False),
        ("pattern = ", 'label = "my-board"\npattern = ', False),
        ('description = "', 'description = "mine, ', True),
    ],
)
def test_a_corrected_target_of_the_users_own_is_tested_again(tmp_path, old, new, is_known):
    mine = tmp_path / "mine.toml"
    text = (Path(spec.__file__).parent / "atom-x5-e3940.toml").read_text()
    assert old in text
    mine.write_text(text)
    job = parse_job(JOB, "told.yaml", [f"targets=[{mine}]"])
    store = open_store(str(tmp_path)).child("told")
    run_job(job, DoneExecutor([190, 180, 185, 185]), store, Quiet())
    mine.write_text(text.replace(old, new))
    executor = DoneExecutor([185])
    run_job(job, executor, store, Quiet())
    assert (executor.edge_tasks == []) == is_known


def test_an_emulation_is_tested_again_where_a_board_is_required(tmp_path):
    wanted = ["targets=[atom-x5-e3940]", "edge_test.require=device"]
    store = open_store(str(tmp_path)).child("told")
    free = run_job(
        parse_job(JOB, "told.yaml", wanted[:1]),
        DoneExecutor([190, 180, 185, 185]),
        store,
        Quiet(),
    )
    assert free.unproven == ()
    for _ in range(2):  # nothing changes while there is no board
        executor = DoneExecutor([185])
        outcome = run_job(parse_job(JOB, "told.yaml", wanted), executor, store, Quiet())
        assert len(executor.edge_tasks) == 1
        (line,) = outcome.unproven
        assert line.startswith("target 'atom-x5-e3940': exact on an emulation, where a board is")
        assert outcome.edge[0].metrics["verdict"] == "exact"

    class Board(DoneExecutor):
        def edge_tests(self, tasks):
            legs = super().edge_tests(tasks)
            return [dataclasses.replace(leg, evidence="device") for leg in legs]

    assert (
        run_job(parse_job(JOB, "told.yaml", wanted), Board([185]), store, Quiet()).unproven == ()
    )


def test_an_engine_that_the_server_lacks_is_a_verdict(tmp_path):
    class Lacking(ToldExecutor):
        def test(self, task):
            if not self.num_correct:
                raise EngineError("native: libsigdca.so is not there")
            return super().test(task)

    job, store = parse_job(JOB, "told.yaml"), open_store(str(tmp_path)).child("told")
    outcome = run_job(job, Lacking([190, 180, 185]), store, Quiet())
    reason = outcome.edge[0].metrics["reason"]
    assert reason.endswith("no reference: native: libsigdca.so is not there")
    assert {record.status for record in outcome.edge} == {"device-required"}


def test_a_target_with_onnxruntime_gets_an_onnx_file(tmp_path):
    atom = Path(spec.__file__).parent / "atom-x5-e3940.toml"
    text = atom.read_text().replace('engine = "native"', 'engine = "onnxruntime"')
    (tmp_path / "mine.toml").write_text(text)
    setting = f"targets=[{tmp_path}/mine.toml, atom-x5-e3940]"
    _, executor, _ = run(tmp_path, [190, 180, 185, 185, 185], setting)
    ((mine, native),) = executor.edge_tasks
    assert onnx.load_from_string(mine.model).graph.output[0].name == "logits"
    assert native.model == (tmp_path / "told/model.dca").read_bytes()
    assert [task.engine for task in executor.tested[-2:]] == ["onnxruntime", "native"]


def test_a_changed_pass_repeats_itself_and_what_follows(tmp_path):
    run(tmp_path, [190, 180, 185, 185])
    changed = "compress.recipe.0.prune.sparsity=0.8"
    _, executor, progress = run(tmp_path, [180, 185, 185], changed)
    assert [task.retrained is None for task in executor.trained] == [False]
    assert [reused for *_, reused in progress.ended][:3] == [True, True, False]


HOW = [
    "train.workers=4",
    "train={epochs: 1, workers: 8, workers_at_least: 2, strategy: fsdp, compile: true}",
    "train.accumulation_steps=4",
    "train={epochs: 1, strategy: deepspeed, deepspeed: {zero_optimization: {stage: 3}}}",
]


@pytest.mark.parametrize("how", HOW)
def test_how_training_is_computed_changes_no_stage(tmp_path, how):
    _, executor, _ = run(tmp_path / "a", [190, 180, 185], until="retest")
    _, other, _ = run(tmp_path / "b", [190, 180, 185], how, until="retest")
    tasks = [[(task.key, task.seed) for task in one.trained] for one in (executor, other)]
    assert tasks[0] == tasks[1], "the same checkpoints, and images in the same order"
    assert tasks[0][0] != tasks[0][1]
    _, again, progress = run(tmp_path / "a", [], how, until="retest")
    assert again.trained == []
    assert all(reused for *_, reused in progress.ended), "what is done stays done"


@pytest.mark.parametrize(
    "what",
    [
        ["train.batch_size=32"],
        ["train.precision=bf16"],
        ["train.strategy=deepspeed", "train.deepspeed={gradient_clipping: 1}"],
    ],
)
def test_what_is_computed_makes_another_stage(tmp_path, what):
    _, executor, _ = run(tmp_path / "a", [190, 180, 185], until="retest")
    _, other, _ = run(tmp_path / "b", [190, 180, 185], *what, until="retest")
    for one, another in zip(executor.trained, other.trained, strict=True):
        assert one.key != another.key


@pytest.mark.parametrize("damage", ["lost", "cut short"])
def test_a_damaged_artifact_is_made_anew(tmp_path, damage):
    first, *_ = run(tmp_path, [190, 180, 185, 185])
    ledger = Ledger(open_store(str(tmp_path)).child("told"))
    path = tmp_path / "told/artifacts" / ledger.of("retrain")[0].artifact
    whole = path.read_bytes()
    path.unlink()
    if damage == "cut short":
        path.write_bytes(whole[:1000])
    again, executor, _ = run(tmp_path, [185])
    assert [task.retrained is None for task in executor.trained] == [False]
    assert path.read_bytes() == whole
    assert again.best == first.best


def test_what_was_lost_is_trained_once_more_and_not_at_every_resume(tmp_path):
    class Unrepeatable(ToldExecutor):
        def train(self, task, observer):
            done = super().train(task, observer)
            bias = done.state["ip3.bias"] + np.float32(next(trained))
            return TrainOutcome(done.state | {"ip3.bias": bias}, done.epochs)

    trained = iter(range(1, 9))
    job, store = parse_job(JOB, "told.yaml"), open_store(str(tmp_path)).child("told")
    counts = []
    for number in range(3):
        executor = Unrepeatable([190])
        outcome = run_job(job, executor, store, Quiet(), "test")
        counts.append(len(executor.trained))
        if number == 0:
            (tmp_path / "told/artifacts" / outcome.weights).unlink()
    assert counts == [1, 1, 0]
    assert outcome.weights == Ledger(store).of("train")[-1].artifact


def test_a_fault_leaves_what_was_done(tmp_path):
    class Broken(ToldExecutor):
        def test(self, task):
            raise SigdcaError("the cluster is gone")

    job = parse_job(JOB, "told.yaml")
    store = open_store(str(tmp_path)).child("told")
    with pytest.raises(SigdcaError, match="the cluster is gone"):
        run_job(job, Broken([]), store, Quiet())
    _, executor, progress = run(tmp_path, [190, 180, 185, 185])
    assert progress.ended[0] == ("train", "", 1, True)
    assert len(executor.trained) == 1  # the retraining alone


def test_what_a_way_of_computing_gains_stands_in_the_record_and_not_in_its_key(tmp_path):
    def records(folder, gains):
        executor = ToldExecutor([190])
        executor.gains = gains
        store = open_store(str(folder)).child("told")
        run_job(parse_job(JOB, "told.yaml"), executor, store, Quiet(), "test")
        return [record for record in Ledger(store).records if record.stage == "train"]

    (told,) = records(tmp_path / "a", SpeedChoice("bf16, channels last", 1.8, 5))
    (silent,) = records(tmp_path / "b", None)
    line = "bf16, channels last: 1.80x plain float32's images/s, median of 5 steps each"
    assert told.metrics.pop("speed_choice") == line
    assert told.metrics.pop("speed_ratio") == 1.8
    assert told.metrics == silent.metrics
    assert told.key == silent.key
    (failed,) = records(tmp_path / "c", SpeedChoice("bf16", None, 0, "out of memory"))
    line = failed.metrics.pop("speed_choice")
    assert line == "bf16: not compared with plain float32: out of memory"
    assert failed.metrics == silent.metrics


def test_the_local_executor_runs_the_whole_loop(tmp_path):
    emulated("atom-x5-e3940")
    emulated("jetson-tx2-cpu")
    bound = "budget.at={atom-x5-e3940: {memory_bytes: 9000000}}"
    job = parse_job(JOB, "told.yaml", ["compress.recipe.0.prune.sparsity=0.5", bound])
    store = open_store(str(tmp_path)).child("told")
    outcome = run_job(job, LocalExecutor(), store, Quiet())
    assert outcome.best.figures["compression_ratio"] > 1
    verdicts = [record.metrics["verdict"] for record in outcome.edge]
    assert verdicts == ["exact", "exact", "device-required"], outcome.edge
    (memory,) = [line for line in outcome.best.lines if line.name.startswith("memory_bytes@")]
    assert memory.met, "an emulation needs the device's memory"
    assert outcome.best.figures["container_bytes"] < memory.value
    assert dataclasses.asdict(outcome.best)["iteration"] == 1
    assert "train-1" in store.child("tensorboard").names()


def test_runs_with_a_folder_in_common_do_the_same_stages_once(tmp_path):
    store = open_store(str(tmp_path))
    outcomes, reused = [], []
    for name, settings in (("a", []), ("b", []), ("c", ["compress.recipe.0.prune.sparsity=0.8"])):
        executor, progress = ToldExecutor([190, 180, 185]), Quiet()
        job = parse_job(JOB, "told.yaml", [f"name={name}", *settings])
        done = run_job(job, executor, store.child(name), progress, "retest", store.child("shared"))
        outcomes.append(done)
        reused.append([stage for stage, *_, again in progress.ended if again])
        ledger = Ledger(store.child(name))
        assert [record.number for record in ledger.records] == list(range(1, 9))
        assert store.child(name).read("model.dca") == store.child("shared").get(
            done.best.container
        )
    assert reused[0] == []
    assert reused[1] == ["train", "test", "compress", "retrain", "retest", "compress", "retest"]
    assert reused[2] == ["train", "test"], "the recipe differs from its first pass on"
    assert outcomes[1].best.container == outcomes[0].best.container
