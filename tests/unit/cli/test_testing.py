"""`sigdca test`: among how many workers the images are shared."""

import contextlib
from types import SimpleNamespace

import pytest

from sigdca import distributed
from sigdca.cli import main
from sigdca.loop import LocalExecutor
from sigdca.models import build, save_weights

ON = ["--address", "head:6379"]


@pytest.mark.parametrize(
    ("flags", "num_cpus", "shares"),
    [
        ([], None, None),
        (ON, 1, [None, None]),
        ([*ON, "--workers", "5"], 5, [3, 3]),
        (["--workers", "2"], 2, [1, 1]),
    ],
)
def test_a_cluster_shares_by_the_work_unless_it_is_told(
    tmp_path, monkeypatch, flags, num_cpus, shares
):
    asked = []

    @contextlib.contextmanager
    def connect(address, num_workers):
        def tests(tasks):
            asked.append((num_workers, [task.num_shares for task in tasks]))
            return LocalExecutor().tests(tasks)

        yield SimpleNamespace(tests=tests)

    monkeypatch.setattr(distributed, "connect", connect)
    file = tmp_path / "net.safetensors"
    save_weights(build("lenet-300-100"), file)
    command = ["test", str(file), str(file), "--model", "lenet-300-100", "--limit", "20"]
    with pytest.raises(SystemExit) as ended:
        main([*command, *flags])
    assert not ended.value.code
    assert asked == ([] if num_cpus is None else [(num_cpus, shares)])
