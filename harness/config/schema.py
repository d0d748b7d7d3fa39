"""The frozen Config: sections, defaults, units and ranges.

Every setting a user can change is a field here, with its description, and nowhere else. settings.py makes a Config from
files and flags.
"""

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from harness.base import files, storage
from harness.base.storage import RemotePath
from harness.config import networks
from harness.config.networks import OWN_NETWORKS
from harness.config.ranges import Range, Value


def _check_local(value: object) -> object:
    _check_text(value)
    if isinstance(value, RemotePath) or (isinstance(value, str) and "://" in value):
        raise ValueError("it should be a local path; pictures and records may lie on s3://")
    return value


def _check_text(value: object) -> None:
    if isinstance(value, str) and (not value or "\0" in value):  # of "" a Path makes the current folder
        raise ValueError("it should be a path")
    if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
        raise ValueError("it should be a path whose name is UTF-8")


def _parse_folder(value: object) -> storage.Folder:
    _check_text(value)
    if isinstance(value, str):
        return storage.parse(value)  # before a Path makes one slash of two
    if not isinstance(value, storage.Folder):
        raise ValueError("it should be a path")
    return value


# A YAML file and a flag hold text and lists: paths and tuples are made from those, everything else keeps its own type.
LocalPath = Annotated[Path, Field(strict=False), BeforeValidator(_check_local)]
AnyFolder = Annotated[Path | RemotePath, PlainValidator(_parse_folder), PlainSerializer(str, when_used="json")]
Level = Annotated[int, Field(ge=0, le=255)]
ImageSize = Annotated[int, Field(ge=16, le=2048)]
Widths = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(strict=False, min_length=1, max_length=6)]


def _check_range(value: tuple[float, float]) -> tuple[float, float]:
    if not value[0] < value[1] or not all(map(math.isfinite, value)):
        raise ValueError("it should be two numbers, the first below the second, such as [0, 4095]")
    return value


ValueRange = Literal["full"] | Annotated[tuple[float, float], Field(strict=False), AfterValidator(_check_range)]
Fit = Literal["stretch", "crop", "pad"]
ExportFormat = Literal["h5", "saved_model", "tflite", "tflite_float16", "tflite_dynamic", "onnx"]
Color = Annotated[tuple[Level, Level, Level], Field(strict=False)]


def _parse_range(value: object, parse: ValidatorFunctionWrapHandler) -> object:
    try:
        return parse(value)
    except ValidationError:  # which speaks of the first alternative alone
        raise ValueError(
            "it should be auto, full, or two numbers, the first below the second, such as [0, 4095]"
        ) from None


def _parse_classes(value: object) -> object:
    if not isinstance(value, list | tuple | dict):
        raise ValueError("it should be a list, such as [happy, sad], or a mapping, {happy: [happy, smile], sad: [sad]}")
    if isinstance(value, dict):
        value = {name: [parts] if isinstance(parts, str) else parts for name, parts in value.items()}
        parts = [part for listed in value.values() if isinstance(listed, list | tuple) for part in listed]
    else:
        parts = list(value)
    twice = next((part for part in parts if parts.count(part) > 1), None)
    if twice is not None:
        raise ValueError(f"it should name {twice!r} once")
    if len(value) < 2:
        raise ValueError("it should name two classes or more")
    if any(not isinstance(part, str) or not part for part in (*value, *parts)):
        raise ValueError("it should hold names of classes")
    return value if isinstance(value, dict) else tuple(value)


_Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]
Classes = Annotated[_Names | dict[str, _Names], BeforeValidator(_parse_classes)]
Probability = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
_MOST = 2**31 - 1  # of a count that nothing else bounds
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class DataConfig(_Section):
    """Where pictures and records are, and how records are read."""

    images: AnyFolder = Field(
        Path("data/sample"), description="folder with one sub-folder of pictures a class, here or on s3://"
    )
    labels: str | None = Field(
        None,
        min_length=1,
        description="table of the pictures' labels, and of their groups and splits if it has them: FILE.csv or "
        "FILE.csv:COLUMN, in the images folder or here; null: the class folders",
    )
    records: AnyFolder | None = Field(
        None, description="folder of the records, here or on s3://; null: tfrecords/ and the last name of data.images"
    )
    classes: Classes | None = Field(
        None,
        description="classes to take, in the order of their labels: [happy, sad]; or each with the folders or labels "
        "that are merged into it: {happy: [happy, smile], sad: [sad, cry]}; null: all, sorted",
    )
    follow_links: bool = Field(
        False, description="walk into sub-folders that are links, each folder once; false leaves them out and says so"
    )
    stage: LocalPath | None = Field(
        None,
        description="folder on a disk of the node to which the records are copied once a node, and read there: a path, "
        "which may begin with a variable of the node such as '$TMPDIR'; null: they are read where they lie",
    )
    cache: Literal["auto", "device", "memory", "none"] = Field(
        "auto",
        description="keep the decoded pictures on every device or in memory, or stream them (none); "
        "auto: on GPUs up to 30 % of what is free there, else in memory up to half of it; with runtime.deterministic "
        "of what there is, so that what else runs decides nothing",
    )

    @property
    def records_folder(self) -> storage.Folder:
        """The folder of the records, whether given or derived from `images`."""
        return self.records or Path("tfrecords") / self.images.resolve().name


class CleanConfig(_Section):
    """The limits a picture has to keep; everything outside is rejected and reported, nothing is deleted."""

    min_side: int = Field(32, ge=2, le=_MOST, description="shortest side accepted, in pixels")
    max_pixels: int = Field(100_000_000, ge=4, le=_MOST, description="largest width times height accepted, in pixels")
    max_bytes: int = Field(200_000_000, ge=100, le=_MOST, description="largest file accepted, in bytes")
    salvaged: Literal["drop", "keep"] = Field(
        "drop",
        description="damaged JPEGs that decoders get over, nobody knows how well: drop rejects them, keep takes them",
    )
    range: Annotated[Literal["auto"] | ValueRange, WrapValidator(_parse_range)] = Field(
        "auto",
        description="what becomes black and white of pixels of more than 8 bits: auto, the least and greatest value in "
        "all such pictures; full, those that their kind can have; or [LOW, HIGH]",
    )
    near_copies: Literal["group", "ignore"] = Field(
        "group",
        description="pictures that nearly equal another: group keeps them on one side of the split, "
        "ignore does not look for them",
    )
    label_conflicts: Literal["fail", "drop", "keep"] = Field(
        "drop",
        description="exact copies of different classes: fail stops, drop rejects all, keep takes all",
    )
    near_conflicts: Literal["keep", "drop", "fail"] = Field(
        "keep",
        description="near copies of different classes: keep takes all, on one side of the split, and shows them; drop "
        "rejects all, fail stops",
    )

    @field_validator("near_conflicts")
    @classmethod
    def _check_near_conflicts(cls, value: str, info: ValidationInfo) -> str:
        if value != "keep" and info.data.get("near_copies") == "ignore":
            raise ValueError("it should be keep with clean.near_copies ignore, which looks for no near copies")
        return value


class SplitConfig(_Section):
    """How groups of pictures are divided into splits."""

    validation: float = Field(0.2, ge=0, le=0.9, description="fraction of the pictures for validation")
    test: float = Field(0.0, ge=0, le=0.9, description="fraction of the pictures for a test split")
    group_by: str = Field(
        "auto",
        description="what keeps pictures on one side: folder (CLASS/PERSON/PICTURE); a regular expression with one "
        "group, matched in the path; FILE.csv:COLUMN, in the images folder or here; none; auto: groups.csv:group if "
        "the images folder has it",
    )
    leaks: Literal["report", "fail", "move"] = Field(
        "report",
        description="copies and groups that lie in several of the given splits: report keeps and counts them, fail "
        "stops, move puts each group as a whole into test, or else validation",
    )
    previous: AnyFolder | None = Field(
        None, description="records folder whose split is kept for every group it knows; null: none"
    )
    seed: Seed = Field(0, description="seed of the split")


class RecordsConfig(_Section):
    """What is written into the records."""

    image_size: ImageSize = Field(256, description="height and width of a stored picture, in pixels")
    fit: Fit = Field(
        "stretch",
        description="how a picture becomes a square: stretch changes its proportions, crop takes the square in its "
        "middle, pad adds bars of pad_color",
    )
    pad_color: Color = Field((0, 0, 0), description="red, green and blue of the bars that pad adds, each 0 to 255")
    encoding: Literal["jpeg", "png", "raw"] = Field(
        "jpeg", description="stored form: jpeg is small; png and raw keep every pixel; raw needs no decoding"
    )
    jpeg_quality: int = Field(95, ge=50, le=100, description="quality of the stored JPEG")
    shard_bytes: int = Field(64_000_000, ge=10_000, le=_MOST, description="size to aim at for one shard, in bytes")
    min_shards: int = Field(
        16, ge=1, le=_MOST, description="shards a split gets at least, as far as each has 8 pictures"
    )


class AugmentConfig(_Section):
    """How training pictures vary; drawn anew every time one is trained on."""

    enabled: bool = Field(True, description="false turns all of it off")
    engine: Literal["auto", "device", "host"] = Field(
        "auto",
        description="where pixels are changed: device, within the training step; host, beside it, by OpenCV; "
        "auto: device on GPUs, host on CPUs",
    )
    flip: Probability = Field(0.5, description="probability of a left-right flip")
    rotation: float = Field(10.0, ge=0, le=180, description="largest rotation to either side, in degrees")
    zoom: Rate = Field(0.4, description="largest change of size, as a fraction")
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
        description="largest rectangle painted grey, as a fraction of the picture; the least is 0.02",
    )
    mixup: float = Field(
        0.0,
        ge=0,
        le=100,
        description="alpha of the Beta distribution of the shares in which pictures and labels are mixed; 0: none",
    )


class ModelConfig(_Section):
    """The network."""

    name: str = Field(
        "emotion_cnn",
        description="emotion_cnn, residual_cnn, or a network of keras.applications, such as MobileNetV3Small",
    )
    weights: LocalPath | None = Field(
        None,
        description="weights that a network of keras.applications starts from, as made with include_top=False: a "
        ".weights.h5, .h5 or .keras file; null: random",
    )
    freeze_backbone: bool = Field(
        False, description="keep model.weights as they are and train the output layer alone (keras.applications)"
    )
    widths: Widths = Field((16, 32, 16), description="filters of each convolution, or of each stage")
    pooling: Literal["max", "average"] = Field("max", description="pooling after each convolution (emotion_cnn)")
    first_kernels: Literal["edges", "random"] = Field(
        "edges", description="what the first convolution of emotion_cnn starts from: oriented edges, or random"
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


class OptimConfig(_Section):
    """The loss and how it is minimised."""

    name: Literal["adam", "adamw", "sgd"] = Field("adam", description="optimizer")
    learning_rate: float = Field(1e-3, gt=0, le=10, description="peak learning rate")
    scale_with_batch: Literal["none", "linear", "sqrt"] = Field(
        "none", description="how the learning rate grows with the pictures a step; it is then the one for 16 pictures"
    )
    schedule: Literal["constant", "cosine", "plateau"] = Field(
        "constant", description="learning rate after the warm-up; plateau: falls when the validation loss does not"
    )
    warmup_epochs: float = Field(0.0, ge=0, description="epochs over which the learning rate rises from zero")
    plateau_epochs: int = Field(
        5, ge=1, le=_MOST, description="epochs without a lower validation loss before the learning rate falls (plateau)"
    )
    plateau_factor: float = Field(0.5, gt=0, lt=1, description="what the learning rate is multiplied by then (plateau)")
    momentum: Rate = Field(0.9, description="share of the step before that is taken again (sgd)")
    weight_decay: float = Field(
        0.0, ge=0, le=1, description="decoupled weight decay a step, times the learning rate (adamw, sgd)"
    )
    clip_norm: float = Field(
        0.0, ge=0, description="largest norm of the gradient of a step, all weights together; 0: not clipped"
    )
    accumulate_steps: int = Field(
        1, ge=1, le=4096, description="batches whose gradients make one step of the optimizer; 1: every batch is a step"
    )
    ema: Rate = Field(
        0.0, description="share an average of the weights keeps at each step; the average is kept, not the last; 0: off"
    )
    label_smoothing: Rate = Field(0.0, description="share of the label spread over all classes")

    @field_validator("weight_decay")
    @classmethod
    def _check_weight_decay(cls, value: float, info: ValidationInfo) -> float:
        if value and info.data.get("name") == "adam":
            raise ValueError("it should be 0 with optim.name adam; adamw and sgd decay weights")
        return value


class TrainConfig(_Section):
    """The run."""

    run: LocalPath | None = Field(None, description="run folder; null: runs/ and the name of the config file")
    start_from: LocalPath | None = Field(
        None, description="run folder whose latest weights a new run starts from; null: random weights"
    )
    epochs: int = Field(30, ge=1, le=_MOST, description="passes over the training split at most")
    last_epoch: int = Field(
        0,
        ge=0,
        le=_MOST,
        description="epoch after which the run ends, while its schedule is laid out over train.epochs; 0: train.epochs",
    )
    batch_size: int = Field(16, ge=1, le=_MOST, description="pictures a step")
    batch_per: Literal["step", "replica"] = Field(
        "step", description="what batch_size is for: all replicas of a step together, or each replica"
    )
    min_epochs: int = Field(
        15, ge=1, le=_MOST, description="the first epoch whose weights may be the best, at most half of all epochs"
    )
    patience: int = Field(
        10,
        ge=0,
        le=_MOST,
        description="epochs without a lower validation loss before stopping, from min_epochs on; 0: never stop",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="weight of each class in the training loss; balanced: pictures / (classes * its pictures)"
    )
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "auto",
        description="arithmetic of the layers; auto: what the kind of GPU is fast in; on CPUs mixed_bfloat16 where a "
        "step tried at the start is at least 10 % faster by it, else float32, and with runtime.deterministic float32",
    )
    seed: Seed = Field(0, description="seed of the weights, the order of pictures, dropout and augmentation")
    on_divergence: Literal["stop", "back_off"] = Field(
        "stop",
        description="what is done once loss or weights are no finite numbers; back_off: the epoch begins again with a "
        "tenth of the learning rate, at most 3 times",
    )
    checkpoint_minutes: float = Field(
        10.0, ge=0, description="a checkpoint is written at least so often within an epoch too; 0: after epochs only"
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
        """The first epoch whose weights may be kept; the validation loss of the first few says little."""
        return max(1, min(self.min_epochs, self.num_epochs // 2))


class RuntimeConfig(_Section):
    """What the machine lends. These change where and how fast a run goes, never what it computes."""

    gpus: str = Field(
        "all", pattern=r"^(all|none|\d+(,\d+)*,?)$", description="all, none, how many, or indices: '0,2' or '1,'"
    )
    logical_cpus: int = Field(
        0, ge=0, le=64, description="split the CPU into so many devices and train on all; 0: do not"
    )
    workers: int = Field(0, ge=0, le=1024, description="processes that build records; 0: one a core")
    runs_per_node: int = Field(
        1, ge=1, le=1024, description="runs that share this machine, in equal parts of the memory data.cache counts on"
    )
    exports: Annotated[tuple[ExportFormat, ...], Field(strict=False)] = Field(
        ("h5", "saved_model"),
        description="formats a training writes at its end beside model.keras, each run in a fresh process: h5, "
        "saved_model, tflite, tflite_float16, tflite_dynamic, onnx; [] for model.keras alone",
    )
    profile: str | None = Field(
        None,
        description="steps to record a trace of for TensorBoard: 10:20 begins after step 10 and ends with step 20; "
        "null: none",
    )
    xla: bool = Field(
        False,
        description="compile the arithmetic of a step with XLA, on one device only; on CPUs 4 to 16 times slower, on "
        "GPUs python -m harness.bench tries it",
    )
    steps_per_loop: int = Field(
        0,
        ge=0,
        le=64,
        description="steps in one call of the compiled training at most; 0: as many as take a quarter of a second",
    )
    stall_s: float = Field(
        1800.0, ge=0, le=86400, description="seconds without a step after which training gives up; 0: never"
    )
    deterministic: bool = Field(
        False,
        description="forbid whatever may differ between two runs of a command: "
        "operations whose result does, and a choice of train.precision or data.cache by what is measured",
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


def _check_start(value: object) -> object:
    if not isinstance(value, list | tuple) or not all(isinstance(part, dict) for part in value):
        raise ValueError("it should be a list of {setting: value}")
    return value


def _parse_slots(value: object, parse: ValidatorFunctionWrapHandler) -> object:
    try:
        return parse(value)
    except ValidationError:  # which speaks of the first alternative alone
        raise ValueError("it should be auto, or a whole number from 1 to 1024") from None


_SEARCHED: Mapping[str, type[_Section]] = {
    "augment": AugmentConfig,
    "model": ModelConfig,
    "optim": OptimConfig,
    "train": TrainConfig,
}


def _takes_fractions(name: str) -> bool:
    section, _, field = name.partition(".")
    found = _SEARCHED[section].model_fields.get(field) if section in _SEARCHED else None
    return found is not None and found.annotation is float


class TuneConfig(_Section):
    """The search for better settings."""

    folder: LocalPath = Field(Path("runs/tune"), description="folder of the search; every trial is a run folder in it")
    algorithm: Literal["random", "grid", "hyperband", "bayesian"] = Field(
        "random", description="how settings are proposed; grid: every combination, in the order of the space"
    )
    trials: int = Field(
        10,
        ge=1,
        le=_MOST,
        description="trials at most, with those tried first (random, grid, bayesian); grid ends after all combinations",
    )
    max_epochs: int = Field(10, ge=2, le=_MOST, description="epochs of the longest trials (hyperband)")
    objective: Literal["val_loss", "val_accuracy"] = Field("val_loss", description="what is compared between trials")
    seed: Seed = Field(0, description="seed of the proposals")
    space: dict[str, Range] = Field(
        default_factory=dict,
        description="setting name: {values: […]}, {min, max, step, sampling: linear|log} or {tied: SETTING}; with "
        "when: {SETTING: VALUES} only proposed while that setting has one of these values",
    )
    start: Annotated[tuple[dict[str, Value], ...], Field(strict=False), BeforeValidator(_check_start)] = Field(
        (),
        description="what is tried first, after the settings as they are: a list of {setting: value}; a setting of the "
        "space that is not named keeps the value that it has without a search",
    )
    slots: Annotated[Literal["auto"] | Annotated[int, Field(ge=1, le=1024)], WrapValidator(_parse_slots)] = Field(
        "auto", description="trials at a time on this machine; auto: one for each tune.gpus_per_trial GPUs, on CPUs one"
    )
    gpus_per_trial: int = Field(1, ge=1, le=64, description="GPUs that each trial trains on")
    minutes_per_trial: float = Field(
        0.0, ge=0, description="minutes a trial may take before it counts as failed; 0: no limit"
    )
    max_failures: int = Field(
        3, ge=1, le=_MOST, description="trials that fail one after another, after which the search stops"
    )
    retrain: int = Field(
        3,
        ge=0,
        le=64,
        description="seeds with which the best settings and the ones without a search are trained again, to tell "
        "whether the best are better; 0: none",
    )
    rebuild: bool = Field(
        False, description="make the files of what proposes settings anew from the run folders of the trials"
    )

    @field_validator("space")
    @classmethod
    def _take_fractions(cls, space: dict[str, Range]) -> dict[str, Range]:
        """Between 0 and 1 a setting that takes fractions has more than two values."""
        return {name: extent.take_fractions() if _takes_fractions(name) else extent for name, extent in space.items()}


class Config(_Section):
    """Every setting of every command."""

    data: DataConfig = DataConfig()
    clean: CleanConfig = CleanConfig()
    split: SplitConfig = SplitConfig()
    records: RecordsConfig = RecordsConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    runtime: RuntimeConfig = RuntimeConfig()
    tune: TuneConfig = TuneConfig()

    def sections(self, *names: str) -> dict[str, dict[str, object]]:
        """Returns the named sections as plain JSON values, for files and digests."""
        return self.model_dump(mode="json", include=set(names))

    def digest(self, *names: str) -> str:
        """Returns one sha256 for the values of the named sections."""
        return files.digest_json(self.sections(*names))
