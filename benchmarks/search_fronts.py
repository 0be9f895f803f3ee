"""What a search finds in its time, against random search and against plain TPE.

Plain TPE and random search know of no scan, no seeds and no fidelities, but their first trial is
the job's own recipe too. The sides of a seed run one after the other, each on the whole machine.
Studies stay in .cache/search, and beside each what it is a study of, and the commit and the day of
its start: one that was cut off goes on. What an ended one has found is noted with these in
`search-fronts.json`. A study is run anew where the job, the version or whether it is plain is
another, and where the sides of its seed were not on one kind of machine; to run it again, delete
its entry and its file in .cache/search.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from claims import Claim, at_least, processor

from sigdca.job import dump_job, load_job
from sigdca.report.published import published
from sigdca.search import FrontRecord, StudyFolder, hypervolume
from sigdca.storage import Store, open_store

ROOT = Path(__file__).resolve().parent.parent
HERE = open_store(str(Path(__file__).resolve().parent))
NOTES = "search-fronts.json"
PLAIN = ("search.sensitivity_images=0", "search.fidelities=[1.0]")
SIDES = {"ours": (), "random": ("search.sampler=random", *PLAIN), "tpe": PLAIN}
Front = list[tuple[float, float]]  # error and bytes
MOST = 1000.0  # times what a rival has; also where it has nothing: JSON knows no infinity


@dataclass(frozen=True)
class Seed:
    """The fronts that the three sides have found with one seed.

    Attributes:
        own: error and bytes of the job's own recipe, the first trial.
        budget: the job's bounds of both.
        fronts: error and bytes of each front, by side.
    """

    own: tuple[float, float]
    budget: tuple[float, float]
    fronts: dict[str, Front]

    def volume(self, side: str) -> float:
        """Of all that meets the budget, which share a front dominates."""
        error, size = self.budget
        return hypervolume([(e / error, s / size) for e, s in self.fronts[side]], (1.0, 1.0))


def front_claims(folder: Path, networks: Mapping[str, int], seeds: Sequence[int]) -> list[Claim]:
    """Runs whatever has not run, and says of each seed what came of it.

    Args:
        folder: where studies stay.
        networks: how long a study runs, in seconds, by network.
        seeds: of the job, one study a side each.
    """
    claims = []
    for network, budget_s in networks.items():
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
        return [ratio(a, b) for a, b in zip(volumes["ours"], volumes[side], strict=True)]

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


def ratio(ours: float, theirs: float) -> float:
    """How many times as much, at most `MOST`; 1 where neither side has anything."""
    if not theirs:
        return MOST if ours else 1.0
    return min(ours / theirs, MOST)


def smallest(front: Front, error: float) -> float:
    """The fewest bytes at an error; infinite if no point has it."""
    return min((size for at, size in front if at <= error + 1e-9), default=float("inf"))


def _run(folder: Path, network: str, seed: int, budget_s: int) -> Seed:
    where = _where(network, seed, budget_s)
    found = {side: _noted(folder, network, seed, budget_s, side, where) for side in SIDES}
    fronts = {side: [(error, size) for error, size in found[side]["front"]] for side in SIDES}
    error, size = found["ours"]["first"]
    bounds = dict(load_job(_job(network)).budget)
    return Seed((error, size), (bounds["error"], bounds["container_bytes"]), fronts)


def _job(network: str) -> Path:
    return ROOT / "jobs" / f"{network}-mnist-search.yaml"


def _name(network: str, seed: int, budget_s: int, side: str) -> str:
    return f"{network}-{budget_s}-{seed}-{side}"


def _where(network: str, seed: int, budget_s: int) -> str:
    """The kind of machine that a seed is of: another one only where all sides are noted there."""
    notes = _read(HERE, NOTES)
    noted = [notes.get(_name(network, seed, budget_s, side)) for side in SIDES]
    machines = {entry["of"]["machine"] for entry in noted if entry is not None}
    return machines.pop() if None not in noted and len(machines) == 1 else _machine()


def _noted(
    folder: Path, network: str, seed: int, budget_s: int, side: str, where: str
) -> dict[str, Any]:
    """What the study of one side has found on a machine; it is run if that is not noted."""
    settings = (f"seed={seed}", f"search.time_budget_s={budget_s}", *SIDES[side])
    name, plain = _name(network, seed, budget_s, side), side == "tpe"
    notes = _read(HERE, NOTES)
    of = _of(_job(network), settings, plain) | {"machine": where}
    if notes.get(name, {}).get("of") != of:
        study = ended_study(_job(network), folder, name, *settings, plain=plain)
        first = json.loads((study / "trials" / "0001.json").read_text())["rungs"][-1]["figures"]
        notes[name] = _read(open_store(str(folder)), _start(name)) | {
            "first": [first["error"], first["container_bytes"]],
            "front": front_of(study),
            "trials": len(list((study / "trials").glob("*.json"))),
        }
        _write(HERE, NOTES, notes)
    noted: dict[str, Any] = notes[name]
    return noted


def _of(job: Path, settings: Sequence[str], plain: bool) -> dict[str, Any]:
    """What a study is a study of: all that may change what it finds, but for the code itself."""
    text = dump_job(load_job(job, settings))
    return {
        "job": hashlib.sha256(text.encode()).hexdigest()[:16],
        "machine": _machine(),
        "plain": plain,
        "version": version("sigdca"),
    }


def _machine() -> str:
    return f"{os.cpu_count()} cores, {processor()}"


def _start(name: str) -> str:
    """The file, beside a study, that says how it was started."""
    return f"{name}.json"


def _read(store: Store, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(store.read(name)) if store.exists(name) else {}
    return found


def _write(store: Store, name: str, content: Mapping[str, Any]) -> None:
    store.write(name, f"{json.dumps(content, indent=1, sort_keys=True)}\n".encode())


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


def ended_study(job: Path, folder: Path, name: str, *settings: str, plain: bool = False) -> Path:
    """A study's folder; it is run by the command, or goes on, if it has not ended.

    Args:
        job: the job file.
        folder: where studies lie.
        name: the study's.
        settings: of the job.
        plain: nothing is tried before the sampler draws, but for the job's own recipe.

    Raises:
        RuntimeError: the command has failed.
    """
    store, of = open_store(str(folder)), _of(job, settings, plain)
    is_same = _read(store, _start(name)).get("of") == of
    known = StudyFolder(store.child(name)).study() if is_same else None
    if known is not None and known.status == "done":
        return folder / name
    if known is None:
        store.set_aside(name)  # before it is said that a study of that name is of something else
        commit = ["git", "rev-parse", "--short", "HEAD"]
        head = subprocess.run(commit, capture_output=True, text=True, check=False, cwd=ROOT)
        day = time.strftime("%Y-%m-%d", time.gmtime())
        _write(store, _start(name), {"of": of, "commit": head.stdout.strip(), "day": day})
    options = [f"name={name}", f"storage={folder}", *settings]
    program = [str(Path(__file__).with_name("search_plain.py"))] if plain else ["-m", "sigdca"]
    command = [sys.executable, *program, "search", str(job), "--json"]
    command += ["--resume"] if known is not None else []
    for option in options:
        command += ["--set", option]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
    return folder / name


def front_of(study: Path) -> Front:
    """Error and bytes of a study's front."""
    front = FrontRecord.model_validate_json((study / "front.json").read_text())
    full = [trial.full for trial in front.trials]
    return [(f.figures["error"], f.figures["container_bytes"]) for f in full if f is not None]
