"""The page of `--help`: what people give first, and the names of the rest; `--help-all` says all of it.

It knows no setting: flags.py says which there are, and which are given first.
"""

import argparse
import copy
import itertools
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

_WIDTH = 80  # of a terminal nobody has widened
_EXAMPLE = re.compile(r"  (\S.*?)(?: {2,}(\S.*))?$")  # a command, and what it does


class HelpParser(argparse.ArgumentParser):
    """A parser that shows on `--help` only the flags that people give first, and on `--help-all` every flag."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, add_help=False, formatter_class=_Formatter)
        self._first: Sequence[str] = ()
        self.add_argument("-h", "--help", action="help", help="show this page, and stop")
        self._help_all = self.add_argument("--help-all", action=_HelpAll, help=argparse.SUPPRESS)

    def fold(self, first: Sequence[str]) -> None:
        """Has `--help` show of the settings these alone, in this order, and of the others their names."""
        self._first = first
        self._help_all.help = "show every setting with its unit and default, and stop"

    def format_help(self) -> str:
        """Returns the page of `--help`."""
        return self.format_page(shows_all=not self._first)

    def format_page(self, *, shows_all: bool) -> str:
        """Returns the page with all flags, or with those that are given first."""
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, self._actions, self._mutually_exclusive_groups)
        formatter.add_text(self.description)
        by_name = {action.dest: action for action in self._actions}
        folded = [group for group in self._action_groups if any("." in a.dest for a in group._group_actions)]
        for group in self._action_groups:
            if shows_all or group not in folded:
                _add_section(formatter, group.title, group._group_actions)
        if not shows_all:
            _add_section(
                formatter, "settings that people give first", [_shorten(by_name[name]) for name in self._first]
            )
            formatter.add_text(self._list_rest(folded))
        return formatter.format_help()

    def _list_rest(self, folded: Iterable[argparse._ArgumentGroup]) -> str:
        lines = [f"further settings ({self.prog} --help-all explains them):"]
        for group in folded:
            names = [a.dest for a in group._group_actions if a.help != argparse.SUPPRESS and a.dest not in self._first]
            if names:
                lines += textwrap.wrap(
                    ", ".join(name.split(".")[1] for name in names),
                    _find_width(),
                    initial_indent=f"  {names[0].split('.')[0] + '.':<10}",
                    subsequent_indent=" " * 12,
                )
        return "\n".join(lines)


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        assert isinstance(parser, HelpParser)
        parser._print_message(parser.format_page(shows_all=True), sys.stdout)
        parser.exit()


def _shorten(action: argparse.Action) -> argparse.Action:
    """Returns a flag under its shortest name alone."""
    shown = copy.copy(action)
    shown.option_strings = [min(action.option_strings, key=len)]
    return shown


def _add_section(formatter: argparse.HelpFormatter, title: str | None, actions: Iterable[argparse.Action]) -> None:
    formatter.start_section(title)
    formatter.add_arguments(actions)
    formatter.end_section()


def _find_width() -> int:
    return min(_WIDTH, shutil.get_terminal_size().columns)


class _Formatter(argparse.HelpFormatter):
    """Lays a page out for at most 80 columns: prose is filled, and an example is a command that a shell takes."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_find_width(), max_help_position=26)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Takes the place of argparse's, which would run the examples together."""
        lines: list[str] = []
        for is_kept, found in itertools.groupby(text.strip("\n").split("\n"), lambda line: line[:2] in ("", "  ")):
            if is_kept:
                lines += itertools.chain.from_iterable(_lay_out_example(line, width) for line in found)
            else:
                lines += textwrap.wrap(" ".join(found), width)
        return "\n".join(lines) + "\n"


def _lay_out_example(line: str, width: int) -> Sequence[str]:
    """Returns the lines of an example: what it does as a comment, and the command, cut before a flag if it is long."""
    found = _EXAMPLE.fullmatch(line)
    if found is None or not found[1].startswith(("python", "find")):
        return [line]
    pieces = ["  "]
    for word in re.split(r" (?=--)", found[1]):
        if len(pieces[-1]) + len(word) + 3 > width:
            pieces.append("      ")
        pieces[-1] += f"{word} "
    command = [f"{piece}\\" for piece in pieces[:-1]] + [pieces[-1].rstrip()]
    said = " ".join((found[2] or "").split())
    return [*textwrap.wrap(said, width, initial_indent="  # ", subsequent_indent="  # "), *command]
