"""NEW DATA closes the loop: when boards have sent enough, it goes round again.

A cycle is a run of its own, with the old images and the new ones, which begins with the weights of
the last accepted one. Its container is accepted if TRAIN was as accurate as the job asks, if it
meets the job's budget, is right on no fewer of the test images than the one that is live, and a
target's verdict allows it; then it is released. Whatever happens to a cycle, the release before
stays.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sigdca.codec import decode_container
from sigdca.data import find_source
from sigdca.edge.keys import load_private_key
from sigdca.edge.samples import ids_of, keys_of
from sigdca.engines import container_engine
from sigdca.errors import JobError, SigdcaError
from sigdca.job import Job, Watch, dump_job
from sigdca.loop.arrivals import Arrivals, New, samples_of, write_data_set
from sigdca.loop.check import check_job
from sigdca.loop.cycles import CycleEnd, Cycles, Plan
from sigdca.loop.dataset import is_streamed
from sigdca.loop.deltas import best_of_deltas
from sigdca.loop.executor import Executor
from sigdca.loop.network import unpack
from sigdca.loop.points import RELEASE, Progress, Run, Work
from sigdca.loop.release import (
    NO_VERDICT,
    Result,
    proven_targets,
    publish_container,
    why_not,
)
from sigdca.loop.run import run_job
from sigdca.loop.stages import container_task, evaluation_metrics
from sigdca.storage import Store, Walk, beneath, open_store

MAX_ATTEMPTS = 3

Connect = Callable[[], AbstractContextManager[Executor]]


@dataclass(frozen=True)
class Surroundings:
    """What `watch_job` works with.

    Attributes:
        store: the run's folder.
        address: the address of that.
        connect: gives an executor for as long as a cycle takes.
        progress: who watches.
        report: writes the report of a run's folder.
        pause: waits so many seconds.
    """

    store: Store
    address: str
    connect: Connect
    progress: Progress
    report: Callable[[Store], object]
    pause: Callable[[float], None] = time.sleep


def watch_job(job: Job, where: Surroundings) -> list[CycleEnd]:
    """Runs the loop, and again whenever there is enough new data, from wherever it stands.

    Returns:
        How all cycles ended, after `watch.cycles` of them; without that it does not return.

    Raises:
        JobError: the job has no `watch` section, or one that cannot be.
        SigdcaError: a fault on the way; called again, it goes on.
    """
    return _Watching(job, where).run()


def check_watched(job: Job) -> Watch:
    """What a job says of watching, found to be sound before anything is touched.

    Raises:
        JobError: the job has no `watch` section, or one that cannot be.
        SigdcaError: its key cannot be read.
    """
    if job.watch is None:
        raise JobError(f"{job.name}: has no section 'watch': say at least where its data come")
    if job.compress is None:
        raise JobError(f"{job.name}: has no section 'compress': nothing could be released")
    if is_streamed(job.data):
        raise JobError(
            f"{job.name}: data.streaming: new data are for images in memory; false keeps them so"
        )
    if job.watch.key is not None:
        load_private_key(Path(job.watch.key))
    return job.watch


@dataclass
class _Watching:
    job: Job
    where: Surroundings
    watch: Watch = field(init=False)
    cycles: Cycles = field(init=False)
    arrivals: Arrivals = field(init=False)
    said: str = field(init=False, default="")

    def __post_init__(self) -> None:
        job = self.job
        self.watch = check_watched(job)
        self.cycles = Cycles(self.where.store.child("watch"))
        source = find_source(job.data.source)
        self.arrivals = Arrivals(open_store(self.watch.data), source, self._say)

    def run(self) -> list[CycleEnd]:
        cycles = self.cycles
        for ended in cycles.ends:  # one that was killed may have left something
            self._afterwards(partial(cycles.clean, ended))
        if 0 not in cycles.ends:
            self._first()
        last = self.watch.cycles
        while last is None or len(cycles.ends) - 1 < last:
            number = cycles.unfinished
            if number is None:
                number = self._begin()
            self._finish(number)
        return [end for _, end in sorted(cycles.ends.items())]

    def _first(self) -> None:
        store, job = self.where.store, self._job(0, "first")
        for attempt in range(1, MAX_ATTEMPTS + 1):
            with self.where.connect() as executor:
                result = Result.of(run_job(job, executor, store, self.where.progress))
                run = self._run(job, store.get(result.best.container), executor, store)
                end = CycleEnd(number=0, kind="first", more=job.data.more, ended_s=0)
                if self._end(run, end, result, attempt == MAX_ATTEMPTS):
                    return
            self.where.pause(self.watch.poll_s)

    def _begin(self) -> int:
        """Waits until there is enough that is new, and begins a cycle with it."""
        cycles, number = self.cycles, self.cycles.next
        while True:
            try:
                known = cycles.keys()
                new = self.arrivals.look(cycles.used, known)
                if new.num_images >= self.watch.at_least:
                    return self._begin_data(number, new)
                live = cycles.live
                deltas = {} if live is None else self.arrivals.deltas(cycles.used, live.container)
                if deltas:
                    came = max(map(self.arrivals.arrived_s, deltas))
                    plan = Plan(kind="deltas", names=tuple(deltas), num_images=0, arrived_s=came)
                    cycles.begin(number, plan)
                    return number
                self._say(f"watch: {new.num_images} of {self.watch.at_least} new images are there")
            except SigdcaError as error:  # the place may be out of reach for a while
                self._say(f"watch: {error}")
            self.where.pause(self.watch.poll_s)

    def _begin_data(self, number: int, new: New) -> int:
        cycles = self.cycles
        samples = samples_of(self.arrivals, new.names, cycles.keys())
        cycles.store.remove(f"{number:04d}")  # left by one that was killed before it had begun
        source = find_source(self.job.data.source)
        to = cycles.folder(number).child("data")
        write_data_set(samples, source, f"new-{number:04d}", self.watch.test_share, to)
        plan = Plan(kind="data", names=new.names, num_images=len(samples), arrived_s=new.arrived_s)
        cycles.begin(number, plan, keys_of(ids_of(samples.images)))
        return number

    def _finish(self, number: int) -> None:
        """Does a cycle; after a few faults it is given up, one of bad deltas at once."""
        plan = self.cycles.plans[number]
        what = "deltas" if plan.kind == "deltas" else "new images"
        count = len(plan.names) if plan.kind == "deltas" else plan.num_images
        self._say(f"watch: cycle {number} begins with {count} {what}")
        failed = 0
        while True:
            connected = False
            try:
                with ExitStack() as stack:
                    executor = stack.enter_context(self.where.connect())
                    connected = True
                    if self._cycle(number, plan, executor, failed == MAX_ATTEMPTS - 1):
                        return
                    failed += 1
            except SigdcaError as error:
                if number in self.cycles.ends:
                    self._say(f"watch: cycle {number} is over: {error}")
                    return
                failed += connected
                is_bad = plan.kind == "deltas" and error.exit_code == JobError.exit_code
                if connected and (is_bad or failed >= MAX_ATTEMPTS):
                    self._give_up(number, plan, str(error))
                    return
                self._say(f"watch: cycle {number}: {error}; tried again")
            self.where.pause(self.watch.poll_s)

    def _cycle(self, number: int, plan: Plan, executor: Executor, is_last: bool) -> bool:
        """Goes round once, from wherever it stands; whether it has come to an end."""
        cycles, folder = self.cycles, self.cycles.folder(number)
        job, live = self._job(number, plan.kind), cycles.live
        check_job(job, f"watch: cycle {number}")
        end = CycleEnd(
            number=number,
            kind=plan.kind,
            num_images=plan.num_images,
            arrived_s=plan.arrived_s,
            more=job.data.more,
            ended_s=0,
        )
        if plan.kind == "deltas":
            assert live is not None
            Walk(folder).begin()  # elsewhere `run_job` does
            base = cycles.store.get(live.container)
            folder.put(base)
            run = self._run(job, base, executor, folder)
            result = best_of_deltas(run, self.arrivals, plan.names, live)
        else:
            begin = unpack(cycles.store.get((live or cycles.ends[0]).weights))
            outcome = run_job(job, executor, folder, self.where.progress, initial=begin)
            result = Result.of(outcome)
            run = self._run(job, folder.get(result.best.container), executor, folder)
        if live is not None:
            error = self._error_of(run, cycles.store.get(live.container))
            end = end.model_copy(update={"live_error": error})
        return self._end(run, end, result, is_last)

    def _job(self, number: int, kind: str) -> Job:
        """The job of a cycle: all new images up to it, or those that the live one has seen."""
        if kind == "deltas":
            more = (self.cycles.live or self.cycles.ends[0]).more
        else:
            mine = [
                beneath(self.where.address, f"watch/{one:04d}/data")
                for one in self.cycles.with_data(number)
            ]
            more = (*self.job.data.more, *mine)
        data = self.job.data.model_copy(update={"more": more})
        name = f"{self.job.name[:90]}-{number:04d}" if number else self.job.name
        return self.job.model_copy(update={"name": name, "data": data, "search": None})

    def _run(self, job: Job, container: bytes, executor: Executor, folder: Store) -> Run:
        folder.write("job.yaml", dump_job(job).encode())
        graph = decode_container(container).graph
        return Run(job, graph, folder, executor, self.where.progress)

    def _error_of(self, run: Run, container: bytes) -> float:
        """What the live container's error is on this cycle's test images."""
        digest, engine = run.artifacts.put(container), container_engine()

        def work(_key: str) -> Work:
            counts = run.executor.test(container_task(run, digest, engine))
            return Work(evaluation_metrics(counts, engine))

        inputs = {"container": digest, "engine": engine}
        return float(run.stage("retest", "live", 1, inputs, work).metrics["error"])

    def _end(self, run: Run, end: CycleEnd, result: Result, is_last: bool) -> bool:
        """Judges what a cycle has come to, releases it if it may be, and writes it all down.

        Returns:
            False if nothing but a target's verdict is missing, unless this was the last attempt: a
            board or an emulator may be there next time.
        """
        budget = self.job.budget
        # Of private data the servers see nothing: there, a bound of the budget decides.
        bounded = budget.error is not None or budget.accuracy_drop is not None
        live_error = None if end.kind == "deltas" and bounded else end.live_error
        reason = why_not(run.job, result, live_error)
        if reason.startswith(NO_VERDICT) and not is_last:
            self._say(f"watch: {reason}; tried again")
            return False
        end = end.model_copy(
            update={
                "accepted": not reason,
                "reason": reason,
                "weights": result.weights,
                "container": result.best.container,
                "baseline_accuracy": result.baseline_accuracy,
                "error": result.best.figures["error"],
            }
        )
        end = self._released(run, end, proven_targets(run.job, result.edge))
        self.cycles.finish(end, of=run.store)
        self._tell(end)
        self._afterwards(partial(self.cycles.clean, end.number))
        self._afterwards(partial(self.where.report, run.store))
        return True

    def _afterwards(self, what: Callable[[], object]) -> None:
        """Does what may fail without a cycle's end being any less of one."""
        try:
            what()
        except SigdcaError as error:
            self._say(f"watch: {error}")

    def _released(self, run: Run, end: CycleEnd, targets: tuple[str, ...]) -> CycleEnd:
        """RELEASE, a test point of its own; says why there is none."""
        watch, reason = self.watch, end.reason
        if end.accepted and watch.releases is None:
            reason = "watch.releases is not set"
        elif end.accepted and not targets:
            reason = "the job has no targets"
        inputs = {"container": end.container, "channel": watch.channel, "targets": targets}

        def work(_key: str) -> Work:
            told = {
                "released": not reason,
                "reason": reason,
                "num_new_images": end.num_images,
                "targets": ", ".join(targets),
            }
            if end.live_error is not None:
                told["live_error"] = end.live_error
            if not reason:
                container = run.artifacts.get(end.container)
                told["version"] = publish_container(container, watch, self.job.name, targets)
                if end.arrived_s is not None:
                    told["redeployment_s"] = round(time.time() - end.arrived_s, 3)
            return Work(told, run.artifacts.get(end.container))

        metrics = run.stage(RELEASE, watch.channel, 1, inputs | {"reason": reason}, work).metrics
        return end.model_copy(
            update={
                "reason": reason,
                "version": metrics.get("version"),
                "targets": targets if metrics["released"] else (),
                "redeployment_s": metrics.get("redeployment_s"),
                "ended_s": time.time(),
            }
        )

    def _give_up(self, number: int, plan: Plan, why: str) -> None:
        end = CycleEnd(
            number=number,
            kind=plan.kind,
            num_images=plan.num_images,
            reason=f"failed: {why}",
            arrived_s=plan.arrived_s,
            ended_s=time.time(),
        )
        self.cycles.finish(end, of=None)
        self._tell(end)
        self._afterwards(partial(self.cycles.clean, number))

    def _tell(self, end: CycleEnd) -> None:
        what = f"cycle {end.number}" if end.number else "the first run"
        if end.version is None:
            stays = "; the release before stays" if end.number else ""
            self._say(f"watch: {what} is not released: {end.reason}{stays}")
            return
        since = (
            "" if end.redeployment_s is None else f", {end.redeployment_s:.0f} s after its data"
        )
        self._say(
            f"watch: {what} is released as version {end.version} ({self.watch.channel}) for "
            f"{', '.join(end.targets)}{since}"
        )

    def _say(self, line: str) -> None:
        """The same line again says nothing."""
        if line != self.said:
            self.said = line
            self.where.progress.note(line)
