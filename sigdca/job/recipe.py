"""What a recipe may say: its passes, and how epochs of training are spent."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, field_validator, model_validator

from sigdca.job.section import Fraction, Positive, Section

Bits = Annotated[int, Field(ge=1, le=12)]
Step = Annotated[float, Field(gt=1e-9, le=1e3)]
T = TypeVar("T")


def _named(value: Any) -> Any:
    """YAML takes the name of a layer of nn.Sequential (`0`) for a number."""
    if not isinstance(value, dict):
        return value
    return {str(key) if type(key) is int else key: figure for key, figure in value.items()}


PerLayer = Annotated[T | dict[str, T], BeforeValidator(_named)]
"""One figure, or figures by the name of a layer, a kind or a prefix."""


class Augment(Section):
    """Random changes to each training image, drawn anew every epoch."""

    shift: Annotated[float, Field(ge=0.0, le=0.5)] = Field(
        0.0,
        description="largest translation, as a fraction of the image's side; in whole pixels "
        "where there is no rotation or change of size",
    )
    rotate: Annotated[float, Field(ge=0.0, le=180.0)] = Field(
        0.0, description="largest rotation, degrees"
    )
    scale: Fraction = Field(0.0, description="largest relative change of size")
    flip: bool = Field(False, description="mirror each image, left to right, half of the time")


class Optimisation(Section):
    """How a number of epochs are spent. The same words for TRAIN and for each RETRAIN."""

    epochs: Annotated[int, Field(ge=0)] = 1
    optimizer: Literal["sgd", "adam", "lars"] = Field(
        "sgd", description="lars: sgd with a rate for each layer, for batches of thousands"
    )
    learning_rate: Annotated[float, Field(gt=0.0)] = Field(
        0.05,
        description="at its full; of lars, where a layer's step at 1 is a thousandth of its "
        "weights' norm, 5 to 20 for batches of thousands",
    )
    momentum: Fraction = Field(0.9, description="sgd and lars only")
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    schedule_lr: Literal["constant", "cosine"] = Field(
        "cosine", description="the learning rate over the stage's steps"
    )
    warm_up: Fraction = Field(
        0.0, description="share of the steps over which the learning rate grows to its full"
    )
    augment: Augment = Augment()

    @model_validator(mode="after")
    def _lars_has_its_own_rate(self) -> Optimisation:
        """With sgd's or adam's default its layers would hardly move."""
        if self.optimizer == "lars" and "learning_rate" not in self.model_fields_set:
            raise ValueError(
                "optimizer: lars needs a learning_rate: 10 (with warm_up: 0.1) for batches of "
                "thousands"
            )
        return self


class Prune(Optimisation):
    """Pruning with masks held through all retraining from there on (Han et al. 2015, section 2).

    The gradual schedule is Zhu and Gupta, "To prune, or not to prune" (2017), equation 1.
    """

    importance: Literal["magnitude", "movement"] = Field(
        "magnitude",
        description="which weights go first: the smallest, or those that training shrinks most "
        "(Sanh et al. 2020; needs epochs)",
    )
    schedule: Literal["gradual", "one-shot"] = "gradual"
    sparsity: PerLayer[Fraction] = Field(
        description="one figure for every layer, or per layer, per kind (conv, fc) or per prefix"
    )
    ramp: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.6, description="gradual: share of the epochs after which the final sparsity is reached"
    )

    @model_validator(mode="after")
    def _movement_is_seen_in_training(self) -> Prune:
        if self.importance == "movement" and self.epochs == 0:
            raise ValueError("importance: movement is seen in training: epochs must be 1 at least")
        return self


class Share(Optimisation):
    """Weight sharing by a k-means codebook per layer (Deep Compression, section 3)."""

    bits: PerLayer[Bits] = Field(
        description="log2 of the codebook's size: one figure, per layer, per kind or per prefix"
    )
    init: Literal["linear", "density", "random"] = "linear"
    optimizer: Literal["sgd", "adam", "lars"] = "adam"
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-4


class Quantize(Optimisation):
    """Weights on a grid, trained with a price on each bit (Oktay et al., ICLR 2020)."""

    rate_lambda: Annotated[float, Field(ge=0.0)] = Field(
        description="what a bit of the coded weights costs, in nats of the mean cross entropy; "
        "the knob between size and error"
    )
    step: PerLayer[Step] = Field(
        description="distance of two values: one figure, per layer, per kind or per prefix"
    )
    bias_step: Step | None = Field(None, description="the same for biases; None: the layer's step")
    norm_step: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        1 / 64,
        description="distance of two values of a batch norm's scale and shift, as a share of the "
        "layer's largest; no pass behind may retrain then; null: batch norm stays as it is "
        "trained, at 16 bytes a channel",
    )
    ramp: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.3, description="share of the epochs over which rate_lambda grows to its full size"
    )


class Rdoq(Optimisation):
    """Weights on a grid, chosen by error and the coder's own price (Wiedemann et al. 2019).

    Without epochs it needs no data; with some, each value is fine-tuned as `share` does.
    """

    rate_lambda: Annotated[float, Field(ge=0.0)] = Field(
        description="what a bit of the coded weights costs, in squared steps; the knob between "
        "size and error"
    )
    step: PerLayer[Step] = Field(
        description="distance of two values: one figure, per layer, per kind or per prefix"
    )
    bias_step: Step | None = Field(None, description="the same for biases; None: the layer's step")
    epochs: Annotated[int, Field(ge=0)] = 0
    optimizer: Literal["sgd", "adam", "lars"] = "adam"
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-4


Retrained = Prune | Share | Quantize | Rdoq
"""The passes that change weights, and may retrain the network."""


class Encode(Section):
    """Entropy coding of the shared, sparse weights into a container."""

    coder: Literal["huffman", "rans", "arithmetic"] = Field(
        "huffman",
        description="arithmetic gives the smallest files; rans those that are written and opened "
        "fastest; huffman is the coder of Deep Compression",
    )


class Pass(Section):
    """One step of a recipe: exactly one of the passes."""

    prune: Prune | None = None
    share: Share | None = None
    quantize: Quantize | None = None
    rdoq: Rdoq | None = None
    encode: Encode | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, value: Any) -> Any:
        """`- encode` and `- encode:` mean the pass with its defaults."""
        if isinstance(value, str):
            return {value: {}}
        if isinstance(value, dict):
            return {key: {} if config is None else config for key, config in value.items()}
        return value

    @model_validator(mode="after")
    def _exactly_one(self) -> Pass:
        if len(self.model_fields_set) != 1:
            raise ValueError("must hold exactly one pass (prune, share, quantize, rdoq or encode)")
        return self

    @property
    def name(self) -> str:
        """`prune`, `share`, `quantize`, `rdoq` or `encode`."""
        return next(iter(self.model_fields_set))

    @property
    def config(self) -> Retrained | Encode:
        """The pass's own settings."""
        config: Retrained | Encode = getattr(self, self.name)
        return config


class Compress(Section):
    """COMPRESS: the recipe, and how often it may be tried anew to meet the budget."""

    recipe: tuple[Pass, ...] = Field(min_length=1)
    iterations: Positive = Field(3, description="compress-retrain-retest rounds at the most")

    @field_validator("recipe")
    @classmethod
    def _ends_with_encode(cls, recipe: tuple[Pass, ...]) -> tuple[Pass, ...]:
        names = [step.name for step in recipe]
        if names[-1] != "encode" or names.count("encode") != 1:
            raise ValueError("must end with its only 'encode' pass")
        return recipe
