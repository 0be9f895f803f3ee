"""What a search finds in its time, against random search and against plain TPE.

Plain TPE and random search know of no scan, no seeds and no fidelities, but their first trial is
the job's own recipe too. The sides of a seed run one after the other, each on the whole machine.
Studies stay in .cache/search: one that has ended is not run again, one that was cut off goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from claims import Claim, at_least

from sigdca.job import dump_job, load_job
from sigdca.report.published import published
from sigdca.search import FrontRecord, StudyRecord, hypervolume

ROOT = Path(__file__).resolve().parent.parent
SIDES = {
    "ours": (),
    "random": ("search.sampler=random", "search.sensitivity_images=0", "search.fidelities=[1.0]"),
    "tpe": ("search.sensitivity_images=0", "search.fidelities=[1.0]"),
}
Front = list[tuple[float, float]]  # error and bytes


@dataclass(frozen=True)
class Seed:
    """The fronts that the three sides have found with one seed.

    Attributes:
        own: error and bytes of the job's own recipe, the first trial.
        fronts: error and bytes of each front, by side.
    """

    own: tuple[float, float]
    fronts: dict[str, Front]

    def volume(self, side: str) -> float:
        """Of the box up to twice the job's own recipe."""
        reference = (2 * self.own[0], 2 * self.own[1])
        scaled = [(e / reference[0], size / reference[1]) for e, size in self.fronts[side]]
        return hypervolume(scaled, (1.0, 1.0))


def front_claims(
    folder: Path, networks: Sequence[str], seeds: Sequence[int], budget_s: int
) -> list[Claim]:
    """Runs whatever has not run, and says of each seed what came of it.

    Args:
        folder: where studies stay.
        networks: names of job files.
        seeds: of the job, one study a side each.
        budget_s: how long each study runs.
    """
    claims = []
    for network in networks:
        error = published(network, "mnist")[0].error
        found = []
        for seed in seeds:
            found.append(_run(folder, network, seed, budget_s))
            _tell(network, seed, found[-1], error)
        claims += _claims(f"{network}, {budget_s} s", found, error)
    return claims


def _claims(name: str, found: Sequence[Seed], error: float) -> list[Claim]:
    wins = [
        smallest(seed.fronts["ours"], error) < smallest(seed.fronts["random"], error)
        for seed in found
    ]
    volumes = {side: [seed.volume(side) for seed in found] for side in SIDES}

    def against(side: str) -> list[float]:
        return [a / b for a, b in zip(volumes["ours"], volumes[side], strict=True)]

    return [
        at_least(
            f"{name}: hand recipe's bytes / front's, equal error",
            [seed.own[1] / smallest(seed.fronts["ours"], seed.own[0]) for seed in found],
            1.5,
            "x",
        ),
        at_least(
            f"{name}: fewer bytes than random search at the published error",
            [sum(wins)],
            len(found),
            "seeds",
            "a random search of the same time",
        ),
        at_least(f"{name}: hypervolume / random's", against("random"), 1.3, "x", "random"),
        at_least(f"{name}: hypervolume / plain TPE's", against("tpe"), 1.0, "x", "plain TPE"),
    ]


def smallest(front: Front, error: float) -> float:
    """The fewest bytes at an error; infinite if no point has it."""
    return min((size for at, size in front if at <= error + 1e-9), default=float("inf"))


def _run(folder: Path, network: str, seed: int, budget_s: int) -> Seed:
    studies = {}
    for side, settings in SIDES.items():
        name = f"{network}-{budget_s}-{seed}-{side}"
        studies[side] = ended_study(
            ROOT / "jobs" / f"{network}-mnist-search.yaml",
            folder,
            name,
            f"seed={seed}",
            f"search.time_budget_s={budget_s}",
            *settings,
        )
    first = json.loads((studies["ours"] / "trials" / "0001.json").read_text())
    own = first["rungs"][-1]["figures"]
    fronts = {side: front_of(study) for side, study in studies.items()}
    return Seed((own["error"], own["container_bytes"]), fronts)


def _tell(network: str, seed: int, found: Seed, error: float) -> None:
    own_error, own_bytes = found.own
    print(f"{network}, seed {seed}: {own_bytes:,} bytes at {own_error:.2f} %", file=sys.stderr)
    for side, front in found.fronts.items():
        own, at = smallest(front, own_error), smallest(front, error)
        print(
            f"  {side}: {own:,} bytes at the same error, {at:,} at {error:g} %; "
            f"hypervolume {found.volume(side):.4f}",
            file=sys.stderr,
        )


def ended_study(job: Path, folder: Path, name: str, *settings: str) -> Path:
    """A study's folder; it is run by the command, or goes on, if it has not ended.

    Raises:
        RuntimeError: the command has failed.
    """
    study = folder / name
    options = [f"name={name}", f"storage={folder}", *settings]
    resume = False
    if (study / "study.json").is_file():
        known = StudyRecord.model_validate_json((study / "study.json").read_text())
        resume = known.job == dump_job(load_job(job, options))
        if resume and known.status == "done":
            return study
    command = [sys.executable, "-m", "sigdca", "search", str(job), "--json"]
    command += ["--resume"] if resume else []
    for option in options:
        command += ["--set", option]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return study


def front_of(study: Path) -> Front:
    """Error and bytes of a study's front."""
    front = FrontRecord.model_validate_json((study / "front.json").read_text())
    full = [trial.full for trial in front.trials]
    return [(f.figures["error"], f.figures["container_bytes"]) for f in full if f is not None]
