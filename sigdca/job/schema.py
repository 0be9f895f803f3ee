"""What a job file may say: frozen pydantic models. YAML is only how they lie on disk."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from sigdca.job.limits import Limits
from sigdca.job.recipe import (
    Compress,
    Encode,
    Optimisation,
)
from sigdca.job.search import Search
from sigdca.job.section import Fraction, Positive, Section

Percent = Annotated[float, Field(ge=0.0, le=100.0)]


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
    more: tuple[str, ...] = Field(
        (),
        description="addresses of imported data sets of the same shape, whose images come behind "
        "the source's: train behind train, test behind test",
    )

    @model_validator(mode="after")
    def _streamed_whole(self) -> DataSource:
        if self.streaming and self.limit is not None:
            raise ValueError("limit is for images in memory: leave out limit, or streaming: true")
        if self.streaming and "/" not in self.source:
            raise ValueError(
                f"streaming: true is for the address of an imported data set, not '{self.source}'"
            )
        if self.streaming and self.more:
            raise ValueError("more is for images in memory: leave out more, or streaming: true")
        for address in self.more:
            if "/" not in address:
                raise ValueError(f"more takes addresses, such as ./{address}; got '{address}'")
        return self


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
    workers: Positive = Field(
        1,
        description="processes that share the work, on one core (one thread) each, or on a GPU "
        "each where there are enough; without GPUs, set it to the number of cores",
    )
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
    label_smoothing: Fraction | None = Field(
        None, description="share of each label that is spread over all classes, in TRAIN alone"
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
        zero = (options or {}).get("zero_optimization", {})
        if not isinstance(zero, dict):
            raise ValueError(f"zero_optimization must be a mapping like {{stage: 3}}, got {zero}")
        if (stage := zero.get("stage", 2)) not in (1, 2, 3):
            raise ValueError(
                f"zero_optimization.stage must be 1, 2 or 3, got {stage}; strategy ddp spreads "
                "nothing"
            )
        return options


class EdgeTest(Limits):
    """EDGE TEST: what of the test split targets' legs see, may use, and must prove."""

    num_samples: Positive | None = Field(
        None, description="the first N test images; an emulated target is slow. None: all"
    )
    timeout_s: Annotated[float, Field(gt=0.0)] = Field(
        3600.0, description="a leg that has not answered by then is given up: device-required"
    )
    require: Literal["isa", "device"] | None = Field(
        None,
        description="the least evidence of each target, device: only its board's. A job that "
        "cannot have it is refused; a run that ends without it ends with 1. None: say so, go on",
    )


class TargetBudget(Section):
    """What one target must reach, at batch 1."""

    latency_us: Annotated[float, Field(gt=0.0)] | None = Field(None, description="at most")
    fps: Annotated[float, Field(gt=0.0)] | None = Field(None, description="at least")
    energy_mj: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="of an inference, at most; a search's boards measure it, a run's do not"
    )
    power_mw: Annotated[float, Field(gt=0.0)] | None = Field(
        None,
        description="while it computes image after image, the idle share with it, at most; "
        "measured where the energy is",
    )
    memory_bytes: Positive | None = Field(
        None,
        description="that the container and the native engine hold at once, at most; emulations "
        "tell it too",
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
    at: dict[str, TargetBudget] = Field(
        {},
        description="by target, bounds of its own; only a device can tell, of memory its "
        "emulation too",
    )
    time_s: Annotated[float, Field(gt=0.0)] | None = Field(
        None, description="start no further iteration after this many seconds"
    )

    @model_serializer(mode="wrap")
    def _what_is_off_is_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an empty `at`: jobs and runs from before there was one stay as they are."""
        told: dict[str, Any] = super()._what_is_off_is_said(handler)
        return {name: value for name, value in told.items() if name != "at" or value}


class Watch(Section):
    """NEW DATA: when `sigdca run --watch` goes round again, and where its releases go."""

    data: str = Field(description="folder or address that boards send to (`sigdca edge send`)")
    at_least: Positive = Field(100, description="new labelled images that make it go round")
    test_share: Annotated[float, Field(ge=0.0, le=0.5)] = Field(
        0.2, description="of the new images, the share that is tested with, not trained with"
    )
    releases: str | None = Field(
        None, description="where boards fetch updates (`sigdca publish --to`); None: no releases"
    )
    channel: Literal["stable", "canary"] = "canary"
    key: str | None = Field(None, description="the private key's file (`sigdca keygen`)")
    poll_s: Annotated[float, Field(gt=0.0)] = Field(
        60.0, description="how often it looks for new data"
    )
    cycles: Positive | None = Field(None, description="end after so many; None: never")

    @model_validator(mode="after")
    def _signed(self) -> Watch:
        if (self.releases is None) != (self.key is None):
            raise ValueError("releases and key belong together: nothing is released unsigned")
        return self


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
    watch: Watch | None = None
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
            if self.train.deepspeed is not None:
                raise ValueError(
                    f"train.deepspeed is for strategy deepspeed, got {strategy}: leave it out, or "
                    "set train.strategy to deepspeed"
                )
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
        """The same job under another name: 1,000 images, at most an epoch a stage, no budget.

        More images where each part of a step needs one.
        """
        num_parts = self.train.workers * (self.train.accumulation_steps or 1)
        largest_batch = max(1, 1000 // num_parts) * num_parts
        document = self.model_dump(exclude_none=True)
        document["name"] = f"{self.name[:90]}-smoke"
        document["data"]["limit"] = max(1000, largest_batch)
        document["data"].pop("streaming", None)
        document["edge_test"] |= {"num_samples": 100}
        document["budget"] = {}
        document["train"].pop("accuracy_at_least", None)
        document["train"]["epochs"] = min(1, self.train.epochs)
        document["train"]["batch_size"] = min(largest_batch, self.train.batch_size)
        if self.search is not None:
            limits = {"num_trials": 4, "time_budget_s": None, "sensitivity_images": 200}
            document["search"] = self.search.model_dump(exclude_unset=True) | limits
        for step in document.get("compress", {}).get("recipe", ()):
            for config in step.values():
                if "epochs" in config:
                    config["epochs"] = min(1, config["epochs"])
        return Job.model_validate(document)
