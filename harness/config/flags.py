"""Makes the flags of a command line from the schema, and a Config from a config file and those flags.

It imports no TensorFlow: `--help` and a mistyped flag answer at once.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

from harness import __version__
from harness.base import app, json_files, storage
from harness.base.errors import ConfigError, ExitCode
from harness.base.text import as_word, visible
from harness.config import settings
from harness.config.hints.help_page import HelpParser
from harness.config.hints.idle_settings import find_idle
from harness.config.hints.spelling import explain_unknown, find_meant
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
_PRINTING = ("--csv", "--json")
_FILE_ONLY = ("tune.space", "tune.start")
# Those of data and runtime that decide something in a build, and in a build alone; all others of these sections do
# nothing there.
_OF_BOTH = ("data.images", "data.records")
_OF_BUILD = ("data.labels", "data.classes", "data.follow_links", "runtime.workers")
_BUILD = "build_records"
# The command that takes the settings of a section, for whoever gives one to another command.
_COMMAND_OF = {**dict.fromkeys(("clean", "split", "records"), _BUILD), "tune": "tune"}
# What people give first, in the order of --help, which shows so many of those that a command takes.
_FIRST = (
    *("data.images", "data.records", "data.labels", "data.classes", "split.validation", "split.test", "split.group_by"),
    *("records.image_size", "records.fit", "runtime.workers", "tune.folder", "tune.trials", "tune.slots", "train.run"),
    *("runtime.gpus", "train.epochs", "train.batch_size", "model.name", "optim.learning_rate", "train.precision"),
    "train.seed",
)
_NUM_FIRST = 10
# The settings of a run that may be others where its model reads picture files.
OF_READING = ("data.follow_links", "clean.min_side", "clean.max_pixels", "clean.max_bytes", "clean.salvaged")


class _Parser(HelpParser):
    """A parser whose complaint names the nearest flag, and which takes names that begin with a single dash."""

    def parse_args(self, args: Sequence[str], namespace: argparse.Namespace | None = None) -> argparse.Namespace:  # type: ignore[override]
        """Returns the values of the flags; the one after a flag that takes a value is that, as in `--run -x`."""
        self._given = list(self._join_values(args))
        return super().parse_args(self._given, namespace)

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
        words = message.removeprefix("unrecognized arguments: ").split()
        if message.startswith("unrecognized arguments: --"):
            if (name := words[0].split("=")[0].removeprefix("--")) in _FILE_ONLY:
                app.say(f"error: {name} is no flag: state it in the config file, as configs/tune.yaml does.\n")
                sys.exit(ExitCode.USAGE)
            message = self._explain_unknown(name)
        elif message.startswith("unrecognized arguments: "):
            message = f"'{words[0]}' belongs to no flag. {self._explain_word(words[0])}"
            if (run := self._option_string_actions.get("--run")) and run.help != argparse.SUPPRESS:
                message += f" A run folder is given as --run {as_word(words[0])}"
        app.say(f"error: {visible(message)}\nusage: {self.prog} --help-all shows every flag.\n")
        sys.exit(ExitCode.USAGE)

    def _explain_word(self, word: str) -> str:
        """Returns where a word belongs that no flag takes: to one that prints, or to the end of a path."""
        place = self._given.index(word) if word in self._given else 0
        before = self._given[place - 1] if place else "-"
        if before in _PRINTING:
            return f"{before} prints to the standard output. To have that in a file: {before} > {as_word(word)}"
        begin = before.partition("=")[2] if before.startswith("--") else before
        for end in range(place + 1, len(self._given) + 1):
            path = " ".join((begin, *self._given[place:end]))
            if begin and begin != "-" and os.path.lexists(path):
                return f"A path with blanks goes in quotes: {as_word(path)}"
        return "A flag takes one word: --gpus 0,1 or --model.widths '[16, 32]'."

    def _explain_unknown(self, name: str) -> str:
        """Returns what to say of a flag that is not here: whose it is, or the nearest one."""
        setting, known = _find_setting(name), self._option_string_actions
        short = next((flag for flag, of in SHORT_FLAGS.items() if of == setting), "")
        if short in known and ("." not in name or f"--{setting}" not in known):
            return f"there is no flag '{name}'. Did you mean '{short.removeprefix('--')}'?"
        if setting in settings.setting_names() and setting not in _FILE_ONLY and f"--{setting}" not in known:
            said = "" if setting == name else f" ({setting})"
            return f"--{name}{said} is a setting of {_name_command(setting)}: {self.prog} does not take it."
        return explain_unknown(name, [flag.removeprefix("--") for flag in known if flag.startswith("--")], "flag")


def _find_setting(name: str) -> str:
    """Returns the setting that a flag means which is not here, or its name."""
    if f"--{name}" in SHORT_FLAGS:
        return SHORT_FLAGS[f"--{name}"]
    known, field = settings.setting_names(), name.rsplit(".", maxsplit=1)[-1].replace("-", "_")
    if name in known:
        return name
    alike = [other for other in known if other.split(".")[1] == field]
    if alike:
        return alike[0] if len(alike) == 1 else name
    return find_meant(name) or name


def _name_command(setting: str) -> str:
    """Returns the commands whose flag a setting is."""
    if setting in _OF_BOTH:
        return f"python -m harness.{_BUILD} and harness.train"
    command = _BUILD if setting in _OF_BUILD else _COMMAND_OF.get(setting.split(".", maxsplit=1)[0], "train")
    return f"python -m harness.{command}"


def _is_taken(setting: str, module: str) -> bool:
    """Whether a setting of a section that a command reads decides anything in it."""
    if setting in _FILE_ONLY:
        return False
    if module == _BUILD:
        return setting in (*_OF_BOTH, *_OF_BUILD) or setting.split(".", maxsplit=1)[0] not in ("data", "runtime")
    return setting not in _OF_BUILD


def make_parser(
    module: str,
    description: str,
    *,
    sections: Sequence[str],
    seed: str | None = None,
    of_run: Sequence[str] = (),
    others: Sequence[str] = (),
    hidden: Sequence[str] = (),
) -> argparse.ArgumentParser:
    """Returns a parser with one flag for each setting of `sections` that the command uses, and the short ones.

    Args:
      module: the command's module, such as "train".
      description: the first lines of its help.
      sections: the config sections the command reads.
      seed: the setting that `--seed` stands for.
      of_run: settings that a command on a run takes from that run, unless their flags are given.
      others: single settings of sections that are not read otherwise.
      hidden: settings that the command refuses by a sentence of its own; no help shows them.
    """
    parser = _Parser(
        prog=f"python -m harness.{module}",
        usage=f"python -m harness.{module} [--config FILE] [--SETTING VALUE ...]" if sections else None,
        description=description,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--version", action="version", version=f"harness {__version__}", help="print the version, and stop"
    )
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
    taken = [name for name in settings.setting_names() if name.split(".")[0] in sections and _is_taken(name, module)]
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name in (*taken, *others):
        section = name.split(".")[0]
        if section not in groups:
            groups[section] = parser.add_argument_group(section)
        flags = [short[name]] if name in short else []
        _add_flag(groups[section], name, *flags, default=None if name in hidden else settings.default_text(name))
    parser.fold([name for name in _FIRST if name in (*taken, *others) and name not in hidden][:_NUM_FIRST])
    return parser


def whole(least: int, most: int) -> Callable[[str], int]:
    """Returns what reads a whole number from `least` to `most` out of the text of a flag, for argparse."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"it is {visible(text)!r}, expected a whole number from {least} to {most}")
        return int(text)

    return read


def _add_flag(group: argparse._ArgumentGroup, name: str, *short: str, default: str | None) -> None:
    """Adds the flag of a setting, which leaves nothing in the parsed arguments unless it is given; None: no help."""
    said = settings.setting_names()[name]
    is_told = default == "null" and "null: " in said
    told = said.replace("null: ", "null (default): ") if is_told else f"{said} (default: {default})"
    group.add_argument(
        f"--{name}",
        *short,
        dest=name,
        metavar=settings.value_hint(name),
        default=argparse.SUPPRESS,
        help=argparse.SUPPRESS if default is None else told.replace("%", "%%"),
    )


def read_config(
    arguments: argparse.Namespace, *, fixed: Mapping[str, str] = MappingProxyType({})
) -> tuple[Config, dict[str, settings.Setting]]:
    """Returns the config of `--config` and the flags, and the settings that were given with their sources.

    Args:
      arguments: of a parser of `make_parser`.
      fixed: settings that the command sets itself, with their values as a flag has them; the config has them as given.

    Raises:
      ConfigError: as `settings.read_file`, `settings.make_config` and `refuse_idle` do.
      SystemExit: with code 0 after `--show-config`.
    """
    stated = settings.read_file(arguments.config) if arguments.config else {}
    typed = read_given(arguments)
    config = settings.make_config(stated | typed)
    refuse_idle(stated, typed, fixed)
    if arguments.show_config:
        app.show(settings.describe(config, stated | typed))
        sys.exit(ExitCode.DONE)
    return config, stated | typed


def refuse_idle(
    stated: Mapping[str, settings.Setting],
    typed: Mapping[str, settings.Setting],
    fixed: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Refuses settings that do nothing where they stand: whoever set them expects something of them.

    A flag may turn off what a file sets, and a file may keep what a switch in it turns off (augment.enabled). A file of
    every setting, as each run folder has one, sets nothing in particular.

    Raises:
      ConfigError: a flag does nothing in all that is given, or a setting of the file in the file.
    """
    forced = {name: settings.parse_flag(name, value) for name, value in fixed.items()}
    config = settings.make_config({**stated, **typed, **forced})
    found = list(find_idle(config, typed, searched=config.tune.space))
    if not found:
        with contextlib.suppress(settings.WrongValue):  # without the flags it may be wrong
            alone = settings.make_config(stated)
            if not _states_all(stated, alone):
                in_file = find_idle(alone, stated.keys() - typed.keys(), searched=alone.tune.space)
                still = {idle.name for idle in find_idle(config, stated, searched=config.tune.space)}
                found = [idle for idle in in_file if idle.name in still and not idle.need.is_switch]
    if found:
        name, given = found[0].name, {**stated, **typed}[found[0].name]
        raise ConfigError(f"{given.source}: {name} is {json_files.show(given.value)}, {found[0].describe(fixed)}.")


def _states_all(stated: Mapping[str, settings.Setting], config: Config) -> bool:
    """Whether a file states all of a training, as the files do that harness writes itself; null is written nowhere."""
    sections = ("augment", "model", "optim", "train", "runtime")
    values = {f"{section}.{name}": value for section in sections for name, value in getattr(config, section)}
    return {name for name, value in values.items() if value is not None} <= stated.keys()


def refuse_beside(parser: argparse.ArgumentParser, arguments: argparse.Namespace, one: str, *others: str) -> None:
    """Refuses flags of the command that do nothing beside another one.

    Args:
      parser: has their defaults.
      arguments: of the parser.
      one: the flag with which the others do nothing.
      others: those.

    Raises:
      ConfigError: both were given.
    """

    def is_given(flag: str) -> bool:
        name = flag.removeprefix("--").replace("-", "_")
        return bool(getattr(arguments, name) != parser.get_default(name))

    if is_given(one) and (idle := next(filter(is_given, others), None)):
        raise ConfigError(f"{idle} does nothing beside {one}. Leave one of them out.")


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
