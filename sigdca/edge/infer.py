"""Real-time inference: frames in, results out, a deadline for each. numpy and the library alone.

    python -m sigdca.edge.infer MODEL.dca --frames camera:/dev/video0 --deadline-ms 20

`sigdca edge infer` becomes this. One thread takes frames and computes; reading standard input,
loading an update, reports and metrics are others'.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Any

from sigdca.edge.aside import Aside, acquire_command
from sigdca.edge.frames import END, Frames, FrameShapeError, open_frames
from sigdca.edge.metrics import Counts, MetricsServer, prometheus, rss_bytes
from sigdca.edge.outputs import Lines, Output, Server
from sigdca.edge.ready import Models, Ready, open_models
from sigdca.edge.said import say
from sigdca.errors import JobError, SigdcaError, StorageError
from sigdca.native import PROFILES

_PR_SET_TIMERSLACK = 29  # linux/prctl.h
_NOTIFY_NS = 10**9
_SWITCH_S = 0.0005  # how long a helper may keep Python's lock when the loop wants it


class Loop:
    """Takes frames until there are no more, or it is told to stop.

    Attributes:
        counts: what became of the frames.
        ready: what computes them now.
    """

    def __init__(
        self,
        frames: Frames,
        output: Output,
        models: Models,
        counts: Counts,
        *,
        deadline_ns: int,
        drop: bool,
        limit: int | None,
        aside: Aside | None = None,
    ) -> None:
        """Touches nothing yet.

        Args:
            frames: where frames come from.
            output: where results go.
            models: what computes them.
            counts: what became of the frames.
            deadline_ns: from a frame's arrival to its result.
            drop: leave a frame out that has waited longer than that.
            limit: end after so many frames; None: never.
            aside: takes frames of which the model is not sure.
        """
        self._aside = aside
        self.counts, self.ready = counts, models.current()
        self._frames, self._output, self._models = frames, output, models
        self._deadline_ns, self._drop = deadline_ns, drop
        self._limit = sys.maxsize if limit is None else limit
        self._stopped = False
        self._notify_ns = 0

    def stop(self, _signal: int = 0, _frame: FrameType | None = None) -> None:
        """Ends after the frame at hand, even if nobody takes its result."""
        self._stopped = True
        self._output.interrupt()

    def run(self) -> None:
        """Raises what source, output or models raise; a reader that has gone away is an end."""
        number, known_lost = 0, 0
        while number < self._limit and not self._stopped:
            ready = self.ready = self._models.current()
            arrived = self._frames.take(ready.pixels[0])
            lost = self._frames.lost  # read once: another thread counts
            self.counts.dropped += lost - known_lost
            number += lost - known_lost
            known_lost = lost
            self._alive()
            if arrived == END:
                return
            if arrived > 0:
                try:
                    self._one(ready, number, arrived)
                except BrokenPipeError:
                    return
                number += 1

    def _one(self, ready: Ready, number: int, arrived: int) -> None:
        counts = self.counts
        if self._drop and time.monotonic_ns() - arrived > self._deadline_ns:
            counts.dropped += 1
            return
        ready.call()
        logits: list[float] = ready.logits[0].tolist()
        best = max(logits)
        took = time.monotonic_ns() - arrived
        met = took <= self._deadline_ns
        if met:
            counts.met += 1
        else:
            counts.late += 1
        counts.latency.add(took // 1000)
        label = self._frames.label
        named = f'"file":{json.dumps(label)},' if label else ""
        line = (
            f'{{"frame":{number},{named}"class":{logits.index(best)},"logit":{best!r},'
            f'"latency_us":{took // 1000},"met":{"true" if met else "false"},'
            f'"version":{ready.version}}}\n'
        )
        self._output.put(line.encode())
        if self._aside is not None:
            self._aside.offer(ready.pixels, logits, best)

    def _alive(self) -> None:
        """A service manager's watchdog hears from the loop itself, not from a thread beside it."""
        now = time.monotonic_ns()
        if now - self._notify_ns >= _NOTIFY_NS:
            self._notify_ns = now
            notify("WATCHDOG=1")


def notify(message: str) -> None:
    """Tells systemd (sd_notify(3)), if it started this process."""
    import socket

    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
            to.sendto(message.encode(), "\0" + address[1:] if address[0] == "@" else address)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 0 done, 2 bad input, 3 a fault."""
    given = options().parse_args(arguments)
    try:
        return _run(given)
    except SigdcaError as error:
        say(str(error))
        return error.exit_code


def _run(given: argparse.Namespace) -> int:
    counts = Counts()
    _prepare_helpers(given.cpu, given.fifo)
    with contextlib.ExitStack() as stack:
        models = open_models(given, counts)
        stack.callback(models.close)
        try:
            loop, output = _open_loop(given, models, counts, stack)
            models.watch()
            _prepare_loop(given.cpu, given.fifo)
        except FrameShapeError:  # by the model: such a start counts
            raise
        except SigdcaError:  # a camera that is not there yet must not use up an update's starts
            models.uncount()
            raise
        notify("READY=1")
        loop.run()
        notify("STOPPING=1")
    _tell(counts, output, given.summary)
    return 0


def _open_loop(
    given: argparse.Namespace, models: Models, counts: Counts, stack: contextlib.ExitStack
) -> tuple[Loop, Output]:
    """The loop with all that is around it, which the stack closes."""
    shape = models.current().shape
    output = _output(given.to, wait=not given.drop)
    stack.callback(output.close)
    frames = open_frames(
        given.frames,
        shape,
        fps=given.fps,
        repeat=given.repeat,
        prefixed=given.prefixed,
        drop=given.drop,
    )
    stack.callback(frames.close)
    aside = _aside(given)
    if aside is not None:
        stack.callback(aside.close)
    loop = Loop(
        *(frames, output, models, counts),
        deadline_ns=int(given.deadline_ms * 1e6),
        drop=given.drop,
        limit=given.limit,
        aside=aside,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, loop.stop)
    if given.metrics:
        server = MetricsServer(given.metrics, lambda: _metrics(loop, output))
        stack.callback(server.close)
        say(f"infer: metrics at http://{server.address}/metrics")
    return loop, output


def _prepare_helpers(cpu: int | None, fifo: int | None) -> None:
    """What all threads inherit that are started from here on.

    They keep to the other CPUs, and in real time stand just below the loop: one that had Python's
    lock and had to wait behind the machine's other work would keep the loop waiting as well.
    """
    if cpu is not None:
        with contextlib.suppress(OSError):  # there may be no others
            os.sched_setaffinity(0, os.sched_getaffinity(0) - {cpu})
    if fifo is not None:
        _real_time(max(fifo - 1, 1))


def _prepare_loop(cpu: int | None, fifo: int | None) -> None:
    """This thread's own."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)  # wake when due, not 50 us later
    if cpu is not None:
        try:
            os.sched_setaffinity(0, {cpu})
        except (OSError, OverflowError) as error:
            raise JobError(f"infer: cannot have CPU {cpu}: {error}") from error
    if fifo is not None:
        _real_time(fifo)
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()  # what is there now stays: later collections need not look at it


def _real_time(priority: int) -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        raise JobError(f"infer: cannot have priority {priority}: {error.strerror}") from error


def _output(where: str, *, wait: bool) -> Output:
    if where == "-":
        return Lines(1, wait=wait)
    if where.startswith(("mqtt://", "mqtts://")):
        from sigdca.edge.mqtt import Mqtt

        return Mqtt(where)
    server = Server(where)
    say(f"infer: results at {server.address}")
    return server


def _aside(given: argparse.Namespace) -> Aside | None:
    if given.acquire is None:
        if given.private:
            raise JobError("infer: --private is for the samples of --acquire STORE")
        return None
    return Aside(acquire_command(given.model, given.device, given.acquire, given.private))


def _metrics(loop: Loop, output: Output) -> bytes:
    ready = loop.ready
    return prometheus(loop.counts, lost=output.lost, version=ready.version, model=ready.model)


def _tell(counts: Counts, output: Output, summary: Path | None) -> None:
    told: dict[str, Any] = counts.told() | {"results_lost": output.lost, "rss_bytes": rss_bytes()}
    if summary is not None:
        try:
            summary.write_text(json.dumps(told, indent=1) + "\n")
        except OSError as error:
            raise StorageError(f"{summary}: cannot write: {error.strerror}") from error
    say(
        f"infer: {told['frames']} frames: {told['met']} met, {told['late']} late, "
        f"{told['dropped']} dropped; p50 {told['latency_p50_us']:.0f}, p99 "
        f"{told['latency_p99_us']:.0f}, p99.9 {told['latency_p999_us']:.0f}, max "
        f"{told['latency_max_us']} us; {output.lost} results lost"
    )


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="sigdca edge infer",
        description="Run a model in real time: frames in, results out, a deadline for each.",
        epilog="Example: sigdca edge infer model.dca --frames camera:/dev/video0 --deadline-ms 20",
    )
    add = parser.add_argument
    add("model", nargs="?", type=Path, help="a .dca")
    add("--device", type=Path, metavar="ROOT", help="instead: what is live there, with updates")
    add("--frames", default="-", help="-, camera:/dev/videoN, a file or a folder (default -)")
    add("--prefixed", action="store_true", help="each frame on stdin has its length before it")
    add("--fps", type=_positive, help="frames a second, of files and cameras")
    add("--repeat", action="store_true", help="files begin again after the last")
    add("--limit", type=int, help="end after so many frames")
    add(
        "--to", default="-", help="-, unix:PATH, tcp:HOST:PORT, mqtt[s]://[USER@]HOST[:PORT]/TOPIC"
    )
    add("--deadline-ms", type=_positive, default=100.0, help="arrival to result (default 100)")
    add(
        "--drop",
        action="store_true",
        help="drop frames that are too late, and results nobody takes",
    )
    add("--profile", choices=PROFILES, default="fast")
    add("--threads", type=int, default=1)
    add("--cpu", type=int, help="compute on this CPU alone")
    add("--fifo", type=int, metavar="PRIORITY", help="as a real-time thread (needs the right to)")
    add("--metrics", metavar="HOST:PORT", help="Prometheus metrics over HTTP")
    add("--acquire", type=Path, metavar="STORE", help="keep frames worth labelling there")
    add("--private", action="store_true", help="these never leave this board")
    add("--summary", type=Path, metavar="FILE", help="write the figures as JSON at the end")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e9:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
