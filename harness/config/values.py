"""The kinds of values that settings take, and what every section of settings has in common."""

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, PlainValidator

from harness.base import storage
from harness.base.storage import RemotePath


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
MOST = 2**31 - 1  # of a count that nothing else bounds
Seed = Annotated[int, Field(ge=0, lt=2**31)]


class Section(BaseModel):
    """A part of the config: frozen, each setting of its own type, no setting unknown."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
