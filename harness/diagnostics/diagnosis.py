"""All that a doctor found: a page for a person, an object for a program, and a verdict for both."""

import itertools
import os
import shutil
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.base.text import count, visible
from harness.diagnostics.checks.finding import Finding, Status

_WORDS = {"ok": "ok", "warning": "warning", "problem": "PROBLEM", "unknown": "unknown"}
_COLORS = {"ok": "32", "warning": "33", "problem": "31;1", "unknown": "36"}
_STATUS_WIDTH = max(map(len, _WORDS.values()))
_LEAST_WIDTH, _MOST_WIDTH = 60, 120


@dataclass(frozen=True)
class Diagnosis:
    """Findings in the order they were made, and what was examined in words; "" for this machine and its devices."""

    findings: tuple[Finding, ...]
    subject: str = ""

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What keeps a training from running."""
        return self._list_distinct("problem")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What may slow it down, end it, or lose it."""
        return self._list_distinct("warning")

    def _list_distinct(self, status: Status) -> tuple[Finding, ...]:
        """The findings of a status; what several checks came upon counts once."""
        found = {(one.found, one.fix): one for one in reversed(self.findings) if one.status == status}
        return tuple(one for one in self.findings if found.get((one.found, one.fix)) is one)

    @property
    def verdict(self) -> str:
        """One sentence: whether a training will run here, on what."""
        beside = [count(len(self.warnings), "warning")] if self.warnings else []
        if self.problems:
            told = ", ".join([count(len(self.problems), "problem"), *beside])
            return f"A training as asked will not run {self.subject or 'here'}: {told}."
        if self.subject:
            return f"A training will run {self.subject}; {', '.join(beside) or 'no warning'}."
        devices = self.value("tensorflow", "devices", "devices")
        if devices is None:
            return f"Nothing speaks against a training here as far as was looked: {', '.join(beside) or 'no warning'}."
        on = self._describe_devices(devices)
        return f"A training will run here on {on}; {', '.join(beside) or 'no warning'}."

    def _describe_devices(self, devices: Sequence[str]) -> str:
        if devices[0].startswith("/gpu"):
            return count(len(devices), "GPU")
        cores = count(self.value("machine", "cores", "usable") or 1, "processor")
        return cores if len(devices) == 1 else f"{cores} as {len(devices)} devices"

    def value(self, group: str, name: str, key: str):
        """Returns a value of the first finding of a name; None where there is none."""
        return self.values(group, name).get(key)

    def values(self, group: str, name: str) -> Mapping[str, object]:
        """Returns all values of the first finding of a name."""
        return next((one.values for one in self.findings if (one.group, one.name) == (group, name)), {})

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> "Diagnosis":
        """Returns what `as_json` was made of.

        Raises:
          KeyError, TypeError, ValueError: it is no such object.
        """
        return cls(tuple(Finding(**check) for check in told["checks"]))

    def as_json(self) -> dict[str, object]:
        """Returns the object that `--json` prints."""
        return {
            "format": 1,
            "status": "problem" if self.problems else "warning" if self.warnings else "ok",
            "verdict": self.verdict,
            "num_problems": len(self.problems),
            "num_warnings": len(self.warnings),
            "checks": [
                {
                    "group": finding.group,
                    "name": finding.name,
                    "status": finding.status,
                    "found": finding.found,
                    "fix": finding.fix,
                    "values": dict(finding.values),
                }
                for finding in self.findings
            ],
        }


@dataclass(frozen=True)
class Page:
    """How findings are shown: the columns of the terminal, and whether it takes colours."""

    width: int = 80
    has_color: bool = False

    @classmethod
    def of_terminal(cls, *, is_terminal: bool) -> "Page":
        """Returns the page that the standard output is, in colours on a terminal unless NO_COLOR is set.

        Args:
          is_terminal: whether it is one.
        """
        width = shutil.get_terminal_size((80, 24)).columns
        has_color = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        return cls(min(max(width, _LEAST_WIDTH), _MOST_WIDTH), has_color)

    def format_groups(self, findings: Sequence[Finding]) -> str:
        """Returns findings under the headings of their groups, a line each, wrapped where it is too long."""
        blocks = []
        for group, members in itertools.groupby(findings, lambda finding: finding.group):
            listed = list(members)
            name_width = max(len(finding.name) for finding in listed)
            lines = [line for finding in listed for line in self._format_one(finding, name_width)]
            blocks.append("\n".join([self._paint("1", group), *lines]))
        return "\n\n".join(blocks)

    def _format_one(self, finding: Finding, name_width: int) -> Iterator[str]:
        indent = 2 + _STATUS_WIDTH + 2 + name_width + 2
        first, *others = self._wrap(finding.found, indent)
        word = self._paint(_COLORS[finding.status], f"{_WORDS[finding.status]:<{_STATUS_WIDTH}}")
        yield f"  {word}  {visible(finding.name):<{name_width}}  {first}"
        yield from (" " * indent + line for line in others)

    def format_end(self, diagnosis: Diagnosis) -> str:
        """Returns problems and warnings once more with what to do, numbered, and the verdict."""
        lines = []
        for number, finding in enumerate((*diagnosis.problems, *diagnosis.warnings), 1):
            start = f"{number:>2}. "
            head = f"{finding.group}, {finding.name}: {finding.found}"
            told = self._wrap(head, len(start))
            color = _COLORS[finding.status]
            lines += [self._paint(color, start + told[0]), *(self._paint(color, "    " + more) for more in told[1:])]
            lines += ["    " + line for line in self._wrap(f"-> {finding.fix}", 4)]
        ending = [*(["What to do", *lines, ""] if lines else []), *self._wrap(diagnosis.verdict, 0)]
        return "\n".join(self._paint("1", line) if line in ("What to do", ending[-1]) else line for line in ending)

    def _wrap(self, text: str, indent: int) -> list[str]:
        width = max(self.width - indent, 20)
        return textwrap.wrap(visible(text), width, break_on_hyphens=False) or [""]

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.has_color else text
