"""The figures of each epoch: a row for metrics.csv, TensorBoard and the terminal. It measures nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.base import files
from harness.results.metrics import Metrics
from harness.runs.tensorboard import Tracker

Sums = tuple[float, float, float]  # of loss and right answers, and the examples

Row = dict[str, float]


def make_row(epoch: int, sums: Sums, found: Metrics, *, learning_rate: float, images_per_s: float) -> Row:
    """Returns the figures of an epoch, counted from 1: of its training and of the validation after it."""
    loss_sum, num_correct, num_examples = sums
    return {
        "epoch": epoch,
        "loss": loss_sum / num_examples,
        "accuracy": num_correct / num_examples,
        "val_loss": found.loss,
        "val_accuracy": found.accuracy,
        "lr": learning_rate,
        "images_per_s": images_per_s,
    }


def write(path: Path, rows: Sequence[Row]) -> None:
    """Writes all rows as CSV, complete or not at all."""
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    files.write_text(path, "\n".join(lines) + "\n")


def track(row: Row, auc: float | None, tracker: Tracker) -> None:
    """Writes a row for TensorBoard, with the area under the curve where there is one."""
    tracker.write("train", row["epoch"], {tag: row[tag] for tag in ("loss", "accuracy", "lr", "images_per_s")})
    validation = {"loss": row["val_loss"], "accuracy": row["val_accuracy"]}
    tracker.write("validation", row["epoch"], validation if auc is None else {**validation, "auc": auc})


def describe(row: Mapping[str, float], *, epochs: int, seconds_left: float, is_best: bool) -> str:
    """Returns a row as a line for a person; lines of the same run line up."""
    return (
        f"epoch {row['epoch']:{len(str(epochs))}d}/{epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.3f}  "
        f"val loss {row['val_loss']:.4f}  val accuracy {row['val_accuracy']:.3f}  {row['images_per_s']:5.0f} images/s  "
        f"ETA {int(seconds_left) // 60}:{int(seconds_left) % 60:02d}{'  best' if is_best else ''}"
    )
