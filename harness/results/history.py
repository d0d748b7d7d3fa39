"""The figures of each epoch: a row for metrics.csv, TensorBoard and the terminal. It measures nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from harness.base import files
from harness.results.metrics import Scores
from harness.runs.tensorboard import Tracker

Sums = tuple[float, float, float]  # of loss and right answers, and the examples

Row = dict[str, float]


def make_row(epoch: int, sums: Sums, found: Scores, *, learning_rate: float, images_per_s: float) -> Row:
    """Returns the figures of an epoch, counted from 1: of its training and of the validation after it.

    One that is not defined, an AUC of a single class, is left out.
    """
    loss_sum, num_correct, num_examples = sums
    return {
        "epoch": epoch,
        "loss": loss_sum / num_examples,
        "accuracy": num_correct / num_examples,
        **{f"val_{name}": value for name, value in asdict(found).items() if value is not None},
        "lr": learning_rate,
        "images_per_s": images_per_s,
    }


def write(path: Path, rows: Sequence[Row]) -> None:
    """Writes all rows as CSV, complete or not at all."""
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    files.write_text(path, "\n".join(lines) + "\n")


def track(row: Row, tracker: Tracker) -> None:
    """Writes a row for TensorBoard."""
    tracker.write("train", row["epoch"], {tag: row[tag] for tag in ("loss", "accuracy", "lr", "images_per_s")})
    validation = {tag.removeprefix("val_"): value for tag, value in row.items() if tag.startswith("val_")}
    tracker.write("validation", row["epoch"], validation)


def describe(row: Mapping[str, float], *, epochs: int, seconds_left: float, is_best: bool) -> str:
    """Returns a row as a line for a person; lines of the same run line up."""
    return (
        f"epoch {row['epoch']:{len(str(epochs))}d}/{epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.3f}  "
        f"val loss {row['val_loss']:.4f}  val accuracy {row['val_accuracy']:.3f}  {row['images_per_s']:5.0f} images/s  "
        f"ETA {int(seconds_left) // 60}:{int(seconds_left) % 60:02d}{'  best' if is_best else ''}"
    )
