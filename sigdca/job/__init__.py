"""The job file: what it may say (`schema`, `recipe`) and how it is read (`load`)."""

from sigdca.job.load import dump_job, load_job, parse_job, value_at, with_values
from sigdca.job.recipe import (
    Augment,
    Compress,
    Encode,
    Pass,
    Prune,
    Quantize,
    Rdoq,
    Retrained,
    Share,
)
from sigdca.job.schema import Budget, DataSource, EdgeTest, Job, Train, Watch
from sigdca.job.search import Alternative, Dimension, Search

__all__ = [
    "Alternative",
    "Augment",
    "Budget",
    "Compress",
    "DataSource",
    "Dimension",
    "EdgeTest",
    "Encode",
    "Job",
    "Pass",
    "Prune",
    "Quantize",
    "Rdoq",
    "Retrained",
    "Search",
    "Share",
    "Train",
    "Watch",
    "dump_job",
    "load_job",
    "parse_job",
    "value_at",
    "with_values",
]
