"""The native library against the strongest peers, in one interleaved run.

`python benchmarks/native.py [--quick] [--json]`. Sides take turns, round by round; a ratio is
taken within each round, and the claim's value is the median over the rounds. Both sides are called
from Python; sigdca from C as well (`dca-run bench`). Peers are wheels from PyPI (`peers/`); all
networks have Deep Compression's densities and bits (`paper_networks.py`). Images are MNIST's for
the LeNets: zero pixels cost sigdca less, as they would in use.
"""

from __future__ import annotations

from claims import Claim, main
from native_claims import (
    agreement_claims,
    choice_claims,
    footprint_claims,
    fuzz_claims,
    layer_claims,
    ratio_claims,
)


def measure(quick: bool) -> list[Claim]:
    """All claims of the library; `quick` leaves out VGG-16's slow peers and most repeats."""
    return [
        *agreement_claims(quick),
        *ratio_claims(quick),
        *layer_claims(quick),
        *footprint_claims(quick),
        *choice_claims(quick),
        *fuzz_claims(),
    ]


if __name__ == "__main__":
    main(__doc__, measure)
