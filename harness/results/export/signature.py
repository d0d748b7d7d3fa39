"""What an exported model takes and gives: the file signature.json beside it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from harness.base import json_files
from harness.base.errors import CheckpointError
from harness.config.preparation import Preparation
from harness.config.values import Color, Fit, ValueRange
from harness.runs import metrics_file
from harness.runs.workdir import Workdir


@dataclass(frozen=True)
class Signature:
    """What an exported model takes and gives, as signature.json says it."""

    class_names: Annotated[tuple[str, ...], Field(min_length=2)]
    image_size: Annotated[int, Field(ge=1, le=1 << 16)]
    pixels: str = "RGB, 0 to 255"
    fit: Fit = "stretch"
    pad_color: Color = (0, 0, 0)
    range: ValueRange | None = None

    @property
    def preparation(self) -> Preparation:
        """How pictures are to be prepared for the model."""
        return Preparation(self.image_size, self.fit, self.pad_color, self.range)


_FORM = TypeAdapter(Signature)


def read(workdir: Workdir) -> Signature:
    """Returns what signature.json says.

    Raises:
      CheckpointError: it cannot be read.
    """
    try:
        return json_files.read(workdir.signature, _FORM)
    except json_files.WrongForm as error:
        raise refuse(workdir.signature, f"cannot be read: {error}") from None


def refuse(path: Path, reason: str) -> CheckpointError:
    """Returns the error of an exported file that cannot be used for this reason."""
    return CheckpointError(f"{path} {reason}. {metrics_file.REWRITE}")
