"""What became of each export format of a run: the figures of its file, or why there is none. It is export.json."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from pydantic import Field, TypeAdapter

from harness.base import files, json_files
from harness.base.errors import CheckpointError
from harness.base.text import as_word
from harness.runs.workdir import Workdir

_Count = Annotated[int, Field(ge=0)]
_Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)]
KERAS = "keras"
FIGURES = ("MB", "largest difference", "other class", "ms a picture")


@dataclass(frozen=True)
class ExportedFile:
    """A file, or the folder of a SavedModel, and what was seen when a fresh process ran it on validation pictures.

    Attributes:
      format: keras, h5, saved_model, tflite and so on.
      file: its name in the folder of exports.
      num_bytes: its size.
      num_pictures: it was run on.
      difference: the largest of any probability, from the trained model in float32 (keras) or model.keras (all others).
      tolerance: the largest difference allowed.
      flips: how many of the pictures it takes for another class.
      accuracy: its share of right answers on these pictures.
      ms_a_picture: the median of single pictures, in milliseconds, on the CPUs of the machine that exported it.
    """

    format: str
    file: str
    num_bytes: _Count
    num_pictures: _Count
    difference: _Figure
    tolerance: _Figure
    flips: _Count
    accuracy: _Figure
    ms_a_picture: _Figure

    def list_figures(self) -> tuple[str, str, str, str]:
        """Returns what stands below `FIGURES` in every table of files."""
        return (
            f"{self.num_bytes / 1e6:,.2f}",
            describe_difference(self.difference),
            f"{self.flips} of {self.num_pictures}",
            f"{self.ms_a_picture:,.2f}",
        )


@dataclass(frozen=True)
class LeftOut:
    """A format there is no file of, and why."""

    format: str
    reason: str


@dataclass(frozen=True)
class Exports:
    """What became of all formats that were tried."""

    files: tuple[ExportedFile, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def renew(self, newer: "Exports") -> "Exports":
        """Returns these with those of the same formats replaced, model.keras first."""
        known = {item.format for item in newer.files} | {item.format for item in newer.left_out}
        kept = Exports(
            tuple(item for item in self.files if item.format not in known),
            tuple(item for item in self.left_out if item.format not in known),
        )
        ordered = sorted((*kept.files, *newer.files), key=lambda item: item.format != KERAS)
        return Exports(tuple(ordered), (*kept.left_out, *newer.left_out))

    def as_json(self) -> dict[str, Sequence[dict[str, object]]]:
        """Returns plain values, as export.json and metrics.json hold them."""
        return {"files": [asdict(item) for item in self.files], "left_out": [asdict(item) for item in self.left_out]}


def describe_difference(difference: float) -> str:
    """Returns the largest difference of a probability as text."""
    return f"{difference:.2g}"


_FORM = TypeAdapter(Exports)


def read(workdir: Workdir) -> Exports:
    """Returns what export.json says; nothing if a run has none, as those of earlier versions.

    Raises:
      CheckpointError: it cannot be read.
    """
    if not workdir.exports.exists():
        return Exports()
    try:
        return json_files.read(workdir.exports, _FORM)
    except json_files.WrongForm as error:
        raise CheckpointError(
            f"{workdir.exports} cannot be read: {error}. Remove it, and export again: "
            f"python -m harness.export {as_word(workdir.root)}"
        ) from None


def write(workdir: Workdir, exports: Exports) -> None:
    """Writes export.json, complete or not at all."""
    files.write_json(workdir.exports, exports.as_json())
