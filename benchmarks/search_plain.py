"""The `sigdca` command whose searches draw from the first trial on, for comparison.

The sampler begins with the job's own recipe alone: neither seeds nor the file's other recipes.
"""

from sigdca.cli import main
from sigdca.distributed import search

if __name__ == "__main__":
    search.seeds = lambda *_: []
    search.own_points = lambda *_: []
    main()
