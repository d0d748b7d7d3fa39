"""Settings of pictures and records: the sections data, clean, split and records."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    Field,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from harness.base import storage
from harness.config.values import (
    MOST,
    AnyFolder,
    Classes,
    Color,
    Fit,
    ImageSize,
    LocalPath,
    Section,
    Seed,
    ValueRange,
)


class DataConfig(Section):
    """Where pictures and records are, and how records are read."""

    images: AnyFolder = Field(
        Path("data/sample"), description="folder that has one sub-folder of pictures per class, here or on s3://"
    )
    labels: str | None = Field(
        None,
        min_length=1,
        description="table with the label of each picture, and its group and split if it has such columns: "
        "FILE.csv or FILE.csv:COLUMN, in the images folder or here; null: the sub-folders are the classes",
    )
    records: AnyFolder | None = Field(
        None, description="folder of the records, here or on s3://; null: tfrecords/ and the last name of data.images"
    )
    classes: Classes | None = Field(
        None,
        description="classes to use, in the order of their labels: [happy, sad]; to merge folders or labels into "
        "one class: {happy: [happy, smile], sad: [sad, cry]}; null: all, sorted",
    )
    follow_links: bool = Field(
        False,
        description="look into sub-folders that are links too, each folder once; false: they are left out, and the "
        "build says so",
    )
    stage: LocalPath | None = Field(
        None,
        description="folder on a disk of the node, to which the records are copied before they are read; it may "
        "begin with a variable of the node, such as '$TMPDIR'; null: they are read where they are",
    )
    cache: Literal["auto", "device", "memory", "none"] = Field(
        "auto",
        description="where decoded pictures are kept: on every device, in memory, or nowhere (none), and then read "
        "again each epoch; auto: on GPUs if they take at most 30 % of what is free there, else in memory if at most "
        "half of it, else none; with runtime.deterministic shares of all there is instead of what is free",
    )

    @property
    def records_folder(self) -> storage.Folder:
        """The folder of the records, whether given or derived from `images`."""
        return self.records or Path("tfrecords") / self.images.resolve().name


def _parse_range(value: object, parse: ValidatorFunctionWrapHandler) -> object:
    try:
        return parse(value)
    except ValidationError:  # which speaks of the first alternative alone
        raise ValueError(
            "it should be auto, full, or two numbers, the first below the second, such as [0, 4095]"
        ) from None


class CleanConfig(Section):
    """The limits a picture has to keep; everything outside is rejected and reported, nothing is deleted."""

    min_side: int = Field(32, ge=2, le=MOST, description="shortest side accepted, in pixels")
    max_pixels: int = Field(100_000_000, ge=4, le=MOST, description="largest width times height accepted, in pixels")
    max_bytes: int = Field(200_000_000, ge=100, le=MOST, description="largest file accepted, in bytes")
    salvaged: Literal["drop", "keep"] = Field(
        "drop",
        description="JPEGs with damage that decoders get over, perhaps with wrong pixels: drop rejects them, keep "
        "takes them",
    )
    range: Annotated[Literal["auto"] | ValueRange, WrapValidator(_parse_range)] = Field(
        "auto",
        description="which values become black and white in pictures of more than 8 bits: auto, the lowest and "
        "highest in all such pictures; full, the lowest and highest that their kind can have; or [LOW, HIGH]",
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
    labels: str | None = Field(
        None,
        min_length=1,
        description="table of corrected labels: FILE.csv with the columns path, label and, if you like, reason, in "
        "the images folder or here; an empty label leaves the picture out; null: no corrections",
    )

    @field_validator("near_conflicts")
    @classmethod
    def _check_near_conflicts(cls, value: str, info: ValidationInfo) -> str:
        if value != "keep" and info.data.get("near_copies") == "ignore":
            raise ValueError("it should be keep with clean.near_copies ignore, which looks for no near copies")
        return value


class SplitConfig(Section):
    """How groups of pictures are divided into splits."""

    validation: float = Field(0.2, ge=0, le=0.9, description="fraction of the pictures for validation")
    test: float = Field(0.0, ge=0, le=0.9, description="fraction of the pictures for a test split")
    group_by: str = Field(
        "auto",
        description="which pictures stay together on one side of the split: folder, those of a folder below the "
        "class (CLASS/PERSON/PICTURE); a regular expression with one group, those in whose paths that group matches "
        "the same; FILE.csv:COLUMN, in the images folder or here; none; auto: groups.csv:group if the images folder "
        "has it",
    )
    leaks: Literal["report", "fail", "move"] = Field(
        "report",
        description="copies and groups that lie in several of the given splits: report keeps and counts them, fail "
        "stops, move puts each such group as a whole into test or, if there is none, into validation",
    )
    previous: AnyFolder | None = Field(
        None, description="records folder whose split is kept: groups that it knows stay where they were; null: none"
    )
    seed: Seed = Field(0, description="seed of the split")


class RecordsConfig(Section):
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
    shard_bytes: int = Field(
        64_000_000, ge=10_000, le=MOST, description="size to aim at for one file of records (a shard), in bytes"
    )
    min_shards: int = Field(
        16,
        ge=1,
        le=MOST,
        description="smallest number of files per split; a small split has fewer, of about 8 pictures each",
    )
