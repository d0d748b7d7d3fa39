"""The figures of runs, and the differences between them, as rows of a table, for the terminal and for pages."""

from collections.abc import Sequence
from os.path import commonpath
from pathlib import PurePath

from harness.comparison.comparison import Measured
from harness.comparison.contrast import Contrast, Judged
from harness.comparison.finished_run import Figures, Result
from harness.results import verdict
from harness.results.statistics import intervals
from harness.results.statistics.intervals import Interval

UNKNOWN = "-"
_BYTES_A_MB, _LEAST_P = 1e6, 0.001
INTERVAL = "95 % interval"
OF_ANSWERS = ("accuracy", INTERVAL, "log loss", INTERVAL)
OF_CLASSES = ("balanced", INTERVAL, "AUC", INTERVAL)
OF_MODEL = ("parameters", "MB", "ms/picture")
OF_CONTRAST = ("won : lost", "accuracy", INTERVAL, "p", "log loss", INTERVAL, "p")
EXPLAINED = "won: right here, wrong there; less loss is better"


def sort(measured: Sequence[Measured]) -> list[Measured]:
    """Returns the runs with the highest accuracy first, of equal ones that of the lower loss."""
    return sorted(measured, key=lambda one: rank(one.figures))


def rank(figures: Figures) -> tuple[float, float]:
    """Returns by what figures are put in order: the lower, the better."""
    return -figures.accuracy, figures.loss


def list_answers(figures: Figures) -> tuple[str, ...]:
    """Returns what stands below OF_ANSWERS."""
    return (*_show(figures.accuracy, figures.accuracy_ci95, 3), *_show(figures.loss, figures.loss_ci95, 4))


def list_classes(figures: Figures) -> tuple[str, ...]:
    """Returns what stands below OF_CLASSES."""
    return (
        *_show(figures.balanced_accuracy, figures.balanced_accuracy_ci95, 3),
        *_show(figures.auc, figures.auc_ci95, 3),
    )


def list_model(run: Result, ms_a_picture: float | None = None) -> tuple[str, ...]:
    """Returns what stands below OF_MODEL."""
    size = UNKNOWN if run.num_bytes is None else f"{run.num_bytes / _BYTES_A_MB:,.1f}"
    return f"{run.figures.num_parameters:,}", size, UNKNOWN if ms_a_picture is None else f"{ms_a_picture:,.1f}"


def list_contrast(one: Contrast) -> tuple[str, ...]:
    """Returns what stands below OF_CONTRAST."""
    return f"{one.num_won:,} : {one.num_lost:,}", *_show_judged(one.accuracy), *_show_judged(one.loss)


def show_p(p_value: float) -> str:
    """Returns a p-value as text."""
    return f"{p_value:.3f}" if p_value >= _LEAST_P else f"<{_LEAST_P}"


def name_shortly(measured: Sequence[Measured]) -> list[str]:
    """Returns the names of the runs without the folder that all of them are in."""
    names = [one.run.name for one in measured]
    paths = [PurePath(name) for name in names]
    if len({path.is_absolute() for path in paths}) > 1:
        return names
    shared = len(PurePath(commonpath([path.parent for path in paths])).parts)
    return [str(PurePath(*path.parts[shared:])) for path in paths]


def _show_judged(judged: Judged) -> tuple[str, str, str]:
    return f"{judged.difference.mean:+.3f}", verdict.describe_ends(judged.difference), show_p(judged.p_value)


def _show(value: float | None, interval: Interval | None, digits: int) -> tuple[str, str]:
    if value is None:
        return UNKNOWN, UNKNOWN
    return f"{value:.{digits}f}", intervals.describe(interval, digits)
