"""metrics.json of a run: the figures that it ended with. It is written last, so that it says that a run is complete."""

from typing import TypeVar

from pydantic import TypeAdapter

from harness.base import json_files
from harness.base.errors import CheckpointError
from harness.base.text import as_word
from harness.runs.workdir import Workdir

Form = TypeVar("Form")
_OF_RUNS = ("trials", "trainings")  # folders of a search and of a cross-validation
REWRITE = "Remove metrics.json of the run, and the command that trained it writes the results again."


def check_complete(workdir: Workdir) -> None:
    """Looks whether a run has ended.

    Raises:
      CheckpointError: it has not.
    """
    inside = next((name for name in _OF_RUNS if (workdir.root / name).is_dir()), None)
    if inside is not None and not workdir.environment.is_file():
        raise CheckpointError(
            f"{workdir.root} is no run, but holds runs: give one of {workdir.root / inside}, such as "
            f"{min((workdir.root / inside).iterdir(), default='')}"
        )
    if not workdir.metrics.is_file():
        raise CheckpointError(
            f"{workdir.root} is not complete ({workdir.metrics.name} is missing). Train it to the end: "
            f"python -m harness.train --config {as_word(workdir.config)} --run {as_word(workdir.root)}"
        )


def read(workdir: Workdir, form: type[Form]) -> Form:
    """Returns the figures of a complete run that a form asks for.

    Raises:
      CheckpointError: the file is missing or damaged, or lacks one of them.
    """
    try:
        return json_files.read(workdir.metrics, TypeAdapter(form))
    except json_files.WrongForm as error:
        raise CheckpointError(f"{workdir.metrics} cannot be read: {error}. {REWRITE}") from None
