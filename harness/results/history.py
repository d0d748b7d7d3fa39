"""The figures of each epoch: a row for metrics.csv, TensorBoard and the terminal. It measures nothing."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from harness.base import files
from harness.config.training_sections import Monitor
from harness.results.metrics import Scores
from harness.runs.tensorboard import Tracker

Sums = tuple[float, float, float]  # of loss and right answers, and the examples

Row = dict[str, float]
_ALWAYS_TOLD: tuple[Monitor, ...] = ("val_loss", "val_accuracy")


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


def cost(row: Row, monitor: Monitor) -> float:
    """Returns the figure of an epoch by which a run goes, negative where higher is better: the lower the better."""
    return row[monitor] if monitor == "val_loss" else -row[monitor]


def name_monitor(monitor: Monitor) -> str:
    """Returns the figure that a run goes by, in words: "validation loss"."""
    word = monitor.removeprefix("val_")
    words = {"auc": "AUC", "f1": "F1"}.get(word, word.replace("_", " "))
    return f"validation {words}"


def is_better(row: Row, other: Row, monitor: Monitor) -> bool:
    """Whether an epoch is better than another; of equal ones the one of the lower loss is."""
    return (cost(row, monitor), row["val_loss"]) < (cost(other, monitor), other["val_loss"])


def write(path: Path, rows: Sequence[Row]) -> None:
    """Writes all rows as CSV, complete or not at all."""
    lines = [",".join(rows[0]), *(",".join(str(value) for value in row.values()) for row in rows)]
    files.write_text(path, "\n".join(lines) + "\n")


def track(row: Row, tracker: Tracker) -> None:
    """Writes a row for TensorBoard."""
    tracker.write("train", row["epoch"], {tag: row[tag] for tag in ("loss", "accuracy", "lr", "images_per_s")})
    validation = {tag.removeprefix("val_"): value for tag, value in row.items() if tag.startswith("val_")}
    tracker.write("validation", row["epoch"], validation)


def describe(row: Row, *, monitor: Monitor, epochs: int, seconds_left: float, is_best: bool) -> str:
    """Returns a row as a line for a person; lines of the same run line up."""
    monitored = "" if monitor in _ALWAYS_TOLD else f"{monitor.replace('_', ' ')} {row[monitor]:.3f}  "
    return (
        f"epoch {row['epoch']:{len(str(epochs))}d}/{epochs}  loss {row['loss']:.4f}  accuracy {row['accuracy']:.3f}  "
        f"val loss {row['val_loss']:.4f}  val accuracy {row['val_accuracy']:.3f}  {monitored}"
        f"{row['images_per_s']:5.0f} images/s  "
        f"ETA {int(seconds_left) // 60}:{int(seconds_left) % 60:02d}{'  best' if is_best else ''}"
    )
