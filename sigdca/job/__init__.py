"""The job file: what it may say (`schema`) and how it is read (`load`)."""

from sigdca.job.load import dump_job, load_job, parse_job
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

__all__ = [
    "Augment",
    "Budget",
    "Compress",
    "DataSource",
    "Encode",
    "Job",
    "Pass",
    "Prune",
    "Quantize",
    "Rdoq",
    "Retrained",
    "Share",
    "Train",
    "dump_job",
    "load_job",
    "parse_job",
]
