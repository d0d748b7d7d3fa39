"""Makes the flags of a command line from the schema, and a Config from a config file and those flags.

It imports no TensorFlow: `--help` and a mistyped flag answer at once.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from harness import __version__
from harness.base import app, storage
from harness.base.errors import ExitCode
from harness.base.text import visible
from harness.config import settings
from harness.config.schema import Config

SHORT_FLAGS: Mapping[str, str] = {
    "--images": "data.images",
    "--records": "data.records",
    "--split-from": "split.previous",
    "--run": "train.run",
    "--gpus": "runtime.gpus",
    "--epochs": "train.epochs",
    "--batch-size": "train.batch_size",
    "--profile": "runtime.profile",
    "--retrain": "tune.retrain",
}
_FILE_ONLY = ("tune.space", "tune.start")
# By section, the command that takes its settings, for whoever gives one to another command.
_COMMAND_OF = {
    "data": "build_records and harness.train",
    **dict.fromkeys(("clean", "split", "records"), "build_records"),
    **dict.fromkeys(("augment", "model", "optim", "train", "runtime"), "train"),
    "tune": "tune",
}
# The settings of a run that may be others where its model reads picture files.
OF_READING = ("data.follow_links", "clean.min_side", "clean.max_pixels", "clean.max_bytes", "clean.salvaged")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint names the nearest flag, and which takes names that begin with a single dash."""

    def parse_args(self, args: Sequence[str], namespace: argparse.Namespace | None = None) -> argparse.Namespace:  # type: ignore[override]
        """Returns the values of the flags; the one after a flag that takes a value is that, as in `--run -x`."""
        return super().parse_args(list(self._join_values(args)), namespace)

    def _join_values(self, words: Sequence[str]) -> Iterator[str]:
        """Yields the words with `--flag -value` as `--flag=-value`, up to a `--`."""
        known, rest = self._option_string_actions, iter(words)
        for word in rest:
            if word == "--":
                yield from (word, *rest)
            elif word not in known or known[word].nargs is not None or (value := next(rest, None)) is None:
                yield word
            elif value.startswith("-") and not value.startswith("--") and value not in known:
                yield f"{word}={value}"
            else:
                yield from (word, value)

    def error(self, message: str) -> NoReturn:
        """Prints one sentence, and exits with the code of a usage error."""
        unknown = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
        if message.startswith("unrecognized arguments: --"):
            if (name := unknown.removeprefix("--")) in _FILE_ONLY:
                app.say(f"error: {name} is no flag: state it in the config file, as configs/tune.yaml does.\n")
                sys.exit(ExitCode.USAGE)
            message = self._explain_unknown(name)
        app.say(f"error: {visible(message)}\nusage: {self.prog} --help shows every flag.\n")
        sys.exit(ExitCode.USAGE)

    def _explain_unknown(self, name: str) -> str:
        """Returns what to say of a flag that is not here: whose it is, or the nearest one."""
        setting, known = SHORT_FLAGS.get(f"--{name}", name), self._option_string_actions
        short = next((flag for flag, of in SHORT_FLAGS.items() if of == setting), "")
        if short in known:
            return f"there is no flag '{name}'. Did you mean '{short.removeprefix('--')}'?"
        if setting in settings.setting_names():
            said, command = "" if setting == name else f" ({setting})", _COMMAND_OF[setting.split(".")[0]]
            return f"--{name}{said} is a setting of python -m harness.{command}: {self.prog} does not take it."
        return settings.unknown_name(name, {flag.removeprefix("--"): None for flag in known}, "flag")


def make_parser(
    module: str,
    description: str,
    *,
    sections: Sequence[str],
    seed: str | None = None,
    of_run: Sequence[str] = (),
    others: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Returns a parser with one flag for each setting of `sections`, and the short ones people type.

    Args:
      module: the command's module, such as "train".
      description: the first lines of its help.
      sections: the config sections the command reads.
      seed: the setting that `--seed` stands for.
      of_run: settings that a command on a run takes from that run, unless their flags are given.
      others: single settings of sections that are not read otherwise.
    """
    parser = _Parser(
        prog=f"python -m harness.{module}",
        usage=f"python -m harness.{module} [--config FILE] [--section.setting VALUE ...]" if sections else None,
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"harness {__version__}")
    parser.add_argument("--quiet", action="store_true", help="only warnings and errors")
    if of_run:
        group = parser.add_argument_group("settings of the run that may be others here")
        for name in of_run:
            _add_flag(group, name, default="the run's")
    if not sections:
        return parser
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="YAML file with the settings that differ from the defaults"
    )
    parser.add_argument(
        "--show-config", action="store_true", help="print every setting, its value and its source, and stop"
    )
    short = {name: flag for flag, name in SHORT_FLAGS.items()} | ({seed: "--seed"} if seed else {})
    for section in sections:
        group = parser.add_argument_group(section)
        for name in settings.setting_names():
            if name.split(".")[0] == section and name not in _FILE_ONLY:
                flags = [short[name]] if name in short else []
                _add_flag(group, name, *flags, default=settings.default_text(name))
    for name in others:
        group = parser.add_argument_group(name.split(".")[0]) if name == others[0] else group
        _add_flag(group, name, default=settings.default_text(name))
    return parser


def whole(least: int, most: int) -> Callable[[str], int]:
    """Returns what reads a whole number from `least` to `most` out of the text of a flag, for argparse."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"it is {visible(text)!r}, expected a whole number from {least} to {most}")
        return int(text)

    return read


def _add_flag(group: argparse._ArgumentGroup, name: str, *short: str, default: str) -> None:
    """Adds the flag of a setting, which leaves nothing in the parsed arguments unless it is given."""
    group.add_argument(
        f"--{name}",
        *short,
        dest=name,
        metavar=settings.value_hint(name),
        default=argparse.SUPPRESS,
        help=f"{settings.setting_names()[name]} (default: {default})".replace("%", "%%"),
    )


def read_config(arguments: argparse.Namespace) -> tuple[Config, dict[str, settings.Setting]]:
    """Returns the config of `--config` and the flags, and the settings that were given with their sources.

    Raises:
      ConfigError: as `settings.read_file` and `settings.make_config` do.
      SystemExit: with code 0 after `--show-config`.
    """
    given = (settings.read_file(arguments.config) if arguments.config else {}) | read_given(arguments)
    config = settings.make_config(given)
    if arguments.show_config:
        app.show(settings.describe(config, given))
        sys.exit(ExitCode.DONE)
    return config, given


def read_given(arguments: argparse.Namespace) -> dict[str, settings.Setting]:
    """Returns the settings whose flags were given."""
    names = settings.setting_names()
    return {name: settings.parse_flag(name, text) for name, text in vars(arguments).items() if name in names}


def override(config: Config, arguments: argparse.Namespace) -> Config:
    """Returns the config of a run with the settings in place whose flags were given.

    Raises:
      ConfigError: as `settings.make_config` does.
    """
    given = read_given(arguments)
    parsed = settings.make_config(given)
    for name in given:
        section, field = name.split(".")
        value = getattr(getattr(parsed, section), field)
        config = config.model_copy(update={section: getattr(config, section).model_copy(update={field: value})})
    return config


def folder(text: str) -> storage.Folder:
    """Returns the folder that the text of a flag names, here or on s3://, for argparse.

    Raises:
      ArgumentTypeError: it is an address of another kind.
    """
    try:
        return storage.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
