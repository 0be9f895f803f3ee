"""SEARCH without a cluster: the space, the objectives, the front, and the study on disk."""

from sigdca.search.choice import (
    EXCESS,
    asked_figures,
    asked_targets,
    mark,
    missed_bounds,
    unverified,
    violations,
)
from sigdca.search.objectives import dominates, front, hypervolume, values_of
from sigdca.search.promotion import Promotion
from sigdca.search.record import (
    DENSE,
    SHARED,
    FrontRecord,
    Origin,
    Proof,
    Rung,
    StudyFolder,
    StudyRecord,
    TrialRecord,
)
from sigdca.search.resuming import check_network
from sigdca.search.sensitivity import Curve, Kind, Sensitivity, kinds_of, narrowed, seeds
from sigdca.search.space import (
    Point,
    Settings,
    Space,
    corners,
    draw,
    grid,
    job_of,
    own_point,
    own_points,
    parameters,
    settings_of,
    trial_job,
)
from sigdca.search.spending import TOO_LATE
from sigdca.search.study import Study

__all__ = [
    "DENSE",
    "EXCESS",
    "SHARED",
    "TOO_LATE",
    "Curve",
    "FrontRecord",
    "Kind",
    "Origin",
    "Point",
    "Promotion",
    "Proof",
    "Rung",
    "Sensitivity",
    "Settings",
    "Space",
    "Study",
    "StudyFolder",
    "StudyRecord",
    "TrialRecord",
    "asked_figures",
    "asked_targets",
    "check_network",
    "corners",
    "dominates",
    "draw",
    "front",
    "grid",
    "hypervolume",
    "job_of",
    "kinds_of",
    "mark",
    "missed_bounds",
    "narrowed",
    "own_point",
    "own_points",
    "parameters",
    "seeds",
    "settings_of",
    "trial_job",
    "unverified",
    "values_of",
    "violations",
]
