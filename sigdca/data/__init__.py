"""Images and labels: where they come from, and the verified copy on this machine."""

from sigdca.data.dataset import Dataset, Progress, Source, Split
from sigdca.data.imported import (
    MAX_IN_MEMORY_BYTES,
    Imported,
    absolute,
    check_split,
    is_address,
    open_imported,
)
from sigdca.data.sources import SOURCES, fetch, find_source, load

__all__ = [
    "MAX_IN_MEMORY_BYTES",
    "SOURCES",
    "Dataset",
    "Imported",
    "Progress",
    "Source",
    "Split",
    "absolute",
    "check_split",
    "fetch",
    "find_source",
    "is_address",
    "load",
    "open_imported",
]
