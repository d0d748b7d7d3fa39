"""TensorBoard event files of one run: scalars and pictures for each split, and its hyperparameters."""

import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import tensorflow as tf
from pydantic import BaseModel, TypeAdapter
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.hparams import summary as hparams_summary
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.pr_curve import summary as pr_curves

from harness.base import json_files
from harness.base.text import name_by_values
from harness.config.schema import Config
from harness.runs.workdir import Workdir

log = logging.getLogger("harness")
SPLITS = ("train", "validation")
_MOST_CURVES = 10


class Tracker:
    """Writes scalars and pictures to the run folder's `train` and `validation`."""

    def __init__(self, workdir: Workdir) -> None:
        self._writers = {split: tf.summary.create_file_writer(str(workdir.events(split))) for split in SPLITS}

    def write(self, split: str, step: int, scalars: Mapping[str, float]) -> None:
        """Writes one value for each tag at `step`, and makes it visible at once."""
        with self._writers[split].as_default():
            for tag, value in scalars.items():
                tf.summary.scalar(tag, value, step=step)
        self._writers[split].flush()

    def write_picture(self, split: str, step: int, tag: str, png: bytes) -> None:
        """Writes one picture."""
        with self._writers[split].as_default():
            tf.summary.image(tag, tf.io.decode_png(png, channels=3)[None], step=step)
        self._writers[split].flush()

    def write_text(self, split: str, step: int, tag: str, text: str) -> None:
        """Writes text as it stands."""
        with self._writers[split].as_default():
            tf.summary.text(tag, "\n".join(f"    {line}" for line in text.splitlines()), step=step)  # Markdown for code
        self._writers[split].flush()

    def write_pr_curves(self, step: int, class_names: Sequence[str], labels: np.ndarray, chances: np.ndarray) -> None:
        """Writes precision against recall of each class, the first ten of them.

        Args:
          step: where TensorBoard shows it.
          class_names: the class of each label.
          labels: int [n].
          chances: float32 [n, num_classes].
        """
        with self._writers["validation"].as_default():
            for label, name in list(enumerate(class_names))[:_MOST_CURVES]:
                summary = pr_curves.pb(name, labels == label, chances[:, label])
                tf.summary.experimental.write_raw_pb(summary.SerializeToString(), step)
        self._writers["validation"].flush()

    def close(self) -> None:
        """Closes the event files."""
        for writer in self._writers.values():
            writer.close()


def parse_profile(steps: str | None) -> tuple[int, ...]:
    """Returns the steps after which a trace begins and ends; () for none."""
    return tuple(map(int, steps.split(":"))) if steps else ()


class Profile:
    """Records a trace of some steps of a run, by TensorFlow's profiler: "10:20" is after step 10 up to step 20."""

    def __init__(self, workdir: Workdir, steps: str | None) -> None:
        self._folder = str(workdir.events("train"))
        self._first, self._last = parse_profile(steps) or (0, 0)
        self._is_running = False

    def follow(self, step: int) -> None:
        """Starts or stops the recording, once `step` steps are done."""
        if self._first <= step < self._last and not self._is_running:
            tf.profiler.experimental.start(self._folder)
            self._is_running = True
        elif self._is_running and step >= self._last:
            self._stop()

    def _stop(self) -> None:
        tf.profiler.experimental.stop()
        self._is_running = False

    def finish(self, step: int) -> None:
        """Writes what is recorded so far; warns if the run has ended, after `step` steps, before the first of them."""
        if self._is_running:
            self._stop()
        elif self._last and step <= self._first:
            log.warning(
                "runtime.profile is %d:%d, but the run ended with step %d: no trace was recorded. Give earlier steps.",
                self._first, self._last, step,
            )  # fmt: skip


@contextlib.contextmanager
def open_tracker(workdir: Workdir) -> Iterator[Tracker]:
    """Opens the event files of a run, and closes them whatever happens."""
    tracker = Tracker(workdir)
    try:
        yield tracker
    finally:
        tracker.close()


class _Record(BaseModel):
    """What is asked of the record that a search keeps of a trial."""

    values: dict[str, object] = {}


def write_hparams(workdir: Workdir, config: Config, figures: Mapping[str, float], *, epoch: int = 0) -> None:
    """Writes the HParams entry of a finished run: its data set and settings, and the figures to compare it by.

    It lies beside the figures of the validation, as a folder of its own would be one more run without curves.

    Args:
      workdir: the run folder; a trial of a search is called by what it tries.
      config: of the run.
      figures: of the kept epoch, by the names of `train.monitor`.
      epoch: the kept one, where TensorBoard shows them.
    """
    sections = config.sections("augment", "model", "optim", "train")
    plain = {
        f"{section}.{name}": value if isinstance(value, bool | int | float | str) else str(value)
        for section, values in sections.items()
        for name, value in values.items()
        if name != "run"
    }
    with (
        contextlib.closing(tf.summary.create_file_writer(str(workdir.events("validation")))) as writer,
        writer.as_default(),
    ):
        hparams.hparams({"data": config.data.records_folder.name, **plain}, trial_id=_name_trial(workdir))
        for name, value in figures.items():
            # HParams shows the first tags by their characters: these come before those of single epochs.
            tf.summary.scalar(f"Kept epoch/{name.removeprefix('val_')}", value, step=epoch)
        ended = hparams_summary.session_end_pb(STATUS_SUCCESS)
        tf.summary.experimental.write_raw_pb(ended.SerializeToString(), step=0)


def _name_trial(workdir: Workdir) -> str:
    try:
        values = json_files.read(workdir.record, TypeAdapter(_Record)).values
    except json_files.WrongForm:
        values = {}
    return name_by_values(workdir.root.name, values)
