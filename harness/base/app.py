"""What the commands share: flags made from the schema, logging, stop signals, and errors as one sentence.

It imports no TensorFlow: `--help` and a mistyped flag answer at once.
"""

import argparse
import gc
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness import __version__
from harness.base import storage, tf_import
from harness.base.errors import ExitCode, HarnessError
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
log = logging.getLogger("harness")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint names the nearest flag."""

    def error(self, message: str):
        """Prints one sentence, and exits with the code of a usage error."""
        unknown = message.removeprefix("unrecognized arguments: ").split()[0].split("=")[0]
        if message.startswith("unrecognized arguments: --"):
            flags = {flag.removeprefix("--"): None for flag in self._option_string_actions}
            message = settings.unknown_name(unknown.removeprefix("--"), flags, "flag")
        sys.stderr.write(f"error: {message}\nusage: {self.prog} --help shows every flag.\n")
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
        print(settings.describe(config, given))
        sys.exit(ExitCode.DONE)
    return config, given


def start_logging(*, quiet: bool = False, worker: int | None = None) -> None:
    """Sends log lines to stderr, warnings and errors with their level, and those of a worker with its index."""
    name = "" if worker is None else f"worker {worker}: "

    class _Format(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            level = "" if record.levelno <= logging.INFO else f"{record.levelname.lower()}: "
            return name + level + record.getMessage()

    handler = logging.StreamHandler()
    handler.setFormatter(_Format())
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(logging.WARNING if quiet else logging.INFO)


def import_tensorflow() -> None:
    """Imports TensorFlow for the first time without its start-up lines; shows them if the import fails."""
    tf_import.import_tensorflow()


def folder(text: str) -> storage.Folder:
    """Returns the folder that the text of a flag names, here or on s3://, for argparse.

    Raises:
      ArgumentTypeError: it is an address of another kind.
    """
    try:
        return storage.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None


def catch_stop_signals() -> Callable[[], str | None]:
    """Turns SIGINT, SIGTERM and USR2 into an answer to the question "was I asked to stop, and by what?".

    The work in progress asks at points where it can save. A second SIGINT stops at once. The handlers stay until the
    process ends, so that a signal that comes late does not turn a finished run into a failed one.
    """
    received: list[str] = []

    def receive(number: int, frame: object) -> None:
        if number == signal.SIGINT and received:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, receive)
    return lambda: received[0] if received else None


def run(main: Callable[[Sequence[str]], int]) -> int:
    """Runs a command; returns its exit code. An error of the user's is one sentence, only a bug shows a traceback."""
    code = _run(main)
    if storage.was_used():
        storage.leave(code)
    return code


def _run(main: Callable[[Sequence[str]], int]) -> int:
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # a file's name may be no valid text
    gc.freeze()  # what was imported stays to the end: to search it for garbage takes 30 ms each time
    try:
        return int(main(sys.argv[1:]))
    except HarnessError as error:
        sys.stderr.write(f"error: {error}\n" if error.exit_code != ExitCode.INTERRUPTED else f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("stopped by Ctrl-C; nothing half-finished carries a final name.\n")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except MemoryError:
        return _out_of_memory("the machine's memory")
    except Exception as error:
        if type(error).__name__ == "ResourceExhaustedError":
            return _out_of_memory(str(error).splitlines()[0][:200])
        traceback.print_exc()
        sys.stderr.write("This is a fault of harness, not of yours: please report it with the lines above.\n")
        return ExitCode.BUG


def _out_of_memory(what: str) -> int:
    sys.stderr.write(f"error: out of memory: {what}. Use a smaller --batch-size or --data.cache none.\n")
    return ExitCode.MEMORY
