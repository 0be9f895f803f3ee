import socket
import sys
import urllib.error
import urllib.request

import pytest
import torch
from torch import nn

from sigdca.distributed.rendezvous import Rendezvous, slots
from sigdca.distributed.strategies import STRATEGIES
from sigdca.errors import JobError
from sigdca.training import Place, Setting

MISSING = "train.strategy: horovod is not installed: run `make horovod`"


def test_slots_of_one_node():
    first, second = slots(["a", "a"])
    assert (first.rank, first.size, first.local_rank, first.local_size) == (0, 2, 0, 2)
    assert (second.rank, second.size, second.local_rank, second.local_size) == (1, 2, 1, 2)
    assert {(slot.cross_rank, slot.cross_size) for slot in (first, second)} == {(0, 1)}


def test_slots_of_nodes_of_unequal_size():
    found = slots(["a", "b", "b", "c", "c", "c"])
    assert [slot.rank for slot in found] == [0, 1, 2, 3, 4, 5]
    assert [slot.local_rank for slot in found] == [0, 0, 1, 0, 1, 2]
    assert [slot.local_size for slot in found] == [1, 2, 2, 3, 3, 3]
    assert [slot.cross_rank for slot in found] == [0, 1, 0, 2, 1, 0]
    assert [slot.cross_size for slot in found] == [3, 3, 2, 3, 2, 1]


def test_ranks_stay_where_nodes_are_mixed():
    found = slots(["a", "b", "a"])
    assert [slot.rank for slot in found] == [0, 1, 2]
    assert [slot.local_rank for slot in found] == [0, 0, 1]
    assert [slot.cross_rank for slot in found] == [0, 1, 0]


@pytest.fixture
def no_horovod(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("horovod.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "horovod", None)


@pytest.mark.usefixtures("no_horovod")
def test_a_missing_horovod_is_told_before_anything_starts():
    with pytest.raises(JobError) as caught:
        STRATEGIES["horovod"].check(nn.Linear(1, 1), torch.zeros(1, 1))
    assert str(caught.value) == MISSING


@pytest.mark.usefixtures("no_horovod")
def test_a_worker_or_a_controller_without_it_says_so():
    setting = Setting(Place(), torch.zeros(1, 1), 1)
    with pytest.raises(JobError) as caught:
        STRATEGIES["horovod"](nn.Linear(1, 1), torch.optim.SGD, setting)
    assert str(caught.value) == MISSING
    with pytest.raises(JobError) as caught:
        Rendezvous("127.0.0.1", ["a"])
    assert str(caught.value) == MISSING


def test_the_server_keeps_addresses_and_tells_no_files():
    pytest.importorskip("horovod", reason="Horovod is not installed: run `make horovod`")
    rendezvous = Rendezvous("127.0.0.1", ["a", "b"])
    try:
        first, second = rendezvous.environments()
        assert (second["HOROVOD_RANK"], second["HOROVOD_HOSTNAME"]) == ("1", "b")
        port = int(first["HOROVOD_GLOO_RENDEZVOUS_PORT"])
        url = f"http://127.0.0.1:{port}"
        for method, data in (("PUT", b"address"), ("GET", None)):
            request = urllib.request.Request(f"{url}/global/0", data=data, method=method)
            with urllib.request.urlopen(request, timeout=10) as answer:
                assert answer.status == 200
                assert answer.read() == (b"address" if method == "GET" else b"")
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(
                urllib.request.Request(f"{url}/README.md", method="HEAD"), timeout=10
            )
    finally:
        rendezvous.stop()
    with pytest.raises(ConnectionRefusedError), socket.socket() as probe:
        probe.connect(("127.0.0.1", port))
