"""A cross-validation in words and tables: the sentences of its verdict, folds, learning curve, suspects."""

import dataclasses
import shlex
from collections.abc import Iterator, Sequence
from statistics import mean
from typing import cast

from harness.base.text import cap_rows, count, format_table, shorten, visible
from harness.cross_validation.cross_validator import Answer
from harness.cross_validation.figures import Contrast, CurvePoint, FoldFigures, Judged
from harness.cross_validation.labels import suspects
from harness.results import tables, verdict
from harness.results.statistics import intervals
from harness.results.verdict import Verdict

REPORT, SUSPECTS, SUSPECTS_PAGE = "report.html", "suspects.csv", "suspects.html"
_MOST_LISTED = 10  # suspects in the terminal


def judge(answer: Answer) -> Verdict:
    """Returns what to think of the settings, and what to do next."""
    learnt = [rows[-1]["accuracy"] for rows in answer.histories]
    found = verdict.judge(answer.evaluation, has_all=True, train_accuracy=mean(learnt) if learnt else None)
    question = answer.question
    steps = list(found.next_steps[:1]) if found.level != "good" else []
    if answer.suspects and found.level != "bad":  # of models that know nothing nearly all labels are suspected
        steps.append(f"look at {count(len(answer.suspects), 'suspected label')}: {question.folder / SUSPECTS_PAGE}")
    if not answer.curve:
        steps.append("ask whether more pictures would help: the same command with --learning-curve")
    steps.append(f"train the model to use, on all the pictures but a validation split: {question.train_command}")
    return dataclasses.replace(found, sentences=(*found.sentences, *_say(answer)), next_steps=tuple(steps))


def _say(answer: Answer) -> Iterator[str]:
    """The sentences beside those of the figures."""
    question = answer.question
    yield (
        f"Each picture was answered by a model that had seen neither it nor its group: {question.num_folds} folds, "
        f"{say_divided(question.num_repeats)}. Each model is that of its last epoch, "
        f"{question.config.train.epochs}: nothing was chosen by what is measured."
        + f" What fails is counted in answers, {question.num_repeats} of each picture."
        * (question.num_repeats > 1)
    )
    if answer.contrast is not None:
        yield describe_contrast(answer)
    if answer.curve:
        yield describe_curve(answer.curve)


def describe_contrast(answer: Answer) -> str:
    """Returns by how much the settings differ from the others, in words."""
    first, second = answer.question.settings
    contrast = cast(Contrast, answer.contrast)
    loss = f"in loss {contrast.loss.word} ({_describe_difference(contrast.loss, 4)})"
    chance = " The chance of the seed and of the division is not in it: --repeats." * (answer.found.num_repeats == 1)
    return (
        f"{shorten(first)} against {shorten(second)} on the same folds: in accuracy {contrast.accuracy.word} "
        f"({_describe_difference(contrast.accuracy, 3)}), {loss}.{chance}"
    )


def _describe_difference(judged: Judged, digits: int) -> str:
    ends = verdict.describe_ends(judged.difference, digits)
    return f"{judged.difference.mean:+.{digits}f}, 95 % interval {ends}"


def describe_curve(curve: Sequence[CurvePoint]) -> str:
    """Returns whether more pictures have helped so far, in words; nothing is said of pictures that are not there."""
    before, last = curve[-2:]
    change = f"{last.gain.mean:+.3f}, 95 % interval {verdict.describe_ends(last.gain)}" if last.gain else "unknown"
    counts = f"from {before.num_trained:,.0f} to {last.num_trained:,.0f} training pictures"
    if last.word == "better":
        return f"More pictures have helped: {counts} accuracy rose ({change}). Others may help further."
    if last.word == "worse":
        return f"More pictures have not helped: {counts} accuracy fell ({change}). Look at what was added."
    return f"Not shown that more pictures help: {counts} accuracy changed by {change}."


def say_divided(num_repeats: int) -> str:
    """Returns how often the pictures were divided into folds."""
    return "divided once" if num_repeats == 1 else f"divided {num_repeats} times"


def describe(answer: Answer, judged: Verdict) -> str:
    """Returns all of it as text for a person."""
    parts = [tables.describe(answer.evaluation, judged), _list_folds(answer.folds)]
    if answer.curve:
        parts.append(format_table([CURVE_HEADER, *map(list_point, answer.curve)]))
    parts.append(_list_suspects(answer))
    folder = answer.question.folder
    board_command = shlex.join(["tensorboard", "--logdir", str(folder)])
    parts.append(f"report: {visible(folder / REPORT)}   curves: {visible(board_command)}")
    return "\n\n".join(parts)


FOLDS_HEADER = (
    "fold", "trained on", "measured", "accuracy", "95 % interval", "balanced", "AUC", "log loss", "cal. error"
)  # fmt: skip


def list_fold(row: FoldFigures, *, with_repeat: bool) -> tuple[object, ...]:
    """Returns what stands below FOLDS_HEADER."""
    found = row.evaluation.metrics
    return (
        f"{row.repeat}.{row.fold}" if with_repeat else row.fold,
        f"{row.num_trained:,}",
        f"{found.num_examples:,}",
        f"{found.accuracy:.3f}",
        intervals.describe(found.accuracy_ci95),
        f"{found.balanced_accuracy:.3f}",
        "-" if found.auc is None else f"{found.auc:.3f}",
        f"{found.loss:.4f}",
        f"{row.evaluation.calibration.ece:.3f}",
    )


def _list_folds(folds: Sequence[FoldFigures]) -> str:
    with_repeat = folds[-1].repeat > 1
    rows, more = cap_rows([list_fold(row, with_repeat=with_repeat) for row in folds])
    return format_table([FOLDS_HEADER, *rows]) + (f"\n{more}; all of them: --json" if more else "")


CURVE_HEADER = ("groups", "trained on", "accuracy", "95 % interval", "log loss", "gain", "95 % interval", "more is")


def list_point(point: CurvePoint) -> tuple[str, ...]:
    """Returns what stands below CURVE_HEADER."""
    gain = ("-", "-", "-")
    if point.gain is not None:
        gain = (f"{point.gain.mean:+.3f}", verdict.describe_ends(point.gain), point.word)
    return (
        f"{point.share:.0%}",
        f"{point.num_trained:,.0f}",
        f"{point.accuracy:.3f}",
        intervals.describe(point.accuracy_ci95),
        f"{point.loss:.4f}",
        *gain,
    )


def _list_suspects(answer: Answer) -> str:
    if not answer.suspects:
        return "no label is suspected to be wrong"
    rows = [
        (shorten(each.path), shorten(each.label), shorten(each.suggested), f"{each.score:.3f}")
        for each in answer.suspects[:_MOST_LISTED]
    ]
    number, folder = count(len(answer.suspects), "suspected label"), answer.question.folder
    more = "" if len(rows) == len(answer.suspects) else f", the first {len(rows)}"
    where = f"all of them: {visible(folder / SUSPECTS)}   to decide on: {visible(folder / SUSPECTS_PAGE)}"
    if doubt := suspects.describe_doubt(len(answer.suspects), len(answer.found.pictures.paths)):
        where = f"Few of these will be wrong: {doubt}\n{where}"
    table = format_table([("picture", "labelled", "suggested", "score"), *rows], num_left=3)
    return f"{number}{more}\n{table}\n{where}"
