"""Which faults are a trial's own, and which the machine's that it was on."""

import errno
import pickle

import pytest
import torch

from sigdca.distributed import trial as module
from sigdca.distributed.machine import MachineError, machine_fault
from sigdca.distributed.trial import TrialRunner, TrialSpec
from sigdca.errors import DivergedError, EngineError, FormatError, JobError, StorageError
from sigdca.job import DataSource, parse_job
from sigdca.storage import open_store
from tests.images import write_data_set

MNIST = DataSource(source="mnist")
OWN = [
    DivergedError("the loss is nan"),
    JobError("compress: no layer 'ip9'"),
    FormatError("a container ends early"),
    EngineError("refused"),
    ValueError("shapes do not go together"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
]
OF_THE_MACHINE = [
    StorageError("/runs/a: cannot write: no space left"),
    OSError(errno.ENOSPC, "No space left on device"),
    MemoryError(),
    ImportError("No module named 'flowers'"),
    torch.OutOfMemoryError("CUDA out of memory"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.mark.parametrize("error", OWN, ids=lambda error: type(error).__name__)
def test_what_would_come_again_anywhere_is_the_trials_own(error):
    assert machine_fault(error, MNIST) == ""


@pytest.mark.parametrize("error", OF_THE_MACHINE, ids=lambda error: type(error).__name__)
def test_what_may_be_in_order_elsewhere_is_the_machines(error):
    assert machine_fault(error, MNIST)


def test_whatever_ends_a_trial_where_its_images_are_not_is_the_machines(tmp_path):
    source = DataSource(source=str(tmp_path / "flowers"))
    manifest = write_data_set(tmp_path / "flowers", {"train": [4], "test": [2]})
    assert machine_fault(JobError("anything"), source) == ""
    more = source.model_copy(update={"more": (str(tmp_path / "more"),)})
    assert str(tmp_path / "more") in machine_fault(JobError("anything"), more)
    (tmp_path / "flowers" / manifest.splits["test"].shards[0].name).unlink()
    (tmp_path / "flowers" / manifest.splits["train"].shards[0].name).unlink()
    assert "part-00000.parquet" in machine_fault(JobError("anything"), source)


def test_it_comes_whole_from_another_process():
    fault = pickle.loads(pickle.dumps(MachineError("n", "10.0.0.3", "no space left")))
    assert (fault.node, str(fault)) == ("n", "no space left (on node 10.0.0.3)")


JOB = """
name: s
model: lenet-300-100
data: {source: mnist}
train: {}
compress: {recipe: [{prune: {sparsity: 0.9}}, encode]}
search: {space: {seed: {int: [1, 9]}}, num_trials: 9}
"""


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """A process that is given its work's error."""
    place = {"node": "n", "site": "public", "price": 0.0}
    monkeypatch.setattr(TrialRunner, "place", lambda _: place)
    monkeypatch.setattr(module.ray.util, "get_node_ip_address", lambda: "10.0.0.3")

    def made(error):
        def work(*_):
            raise error

        job = parse_job(JOB, "s")
        found = TrialRunner.__new__(TrialRunner)
        config = {"number": 1, "point": {}, "shares": [1.0]}
        found.setup(config, TrialSpec(job, job.search.space, open_store(str(tmp_path)), work))
        return found

    return made


def test_a_trials_own_fault_is_its_result(runner):
    result = runner(ValueError("shapes do not go together")).step()
    assert (result["failed"], result["done"]) == ("ValueError: shapes do not go together", True)


def test_a_fault_of_the_machine_is_raised_with_its_node(runner):
    with pytest.raises(MachineError, match=r"^no space left \(on node 10\.0\.0\.3\)$") as found:
        runner(StorageError("no space left")).step()
    assert found.value.node == "n"
