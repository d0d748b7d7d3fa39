"""A cross-validation on one page: report.html, one file that needs no network. It measures nothing."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
from matplotlib.ticker import MaxNLocator

from harness.base import figures as drawing
from harness.base import html
from harness.base.figures import BLUE, GREY, RED
from harness.base.html import Html
from harness.base.text import count, shorten
from harness.config import settings
from harness.config.schema import Config
from harness.cross_validation import tables
from harness.cross_validation.cross_validator import Answer
from harness.cross_validation.figures import Judged
from harness.cross_validation.labels import page as labels_page
from harness.dataset.images.arrays import Floats
from harness.results import verdict
from harness.results.evaluation import Answers
from harness.results.report import confusion, curves, overview
from harness.results.verdict import Verdict

_WIDTH, _HEIGHT = 4.7, 3.1  # inches; two find room beside each other
_MOST_SUSPECTS = 20
_SETTINGS = ("augment", "model", "optim", "train")


def render(answer: Answer, judged: Verdict) -> str:
    """Returns the page."""
    found = answer.found
    # Of the first repeat, so that each picture is drawn once.
    answers = Answers(found.pictures.labels, found.chances[0], found.pictures.groups)
    contents = {
        "Figures": _describe_figures(answer),
        "Folds": _describe_folds(answer),
        "Which is better": _describe_contrast(answer) if answer.contrast else Html(""),
        "Would more pictures help": _describe_curve(answer),
        "Where it fails": _describe_confusion(answer),
        "Suspected labels": _describe_suspects(answer),
        "Scores": curves.describe_scores(answers, answer.evaluation.metrics),
        "Probabilities": curves.describe_calibration(answer.evaluation),
        "Settings": _describe_settings(answer.question.config),
        "Made with": _describe_origin(answer),
    }
    body = html.sections({title: content for title, content in contents.items() if content})
    top = overview.describe_verdict(judged, answer.evaluation)
    title = f"Cross-validation: {answer.question.folder.name}"
    warned = html.warnings(Html("Before you read the figures"), answer.warnings)
    return html.whole(title, f"{_introduce(answer)}{top}{warned}{body}", style=overview.STYLE + confusion.STYLE)


def _introduce(answer: Answer) -> Html:
    question = answer.question
    told = (
        f"{question.name} on {question.records}: {question.num_folds} folds, "
        f"{tables.say_divided(question.num_repeats)}, {len(answer.found.pictures.paths):,} pictures"
    )
    return html.paragraphs([told], kind="quiet")


def _describe_figures(answer: Answer) -> Html:
    shown = [(shorten(answer.question.name), answer.evaluation)]
    if answer.other is not None:
        shown.append((shorten(list(answer.question.settings)[1]), answer.other))
    note = [
        "The intervals count groups of pictures, and the chance of these pictures alone: models trained on other "
        "pictures would differ further. Accuracy, areas and average precision are best at 1, log loss and Brier "
        "score at 0."
    ]
    if answer.found.num_repeats > 1:
        note.append(
            f"Every picture was answered {answer.found.num_repeats} times. The figures are means of all answers; the "
            "confusion matrix counts answers."
        )
    return Html(f"{overview.tabulate_figures(shown)}{html.paragraphs(note, kind='quiet')}")


def _describe_folds(answer: Answer) -> Html:
    with_repeat = answer.found.num_repeats > 1
    rows = [tables.list_fold(row, with_repeat=with_repeat) for row in answer.folds]
    accuracies = [row.evaluation.metrics.accuracy for row in answer.folds]
    said = [
        f"Accuracy is {min(accuracies):.3f} to {max(accuracies):.3f} by fold: that much chance is in a single split of "
        "this size."
    ]
    if with_repeat:
        of_repeat = answer.found.is_right.mean(axis=1)
        said.append(
            f"By division it is {of_repeat.min():.3f} to {of_repeat.max():.3f}: that much the division and the seed do."
        )
    figures = [_draw_losses(answer)] if answer.histories and all(answer.histories) else []
    if figures:
        said.append(_say_where_loss_ends(_stack(answer, "val_loss")))
    return Html(f"{html.paragraphs(said)}{html.drawn(figures)}{html.table(tables.FOLDS_HEADER, rows)}")


def _stack(answer: Answer, name: str) -> Floats:
    """A figure of each training and epoch."""
    return np.array([[row[name] for row in history] for history in answer.histories])


def _say_where_loss_ends(losses: Floats) -> str:
    mean = losses.mean(axis=0)
    lowest, last = int(mean.argmin()), len(mean) - 1
    if lowest == last:
        return "The mean loss on unseen pictures is the lowest at the last epoch: more epochs may do better."
    return (
        f"The mean loss on unseen pictures is the lowest at epoch {lowest + 1} of {last + 1}, {mean[lowest]:.4f}, and "
        f"ends at {mean[last]:.4f}."
    )


def _draw_losses(answer: Answer) -> str:
    figure = drawing.new_figure(_WIDTH + 1, _HEIGHT)
    axes = figure.subplots()
    for name, colour, words in (("loss", BLUE, "training"), ("val_loss", RED, "unseen pictures")):
        values = _stack(answer, name)
        epochs = np.arange(1, values.shape[1] + 1)
        axes.plot(epochs, values.mean(axis=0), color=colour, label=words)
        axes.fill_between(epochs, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axes.set(xlabel="epoch", ylabel="cross-entropy [nats]", title="loss: mean, and range of all folds")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    return drawing.as_svg(figure, "loss of training and of unseen pictures by epoch, of all folds")


def _describe_contrast(answer: Answer) -> Html:
    assert answer.contrast is not None
    rows = [
        (name, *_list_difference(one, digits))
        for name, one, digits in (("accuracy", answer.contrast.accuracy, 3), ("log loss", answer.contrast.loss, 4))
    ]
    header = ("figure", "difference", "95 % interval", "p", "")
    own, others = answer.question.settings.values()
    changed = settings.list_changes(others, own, _SETTINGS)
    first, second = map(shorten, answer.question.settings)
    differing = html.table(("setting", second, first), changed, kind="words") if changed else "<p>None.</p>"
    return Html(
        f"{html.paragraphs([tables.describe_contrast(answer)])}{html.table(header, rows)}"
        f"<h3>Settings that differ</h3>{differing}"
    )


def _list_difference(judged: Judged, digits: int) -> Sequence[str]:
    ends = verdict.describe_ends(judged.difference, digits)
    return f"{judged.difference.mean:+.{digits}f}", ends, f"{judged.p_value:.3f}", judged.word


def _describe_curve(answer: Answer) -> Html:
    if not answer.curve:
        return html.paragraphs(["Not asked. The same command with --learning-curve trains on fewer groups, too."])
    figure = drawing.new_figure(_WIDTH, _HEIGHT)
    axes = figure.subplots()
    counts = [point.num_trained for point in answer.curve]
    values = [point.accuracy for point in answer.curve]
    ends = np.array([point.accuracy_ci95 for point in answer.curve]).T
    axes.errorbar(counts, values, yerr=np.abs(ends - values), color=BLUE, marker="o", capsize=3)
    majority = answer.evaluation.metrics.majority_accuracy
    axes.axhline(majority, color=GREY, linestyle=":", label="always the most frequent class")
    axes.set(xlabel="training pictures", ylabel="accuracy", title="accuracy by pictures trained on", xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
    svg = drawing.as_svg(figure, "accuracy on unseen pictures by the number of pictures trained on, with intervals")
    rows = list(map(tables.list_point, answer.curve))
    said = html.paragraphs([tables.describe_curve(answer.curve)])
    return Html(f"{said}{html.drawn([svg])}{html.table(tables.CURVE_HEADER, rows)}")


def _describe_confusion(answer: Answer) -> Html:
    return confusion.describe(answer.evaluation.metrics, ())


def _describe_suspects(answer: Answer) -> Html:
    if not answer.suspects:
        return html.paragraphs(["No label is suspected to be wrong."])
    shown = answer.suspects[:_MOST_SUSPECTS]
    rows = [(html.breakable(each.path), each.label, each.suggested, f"{each.score:.3f}") for each in shown]
    number = count(len(answer.suspects), "picture")
    link = Html(f'<p>{number} to decide on, beside pictures like them: <a href="suspects.html">suspects.html</a>.</p>')
    more = len(answer.suspects) - len(shown)
    rest = html.paragraphs([f"and {more:,} more: suspects.csv has all"] if more else [], kind="quiet")
    doubt = labels_page.warn(len(answer.suspects), len(answer.found.pictures.paths))
    return Html(f"{doubt}{link}{html.table(('picture', 'labelled', 'suggested', 'score'), rows, kind='words')}{rest}")


def _describe_settings(config: Config) -> Html:
    changed = settings.list_changes(Config(), config, _SETTINGS)
    if not changed:
        return html.paragraphs(["All as the defaults are, but train.keep, which is last."])
    return html.table(("setting", "default", "here"), changed, kind="words")


def _describe_origin(answer: Answer) -> Html:
    took = timedelta(seconds=round(answer.seconds))
    told = [
        f"All trainings together took {took}. Each lies in {answer.question.folder}/trainings as a run folder with a "
        "report of its own, and without checkpoints."
    ]
    return Html(f"{html.paragraphs(told)}{html.block(answer.question.command)}")
