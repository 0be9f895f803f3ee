"""What a job file may say: frozen pydantic models. YAML is only how they lie on disk."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sigdca.job.search import Search
from sigdca.job.section import Fraction, Positive, Section

Percent = Annotated[float, Field(ge=0.0, le=100.0)]
Bits = Annotated[int, Field(ge=1, le=12)]
Step = Annotated[float, Field(gt=1e-9, le=1e3)]


class DataSource(Section):
    """Where images and labels come from."""

    source: str = Field(
        description="a name that `sigdca data get` knows, such as mnist; or where "
        "`sigdca data import` has put a data set: ./folder, /nfs/folder, s3://bucket/folder"
    )
    limit: Positive | None = Field(
        None, description="use only the first N images of each split (smoke tests)"
    )
    streaming: bool | None = Field(
        None,
        description="of an address: whether TRAIN reads images as a stream, epoch by epoch, or "
        "keeps them all in memory. None: a stream for more than 2 GiB of pixels",
    )
    site: Literal["private", "public"] | None = Field(
        None, description="where the images must stay: only servers of this site work on them"
    )

    @model_validator(mode="after")
    def _streamed_whole(self) -> DataSource:
        if self.streaming and self.limit is not None:
            raise ValueError("limit is for images in memory: leave out limit, or streaming: true")
        if self.streaming and "/" not in self.source:
            raise ValueError(
                f"streaming: true is for the address of an imported data set, not '{self.source}'"
            )
        return self


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
    learning_rate: Annotated[float, Field(gt=0.0)] = 0.05
    momentum: Fraction = Field(0.9, description="sgd and lars only")
    weight_decay: Annotated[float, Field(ge=0.0)] = 0.0
    schedule_lr: Literal["constant", "cosine"] = Field(
        "cosine", description="the learning rate over the stage's steps"
    )
    warm_up: Fraction = Field(
        0.0, description="share of the steps over which the learning rate grows to its full"
    )
    augment: Augment = Augment()


# Of DeepSpeed's configuration: what a job says in its own words, and in which.
_DEEPSPEED_OWN = {
    "optimizer": "optimizer",
    "scheduler": "schedule_lr",
    "train_batch_size": "batch_size",
    "train_micro_batch_size_per_gpu": "batch_size",
    "gradient_accumulation_steps": "accumulation_steps",
    "torch_autocast": "precision",
    "fp16": "precision",
    "bf16": "precision",
}


class Train(Optimisation):
    """TRAIN: from the initial weights to a network that is accurate enough."""

    strategy: Literal["ddp", "horovod", "fsdp", "deepspeed", "hybrid"] = Field(
        "ddp",
        description="how the workers share a step: each a part of the batch (ddp, horovod); of "
        "the weights too (fsdp, deepspeed); of the batch for convolutions, of the outputs for fc "
        "layers (hybrid)",
    )
    deepspeed: dict[str, Any] | None = Field(
        None,
        description="DeepSpeed's own configuration, such as {zero_optimization: {stage: 3}}; "
        "stage 2 where it is silent",
    )
    workers: Positive = 1
    workers_at_least: Positive | None = Field(
        None,
        description="go on with as few workers when a machine is lost, and with more when one "
        "comes back; None: wait for all of them",
    )
    batch_size: Positive = Field(64, description="images per step, over all workers")
    precision: Literal["float32", "bf16", "fp16"] = Field(
        "float32",
        description="of convolutions and FC layers while training, with float32 weights; bf16 is "
        "faster where the processor or GPU has it (AMX, AVX-512 BF16, Ampere); fp16, with a "
        "scaled loss, is for older GPUs (Volta, Turing)",
    )
    accumulation_steps: Positive | None = Field(
        None,
        description="compute each worker's images of a step in so many parts, one after the "
        "other, and exchange gradients once: a large batch in little memory",
    )
    compile: bool | None = Field(
        None,
        description="by torch.compile: a minute of waiting for each stage, then faster steps, "
        "where a step is long enough",
    )
    accuracy_at_least: Percent | None = Field(
        None, description="train again (from where it stands) until TEST gives this accuracy"
    )
    iterations: Positive = Field(3, description="how often TRAIN may be repeated for that")

    @field_validator("deepspeed")
    @classmethod
    def _not_in_other_words(cls, options: dict[str, Any] | None) -> dict[str, Any] | None:
        for key in options or ():
            if key in _DEEPSPEED_OWN:
                word = _DEEPSPEED_OWN[key]
                raise ValueError(f"{key} is set by the job itself: write train.{word}")
        return options


class Prune(Optimisation):
    """Pruning with masks held through retraining (Han et al. 2015, section 2).

    The gradual schedule is Zhu and Gupta, "To prune, or not to prune" (2017), equation 1.
    """

    importance: Literal["magnitude", "movement"] = Field(
        "magnitude",
        description="which weights go first: the smallest, or those that training shrinks most "
        "(Sanh et al. 2020; needs epochs)",
    )
    schedule: Literal["gradual", "one-shot"] = "gradual"
    sparsity: Fraction | dict[str, Fraction] = Field(
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

    bits: Bits | dict[str, Bits] = Field(
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
    step: Step | dict[str, Step] = Field(
        description="distance of two values: one figure, per layer, per kind or per prefix"
    )
    bias_step: Step | None = Field(None, description="the same for biases; None: the layer's step")
    norm_step: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        1 / 64,
        description="distance of two values of a batch norm's scale and shift, as a share of the "
        "layer's largest; null: batch norm stays as it is trained, at 16 bytes a channel",
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
    step: Step | dict[str, Step] = Field(
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


class EdgeTest(Section):
    """EDGE TEST: how much of the test split each target's test leg sees."""

    num_samples: Positive | None = Field(
        None, description="the first N test images; an emulated target is slow. None: all"
    )


class Budget(Section):
    """What the result must meet. Everything left out is free."""

    accuracy_drop: float | None = Field(
        None, description="percentage points against the uncompressed model on the same data"
    )
    error: Percent | None = Field(None, description="test error in percent, at most")
    container_bytes: Positive | None = Field(None, description="bytes of the whole file, at most")
    fps: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="frames per second at batch 1 on each target; only a device can tell"
    )
    time_s: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="start no further iteration after this many seconds"
    )


class Job(Section):
    """One YAML file: model, data, training, compression, targets, budget."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    model: str = Field(description="a name in MODELS, or an import path (pkg.module:Class)")
    weights: str | None = Field(
        None, description="start from this .safetensors, .caffemodel or .net file"
    )
    data: DataSource
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    train: Train
    compress: Compress | None = None
    search: Search | None = None
    targets: tuple[str, ...] = ()
    edge_test: EdgeTest = EdgeTest()
    budget: Budget = Budget()
    storage: str = Field("runs", description="folder or pyarrow address that holds the runs")

    @model_validator(mode="after")
    def _something_to_start_from(self) -> Job:
        if self.train.epochs == 0 and self.weights is None:
            raise ValueError("train.epochs is 0 and no 'weights' are given: nothing to start from")
        return self

    @model_validator(mode="after")
    def _something_to_search(self) -> Job:
        if self.search is not None and self.compress is None:
            raise ValueError("a search needs a 'compress' section: its recipe is the first trial")
        return self

    @model_validator(mode="after")
    def _whole_batches(self) -> Job:
        train = self.train
        num_parts, what = train.workers, f"train.workers ({train.workers})"
        if train.accumulation_steps is not None:
            num_parts *= train.accumulation_steps
            what += f" times train.accumulation_steps ({train.accumulation_steps})"
        if train.batch_size % num_parts:
            raise ValueError(
                f"train.batch_size must be a multiple of {what}, got {train.batch_size}"
            )
        return self

    @model_validator(mode="after")
    def _workers_can_be_lost(self) -> Job:
        least, most = self.train.workers_at_least, self.train.workers
        if least is None or least == most:
            return self
        if least > most:
            raise ValueError(
                f"train.workers_at_least must be at most train.workers ({most}), got {least}"
            )
        if self.train.strategy == "hybrid":
            raise ValueError(
                "train.workers_at_least is not for strategy hybrid, whose workers need shares "
                "alike: use ddp or fsdp"
            )
        return self

    @model_validator(mode="after")
    def _strategy_can(self) -> Job:
        """DeepSpeed holds all layers in one flat tensor; loss scaling is for parts of one kind.

        torch.compile fails on the hooks around DTensors that tensor parallelism puts there.
        """
        strategy = self.train.strategy
        if self.train.precision == "fp16" and strategy in ("deepspeed", "hybrid"):
            raise ValueError(f"train.precision: fp16 is not for strategy {strategy}: use bf16")
        if self.train.compile and strategy == "hybrid":
            raise ValueError(
                "train.compile is not for strategy hybrid, whose cut layers torch.compile cannot "
                "follow: leave it out, or use ddp or fsdp"
            )
        if strategy != "deepspeed":
            return self
        recipe = self.compress.recipe if self.compress is not None else ()
        sections = [("train", self.train)] + [
            (f"compress.recipe[{number}].{step.name}", step.config)
            for number, step in enumerate(recipe)
            if not isinstance(step.config, Encode)
        ]
        for where, section in sections:
            if section.optimizer == "lars":
                raise ValueError(
                    f"{where}.optimizer: lars is not for strategy deepspeed, whose parts are not "
                    "layers: use ddp or fsdp"
                )
        return self

    def smoke_test(self) -> Job:
        """The same job on 1,000 images and one epoch a stage, under another name, no budget."""
        document = self.model_dump(exclude_none=True)
        document["name"] = f"{self.name[:90]}-smoke"
        document["data"]["limit"] = 1000
        document["data"].pop("streaming", None)
        document["edge_test"] = {"num_samples": 100}
        document["budget"] = {}
        document["train"].pop("accuracy_at_least", None)
        document["train"]["epochs"] = min(1, self.train.epochs)
        if self.search is not None:
            limits = {"num_trials": 4, "time_budget_s": None, "sensitivity_images": 200}
            document["search"] = self.search.model_dump(exclude_unset=True) | limits
        for step in document.get("compress", {}).get("recipe", ()):
            for config in step.values():
                if "epochs" in config:
                    config["epochs"] = 1
        return Job.model_validate(document)
