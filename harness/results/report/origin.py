"""What a run was made with: settings that differ from the defaults, what is in force and why, versions, the command."""

from collections.abc import Mapping

from harness.base import html
from harness.base.html import Html
from harness.base.text import shorten
from harness.config import settings
from harness.config.schema import Config
from harness.results.report.facts import RunFacts

# Those a training and the build of its records go by.
_SECTIONS = ("data", "clean", "split", "records", "augment", "model", "optim", "train", "runtime")
_MOST_CHARS = 120  # of a value
STYLE = """
.settings td { text-align: left; vertical-align: top; } .settings th { text-align: left; }
.settings td:nth-child(n+2) { overflow-wrap: anywhere; } .settings { font-size: .9rem; }
"""


def describe_settings(facts: RunFacts) -> Html:
    """Returns the settings that differ from the defaults, and what is in force where a machine has a say."""
    meanings = settings.setting_names()
    changed = [
        (html.breakable(name), shorten(now, _MOST_CHARS), shorten(default, _MOST_CHARS), meanings.get(name, ""))
        for name, default, now in settings.list_changes(Config(), facts.config, _SECTIONS)
    ]
    header = ("setting", "value", "default", "what it is")
    table = html.table(header, changed, kind="settings") if changed else "<p>All settings are the defaults.</p>"
    rows = [
        (row.name, row.asked, row.in_force, row.reason)
        for row in facts.environment.settings
        if row.reason or row.asked not in ("-", row.in_force)
    ]
    in_force = html.table(("setting", "asked", "in force", "why"), rows, kind="settings") if rows else ""
    heading = "<h3>What the machine had a say in</h3>" if rows else ""
    every = html.fold("all settings, as config.yaml", html.block(settings.as_yaml(facts.config)))
    return Html(f"{table}{heading}{in_force}{every}")


def describe(facts: RunFacts) -> Html:
    """Returns command, times, versions and digests."""
    values = facts.environment.model_dump(mode="json", exclude_unset=True)
    command = str(values.pop("command", ""))
    link = facts.data_report.link
    records = Html(f'<a href="{html.text(link)}">the report of the records</a>') if link else "not there"
    times = [("started", shorten(values.pop("started", "-"))), ("finished", facts.finished)]
    rows = [*times, *_list_environment(values), ("what the records are", records)]
    return Html(f"{html.block(command) if command else ''}{html.table(('', ''), rows, kind='settings')}")


def _list_environment(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """The plain values, versions and places; what is in force stands elsewhere."""
    return [
        (name.replace("_", " "), shorten(value, _MOST_CHARS))
        for name, value in values.items()
        if name not in ("in_force", "settings") and value not in (None, "")
    ]
