"""What others have published of the same networks, to hold a study's front against."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """One published, or measured, point.

    Attributes:
        name: what people call it.
        container_bytes: of the whole file, as far as its authors say.
        error: of the test split, percent.
        source: where it stands.
    """

    name: str
    container_bytes: float
    error: float
    source: str


_HAN = "Han, Mao and Dally, Deep Compression (2016)"
_EPR = "Oktay et al., Scalable Model Compression by Entropy Penalized Reparameterization (2020)"
_SWS = "Ullrich, Meeds and Welling, Soft Weight-Sharing (2017)"
_MIRACLE = "Havasi, Peharz and Hernandez-Lobato, Minimal Random Code Learning (2019)"
_NNCODEC = "NNCodec 2.1.3, measured on a network of 8 % density (benchmarks/RESULTS.md)"

PUBLISHED: dict[tuple[str, str], tuple[Published, ...]] = {
    ("lenet-300-100", "mnist"): (
        Published("Deep Compression", 27_000, 1.58, _HAN),
        Published("EPR", 8_560, 1.9, _EPR),
        Published("SWS", 16_700, 1.94, _SWS),
        Published("NNCodec", 20_306, 1.70, _NNCODEC),
        Published("NNCodec", 15_293, 2.00, _NNCODEC),
    ),
    ("lenet-5", "mnist"): (
        Published("Deep Compression", 44_000, 0.74, _HAN),
        Published("MIRACLE", 3_103, 0.69, _MIRACLE),
        Published("MIRACLE", 1_556, 0.96, _MIRACLE),
        Published("EPR", 2_840, 1.0, _EPR),
        Published("NNCodec", 32_326, 0.88, _NNCODEC),
        Published("NNCodec", 21_265, 1.08, _NNCODEC),
    ),
}


def published(model: str, data: str) -> tuple[Published, ...]:
    """The points of a network on a data set; none where nobody is known to have one."""
    return PUBLISHED.get((model, data), ())
