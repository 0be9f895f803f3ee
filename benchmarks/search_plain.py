"""The `sigdca` command whose searches draw from the first trial on, for comparison.

The sampler begins with the job's own recipe alone: neither seeds nor the file's other recipes.
"""

from importlib import import_module

from sigdca.cli import main
from sigdca.distributed.environment import prepare_environment


def make_plain() -> None:
    """Leaves a search of this process nothing to begin with, but for the job's own recipe."""
    searches = import_module("sigdca.distributed.search")  # where both names are looked up
    for name in ("seeds", "own_points"):
        assert callable(getattr(searches, name)), name
        setattr(searches, name, lambda *_: [])


if __name__ == "__main__":
    prepare_environment(None)  # before Ray is imported
    make_plain()
    main()
