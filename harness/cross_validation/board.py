"""What TensorBoard shows of a cross-validation: its figures, the verdict in words, and the learning curve."""

import contextlib
from pathlib import Path

import tensorflow as tf

from harness.cross_validation.cross_validator import Answer
from harness.results.verdict import Verdict

_RUN = "cross-validation"
_SHOWN = ("accuracy", "balanced_accuracy", "auc", "loss", "brier")


def write(folder: Path, answer: Answer, judged: Verdict) -> None:
    """Writes one event file, in the place of an earlier one.

    Args:
      folder: of the cross-validation; TensorBoard's `--logdir`, in which each training has curves of its own.
      answer: what came of it.
      judged: what to think of that.
    """
    target = folder / _RUN
    for old in target.glob("events.out.tfevents.*"):
        old.unlink()
    metrics = answer.evaluation.metrics
    with contextlib.closing(tf.summary.create_file_writer(str(target))) as writer, writer.as_default():
        for name in _SHOWN:
            if (value := getattr(metrics, name)) is not None:
                tf.summary.scalar(name, value, step=0)
        tf.summary.scalar("calibration error", answer.evaluation.calibration.ece, step=0)
        tf.summary.text("verdict", "\n\n".join(judged.sentences), step=0)
        for point in answer.curve:
            tf.summary.scalar("accuracy by pictures trained on", point.accuracy, step=round(point.num_trained))
