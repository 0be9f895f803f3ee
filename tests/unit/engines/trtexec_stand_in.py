"""Stands for `trtexec` of TensorRT 8.2.1: options, lines and files; ONNX Runtime computes.

Environment: STAND_IN_LOG, a file that gets a line of arguments for each run; STAND_IN_FAILS, a
line that it fails with.
"""

import json
import os
import sys
from pathlib import Path

SUMMARY = (
    "[05/18/2023-21:52:15] [I] === Performance summary ===\n"
    "[05/18/2023-21:52:15] [I] Latency: min = 13.7 ms, max = 14.9 ms, mean = 13.8 ms, "
    "median = 13.8 ms, percentile(99%) = 14.8 ms"
)
KNOWN = {
    *("onnx", "saveEngine", "loadEngine", "minShapes", "optShapes", "maxShapes", "shapes"),
    *("workspace", "buildOnly", "noTF32", "fp16", "loadInputs", "exportOutput", "exportTimes"),
    *("iterations", "duration", "warmUp", "avgRuns", "help"),
}


def run(images, model):
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {"pixels": images})[0]


def main(arguments: list[str]) -> int:
    words = " ".join(["trtexec", *arguments])
    print(f"&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # {words}")
    with open(os.environ["STAND_IN_LOG"], "a") as log:
        log.write(json.dumps(arguments) + "\n")
    given = dict(one.removeprefix("--").partition("=")[::2] for one in arguments)
    if set(given) - KNOWN:
        print(f"[05/18/2023-21:52:15] [E] Unknown option: {set(given) - KNOWN}")
        return 1
    if "help" in given:
        return 0
    if os.environ.get("STAND_IN_FAILS"):
        print(f"[05/18/2023-21:52:15] [E] {os.environ['STAND_IN_FAILS']}")
        print("[05/18/2023-21:52:15] [E] Engine set up failed")
        print(f"&&&& FAILED TensorRT.trtexec [TensorRT v8201] # {words}")
        return 1
    if "onnx" in given:
        Path(given["saveEngine"]).write_bytes(Path(given["onnx"]).read_bytes())
    if "loadInputs" in given:
        import numpy as np

        sizes = [int(size) for size in given["shapes"].removeprefix("pixels:").split("x")]
        pixels = np.fromfile(given["loadInputs"].removeprefix("pixels:"), np.float32)
        logits = run(pixels.reshape(sizes), given["loadEngine"])
        values = ", ".join(f"{value:.6g}" for value in logits.ravel())
        shown = "x".join(map(str, logits.shape))
        Path(given["exportOutput"]).write_text(
            f'[\n  {{ "name" : "logits"\n  , "dimensions" : "{shown}"\n'
            f'  , "values" : [ {values} ]\n  }}\n]\n'
        )
    if "exportTimes" in given:
        lines = [
            f'{{ "startEnqMs" : {at}, "endEnqMs" : {at + 0.1}, "startH2dMs" : {at}, '
            f'"endH2dMs" : {at + 0.1}, "startComputeMs" : {at + 0.1}, "endComputeMs" : {at + 1}, '
            f'"startD2hMs" : {at + 1}, "endD2hMs" : {at + 1.1}, "h2dMs" : 0.1, "computeMs" : 0.9, '
            f'"d2hMs" : 0.1, "latencyMs" : {9 if at < 500 else 1.1}, "endToEndMs" : 1.2 }}'
            for at in range(0, 1000, 2)
        ]
        Path(given["exportTimes"]).write_text("[\n  " + "\n, ".join(lines) + "\n]\n")
    print(SUMMARY)
    print(f"&&&& PASSED TensorRT.trtexec [TensorRT v8201] # {words}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
