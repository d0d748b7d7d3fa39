"""A search on one page: report.html, one file that needs no network.

It says what the trials came to, and reads none of their files. charts.py draws them, importance.py weighs the settings.
"""

from collections.abc import Iterable, Sequence
from urllib.parse import quote

from harness.base import html
from harness.base.html import Html
from harness.base.text import count, format_value, list_names, shorten
from harness.search.report import charts, importance
from harness.search.report.axes import Axis, make_axes
from harness.search.report.facts import SearchFacts, describe_cost, describe_gain, format_score, list_ended
from harness.search.report.importance import EPOCHS, FEW, Explanation
from harness.search.trials.trial import Trial

_MOST_OPEN_ROWS = 30  # longer tables of trials are folded
_MOST_LINES, _MOST_CHARS = 25, 240  # of the end of a log
_LITTLE_EXPLAINED = 0.3
_CLEAR_SHARE = 0.05  # a setting below it is told from one without effect by hundreds of trials at best
_STYLE = """
.trials { font-size: .88rem; } .trials td, .trials th { padding: .25rem .6rem; }
.trials td:nth-child(2), .trials th:nth-child(2) { text-align: left; } .off { color: var(--quiet); }
.shares td:last-child, .shares th:last-child { text-align: left; }
"""


def render(facts: SearchFacts) -> str:
    """Returns the page."""
    axes = make_axes(facts.space, facts.ranked)
    found = importance.explain(axes, facts.ranked, facts.objective, with_epochs=facts.algorithm == "hyperband")
    order = {item.name: place for place, item in enumerate(found.settings)}
    drawn = sorted(axes, key=lambda axis: order.get(axis.name, len(order)))[: charts.MOST_DRAWN]
    sections = {
        "Commands": _commands(facts),
        "Trials": _trials(facts),
        "Progress": _progress(facts),
        "Settings and objective": _settings(facts, drawn, len(axes) - len(drawn)),
        "Importance": _importance(facts, found, [axis.name for axis in axes]),
        "Failed trials": _failed(facts),
        "Cost": f"<p>{html.text(describe_cost(facts))}</p>",
    }
    return html.whole(facts.name, f"{_overview(facts)}{html.sections(sections)}", style=_STYLE)


def _overview(facts: SearchFacts) -> str:
    unit = "val_loss [nats]" if facts.objective == "val_loss" else facts.objective
    figures: list[tuple[object, object]] = []
    for words, trials in (("the best trial", facts.ranked), ("the default settings", facts.defaults)):
        if trials:
            figures.append((_score(trials[0], facts), f"{unit} of {words}, {shorten(trials[0].name)}"))
    figures += [(f"{len(facts.ranked):,}", "trials completed"), (f"{len(facts.failed):,}", "failed")]
    figures += [(f"{len(facts.running):,}", "running or waiting")] if facts.running else []
    hours = facts.sum_hours(facts.trials) + facts.to_hours(facts.comparison_seconds)
    figures.append((f"{hours:,.2f}", facts.unit))
    verdict = f'<p class="verdict">{html.text(facts.verdict)}</p>' if facts.verdict else ""
    header, *rows = facts.comparison or [()]
    return (
        f'<p class="quiet">a search ({html.text(facts.algorithm)}) over {count(len(facts.space), "setting")}, for '
        f"the {'lowest' if facts.objective == 'val_loss' else 'highest'} {html.text(facts.objective)}</p>"
        f"{html.boxes(figures)}<p>{html.text(describe_gain(facts))}</p>{verdict}"
        f"{html.table(header, rows) if rows else ''}"
    )


def _commands(facts: SearchFacts) -> str:
    best = f"Train with the best settings, which stand in {html.text(facts.best_config)}:"
    train = f"<p>{best}</p>{html.block(facts.train_command)}" if facts.ranked else ""
    return (
        f"{train}<p>Go on with the search, or look again at one that is finished:</p>{html.block(facts.search_command)}"
    )


def _trials(facts: SearchFacts) -> str:
    if not facts.ranked:
        return f"<p>None is completed.</p>{_unfinished(facts)}"
    tried = dict.fromkeys(name for trial in facts.ranked for name in trial.values)
    names = [*(name for name in facts.space if name in tried), *(name for name in tried if name not in facts.space)]
    header = ("trial", "", facts.objective, "epochs", "time [s]", *map(html.breakable, names))
    rows = [
        (
            Html(f'<a href="trials/{html.text(_quote(trial.name))}/report.html">{html.text(trial.name)}</a>'),
            _remark(trial, facts),
            _score(trial, facts),
            f"{trial.num_epochs:,}",
            f"{trial.seconds:,.0f}",
            *(_write_value(trial, name) for name in names),
        )
        for trial in facts.ranked
    ]
    rest = rows[_MOST_OPEN_ROWS:]
    fold = html.fold(f"{len(rest):,} more", html.table(header, rest, kind="trials"))
    return html.table(header, rows[:_MOST_OPEN_ROWS], kind="trials") + (fold if rest else "") + _unfinished(facts)


def _unfinished(facts: SearchFacts) -> str:
    if not facts.running:
        return ""
    names = list_names([trial.name for trial in facts.running], separator=", ")
    return f"<p>Running, or waiting to be gone on with: {html.text(names)}.</p>"


def _remark(trial: Trial, facts: SearchFacts) -> str:
    promoted = f"promoted from {shorten(trial.started_from)}" if trial.started_from else ""
    return ", ".join(filter(None, ("default" if trial in facts.defaults else "", promoted)))


def _progress(facts: SearchFacts) -> str:
    if len(facts.ranked) < 2:
        return _say_too_few(facts)
    png = charts.draw_progress(list_ended(facts), facts.objective, default=_name_default(facts))
    return html.image(png, "png", "objective of the trials by device hours, and the best so far")


def _settings(facts: SearchFacts, drawn: Sequence[Axis], num_left_out: int) -> str:
    if len(facts.ranked) < 2:
        return _say_too_few(facts)
    if not drawn:
        return "<p>The space has no settings.</p>"
    ranked, objective, default = facts.ranked, facts.objective, _name_default(facts)
    num_epochs = max(trial.num_epochs for trial in ranked) if facts.algorithm == "hyperband" else 0
    lines = html.image(charts.draw_lines(drawn, ranked, objective, default=default), "png", "parallel coordinates")
    panels = charts.draw_panels(drawn, ranked, objective, default=default, num_epochs=num_epochs)
    return (
        "<p>Each line is a trial. It crosses the axis of every setting at its value, and stands at off where the "
        f"setting has no effect. What mattered most is on top. The best {charts.MOST_COLOURED} are coloured.</p>{lines}"
        f"<p>The same, a panel for each setting.</p>{html.image(panels, 'png', 'each setting and the objective')}"
        + (
            f'<p class="quiet">Not drawn: {count(num_left_out, "setting")} that mattered less.</p>'
            if num_left_out
            else ""
        )
    )


def _importance(facts: SearchFacts, found: Explanation, names: Sequence[str]) -> str:
    if found.left_out:
        return f"<p>Left out: {html.text(found.left_out)}.</p>"
    warnings = []
    if len(facts.ranked) < FEW:
        few = f"These shares come from {len(facts.ranked)} completed trials. With fewer than {FEW} they are unreliable"
        warnings.append(f"{few}: another search may well order the settings otherwise.")
    if found.explained < _LITTLE_EXPLAINED:
        warnings.append("The forests predict little of what they have not seen: do not trust the order below.")
    rows = [
        (
            "epochs trained (Hyperband's choice)" if item.name == EPOCHS else item.name,
            f"{item.share:.0%}",
            f"{item.low:.0%} to {item.high:.0%}",
            html.track(item.low, item.share, item.high),
        )
        for item in found.settings
    ]
    constant = [name for name in names if name not in {item.name for item in found.settings}]
    same = f"One value in all completed trials, so nothing can be said: {list_names(constant, separator=', ')}."
    return (
        "".join(f"<p><b>{html.text(warning)}</b></p>" for warning in warnings)
        + html.table(("setting", "share", "forests differ", "0 to 100 %"), rows, kind="shares")
        + f"<p>The share of the differences in {html.text(facts.objective)} in which a setting has a part, alone or "
        "together with others, so that shares may add up to more than 100 %. Ten random forests, each on four fifths "
        f"of the trials. They predict trials that they have not seen with R² {found.explained:.2f}: 1 is perfect, 0 no "
        f"better than the mean. A share below {_CLEAR_SHARE:.0%} may be none.</p>"
        + (f"<p>{html.text(same)}</p>" if constant else "")
    )


def _failed(facts: SearchFacts) -> str:
    if not facts.failed:
        return "<p>None.</p>"
    return f"<p>{len(facts.failed):,} of {count(len(facts.trials), 'trial')}.</p>" + "".join(
        f"<details><summary><b>{html.text(trial.name)}</b>: {html.text(_reason(trial))}</summary>"
        f"<p>{html.text(_list_values(trial))}</p>{_log_end(trial.log_end)}</details>"
        for trial in facts.failed
    )


def _reason(trial: Trial) -> str:
    if trial.reason or trial.status == "failed":
        return trial.reason or "no reason is known"
    return "its objective is no finite number"


def _list_values(trial: Trial) -> str:
    return ", ".join(f"{name} {format_value(value)}" for name, value in trial.values.items())


def _log_end(lines: Iterable[str]) -> str:
    cut = [shorten(line, _MOST_CHARS) for line in list(lines)[-_MOST_LINES:]]
    return html.block("\n".join(cut)) if cut else "<p>It left no log.</p>"


def _say_too_few(facts: SearchFacts) -> str:
    one = "Only one trial is completed" if facts.ranked else "No trial is completed"
    return f"<p>{one}: there is nothing to draw.</p>"


def _quote(name: str) -> str:
    return quote(name, safe="", errors="replace")


def _name_default(facts: SearchFacts) -> str:
    return facts.defaults[0].name if facts.defaults else ""


def _write_value(trial: Trial, name: str) -> object:
    return format_value(trial.values[name]) if name in trial.values else Html('<span class="off">off</span>')


def _score(trial: Trial, facts: SearchFacts) -> str:
    return format_score(trial.score, facts.objective)
