"""Runs of another version of harness: which one it was, and how much of such a run can be used.

A model and its signature are all that is needed to use a run; how its files are read is taken from its settings as far
as this version knows them. A training goes on only by its own version: identity.py sees to that.
"""

import logging
from collections.abc import Collection, Iterator
from contextlib import contextmanager

from pydantic import BaseModel, TypeAdapter

from harness import __version__
from harness.base import json_files
from harness.base.errors import HarnessError
from harness.base.text import list_names, shorten
from harness.config import settings
from harness.config.schema import Config
from harness.runs import identity
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
_READING = ("data", "clean")  # the sections that say how files are read


class _Written(BaseModel):
    """What is asked of environment.json, whatever else stands there."""

    harness: str = ""
    records_sha256: str = ""


_FORM = TypeAdapter(_Written)


def read_version(workdir: Workdir) -> str:
    """Returns the version of harness that started a run; "" if that is not known."""
    try:
        return shorten(json_files.read(workdir.environment, _FORM).harness)
    except json_files.WrongForm:
        return ""


def read_records(workdir: Workdir) -> str:
    """Returns the digest of the records that a run was trained on; "" if that is not known."""
    try:
        return json_files.read(workdir.environment, _FORM).records_sha256
    except json_files.WrongForm:
        return ""


def load_reading(workdir: Workdir) -> Config:
    """Returns the config of a run, for what it says of reading files: of another version only that, as far as known.

    Raises:
      CheckpointError: the folder is no run.
      ConfigError: the config cannot be read.
    """
    return load_known(workdir, _READING)[0]


def load_known(workdir: Workdir, sections: Collection[str] = tuple(Config.model_fields)) -> tuple[Config, list[str]]:
    """Returns the config of a run, and which of its settings are left out since this version does not know them so.

    It is told if another version made the run, and what is left out. A run of this version is read whole or refused.

    Args:
      workdir: the run folder.
      sections: what is read of a run of another version.

    Raises:
      CheckpointError: the folder is no run.
      ConfigError: the config cannot be read.
    """
    made_by = read_version(workdir)
    if made_by in ("", __version__) or not workdir.config.is_file():
        return identity.load_config(workdir), []
    unknown: list[str] = []
    found = settings.read_file(workdir.config, unknown=unknown)
    left_out = [name for name in unknown if name.split(".")[0] in sections]
    known = {name: setting for name, setting in found.items() if name.split(".")[0] in sections}
    while True:
        try:
            config = settings.make_config(known)
            break
        except settings.WrongValue as error:
            del known[error.name]
            left_out.append(error.name)
    log.warning("%s was made by harness %s, this is harness %s", workdir.root, made_by, __version__)
    if left_out:
        log.warning("left out of its settings, which this version does not know so: %s", list_names(left_out))
    return config, left_out


@contextmanager
def naming(workdir: Workdir) -> Iterator[None]:
    """Has an error name both versions, if another one made the run."""
    try:
        yield
    except HarnessError as error:
        made_by = read_version(workdir)
        if made_by in ("", __version__):
            raise
        end = "" if str(error).endswith((".", "?")) else "."  # it may end with a command
        both = f"The run was made by harness {made_by}, and this is harness {__version__}: use that."
        error.args = (f"{error}{end} {both}",)
        raise
