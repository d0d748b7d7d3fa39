"""Which epoch's weights a run has kept, and why: in sentences, and as marks in its curves."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes

from harness.base.figures import GREY
from harness.base.text import count
from harness.config.training_sections import TrainConfig
from harness.results.history import Row, name_monitor


@dataclass(frozen=True)
class KeptEpoch:
    """The epochs of a run, and the one of them that is kept.

    Attributes:
      history: a row an epoch.
      number: of the epoch that is kept, from 1.
      train: the settings that decided.
    """

    history: Sequence[Row]
    number: int
    train: TrainConfig

    @property
    def lowest(self) -> Row:
        """The epoch of the lowest validation loss."""
        return min(self.history, key=lambda row: row["val_loss"])

    def explain(self) -> list[str]:
        """Returns why the epoch was kept, where the lowest loss is, and why the run ended there."""
        rows, train = self.history, self.train
        if train.keep == "last":
            return [
                self.reason,
                *self._explain_lowest(),
            ]
        told = [self.reason, *self._explain_lowest()]
        if self.number == len(rows) == train.num_epochs:
            told.append("The last epoch is the one kept: more of them (--epochs) may give a better one.")
        elif len(rows) < train.num_epochs:
            waited = f"{count(train.patience, 'epoch')} (train.patience)"
            told.append(f"It ended before epoch {train.num_epochs}: {waited} had not been better.")
        return told

    @property
    def reason(self) -> str:
        """Why the epoch was kept, in one sentence."""
        rows, name = self.history, self.train.monitor
        if self.train.keep == "last":
            return (
                f"Epoch {self.number} of {len(rows)} is kept, the last: no validation picture has a say (train.keep)."
            )
        value = rows[self.number - 1][name]
        best = f"the {self._best}{self._among}"
        return f"Epoch {self.number} of {len(rows)} is kept: its {name} of {value:.4f} is {best}."

    @property
    def distinction(self) -> str:
        """What sets the epoch apart from the others, in a few words."""
        if self.train.keep == "last":
            return "the last (train.keep)"
        name = self.train.monitor
        among = self._among or " of all epochs"
        return f"the {self._best}{among}" if name == "val_loss" else f"the {self._best} {name_monitor(name)}{among}"

    @property
    def _best(self) -> str:
        return "lowest" if self.train.monitor == "val_loss" else "highest"

    @property
    def _among(self) -> str:
        first = self.train.first_judged_epoch
        return f" of epochs {first} to {len(self.history)}" if first > 1 else ""

    def _explain_lowest(self) -> list[str]:
        lowest, train = self.lowest, self.train
        if lowest["epoch"] == self.number:
            return []
        told = f"The lowest validation loss is {lowest['val_loss']:.4f}, at epoch {lowest['epoch']:.0f}."
        if train.keep == "last":
            return [told]
        first = train.first_judged_epoch
        if lowest["epoch"] < first:
            told += (
                f" That epoch may not be kept: train.min_epochs is {train.min_epochs}, so the first that may is "
                f"{first}, since the first validations of a run say little."
            )
        elif train.monitor != "val_loss":
            told += f" The epoch is chosen by train.monitor, which is {train.monitor}, and not by the loss."
        return [told]

    def mark(self, axes: Axes, *, is_named: bool = False) -> None:
        """Shades the epochs that may not be kept, and marks the one that is and the one of the lowest loss.

        Args:
          axes: whose x axis counts epochs.
          is_named: whether the legend names these marks.
        """
        names = ["may not be kept", f"kept: epoch {self.number}", f"lowest loss: epoch {self.lowest['epoch']:.0f}"]
        shade, line, dots = names if is_named else ["", "", ""]
        first, lowest = self.train.first_judged_epoch, self.lowest["epoch"]
        if first > 1 and self.train.keep == "best":
            end = min(first, len(self.history) + 1) - 0.5
            axes.axvspan(0.5, end, color=GREY, alpha=0.15, linewidth=0, label=shade)
        axes.axvline(self.number, color=GREY, linestyle="--", label=line)
        if lowest != self.number:
            axes.axvline(lowest, color=GREY, linestyle=":", label=dots)
        axes.set_xlim(0.5, len(self.history) + 0.5)
