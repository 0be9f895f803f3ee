"""A study on disk: one file per trial, and two small ones that say how it stands.

`trials/0007.json` is written when trial 7 is drawn and again at each fidelity and at its end;
`study.json` follows each result and each end, `front.json` where the front is another. All are
written whole or not at all, and a study goes on from exactly these files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from sigdca.errors import StorageError
from sigdca.storage import Store

DENSE = "dense"  # the uncompressed network's run in the study's folder
SHARED = "shared"  # what the trials have in common: artifacts, and what made them

Status = Literal["running", "done", "pruned", "failed", "stopped"]
StudyStatus = Literal["running", "done", "interrupted"]
Origin = Literal["job", "seed", "sampler"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class Proof(_Record):
    """What EDGE TEST said of a container on one target; see `sigdca.edge.legs.LegResult`.

    Attributes:
        verdict: `exact`, `tolerance`, or `device-required`.
        evidence: `isa`, `device`, or None where nothing was run to the end.
        reason: why, one line.
        inputs: what the verdict is of: the container, the images, the limits.
    """

    verdict: Literal["exact", "tolerance", "device-required"]
    evidence: Literal["isa", "device"] | None
    reason: str
    inputs: dict[str, Any] = {}

    @property
    def words(self) -> str:
        """The verdict, with its evidence."""
        return f"{self.verdict} ({self.evidence})" if self.evidence else self.verdict


class Rung(_Record):
    """What a trial gave at one fidelity.

    Attributes:
        share: of the recipe's epochs.
        figures: by name; of a target, `figure@target`.
        predicted: those of the figures that no leg has measured.
        missed: the budget's bounds that do not hold, by name -> by how much, relative.
        container: sha256 among the study's artifacts.
        run: the run's folder in the study.
        duration_s: how long it took; where the trial was drawn again, the longest time.
        proofs: by target; of the chosen trial alone, once the study is over.
    """

    share: float
    figures: dict[str, float]
    predicted: tuple[str, ...] = ()
    missed: dict[str, float] = {}
    container: str
    run: str
    duration_s: float
    proofs: dict[str, Proof] = {}


class TrialRecord(_Record):
    """One trial.

    Attributes:
        number: from 1; trial 1 is the job's own recipe.
        origin: the job's file (its recipe, or a named alternative as it is written there), a point
            seeded by the sensitivity scan, or the sampler.
        status: `running`; `done` at full fidelity; `pruned` before it; `failed`, which is kept and
            not tried again; `stopped` by the study's end, or for want of time before it.
        reason: why it failed or was stopped.
        point: the sampler's parameters.
        values: the job's paths and what they were set to.
        without: passes of the recipe that were left out.
        rungs: one for each fidelity that it came to.
        node: the id of the node on which it ran last.
        site: that node's site.
        price: what a CPU for an hour costs there.
        cost: what the trial cost, where it was cut off too.
        duration_s: how long it ran, over all fidelities.
        started: seconds since 1970.
        ended: the same; None while it runs.
    """

    number: int
    origin: Origin
    status: Status = "running"
    reason: str = ""
    point: dict[str, Any] = {}
    values: dict[str, Any] = {}
    without: tuple[str, ...] = ()
    rungs: tuple[Rung, ...] = ()
    node: str = ""
    site: str = ""
    price: float = 0.0
    cost: float = 0.0
    duration_s: float = 0.0
    started: float = 0.0
    ended: float | None = None

    @property
    def last(self) -> Rung | None:
        """The result at the highest fidelity."""
        return self.rungs[-1] if self.rungs else None

    @property
    def full(self) -> Rung | None:
        """The result at full fidelity, if the trial came so far."""
        return self.last if self.last is not None and self.last.share == 1.0 else None


class StudyRecord(_Record):
    """How a study stands.

    Attributes:
        name: the job's.
        job: its resolved text, the search included.
        status: `running`, `done`, or `interrupted`.
        why: what ended it.
        elapsed_s: how long it has run, over all its starts.
        cost: of all trials, those at work included.
        num_trials: all of them, by status.
        chosen: the number of the best trial; None before there is one.
        meets_budget: whether that one does; `error_bound` and `train.accuracy_at_least` count too.
        unmet: each bound that is missed, in words.
        unverified: each that it meets by prediction alone: only a leg can tell.
        error_bound: trial 1's error, where the budget bounds none; None: it does, or trial 1 has
            not come to its end. Servers have tested it: it holds if a board refuses the container.
        baseline: figures of the uncompressed network.
        network: sha256 of its weights; empty in studies of older versions.
        hypervolume: that the front dominates, as a share of the box from the origin to trial 1;
            None unless all objectives are to be minimised and positive there, and where the front
            is too large for it.
    """

    name: str
    job: str
    status: StudyStatus = "running"
    why: str = ""
    elapsed_s: float = 0.0
    cost: float = 0.0
    num_trials: dict[str, int] = {}
    chosen: int | None = None
    meets_budget: bool = False
    unmet: tuple[str, ...] = ()
    unverified: tuple[str, ...] = ()
    error_bound: float | None = None
    baseline: dict[str, float] = {}
    network: str = ""
    hypervolume: float | None = None


class FrontRecord(_Record):
    """The Pareto front at full fidelity, in the order of the first objective."""

    objectives: dict[str, str]
    trials: tuple[TrialRecord, ...] = ()


R = TypeVar("R", bound=BaseModel)


class StudyFolder:
    """The files of a study."""

    def __init__(self, store: Store) -> None:
        """In the folder `store`."""
        self.store = store
        self._trials = store.child("trials")
        self._published: tuple[str, set[str]] | None = None  # the best container, and the names

    def run_name(self, number: int, share: float) -> str:
        """The folder, inside the study's, in which a trial runs at a fidelity."""
        return f"trials/{number:04d}-{round(100 * share)}"

    def write_trial(self, record: TrialRecord) -> None:
        """Writes a trial's file."""
        self._trials.write(f"{record.number:04d}.json", _dump(record))

    def trials(self) -> list[TrialRecord]:
        """All trials by number.

        Raises:
            StorageError: a file is not a trial's.
        """
        names = [name for name in self._trials.names() if name.endswith(".json")]
        found = [self._read(TrialRecord, f"trials/{name}") for name in names]
        return sorted(found, key=lambda record: record.number)

    def write_study(self, record: StudyRecord) -> None:
        """Writes `study.json`."""
        self.store.write("study.json", _dump(record))

    def study(self) -> StudyRecord | None:
        """What `study.json` says; None if there is none."""
        if not self.store.exists("study.json"):
            return None
        return self._read(StudyRecord, "study.json")

    @property
    def holds_run(self) -> bool:
        """Whether a run's test points lie where a study's files would."""
        return bool(self.store.child("ledger").names())

    def write_front(self, record: FrontRecord) -> None:
        """Writes `front.json`."""
        self.store.write("front.json", _dump(record))

    def publish(self, chosen: Rung | None, front: Mapping[str, Rung]) -> None:
        """Puts the best container beside `study.json`, and those of the front into `front/`.

        Args:
            chosen: of the best trial; None: no container is.
            front: file name -> what a trial on the front gave.
        """
        artifacts, place = self.store.child(SHARED), self.store.child("front")
        best, there = self._published or ("", set(place.names()))
        if chosen is None:
            best = ""
            self.store.remove_file("model.dca")
        elif chosen.container != best:
            best = chosen.container
            self.store.write("model.dca", artifacts.get(best))
        for name in there - set(front):
            place.remove_file(name)
        for name in set(front) - there:
            place.write(name, artifacts.get(front[name].container))
        self._published = best, set(front)

    def _read(self, kind: type[R], name: str) -> R:
        try:
            return kind.model_validate_json(self.store.read(name))
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise StorageError(f"{self.store.path(name)}: not a study's file: {reason}") from error


def _dump(record: BaseModel) -> bytes:
    return record.model_dump_json(indent=1).encode()
