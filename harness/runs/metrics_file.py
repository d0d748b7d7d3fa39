"""metrics.json of a run: the figures that it ended with. It is written last, so that it says that a run is complete."""

from typing import TypeVar

from pydantic import TypeAdapter

from harness.base import json_files
from harness.base.errors import CheckpointError
from harness.runs.workdir import Workdir

Form = TypeVar("Form")


def read(workdir: Workdir, form: type[Form]) -> Form:
    """Returns the figures of a complete run that a form asks for.

    Raises:
      CheckpointError: the file is missing or damaged, or lacks one of them.
    """
    try:
        return json_files.read(workdir.metrics, TypeAdapter(form))
    except json_files.WrongForm as error:
        raise CheckpointError(
            f"{workdir.metrics} cannot be read: {error}. Remove it, and the command that trained writes the results "
            "again."
        ) from None
