"""The job file: what it may say (`schema`) and how it is read (`load`)."""

from sigdca.job.load import dump_job, load_job, parse_job, value_at, with_values
from sigdca.job.schema import (
    Augment,
    Budget,
    Compress,
    DataSource,
    Encode,
    Job,
    Pass,
    Prune,
    Quantize,
    Rdoq,
    Retrained,
    Share,
    Train,
)
from sigdca.job.search import Alternative, Dimension, Search

__all__ = [
    "Alternative",
    "Augment",
    "Budget",
    "Compress",
    "DataSource",
    "Dimension",
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
    "dump_job",
    "load_job",
    "parse_job",
    "value_at",
    "with_values",
]
