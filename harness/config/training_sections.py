"""Settings of a training: the sections augment, model, optim, train and runtime."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from harness.config import networks
from harness.config.networks import OWN_NETWORKS
from harness.config.values import MOST, ExportFormat, LocalPath, Probability, Rate, Section, Seed, Widths


class AugmentConfig(Section):
    """How training pictures vary; drawn anew every time one is trained on."""

    enabled: bool = Field(True, description="vary training pictures; false: they are trained on as they are")
    engine: Literal["auto", "device", "host"] = Field(
        "auto",
        description="what changes the pictures: device, the training device within a step; host, the CPU beside "
        "it, with OpenCV; auto: device on GPUs, host on CPUs",
    )
    flip: Probability = Field(0.5, description="probability of a left-right flip")
    rotation: float = Field(10.0, ge=0, le=180, description="largest rotation to either side, in degrees")
    zoom: Rate = Field(0.4, description="largest change of size, up or down, as a fraction")
    shift: Rate = Field(0.05, description="largest shift along each axis, as a fraction of the side")
    shear: float = Field(5.0, ge=0, le=60, description="largest shear, in degrees")
    brightness: Rate = Field(0.2, description="largest change of brightness, as a fraction of white")
    contrast: Rate = Field(0.3, description="largest change of contrast, as a fraction")
    saturation: Probability = Field(0.8, description="largest change of saturation, as a fraction")
    hue: float = Field(90.0, ge=0, le=180, description="largest rotation of the hue, in degrees")
    grayscale: Probability = Field(0.2, description="probability that all colour is removed")
    erasing: Probability = Field(0.0, description="probability that a rectangle is painted grey")
    erasing_area: float = Field(
        0.2,
        ge=0.02,
        le=1,
        description="largest rectangle painted grey, as a fraction of the picture; the smallest is 0.02",
    )
    mixup: float = Field(
        0.0,
        ge=0,
        le=100,
        description="mix pictures and their labels in pairs; alpha of the Beta distribution that their shares are "
        "drawn from; 0: off",
    )


class ModelConfig(Section):
    """The network."""

    name: str = Field(
        "emotion_cnn",
        description="emotion_cnn, residual_cnn, or a network of keras.applications, such as MobileNetV3Small",
    )
    weights: LocalPath | None = Field(
        None,
        description="file of pretrained weights for a network of keras.applications, saved with include_top=False: "
        ".weights.h5, .h5 or .keras; null: random weights",
    )
    freeze_backbone: bool = Field(
        False, description="true: train the output layer alone, and keep model.weights as they are (keras.applications)"
    )
    widths: Widths = Field(
        (16, 32, 16), description="filters of each convolution (emotion_cnn) or of each stage (residual_cnn)"
    )
    pooling: Literal["max", "average"] = Field("max", description="pooling after each convolution (emotion_cnn)")
    first_kernels: Literal["edges", "random"] = Field(
        "edges", description="what the first convolution starts from: oriented edges, or random kernels (emotion_cnn)"
    )
    dense_units: int = Field(256, ge=1, le=65536, description="units of the hidden dense layer (emotion_cnn)")
    dropout: Rate = Field(0.1, description="dropout after each convolution (emotion_cnn)")
    dense_dropout: Rate = Field(0.5, description="dropout before the output layer")
    head: Literal["auto", "sigmoid", "softmax"] = Field(
        "auto", description="output layer; auto: sigmoid for two classes, softmax for more"
    )

    @field_validator("name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        names = {name.lower(): name for name in (*OWN_NETWORKS, *networks.APPLICATIONS)}
        if value in names.values():
            return value
        nearest = difflib.get_close_matches(value.lower(), names, n=1, cutoff=0.0)[0]
        own = ", ".join(OWN_NETWORKS)
        raise ValueError(f"it should be {own} or a network of keras.applications; the nearest is {names[nearest]}")

    @field_validator("weights")
    @classmethod
    def _check_weights(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and value.suffix not in (".h5", ".keras"):
            raise ValueError("it should be a .weights.h5, .h5 or .keras file")
        if value is not None and info.data.get("name") not in networks.APPLICATIONS:
            raise ValueError(f"it should be null with model.name {info.data.get('name')}, which is always trained anew")
        return value

    @field_validator("freeze_backbone")
    @classmethod
    def _check_freeze(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("weights") is None:
            raise ValueError("it should be false without model.weights, or random features would never be trained")
        return value


class OptimConfig(Section):
    """The loss and how it is minimised."""

    name: Literal["adam", "adamw", "sgd"] = Field("adam", description="optimizer")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="peak learning rate")
    scale_with_batch: Literal["none", "linear", "sqrt"] = Field(
        "none",
        description="raise the learning rate with the pictures a step, in proportion (linear) or by the square "
        "root; optim.learning_rate is then the one for 16 pictures",
    )
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "cosine",
        description="learning rate after the warm-up; cosine: down to zero at the end; plateau: falls when "
        "train.monitor gets no better",
    )
    warmup_epochs: float = Field(
        1.0, ge=0, description="epochs at the start over which the learning rate rises from zero"
    )
    plateau_epochs: int = Field(
        5,
        ge=1,
        le=MOST,
        description="epochs without a better train.monitor after which the learning rate falls (plateau)",
    )
    plateau_factor: float = Field(
        0.5, gt=0, lt=1, description="factor by which the learning rate is then multiplied (plateau)"
    )
    momentum: Rate = Field(0.9, description="share of the last step that is added to the next one (sgd)")
    weight_decay: float = Field(
        0.0,
        ge=0,
        le=1,
        description="decoupled weight decay of each step, before it is multiplied by the learning rate (adamw, sgd)",
    )
    clip_norm: float = Field(
        0.0,
        ge=0,
        description="largest norm of the gradient of all weights together; a longer one is scaled down to it; 0: "
        "no limit",
    )
    accumulate_steps: int = Field(
        1, ge=1, le=4096, description="batches whose gradients make one step of the optimizer; 1: each batch is a step"
    )
    ema: Rate = Field(
        0.0,
        description="0.99 keeps and exports the average of about the last 100 steps' weights, 0.999 of the last "
        "1000; 0: off",
    )
    label_smoothing: Rate = Field(0.02, description="share of each label that is spread evenly over all classes")

    @field_validator("weight_decay")
    @classmethod
    def _check_weight_decay(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("name") == "adam":
            raise ValueError("it should be 0 with optim.name adam; adamw and sgd decay weights")
        return value


Monitor = Literal["val_loss", "val_accuracy", "val_auc", "val_balanced_accuracy", "val_f1"]


class TrainConfig(Section):
    """The run."""

    run: LocalPath | None = Field(
        None,
        description="run folder; null: runs/ and the name of the config file; without one that of the records; on the "
        "sample that of the network",
    )
    start_from: LocalPath | None = Field(
        None, description="run folder whose latest weights a new run starts from; null: random weights"
    )
    epochs: int = Field(30, ge=1, le=MOST, description="passes over the training split at most")
    last_epoch: int = Field(
        0,
        ge=0,
        le=MOST,
        description="epoch after which to stop, with the learning rates of a run of train.epochs; 0: train.epochs",
    )
    batch_size: int = Field(16, ge=1, le=MOST, description="pictures a step")
    batch_per: Literal["step", "replica"] = Field(
        "step", description="step: batch_size is for all devices together; replica: it is for each device"
    )
    monitor: Monitor = Field(
        "val_loss",
        description="figure of the validation that decides which epoch is kept and when to stop (keep: best), when "
        "the learning rate falls (plateau), and which trial of a search is best; of equal epochs the one of the "
        "lower loss is kept",
    )
    keep: Literal["best", "last"] = Field(
        "last",
        description="weights that are kept: last, of the last epoch, whatever the validation says; best, of the "
        "epoch with the best train.monitor, and training stops early (train.patience)",
    )
    min_epochs: int = Field(
        15,
        ge=1,
        le=MOST,
        description="first epoch that may be kept as the best, at most half of all epochs (keep: best)",
    )
    patience: int = Field(
        10,
        ge=0,
        le=MOST,
        description="epochs without a better train.monitor after which training stops, counted from min_epochs on; "
        "0: never (keep: best)",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="weight of each class in the training loss; balanced: pictures / (classes * its pictures)"
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "auto",
        description="kind of numbers that the layers compute with; auto: on GPUs what that kind of GPU is fast in; "
        "on CPUs mixed_bfloat16 if a step tried at the start is at least 10 % faster with it, else float32, and "
        "float32 with runtime.deterministic",
    )
    seed: Seed = Field(0, description="seed of the weights, the order of pictures, dropout and augmentation")
    on_divergence: Literal["stop", "back_off"] = Field(
        "stop",
        description="what to do once loss or weights are no finite numbers: stop; back_off begins the epoch again "
        "with a tenth of the learning rate, at most 3 times",
    )
    checkpoint_minutes: float = Field(
        10.0, ge=0, description="most minutes between two checkpoints within an epoch; 0: after each epoch only"
    )

    def count_batch(self, num_replicas: int) -> int:
        """Returns the pictures of a step over so many replicas together."""
        return self.batch_size * (num_replicas if self.batch_per == "replica" else 1)

    @property
    def num_epochs(self) -> int:
        """The epochs the run has at most."""
        return min(self.last_epoch or self.epochs, self.epochs)

    @property
    def first_judged_epoch(self) -> int:
        """The first epoch whose weights may be kept; the validation of the first few says little."""
        return self.num_epochs if self.keep == "last" else max(1, min(self.min_epochs, self.num_epochs // 2))


class RuntimeConfig(Section):
    """What the machine lends. These change where and how fast a run goes, never what it computes."""

    gpus: str = Field(
        "all", pattern=r"^(all|none|\d+(,\d+)*,?)$", description="all, none, how many, or indices: '0,2' or '1,'"
    )
    logical_cpus: int = Field(
        0, ge=0, le=64, description="split the CPU into so many devices and train on all of them; 0: one device"
    )
    workers: int = Field(0, ge=0, le=1024, description="processes that build records; 0: one a core")
    runs_per_node: int = Field(
        1,
        ge=1,
        le=1024,
        description="runs that share this machine; data.cache counts on an equal part of its memory for each",
    )
    exports: Annotated[tuple[ExportFormat, ...], Field(strict=False)] = Field(
        ("h5", "saved_model"),
        description="formats that a training writes at its end beside model.keras, each tried in a fresh process: "
        "h5, saved_model, tflite, tflite_float16, tflite_dynamic, onnx; []: model.keras alone",
    )
    profile: str | None = Field(
        None,
        description="steps that are traced for TensorBoard: 10:20 begins after step 10 and ends with step 20; "
        "null: none",
    )
    xla: bool = Field(
        False,
        description="compile the arithmetic of a step with XLA, on one device only: 4 to 16 times slower on CPUs; "
        "on GPUs python -m harness.bench tells whether it helps",
    )
    steps_per_loop: int = Field(
        0,
        ge=0,
        le=64,
        description="most steps in one call of the compiled training; 0: as many as take a quarter of a second",
    )
    stall_s: float = Field(
        1800.0, ge=0, le=86400, description="seconds without a step after which training gives up; 0: never"
    )
    deterministic: bool = Field(
        False,
        description="have the same command give the same result, bit for bit: no operations whose result varies, "
        "and no choice of train.precision or data.cache by what is measured",
    )

    @field_validator("profile", mode="before")
    @classmethod
    def _check_profile(cls, value: object) -> object:
        if value is None:
            return value
        found = re.fullmatch(r"(\d+):(\d+)", value, re.ASCII) if isinstance(value, str) else None
        if not found or int(found[1]) >= int(found[2]):
            raise ValueError("it should be two steps, the first below the second, such as 10:20")
        return value
