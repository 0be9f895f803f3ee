"""Where the time goes, and what is sent."""

import os
import socket
import time
from types import SimpleNamespace

import pytest
import torch
from torch._C._autograd import DeviceType

from sigdca.training import Place
from sigdca.training.meter import SAMPLED_STEPS, Meter, exposed_s, sent_bytes, without_marks


def event(name, start, end, device=DeviceType.CPU):
    span = SimpleNamespace(start=start, end=end)
    return SimpleNamespace(name=name, time_range=span, device_type=device)


def test_communication_counts_where_nothing_is_computed():
    events = [
        event("gloo:all_reduce", 0, 100),
        event("gloo:all_reduce", 50, 200),  # 0 to 200 in all
        event("aten::mm", 150, 180),
        event("aten::addmm", 160, 170),
        event("aten::relu", 190, 400),
        event("c10d::allreduce_", 0, 30),
        event("ncclDevKernel_AllReduce", 0, 900, DeviceType.CUDA),
    ]
    assert exposed_s(events, on_gpu=False) == pytest.approx((200 - 30 - 10) / 1e6)


def test_on_a_gpu_its_kernels_count():
    events = [
        event("gloo:all_reduce", 0, 1000),
        event("aten::mm", 0, 1000),
        event("ncclDevKernel_AllReduce_Sum_f32", 100, 300, DeviceType.CUDA),
        event("sm90_gemm", 250, 400, DeviceType.CUDA),
    ]
    assert exposed_s(events, on_gpu=True) == pytest.approx(150 / 1e6)


def test_the_wait_for_input_is_seen():
    def slow():
        for number in range(3):
            time.sleep(0.02)
            yield number

    meter = Meter(Place())
    assert list(meter.inputs(slow())) == [0, 1, 2]
    split = meter.split(10.0)
    assert 0.06 <= split["input_s"] < 10
    assert sum(split.values()) == pytest.approx(10.0)
    assert meter.split(5.0) == {"input_s": 0.0, "compute_s": 5.0, "communication_s": 0.0}


def test_a_sampled_step_says_nothing_but_what_others_say(capfd):
    meter = Meter(Place(0, 2))
    with without_marks():
        os.write(2, b"USDT:2026-11-26 profiler_start\nERROR: no space for events\n")
    with meter.step(SAMPLED_STEPS[0]):
        os.write(2, b"of the step\n")
        torch.ones(3).sum()
    assert meter.split(1.0)["compute_s"] == 1.0
    assert capfd.readouterr().err == "ERROR: no space for events\nof the step\n"


def test_bytes_are_those_that_the_other_end_has():
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
        with sender, receiver:
            before = sent_bytes()
            sender.sendall(b"x" * 100_000)
            left = 100_000
            while left:
                left -= len(receiver.recv(left))
            deadline = time.monotonic() + 10
            while sent_bytes() - before < 100_000 and time.monotonic() < deadline:
                time.sleep(0.01)
            assert sent_bytes() - before == 100_000
            assert sent_bytes("cuda:0") == 0, "NCCL has other ways than TCP"


def test_other_sockets_do_not_count(tmp_path):
    before = sent_bytes()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
    ):
        receiver.bind(("127.0.0.1", 0))
        sender.sendto(b"x" * 10_000, receiver.getsockname())
        assert len(receiver.recv(20_000)) == 10_000
        one, other = socket.socketpair(socket.AF_UNIX)
        with one, other:
            one.sendall(b"x" * 10_000)
            assert len(other.recv(10_000, socket.MSG_WAITALL)) == 10_000
            assert sent_bytes() == before
