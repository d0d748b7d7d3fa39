"""Opens a run folder: refuses one that belongs to another run, and writes what a new one is started with."""

import difflib
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from harness import __version__
from harness.base import files, json_files
from harness.base.errors import CheckpointError, ConfigError
from harness.base.text import as_word, visible
from harness.config import settings
from harness.config.schema import Config
from harness.dataset.records.manifest import Manifest
from harness.locks import lock
from harness.runs.effective_settings import Row
from harness.runs.workdir import RUNS, Workdir

# The sections a run must keep to go on; the others say where things are and what the machine lends.
_KEPT = ("augment", "model", "optim", "train")
_GIT_TIMEOUT_S = 5


class InForce(BaseModel):
    """What a run was started with, as far as it goes on with it. What else stands there is kept as it is."""

    model_config = ConfigDict(extra="allow")
    devices: list[str] = []
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    cache: Literal["device", "memory", "none"] = "none"
    engine: Literal["device", "host"] = "host"
    batch: Annotated[int, Field(ge=1)] = 1


class Environment(BaseModel):
    """What environment.json holds: versions and devices for people, and what a run that goes on is compared with."""

    model_config = ConfigDict(extra="allow")
    records_sha256: str
    in_force: InForce
    settings: tuple[Row, ...] = ()


_FORM = TypeAdapter(Environment)


@contextmanager
def own(workdir: Workdir, config: Config, data: Manifest) -> Iterator[None]:
    """Makes this process the only one that writes to the folder of a run, if `check` lets it.

    What others have begun there that were killed is removed.

    Raises:
      CheckpointError: another process owns the folder, or as of `check`.
      ConfigError: as of `check`.
    """
    check(workdir, config, data)
    with lock.hold_folder(workdir.root):
        check(workdir, config, data)  # another may have taken the folder in the meantime
        remove_unfinished(workdir)
        yield


def remove_unfinished(workdir: Workdir) -> None:
    """Removes what others have begun in the folder of a run that were killed; the caller owns it."""
    for unfinished in (*workdir.root.glob(".*.tmp"), *workdir.export.glob(".tmp-*")):
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)


def check(workdir: Workdir, config: Config, data: Manifest) -> None:
    """Looks whether a run of this config and these records may start or go on in the folder.

    Raises:
      CheckpointError: the folder holds another run, or something that is no run.
      ConfigError: the weights or the run to start from are missing.
    """
    weights = config.model.weights
    if weights is not None and not weights.is_file() and not workdir.metrics.is_file():
        raise ConfigError(f"model.weights is {weights}, which is no file. Give a file of weights, or leave it out.")
    origin = config.train.start_from
    if origin is not None and not Workdir(origin).config.is_file() and not workdir.metrics.is_file():
        raise ConfigError(f"train.start_from is {origin}, which is no run folder. Give one, or leave it out.")
    if not workdir.root.exists() or (workdir.root.is_dir() and not _foreign_files(workdir)):
        _refuse_within_run(workdir)
        return
    if not workdir.config.is_file() or not workdir.environment.is_file():
        raise CheckpointError(f"{workdir.root} exists but holds no run. Give another folder: --run runs/NEW")
    if differing := settings.list_differences(load_config(workdir), config, _KEPT):
        raise CheckpointError(
            f"{workdir.root} was started with other settings: {'; '.join(differing)}. Give the same settings to go on, "
            "another folder, --run runs/NEW, or start a new run from these weights: --fork runs/NEW"
        )
    if read_environment(workdir).records_sha256 != data.digest:
        raise CheckpointError(
            f"{workdir.root} was started with other records than {config.data.records_folder} holds now. Give those "
            "records to go on, or another folder: --run runs/NEW"
        )


def _refuse_within_run(workdir: Workdir) -> None:
    """Refuses a new run in the folder of another one, whose files and curves would be mixed with its own."""
    around = next((path for path in workdir.root.absolute().parents if Workdir(path).environment.is_file()), None)
    if around is not None:
        raise CheckpointError(f"{workdir.root} lies within the run {around}. Give another folder: --run runs/NEW")


def check_batch(workdir: Workdir, batch_size: int) -> None:
    """Looks whether a run that goes on has the batch it was started with, which may follow from the replicas.

    Raises:
      CheckpointError: it has another.
    """
    before = read_effective(workdir).get("batch", batch_size)
    if before != batch_size:
        raise CheckpointError(
            f"{workdir.root} was started with {before} pictures a step; train.batch_per is replica, and on the devices "
            f"there are now a step has {batch_size}. Give it as many devices as before, or start a new run from these "
            "weights: --fork runs/NEW"
        )


def _foreign_files(workdir: Workdir) -> list[str]:
    """What is in the folder that neither a search puts there nor a start leaves that was killed before config.yaml."""
    of_search = (workdir.record.name, workdir.trial_config.name, workdir.log.name)
    ours = (workdir.environment.name, lock.FILE_NAME, *of_search)
    return [path.name for path in workdir.root.iterdir() if path.name not in ours and not path.name.endswith(".tmp")]


def claim(
    workdir: Workdir,
    config: Config,
    data: Manifest,
    *,
    effective: Mapping[str, object],
    rows: Sequence[Row] = (),
    command: str = "",
) -> None:
    """Writes environment.json and config.yaml, which make the folder a run.

    Args:
      workdir: the run folder.
      config: the resolved config.
      data: the records.
      effective: what is in force, which the run goes on with if it is interrupted.
      rows: the same for people, beside what was asked for, and why.
      command: what the user typed, "" if it is not known.

    Raises:
      OSError: the folder cannot be written.
    """
    environment = {
        "command": visible(command),
        "started": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC",
        "harness": __version__,
        "commit": _find_commit(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("tensorflow", "keras", "numpy")},
        "platform": platform.platform(),
        "in_force": effective,
        "settings": [asdict(row) for row in rows],
        "records": str(config.data.records_folder),
        "records_sha256": data.digest,
    }
    command = f"python -m harness.train --config {as_word(workdir.config)} --run runs/NEW"
    files.write_json(workdir.environment, environment)
    if not workdir.config.is_file():
        header = f"The resolved settings of this run. To run it again:\n{command}"
        files.write_text(workdir.config, settings.as_yaml(config, header=header))


def _find_commit() -> str:
    """The commit of this code and whether it was changed since; "" where it does not come from a checkout."""
    top = Path(__file__).parents[2]
    if not (top / ".git").exists():
        return ""
    line = ["git", "-C", str(top), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(line, capture_output=True, text=True, timeout=_GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def read_effective(workdir: Workdir) -> dict[str, object]:
    """Returns what `claim` was told is in force when the run was started; nothing if it was not.

    Raises:
      CheckpointError: that cannot be read.
    """
    return read_environment(workdir).in_force.model_dump(exclude_unset=True) if workdir.config.is_file() else {}


def read_environment(workdir: Workdir) -> Environment:
    """Returns what environment.json holds.

    Raises:
      CheckpointError: it is missing, damaged, or of another form.
    """
    try:
        return json_files.read(workdir.environment, _FORM)
    except json_files.WrongForm as error:
        raise CheckpointError(
            f"{workdir.environment} cannot be read: {error}. Give another folder: --run runs/NEW"
        ) from None


def _list_near(root: Path) -> Iterator[Workdir]:
    """Yields the folders above, and what lies in this one: a path may end one name too late or too early."""
    yield from map(Workdir, root.parents[:2])
    if root.is_dir():
        yield from map(Workdir, sorted(root.iterdir()))


def _find_alike(folder: Path, workdir: Workdir) -> Path | None:
    """Returns the run in a folder that is called most like this one, if one is."""
    names = {path.parent.name: path.parent for path in folder.glob(f"*/{workdir.config.name}")}
    return next((names[name] for name in difflib.get_close_matches(workdir.root.name, names, n=1)), None)


def _advise(workdir: Workdir) -> str:
    """Returns what to do about a folder that is no run: the one that is probably meant, or how it becomes one."""
    run = next((other.root for other in _list_near(workdir.root) if other.config.is_file()), None)
    if run is None and not workdir.root.exists():
        run = next(filter(None, (_find_alike(folder, workdir) for folder in (workdir.root.parent, RUNS))), None)
    if run is not None:
        return f"Did you mean {run}?"
    if workdir.root.exists() and (not workdir.root.is_dir() or _foreign_files(workdir)):
        return "Give the folder of a run, such as runs/emotion_cnn."
    return f"Train one: python -m harness.train --run {as_word(workdir.root)}"


def load_config(workdir: Workdir) -> Config:
    """Returns the config a run was started with.

    Raises:
      CheckpointError: the folder is no run.
    """
    if not workdir.config.is_file():
        raise CheckpointError(f"{workdir.root} is no run folder ({workdir.config.name} is missing). {_advise(workdir)}")
    return settings.make_config(settings.read_file(workdir.config))
