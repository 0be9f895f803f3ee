"""EDGE TEST of what a study has chosen: on each of the job's targets, once its trials are over."""

from __future__ import annotations

from collections.abc import Callable

from sigdca.edge.legs import Evidence, is_proven
from sigdca.errors import SigdcaError
from sigdca.loop.dataset import num_first
from sigdca.loop.edge import edge_inputs, legs_of, not_proven
from sigdca.loop.executor import Executor
from sigdca.search import Proof, Study


def prove_chosen(study: Study, executor: Executor, tell: Callable[[str], None]) -> None:
    """Tests the chosen container as `run` tests its own; the trial's file says what came of it.

    Targets that have proven it before, on the same images and within the same limits, are not
    asked again. A study is over all the same where something fails here.

    Args:
        study: the study; its job names the targets, the images and what a leg may use.
        executor: who runs the legs.
        tell: hears what is tested, and why not.
    """
    best, job = study.chosen, study.job
    full = best.full if best is not None else None
    if best is None or full is None:
        return
    try:
        num_samples = num_first(job.data, "test", job.edge_test.num_samples)
        inputs = {
            target: edge_inputs(target, full.container, num_samples, job.edge_test)
            for target in job.targets
        }
        todo = [
            target
            for target in job.targets
            if not _is_settled(full.proofs.get(target), inputs[target], job.edge_test.require)
        ]
        if not todo:
            return
        tell(f"EDGE TEST of trial {best.number}: {', '.join(todo)}")
        legs = legs_of(
            executor,
            study.folder.store.child("shared").get(full.container),
            todo,
            job.data,
            num_samples,
            job.edge_test,
            num_shares=job.train.workers,
        )
    except SigdcaError as error:
        tell(f"EDGE TEST: {error}; `sigdca retest` tests it again")
        return
    proofs = {
        target: Proof(
            verdict=leg.verdict, evidence=leg.evidence, reason=leg.reason, inputs=inputs[target]
        )
        for target, leg in legs.items()
    }
    study.proven(best.number, proofs)


def _is_settled(proof: Proof | None, inputs: object, required: Evidence | None) -> bool:
    return (
        proof is not None
        and proof.inputs == inputs
        and is_proven(proof.verdict, proof.evidence, required)
    )


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
