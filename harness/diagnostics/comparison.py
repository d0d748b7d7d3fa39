"""Nodes side by side: what should be alike on all, what differs, and what each has found by itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness.base.text import count, format_bytes, format_table, list_names, shorten
from harness.diagnostics.checks.finding import Finding, Status
from harness.diagnostics.nodes import Answers, NodeReport

GROUP = "nodes"
_CLOCK_S = 2.0
_MOST_CHARS = 26  # of a cell
_MOST_PACKAGES = 10
_SAME_ENVIRONMENT = "Use one environment on all nodes, best on a file system that they share."


@dataclass(frozen=True)
class Fact:
    """Something that should be alike on all nodes.

    Attributes:
      name: in the table.
      show: a node's, as text; "" where it does not say.
      fix: what to do if nodes differ.
      status: how bad that is.
    """

    name: str
    show: Callable[[NodeReport], str]
    fix: str
    status: Status = "warning"


def _text(group: str, name: str, key: str) -> Callable[[NodeReport], str]:
    def show(node: NodeReport) -> str:
        value = node.diagnosis.value(group, name, key)
        return "" if value is None else str(value)

    return show


def _size(group: str, name: str, key: str) -> Callable[[NodeReport], str]:
    def show(node: NodeReport) -> str:
        value = node.diagnosis.value(group, name, key)
        return format_bytes(value) if isinstance(value, int | float) else ""

    return show


def _gpus(node: NodeReport) -> str:
    gpus = [finding for finding in node.diagnosis.findings if finding.group == "gpus"]
    named = [str(finding.values["name"]) for finding in gpus if finding.name.startswith("gpu ") and finding.values]
    return ", ".join(f"{named.count(name)} {name}" for name in dict.fromkeys(named)) or "none"


def _digest(node: NodeReport) -> str:
    return str(node.diagnosis.value("records", "manifest", "digest") or "")[:12]


_ALIKE = "Give nodes of one kind: --constraint or --nodelist, or another partition."
_FACTS = (
    Fact("Python", _text("software", "python", "version"), _SAME_ENVIRONMENT),
    Fact("harness", _text("software", "harness", "version"), _SAME_ENVIRONMENT, "problem"),
    Fact("TensorFlow", _text("software", "tensorflow", "version"), _SAME_ENVIRONMENT, "problem"),
    Fact("Keras", _text("software", "keras", "version"), _SAME_ENVIRONMENT, "problem"),
    Fact("kernel", _text("machine", "system", "kernel"), _ALIKE),
    Fact("processor", _text("machine", "processor", "model"), _ALIKE),
    Fact("cores", _text("machine", "cores", "usable"), _ALIKE),
    Fact("memory", _size("memory", "memory", "total_bytes"), _ALIKE),
    Fact("driver", _text("gpus", "driver", "version"), "Have one driver installed on all nodes."),
    Fact("GPUs", _gpus, _ALIKE, "problem"),
    Fact("run folder", _text("storage", "run", "file_system"), "Give a run folder that all nodes share: --run."),
    Fact("records", _digest, "Give records that all nodes share, or copy the same to each: --records.", "problem"),
)


def compare(answers: Answers) -> tuple[Finding, ...]:
    """Returns what a training on all nodes has to know: who is silent, what differs, what nodes have found."""
    findings = [*_list_missing(answers), *_list_differences(answers.reports), *_check_clocks(answers.reports)]
    return (*findings, *_merge(answers.reports))


def _list_missing(answers: Answers) -> list[Finding]:
    if not answers.missing:
        return []
    said = f"; the last that was said: {answers.said.splitlines()[-1]}" if answers.said else ""
    words = f"no answer from {list_names(answers.missing, separator=' ')}{said}"
    fix = "See whether they are up (sinfo -N) and have the same folders; --exclude leaves nodes out."
    return [Finding(GROUP, "answers", "problem", words, fix, {"missing": list(answers.missing)})]


def _list_differences(reports: Mapping[str, NodeReport]) -> list[Finding]:
    found = []
    for fact in (*_FACTS, *_package_facts(reports)):
        by_value = _by_value({name: fact.show(node) for name, node in reports.items()})
        if len(by_value) > 1:
            told = [f"{value or 'nothing'} on {list_names(names, separator=' ')}" for value, names in by_value]
            found.append(Finding(GROUP, fact.name, fact.status, "; ".join(told), fact.fix, dict(by_value)))
    return found


def _package_facts(reports: Mapping[str, NodeReport]) -> list[Fact]:
    """A fact for each package whose version is not the same everywhere, of many the first."""
    versions = [_packages(node) for node in reports.values()]
    names = sorted({name for found in versions for name in found} - {"tensorflow", "keras"})
    differing = [name for name in names if len({found.get(name) for found in versions}) > 1]

    def make(name: str) -> Fact:
        return Fact(name, lambda node: str(_packages(node).get(name, "")), _SAME_ENVIRONMENT)

    return [make(name) for name in differing[:_MOST_PACKAGES]]


def _packages(node: NodeReport) -> Mapping[str, object]:
    return node.diagnosis.values("software", "packages")


def _by_value(shown: Mapping[str, str]) -> list[tuple[str, list[str]]]:
    """The different values with their nodes, the most frequent first."""
    nodes_of: dict[str, list[str]] = {}
    for node, value in shown.items():
        nodes_of.setdefault(value, []).append(node)
    return sorted(nodes_of.items(), key=lambda item: -len(item[1]))


def _check_clocks(reports: Mapping[str, NodeReport]) -> list[Finding]:
    off = [(name, node.ahead_s) for name, node in reports.items() if abs(node.ahead_s) > _CLOCK_S]
    if not off:
        return []
    words = ", ".join(f"{name} {ahead_s:+.1f} s" for name, ahead_s in off)
    fix = "Set all clocks by NTP: locks, events and files go by the time."
    return [Finding(GROUP, "clock", "warning", f"beside this machine's: {words}", fix, dict(off))]


def _merge(reports: Mapping[str, NodeReport]) -> list[Finding]:
    """The problems and warnings of the nodes, each once with all nodes that have it."""
    nodes_of: dict[tuple[str, str, Status, str, str], list[str]] = {}
    for node, report in reports.items():
        for one in (*report.diagnosis.problems, *report.diagnosis.warnings):
            nodes_of.setdefault((one.group, one.name, one.status, one.found, one.fix), []).append(node)
    return [
        Finding(group, name, status, f"on {list_names(names, separator=' ')}: {found}", fix, {"nodes": names})
        for (group, name, status, found, fix), names in nodes_of.items()
    ]


def format_side_by_side(reports: Mapping[str, NodeReport], width: int) -> str:
    """Returns a table with a column a node and a mark where nodes differ; nodes that are alike share one if need be.

    Args:
      reports: by node.
      width: columns of the page.
    """
    columns = {name: _cells(node, reports) for name, node in reports.items()}
    table = _tabulate(columns)
    if max(map(len, table.splitlines())) <= width:
        return table
    alike: dict[tuple[str, ...], list[str]] = {}
    for name, cells in columns.items():
        alike.setdefault(tuple(cells.values()), []).append(name)
    titles = {_title(names): dict(zip(next(iter(columns.values())), cells)) for cells, names in alike.items()}
    return _tabulate(titles)


def _title(names: Sequence[str]) -> str:
    listed = " ".join(names)
    return listed if len(listed) <= _MOST_CHARS else f"{names[0]} and {len(names) - 1} alike"


def _cells(node: NodeReport, reports: Mapping[str, NodeReport]) -> dict[str, str]:
    cells = {fact.name: shorten(fact.show(node) or "-", _MOST_CHARS) for fact in (*_FACTS, *_package_facts(reports))}
    cells["clock"] = "agrees" if abs(node.ahead_s) <= _CLOCK_S else f"{node.ahead_s:+.1f} s"
    found = node.diagnosis
    cells["found"] = f"{count(len(found.problems), 'problem')}, {count(len(found.warnings), 'warning')}"
    return cells


def _tabulate(columns: Mapping[str, Mapping[str, str]]) -> str:
    rows = [["", *columns, ""]]
    for name in next(iter(columns.values())):
        cells = [column[name] for column in columns.values()]
        rows.append([name, *cells, "<- differs" if len(set(cells)) > 1 else ""])
    return format_table(rows, num_left=len(rows[0]))
