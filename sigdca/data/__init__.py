"""Images and labels: where they come from, and the verified copy on this machine."""

from sigdca.data.dataset import Dataset, Progress, Source, Split
from sigdca.data.sources import SOURCES, fetch, find_source, load

__all__ = ["SOURCES", "Dataset", "Progress", "Source", "Split", "fetch", "find_source", "load"]
