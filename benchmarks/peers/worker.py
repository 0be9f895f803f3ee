"""Runs in a peer's own environment: PEER MODEL IMAGES.npy SCALE THREADS; see client.py."""

from __future__ import annotations

import ctypes
import json
import struct
import sys
import time
from collections.abc import Callable

import numpy as np

Call = Callable[[], np.ndarray]


def litert(model: str, images: np.ndarray, scale: float, threads: int) -> Call:
    """LiteRT, whose CPU backend is XNNPACK. An int8 model is given int8 pixels."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model, num_threads=threads)
    source = interpreter.get_input_details()[0]
    values = np.ascontiguousarray(images.transpose(0, 2, 3, 1).astype(np.float32) * scale)
    interpreter.resize_tensor_input(source["index"], values.shape)
    interpreter.allocate_tensors()
    result = interpreter.get_output_details()[0]
    if source["dtype"] == np.int8:
        step, zero = source["quantization"]
        values = np.clip(np.rint(values / step + zero), -128, 127).astype(np.int8)
    step, zero = result["quantization"]

    def call() -> np.ndarray:
        interpreter.set_tensor(source["index"], values)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    if source["dtype"] == np.int8:
        call.decode = lambda logits: (logits.astype(np.float32) - zero) * step
    return call


def ncnn(model: str, images: np.ndarray, scale: float, threads: int) -> Call:
    """Batch 1 alone: it has no batches, so images come one behind the other."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    if net.load_param(model) or net.load_model(model.removesuffix("param") + "bin"):
        raise RuntimeError("model not loaded")
    values = [np.ascontiguousarray(image.astype(np.float32) * scale) for image in images]

    def call() -> np.ndarray:
        rows = []
        for value in values:
            extractor = net.create_extractor()
            extractor.input("input", ncnn.Mat(value))
            rows.append(np.array(extractor.extract("output")[1]).reshape(-1))
        return np.stack(rows)

    return call


def onnxruntime(model: str, images: np.ndarray, scale: float, threads: int) -> Call:
    """ONNX Runtime's CPU provider."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    values, name = images.astype(np.float32), session.get_inputs()[0].name
    return lambda: session.run(None, {name: values})[0]


def openvino(model: str, images: np.ndarray, scale: float, threads: int, kind: str) -> Call:
    """The CPU plug-in, made for latency, with float32 or what it takes by itself."""
    import openvino

    core = openvino.Core()
    network = core.read_model(model)
    network.reshape(list(images.shape))
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_PRECISION_HINT"] = kind
    request = core.compile_model(network, "CPU", settings).create_infer_request()
    values = images.astype(np.float32)
    return lambda: next(iter(request.infer([values]).values()))


def deepsparse(model: str, images: np.ndarray, scale: float, threads: int) -> Call:
    """The engine that pruned weights make faster."""
    import deepsparse

    engine = deepsparse.Engine(model, batch_size=len(images), num_cores=threads)
    values = [images.astype(np.float32)]
    return lambda: engine.run(values)[0]


def torch(model: str, images: np.ndarray, scale: float, threads: int) -> Call:
    """Eager mode."""
    import torch

    from sigdca.models import build

    torch.set_num_threads(threads)
    weights = np.load(model)
    network = build(model.rpartition("/")[2].removesuffix(".npz")).eval()
    network.load_state_dict({name: torch.from_numpy(weights[name]) for name in weights.files})
    values = torch.from_numpy(images.astype(np.float32) * np.float32(scale))

    def call() -> np.ndarray:
        with torch.inference_mode():
            return network(values).numpy()

    return call


def refuse_amx() -> None:
    """Has the kernel refuse AMX's registers to this process: a library falls back to AVX-512.

    A seccomp filter gives EPERM for arch_prctl(ARCH_REQ_XCOMP_PERM), by which a process asks for
    them (Linux, Documentation/arch/x86/xstate.rst).
    """
    load_word, equal, give = (
        0x20,
        0x15,
        0x06,
    )  # BPF_LD | BPF_W | BPF_ABS, BPF_JMP | BPF_JEQ, BPF_RET
    steps = (
        (load_word, 0, 0, 0),  # the system call's number
        (equal, 0, 3, 158),  # arch_prctl
        (load_word, 0, 0, 16),  # its first argument
        (equal, 0, 1, 0x1023),  # ARCH_REQ_XCOMP_PERM
        (give, 0, 0, 0x00050001),  # SECCOMP_RET_ERRNO | EPERM
        (give, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    program = struct.pack("@HP", len(steps), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    no_new_privileges, seccomp, filtered = 38, 22, 2
    if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(seccomp, filtered, program, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl: no seccomp filter")


def load(peer: str, *arguments: object) -> Call:
    """The network as a call without arguments."""
    base, _, kind = peer.partition("-")
    if kind.endswith("avx512"):
        refuse_amx()
    if base == "openvino":
        return openvino(*arguments, kind or "f32")
    table = (litert, ncnn, onnxruntime, deepsparse, torch)
    return {function.__name__: function for function in table}[base](*arguments)


def serve(call: Call) -> None:
    """Answers requests until there are no more."""
    for line in sys.stdin:
        request = json.loads(line)
        if "run" in request:
            times = []
            for _ in range(request["run"]):
                start = time.perf_counter_ns()
                call()
                times.append((time.perf_counter_ns() - start) / 1000)
            answer(result=times)
        elif "logits" in request:
            decode = getattr(call, "decode", lambda logits: logits)
            answer(result=np.asarray(decode(call()), np.float32).tolist())
        else:
            answer(result=resident_bytes("VmHWM") - BEFORE_BYTES)


def resident_bytes(which: str) -> int:
    """VmRSS, or the high-water mark; getrusage would count what its parent held at the fork."""
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(which))
    return 1024 * int(line.split()[1])


BEFORE_BYTES = resident_bytes("VmRSS")  # Python and numpy, which a program in C would not have


def answer(**content: object) -> None:
    """One line to the client."""
    print("peer: " + json.dumps(content), flush=True)


def main() -> None:
    """Loads the network, says so, and serves."""
    peer, model, images, scale, threads = sys.argv[1:]
    try:
        call = load(peer, model, np.load(images), float(scale), int(threads))
        call()
    except Exception as error:
        answer(error=f"{type(error).__name__}: {str(error).strip().splitlines()[0][:200]}")
        return
    answer(result="ready")
    serve(call)


if __name__ == "__main__":
    main()
