"""EDGE TEST of what a study has chosen: on each of the job's targets, once its trials are over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sigdca.edge.legs import is_proven
from sigdca.loop.dataset import num_first
from sigdca.loop.edge import edge_inputs, legs_of, not_proven
from sigdca.loop.executor import Executor
from sigdca.search import Proof, Rung, Study


def prove_chosen(study: Study, executor: Executor, tell: Callable[[str], None]) -> None:
    """Tests the chosen container as `run` tests its own; the trial's file says what came of it.

    Targets that have proven it before, on the same images and within the same limits, are not
    asked again.

    Args:
        study: the study; its job names the targets, the images and what a leg may use.
        executor: who runs the legs.
        tell: hears what is tested.

    Raises:
        SigdcaError: the images cannot be read, or the servers are lost.
    """
    best, job = study.chosen, study.job
    full = best.full if best is not None else None
    if best is None or full is None:
        return
    inputs, required = _inputs(study, full), job.edge_test.require
    settled = {
        target: proof
        for target, proof in full.proofs.items()
        if is_proven(proof.verdict, proof.evidence, required)
    }
    todo = [target for target in job.targets if target not in settled]
    if not todo:
        return
    tell(f"EDGE TEST of trial {best.number}: {', '.join(todo)}")
    legs = legs_of(
        executor,
        study.folder.store.child("shared").get(full.container),
        todo,
        job.data,
        num_first(job.data, "test", job.edge_test.num_samples),
        job.edge_test,
        num_shares=job.train.workers,
    )
    proofs = settled | {
        target: Proof(
            verdict=leg.verdict, evidence=leg.evidence, reason=leg.reason, inputs=inputs[target]
        )
        for target, leg in legs.items()
    }
    study.proven(best.number, {target: proofs[target] for target in job.targets})


def forget_stale_proofs(study: Study) -> None:
    """Takes away what targets have said within other limits or of other images, or are no more.

    Raises:
        SigdcaError: the images cannot be read.
    """
    for trial in study.trials():
        full = trial.full
        if full is not None and full.proofs:
            inputs = _inputs(study, full)
            valid = {
                target: proof
                for target, proof in full.proofs.items()
                if proof.inputs == inputs.get(target)
            }
            if valid != full.proofs:
                study.proven(trial.number, valid)


def _inputs(study: Study, full: Rung) -> dict[str, dict[str, Any]]:
    """What a verdict on each of the job's targets is of."""
    job = study.job
    num_samples = num_first(job.data, "test", job.edge_test.num_samples)
    return {
        target: edge_inputs(target, full.container, num_samples, job.edge_test)
        for target in job.targets
    }


def unproven(study: Study) -> tuple[str, ...]:
    """A line for each target without the evidence that the job's `edge_test.require` asks for."""
    required = study.job.edge_test.require
    full = study.chosen.full if study.chosen is not None else None
    if required is None or full is None:
        return ()
    lines = []
    for target in study.job.targets:
        proof = full.proofs.get(target)
        if proof is None:
            lines.append(f"target '{target}': has not been tested")
        elif not is_proven(proof.verdict, proof.evidence, required):
            lines.append(not_proven(target, proof.verdict, proof.reason))
    return tuple(lines)
