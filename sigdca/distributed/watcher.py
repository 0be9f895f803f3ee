"""What watches Tune for a study: writes results down, looks after servers and boards, ends it."""

from __future__ import annotations

import contextlib
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune
from ray.exceptions import RayError
from ray.tune.experiment import Trial
from ray.tune.search import ConcurrencyLimiter

from sigdca.distributed.boards import Boards
from sigdca.distributed.labels import SITE_LABEL
from sigdca.distributed.machine import MachineError
from sigdca.distributed.searcher import StudySearch, Unwritten, trial_figures
from sigdca.distributed.sites import (
    ANY,
    held_by_others,
    may_grow,
    next_site,
    site_of,
    slots,
)
from sigdca.search import TOO_LATE, Rung, Study, TrialRecord, missed_bounds

MAX_NODE_LOSSES = 3  # a trial's process may be lost so often, one time right after the other
MAX_ROUNDS = 3  # and be given so many more chances, when what was lost is known to be
ROUND_S = 30.0  # after so long, and longer each time: a dead node is believed alive for a while
LOOK_EVERY_S = 5.0
WAIT_S = 30.0  # without a trial at work, until it is said what is missing
SHUN_S = 300.0  # so long no trial goes where a fault of the machine has ended one
SLOTS_S = 1.0  # the cluster is not asked more often; short trials are drawn at a higher rate


class Over(Unwritten, tune.Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends all trials when the study is over, or must begin anew."""

    def __init__(self, study: Study, watcher: Watcher) -> None:
        """Asks both at every step of Tune's."""
        self._study, self._watcher = study, watcher

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial ends by its result here: schedulers decide."""
        return False

    def stop_all(self) -> bool:
        """Whether all trials end now."""
        return self._watcher.is_stuck or self._study.why_over() is not None


class Watcher(Unwritten, tune.Callback):  # type: ignore[misc]  # Ray has no types
    """Writes what comes from the trials into the study."""

    def __init__(self, study: Study, boards: Boards, tell: Callable[[str], None]) -> None:
        self._study, self._boards, self._tell = study, boards, tell
        self.is_stuck = False
        self._searcher: StudySearch | None = None
        self._limiter: ConcurrencyLimiter | None = None
        self._looked = self._idle_since = time.monotonic()
        self._lost: dict[int, float] = {}  # when they are drawn again
        self._starting: dict[int, Any] = {}  # whose processes have yet to say where they are
        for record in study.trials():
            self._ask(record)
        self._sites: dict[int, str] = {}
        self._asked = -math.inf, dict[str, int]()
        self._faults: dict[int, MachineError] = {}  # the last one of a trial's
        self._faulty: dict[str, float] = {}  # nodes, and until when nothing is sent there

    def attach(self, searcher: StudySearch, limiter: ConcurrencyLimiter) -> None:
        """Tells the searcher of measurements, and the limiter of servers that come and go."""
        self._searcher, self._limiter = searcher, limiter

    def most(self) -> int:
        """How many trials may be at work."""
        num_slots = sum(self._slots_now().values()) + may_grow()  # more servers come if one waits
        return self._study.search.max_concurrent or max(1, num_slots)

    def _look(self, trials: list[Trial]) -> None:
        """Every few seconds: how many servers there are, and who waits for a lost site."""
        if time.monotonic() - self._looked < LOOK_EVERY_S:
            return
        self._looked = time.monotonic()
        if self._limiter is not None:
            self._limiter.max_concurrent = self.most()
        for number in [n for n, due in self._lost.items() if due <= self._looked]:
            del self._lost[number]
            if self._searcher is not None:
                self._searcher.draw_again(self._study.trial(number))
        waiting = [trial.config for trial in trials if trial.status == Trial.PENDING]
        is_idle = not any(trial.status == Trial.RUNNING for trial in trials)
        self.is_stuck = bool(self._slots_now()) and any(
            self._waits_in_vain(config, is_idle) for config in waiting
        )
        if not waiting or not is_idle:
            self._idle_since = self._looked
        elif self._looked - self._idle_since > WAIT_S:
            self._idle_since = math.inf  # it is said once
            self._say_what_waits([config["number"] for config in waiting])

    def _waits_in_vain(self, config: Mapping[str, Any], is_idle: bool) -> bool:
        """Whether a waiting trial's place is chosen anew, by a round that ends what is at work.

        Its servers are gone; or nothing is at work, and a node that it may not use is shunned no
        longer, while another job may keep the others for hours.
        """
        free = self._slots_now(config["shunned"])
        if not free or config["site"] not in (ANY, *free):
            return True
        healthy = (self._faulty.get(node, 0.0) <= self._looked for node in config["shunned"])
        return is_idle and any(healthy)

    def _say_what_waits(self, numbers: list[int]) -> None:
        site = self._study.job.data.site
        which = ", ".join(map(str, sorted(numbers)))
        where = f"server of site {site}" if site else "server"
        self._tell(f"trial {which}: waits; no {where} has a CPU free for it")

    def choose_site(self, number: int) -> dict[str, Any]:
        """Where the trial of a number goes: its `site`, and the nodes that are `shunned`."""
        known = self._sites
        others = (record.number for record in self._study.unfinished())
        at_work = Counter(known[other] for other in others if other in known and other != number)
        known[number] = next_site(self._slots(), at_work)
        return {"site": known[number], "shunned": self._shunned()}

    def _shunned(self) -> list[str]:
        """The nodes whose faults have ended trials just now; none, if no other node is left."""
        now = time.monotonic()
        self._faulty = {node: until for node, until in self._faulty.items() if until > now}
        return sorted(self._faulty) if self._slots_now(self._faulty) else []

    def _slots(self) -> dict[str, int]:
        asked, found = self._asked
        if time.monotonic() - asked > SLOTS_S:
            found = self._slots_now(self._shunned(), held_by_others())
            self._asked = time.monotonic(), found
        return found

    def _slots_now(
        self, shunned: Collection[str] = (), held: Mapping[str, Mapping[str, float]] | None = None
    ) -> dict[str, int]:
        gpus = self._study.search.gpus_per_trial
        return slots(self._study.job.data, gpus, shunned, held or {})

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial has a process; its first fidelity begins."""
        process = trial.temporary_state.ray_actor
        self._starting[trial.config["number"]] = process.place.remote()

    def _note_starts(self) -> None:
        for number, answer in list(self._starting.items()):
            if ray.wait([answer], timeout=0)[0]:
                del self._starting[number]
                with contextlib.suppress(RayError):  # it is lost, as Tune will tell
                    place = ray.get(answer)
                    self._sites[number] = site_of({SITE_LABEL: place["site"]})
                    self._study.spending.start(number, place)

    def _cut_off(self, number: int) -> None:
        self._starting.pop(number, None)
        self._study.cut_off(number)

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """A fidelity is done, or the trial failed."""
        number = result["number"]
        self._starting.pop(number, None)
        place = {"node": result["node"], "site": result["site"], "price": result["price"]}
        if result["failed"]:
            self._study.fail(number, result["failed"], result["trial_s"], place)
            return
        figures = trial_figures(result)
        rung = Rung(
            share=result["share"],
            figures=figures,
            predicted=tuple(result["predicted"]),
            missed=missed_bounds(self._study.job, figures),
            container=result["container"],
            run=result["run"],
            duration_s=round(result["trial_s"], 3),
        )
        self._study.add(number, rung, place, ends=result["done"] and rung.share == 1.0)
        if not result["done"]:
            self._study.spending.start(number, place)
        self._ask(self._study.trial(number))

    def _ask(self, record: TrialRecord) -> None:
        """Has a trial at full fidelity measured, where nobody has done so."""
        full = record.full
        if full is not None and full.predicted and record.status != "failed":
            self._boards.ask(record.number, full.container)

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Tune has handled an event, or waited for one."""
        self._boards.poll()
        self._note_starts()
        self._look(trials)
        if self._searcher is not None:
            self._searcher.release(self._boards.owes)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial has ended."""
        # Tune keeps 40 KB of statistics of each trial for as long as the study runs; nobody asks.
        trial.run_metadata.metric_analysis.clear()
        trial.run_metadata.metric_n_steps.clear()
        record = self._study.trial(trial.config["number"])
        if record.status != "running":
            return
        if record.full is not None:
            self._study.end(record.number, "done")
        elif (why := self._study.why_over()) is not None:
            self._study.end(record.number, "stopped", why)
        elif record.number in self._study.late:
            self._study.end(record.number, "stopped", TOO_LATE)
        elif not self.is_stuck:
            self._study.end(record.number, "pruned", "others were better at this fidelity")

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial's process was lost, and it waits for another one."""
        self._cut_off(trial.config["number"])
        self._note_fault(trial)

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """A trial's process was lost too often."""
        number = trial.config["number"]
        self._cut_off(number)
        self._note_fault(trial)
        self._study.losses[number] += 1
        losses = self._study.losses[number]
        if losses > MAX_ROUNDS:
            total = losses * (MAX_NODE_LOSSES + 1)
            fault = self._faults.get(number)
            why = f"{fault}; it was tried" if fault else "its process or node was lost"
            self._study.end(number, "failed", f"{why} {total} times")
        else:
            self._lost[number] = time.monotonic() + ROUND_S * losses

    def _note_fault(self, trial: Trial) -> None:
        """Has no more trials sent to a node for a while whose fault has just ended this one."""
        self._faults.pop(trial.config["number"], None)
        if trial.pickled_error_file is None:
            return
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
        fault = getattr(error, "cause", None)
        if isinstance(fault, MachineError):
            self._faults[trial.config["number"]] = fault
            self._faulty[fault.node] = time.monotonic() + SHUN_S
            self._asked = -math.inf, {}
