"""sigdca: compress trained CNNs, prove them on embedded targets, and run the loop on Ray."""

from importlib.metadata import version

__version__ = version("sigdca")
