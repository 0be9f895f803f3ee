"""The shape of `report.json`: frozen pydantic models, the one place where it is typed.

Units: sizes are bytes, errors and accuracies percent, `sparsity` a fraction, `_s` seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from sigdca.errors import FormatError

Count = Annotated[int, Field(ge=0)]
Percent = Annotated[float, Field(ge=0.0, le=100.0)]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

Status = Literal["done", "budget-not-met", "not-proven", "incomplete"]
Box = Literal["train", "test", "compress", "retrain", "retest", "package", "edge-test"]
Stage = Literal[Box, "release"]
PointStatus = Literal["done", "device-required", "failed"]
Verdict = Literal["exact", "tolerance", "device-required"]
Evidence = Literal["isa", "device"]

STAGES: tuple[Box, ...] = get_args(Box)


def _none_if_not_finite(value: object) -> object:
    """A diverged loss is a fact to report: JSON has no NaN, so it becomes null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _text_if_not_finite(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


Loss = Annotated[float | None, BeforeValidator(_none_if_not_finite)]
Metric = Annotated[bool | int | float | str, BeforeValidator(_text_if_not_finite)]


class _Record(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )


class Baseline(_Record):
    """The uncompressed network on the test split."""

    accuracy: Percent
    error: Percent
    dense_bytes: Count = Field(description="float32 bytes of all parameters")
    num_parameters: Count
    num_samples: Count


class Best(_Record):
    """The container that the run keeps."""

    iteration: Count
    accuracy: Percent
    error: Percent
    accuracy_drop: float = Field(description="percentage points against the baseline")
    container_bytes: Count = Field(description="bytes of the whole file")
    compression_ratio: Annotated[float, Field(ge=0.0)]
    sha256: Sha256
    path: str


class BudgetLine(_Record):
    """One bound of the job and what came of it. `met` is null where only a device can tell."""

    name: str = Field(
        description="a field of the job's budget, 'fps@<target>', or 'accuracy' of the "
        "uncompressed network"
    )
    bound: float
    value: float | None = None
    met: bool | None = None
    note: str = ""


class Epoch(_Record):
    """One epoch of TRAIN or RETRAIN. A loss of null was not finite.

    The seconds are those of the process of rank 0; the bytes are what all sent to each other.
    """

    epoch: Count
    loss: Loss
    accuracy: Percent | None = Field(
        None, description="of the images as training saw them, augmented, while the weights moved"
    )
    images_per_s: Annotated[float, Field(ge=0.0)]
    sparsity: Fraction | None = None
    input_s: Seconds = 0.0
    compute_s: Seconds = 0.0
    communication_s: Seconds = 0.0
    sent_bytes: Count = 0

    @model_validator(mode="before")
    @classmethod
    def _without_the_error(cls, document: Any) -> Any:
        """Reports once had a key for each epoch's error; nothing was ever in it."""
        is_old = isinstance(document, Mapping) and document.get("error", ...) is None
        return {k: v for k, v in document.items() if k != "error"} if is_old else document


class TestPoint(_Record):
    """What one box of the loop left in the ledger.

    The charts read the metrics `error` (or `accuracy`) in percent and `container_bytes`; the
    ledger's table lists them all. An edge test's `label` is its target.
    """

    __test__ = False  # not a test class, whatever pytest makes of its name

    number: Count
    stage: Stage
    iteration: Count
    label: str = ""
    status: PointStatus = "done"
    duration_s: Seconds
    metrics: dict[str, Metric] = {}
    artifact: Sha256 | None = None
    epochs: tuple[Epoch, ...] = ()


class LayerParts(_Record):
    """Bytes of one layer by what they hold; what is missing to its sum is headers, raw values."""

    codebook: Count = 0
    indices: Count = 0
    gaps: Count = 0
    bias: Count = 0


class Layer(_Record):
    """One layer with parameters, as it lies in the container."""

    name: str
    kind: str
    shape: tuple[Count, ...]
    num_weights: Count
    num_nonzero: Count
    sparsity: Fraction
    num_centroids: Count
    bits: Count
    bytes: Count
    dense_bytes: Count
    parts: LayerParts = LayerParts()


class TargetResult(_Record):
    """The verdict on one target, with its evidence. An emulation's `duration_s` is no device's."""

    target: str
    verdict: Verdict
    evidence: Evidence | None = None
    reason: str
    emulated: bool
    engine: str | None = None
    emulator: str | None = None
    num_samples: Count | None = None
    accuracy: Percent | None = None
    error: Percent | None = None
    logits_sha256: Sha256 | None = None
    reference_logits_sha256: Sha256 | None = None
    max_abs_difference: Annotated[float, Field(ge=0.0)] | None = None
    argmax_flips: Count | None = None
    duration_s: Seconds | None = None

    @model_validator(mode="after")
    def _evidence_bears_the_verdict(self) -> TargetResult:
        if self.emulated and self.evidence == "device":
            raise ValueError("evidence 'device' cannot come from an emulation; use 'isa'")
        if self.verdict != "device-required" and self.evidence is None:
            raise ValueError(f"verdict '{self.verdict}' needs evidence ('isa' or 'device')")
        if self.verdict == "exact" and self.hashes_agree is False:
            raise ValueError("verdict 'exact' but the two logits hashes differ")
        return self

    @property
    def hashes_agree(self) -> bool | None:
        """Whether both sides gave the same bits; None where a side is missing."""
        if self.logits_sha256 is None or self.reference_logits_sha256 is None:
            return None
        return self.logits_sha256 == self.reference_logits_sha256

    @property
    def on_device(self) -> bool:
        """Whether a board itself answered. Only then is a time the device's."""
        return self.evidence == "device" and not self.emulated


class Report(_Record):
    """`report.json` of one run. `dump_report` writes it, with `schema` under its JSON name."""

    schema_version: Literal[1] = Field(1, alias="schema")
    name: str
    model: str
    data: str
    seed: int
    status: Status
    baseline: Baseline | None = Field(None, description="null: the run ended before TEST")
    best: Best | None = None
    budget: tuple[BudgetLine, ...] = ()
    test_points: tuple[TestPoint, ...] = ()
    layers: tuple[Layer, ...] = ()
    targets: tuple[TargetResult, ...] = ()
    versions: dict[str, str] = {}
    machine: dict[str, str] = {}
    command: str
    job: str = Field(description="the resolved job file, YAML text")


def validate_report(report: Mapping[str, Any] | Report) -> Report:
    """Check a report and give it its type.

    Args:
        report: what `json.load` made of a `report.json`, or a `Report`, which passes through.

    Raises:
        FormatError: a key is missing, unknown or holds nonsense; one line with the first fault.
    """
    if isinstance(report, Report):
        return report
    try:
        return Report.model_validate(dict(report))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        got = repr(first["input"])
        short = got if len(got) <= 60 else got[:57] + "..."
        message = first["msg"].removeprefix("Value error, ")
        raise FormatError(f"report.json: {where}: {message}, got {short}") from None


def dump_report(report: Report) -> str:
    """The text of `report.json`: indented, ends with a newline, no NaN."""
    return report.model_dump_json(by_alias=True, indent=2) + "\n"
