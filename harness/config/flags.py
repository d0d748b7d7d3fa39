"""Makes the flags of a command line from the schema, and a Config from a config file and those flags.

It imports no TensorFlow: `--help` and a mistyped flag answer at once.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
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
}


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint names the nearest flag."""

    def error(self, message: str) -> NoReturn:
        """Prints one sentence, and exits with the code of a usage error."""
        unknown = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
        if message.startswith("unrecognized arguments: --"):
            flags = {flag.removeprefix("--"): None for flag in self._option_string_actions}
            message = settings.unknown_name(unknown.removeprefix("--"), flags, "flag")
        app.say(f"error: {visible(message)}\nusage: {self.prog} --help shows every flag.\n")
        sys.exit(ExitCode.USAGE)


def make_parser(
    module: str, description: str, *, sections: Sequence[str], seed: str | None = None
) -> argparse.ArgumentParser:
    """Returns a parser with one flag for each setting of `sections`, and the short ones people type.

    Args:
      module: the command's module, such as "train".
      description: the first lines of its help.
      sections: the config sections the command reads.
      seed: the setting that `--seed` stands for.
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
        for name, text in settings.setting_names().items():
            if name.split(".")[0] == section and name != "tune.space":
                flags = [f"--{name}"] + ([short[name]] if name in short else [])
                group.add_argument(
                    *flags,
                    dest=name,
                    metavar=settings.value_hint(name),
                    default=argparse.SUPPRESS,
                    help=f"{text} (default: {settings.default_text(name)})".replace("%", "%%"),
                )
    return parser


def add_follow_links(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of `data.follow_links`, by which a command that reads pictures walks into linked folders."""
    parser.add_argument(
        "--data.follow_links",
        dest="follow_links",
        type=_parse_bool,
        default=None,
        metavar="BOOL",
        help=f"{settings.setting_names()['data.follow_links']} (default: as the run)",
    )


def _parse_bool(text: str) -> bool:
    value = settings.parse_flag("data.follow_links", text).value
    if not isinstance(value, bool):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return value


def read_config(arguments: argparse.Namespace) -> tuple[Config, dict[str, settings.Setting]]:
    """Returns the config of `--config` and the flags, and the settings that were given with their sources.

    Raises:
      ConfigError: as `settings.read_file` and `settings.make_config` do.
      SystemExit: with code 0 after `--show-config`.
    """
    given = settings.read_file(arguments.config) if arguments.config else {}
    for name, text in vars(arguments).items():
        if name in settings.setting_names():
            given[name] = settings.parse_flag(name, text)
    config = settings.make_config(given)
    if arguments.show_config:
        app.show(settings.describe(config, given))
        sys.exit(ExitCode.DONE)
    return config, given


def folder(text: str) -> storage.Folder:
    """Returns the folder that the text of a flag names, here or on s3://, for argparse.

    Raises:
      ArgumentTypeError: it is an address of another kind.
    """
    try:
        return storage.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
