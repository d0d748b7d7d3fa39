"""Whether a model is good, in sentences: against what, how sure that is, what fails, and what to do next.

It goes by the intervals: a difference that chance may have made is not called one. It measures nothing, and needs no
TensorFlow, so that a command can show what a run has said.
"""

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.base.text import count, list_names, shorten
from harness.results.metrics import Metrics
from harness.results.statistics import calibration, intervals, sample

if TYPE_CHECKING:
    from harness.results.evaluation import Evaluation
    from harness.results.statistics.differences import Difference

Level = Literal["good", "not shown", "bad"]
HEADINGS: Mapping[Level, str] = {"good": "Good", "not shown": "Not shown to be good", "bad": "Not good"}
_FEW_GROUPS = 30  # below, Student's t and the variance between groups make intervals much wider
_WIDTH = 100  # columns
_BY_HEART = 0.1  # of the accuracy, that training pictures are better by
_MOST_OF_ONE = 0.75  # of the pictures: to give that class always looks good
_NUM_PAIRS = 3  # of classes, told as taken for one another
_SPLITS = ("train", "validation", "test", "cross-validation")


@dataclass(frozen=True)
class Verdict:
    """What to think of a model.

    Attributes:
      level: good: better than every baseline beyond doubt; bad: worse than one, or no better in these figures;
        not shown: better, but chance alone may give that, or these pictures cannot tell.
      sentences: the figures and what they come to, the most important first.
      next_steps: what to do, the most urgent first.
    """

    level: Level
    sentences: tuple[str, ...]
    next_steps: tuple[str, ...]

    def as_text(self) -> str:
        """Returns the verdict as lines for a terminal."""
        lines = [*self.sentences, *(f"next: {step}" for step in self.next_steps)]
        return "\n".join(textwrap.fill(line, _WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines)


def judge(
    found: "Evaluation",
    *,
    chose_weights: bool = False,
    num_learnt: int | None = 0,
    has_all: bool = False,
    train_accuracy: float | None = None,
) -> Verdict:
    """Returns what to think of a model.

    Args:
      found: what it does on a split.
      chose_weights: whether the weights that are kept were chosen on this very split.
      num_learnt: how many of these pictures the model was trained on; None: maybe some.
      has_all: whether all pictures there are were measured, so that a larger split has no more.
      train_accuracy: share of the training pictures, as augmented, that was right in training; None: unknown, or these
        pictures are of another kind.
    """
    silence = _explain_silence(found, num_learnt)
    level: Level = "not shown" if silence else _rank(found)
    sentences = [_describe_accuracy(found), silence or _compare(found, level)]
    if unused := _list_unused(found.metrics):
        sentences.append(f"It never answers {list_names(unused)}.")
    if confused := describe_confused(found.metrics):
        sentences.append(confused)
    if missing := list_missing(found.metrics):
        sentences.append(f"No picture of {list_names(missing)} is among them: no figure says anything of that.")
    if few := _describe_groups(found.metrics):
        sentences.append(few)
    if chose_weights:
        sentences.append("The epoch was chosen on these same pictures, which flatters the figures a little.")
    steps = [_explain_fit(found.metrics, train_accuracy)] if level == "bad" or _has_lost(found) else []
    steps += _advise(found, level, missing, chose_weights=chose_weights, num_learnt=num_learnt, has_all=has_all)
    return Verdict(level, tuple(sentences), tuple(steps))


def list_missing(metrics: Metrics) -> list[str]:
    """Returns the classes without a picture."""
    return [name for name, figures in metrics.per_class.items() if not figures["num_examples"]]


def _list_unused(metrics: Metrics) -> list[str]:
    """The classes that have pictures and are never the answer."""
    counts = np.array(metrics.confusion)
    is_unused = (counts.sum(axis=1) > 0) & (counts.sum(axis=0) == 0)
    return [metrics.class_names[index] for index in np.flatnonzero(is_unused)]


def _rank(found: "Evaluation") -> Level:
    metrics = found.metrics
    if metrics.accuracy <= metrics.majority_accuracy or (found.gain is not None and found.gain.high < 0):
        return "bad"
    is_above = metrics.accuracy_ci95[0] > metrics.majority_accuracy
    return "good" if is_above and (found.gain is None or found.gain.low > 0) else "not shown"


def _has_lost(found: "Evaluation") -> bool:
    return found.gain is not None and found.gain.mean < 0


def _explain_silence(found: "Evaluation", num_learnt: int | None) -> str:
    """Returns why figures do not tell whether a model is good, whatever they are; "" if they may."""
    if num_learnt is not None and num_learnt >= found.metrics.num_examples:
        return "The model has learnt these pictures: that says nothing of how it does on others."
    if num_learnt:
        return (
            f"The model has learnt {num_learnt:,} of these {found.metrics.num_examples:,} pictures: only the other "
            f"{found.metrics.num_examples - num_learnt:,} can tell how good it is."
        )
    if num_learnt is None:
        return (
            "The model was trained on pictures of the same folder, and may have learnt these: then this says nothing "
            "of how it does on others."
        )
    if sum(any(row) for row in found.metrics.confusion) == 1:
        return "All pictures are of one class: these figures do not tell whether the model is good."
    return ""


def _describe_accuracy(found: "Evaluation") -> str:
    metrics, split = found.metrics, f"{found.split} " if found.split in _SPLITS else ""
    place = "" if split else f" of {found.split}"
    baseline = f", {found.baseline.name} {found.baseline.accuracy:.3f}" if found.baseline else ""
    skipped = f"; {metrics.skipped:,} more could not be read" if metrics.skipped else ""
    return (
        f"{split}accuracy {metrics.accuracy:.3f} (95 % interval {intervals.describe(metrics.accuracy_ci95)}) on "
        f"{sample.describe(metrics)}{place}; always answering {shorten(metrics.majority_class)} gives "
        f"{metrics.majority_accuracy:.3f}{baseline}{skipped}"
    )


def _compare(found: "Evaluation", level: Level) -> str:
    metrics, gain = found.metrics, found.gain
    if metrics.accuracy <= metrics.majority_accuracy:
        return "Not good: it is no better than giving the most frequent class as the answer always."
    if gain is not None and gain.mean <= 0:
        return _compare_loser(found)
    if level == "good":
        return f"Good: it is better than {'both' if gain is not None else 'that'} beyond doubt."
    if metrics.accuracy_ci95[0] <= metrics.majority_accuracy:
        return "Not shown to be good: chance alone may put a model that always gives one class so high."
    return (
        f"Better than always giving one class, but not shown to be better than {found.baseline.name} "
        f"({_describe_gain(gain)})."
    )


def _compare_loser(found: "Evaluation") -> str:
    """Says what a model is worth that is no better than the baseline."""
    gain, other = found.gain, f"{found.baseline.name}, which need no network,"
    if found.metrics.accuracy == found.baseline.accuracy == 1:
        return f"Not shown to be good: these pictures are too easy, as {other} answer all right, too."
    if gain.high < 0:
        return f"Not good: {other} are better beyond doubt ({_describe_gain(gain)})."
    how = "do as well" if gain.mean == 0 else "do better here, maybe by chance"
    return f"Not shown to be good: {other} {how} ({_describe_gain(gain)})."


def _describe_gain(gain: "Difference") -> str:
    return f"difference {gain.mean:+.3f}, 95 % interval {describe_ends(gain)}"


def describe_ends(difference: "Difference", digits: int = 3) -> str:
    """Returns the interval of a difference as text with signs, "unknown" where nothing tells of it."""
    if not np.isfinite([difference.low, difference.high]).all():
        return "unknown"
    return f"{difference.low:+.{digits}f} to {difference.high:+.{digits}f}"


def describe_confused(metrics: Metrics) -> str:
    """Returns which classes are taken for which most often, such as "sad taken for happy: 2 of 15"; "" if none is."""
    pairs = list_confused(metrics)
    if not pairs:
        return ""
    names, totals = metrics.class_names, np.array(metrics.confusion).sum(axis=1)
    told = [
        f"{shorten(names[label])} taken for {shorten(names[other])}: {number:,} of {totals[label]:,}"
        for label, other, number in pairs[:_NUM_PAIRS]
    ]
    more = f" ({count(len(pairs) - _NUM_PAIRS, 'more pair')})" if len(pairs) > _NUM_PAIRS else ""
    return f"What fails: {'; '.join(told)}{more}."


def list_confused(metrics: Metrics) -> list[tuple[int, int, int]]:
    """Returns class, what it is taken for, and how often, by label, the most frequent first."""
    counts = np.array(metrics.confusion)
    np.fill_diagonal(counts, 0)
    pairs = np.argwhere(counts)
    order = np.argsort(-counts[tuple(pairs.T)], kind="stable")
    return [(label, other, int(counts[label, other])) for label, other in pairs[order].tolist()]


def _describe_groups(metrics: Metrics) -> str:
    groups = metrics.num_groups
    if not sample.is_grouped(metrics) or groups >= _FEW_GROUPS:
        return ""
    if groups == 1:
        return "All pictures are of one group: they tell nothing of how the model does on others."
    return f"{groups} groups are few: pictures of a group are right or wrong together, so the interval is wide."


def _explain_fit(metrics: Metrics, train_accuracy: float | None) -> str:
    """Returns what a bad model needs: rare classes to count more, to learn more, or to learn less by heart."""
    if metrics.majority_accuracy > _MOST_OF_ONE and (unused := _list_unused(metrics)):
        return (
            f"most pictures are of {shorten(metrics.majority_class)}: let each class count the same "
            f"(--train.class_weights balanced), and add pictures of {list_names(unused)}; see docs/when-it-is-bad.md"
        )
    if train_accuracy is None:
        return (
            "look at the training loss: where it falls and this does not, more pictures or more augmentation help; "
            "where it does not fall, another learning rate or network; see also whether the labels are right"
        )
    if train_accuracy - metrics.accuracy >= _BY_HEART:
        return (
            f"it learns by heart: of the training pictures it got {train_accuracy:.3f} right. More pictures or more "
            "augmentation help (docs/when-it-is-bad.md); see also whether the labels are right"
        )
    return (
        f"it has learnt too little: even of the training pictures, as augmented, it got only {train_accuracy:.3f} "
        "right. Train for longer (--epochs), at another rate, or with less augmentation (photographs: --config "
        "configs/photos.yaml); see docs/when-it-is-bad.md, also whether the labels are right"
    )


def _advise(
    found: "Evaluation", level: Level, missing: list[str], *, chose_weights: bool, num_learnt: int | None, has_all: bool
) -> list[str]:
    metrics, steps = found.metrics, list[str]()
    more = "more groups of pictures" if sample.is_grouped(metrics) else "more pictures"
    if missing:
        steps.append(f"give {list_names(missing)} {more}, so that some are measured on")
    if num_learnt:
        steps.append("measure on another split, or on other pictures with --images")
    elif num_learnt is None:
        steps.append("measure on the records of the run, with --records, or on other pictures with --images")
    elif level == "not shown" or _describe_groups(metrics):
        rest = "all there are: python -m harness.cross_validate; or others: --images"
        where = "add some, and build" if has_all else rest
        steps.append(f"measure on {more} ({where})")
    if level == "good" and (pairs := list_confused(metrics)):
        label, other, _ = pairs[0]
        given, answer = (shorten(metrics.class_names[index]) for index in (label, other))
        steps.append(f"look at the {given} pictures taken for {answer}, and add pictures like them")
    if chose_weights:
        steps.append("keep pictures aside that no choice has seen: --split.test 0.1 of the build")
    if found.calibration.choices.temperature is None and metrics.num_examples < calibration.LEAST_FITTED:
        steps.append("do not take the probabilities at their word: there are too few pictures to check them")
    return steps
