"""What can go wrong for a user: one exception and one exit code for each kind.

An error's text is one or two sentences: what happened with which value and file, what was expected, what to do next.
A bug of harness is none of these: it ends in a traceback and exit code 1.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of every command."""

    DONE = 0
    BUG = 1
    USAGE = 2
    DATA = 3
    MEMORY = 4
    CHECKPOINT = 5
    CLUSTER = 6
    INTERRUPTED = 75  # BSD's EX_TEMPFAIL: a scheduler may start the same command again


class HarnessError(Exception):
    """A failure a user can act on; its text is shown without a traceback."""

    exit_code = ExitCode.BUG


class ConfigError(HarnessError):
    """A flag or a config file that cannot be used."""

    exit_code = ExitCode.USAGE


class DivergedError(ConfigError):
    """A training whose figures are no finite numbers any more: its settings do not go together."""


class DataError(HarnessError):
    """Pictures or records that cannot be used."""

    exit_code = ExitCode.DATA


class MemoryLimitError(HarnessError):
    """Work that does not fit into memory."""

    exit_code = ExitCode.MEMORY


class CheckpointError(HarnessError):
    """A run folder, checkpoint or exported model that cannot be used."""

    exit_code = ExitCode.CHECKPOINT


class ClusterError(HarnessError):
    """Processes that cannot train together, or no longer do."""

    exit_code = ExitCode.CLUSTER


class InterruptedRun(HarnessError):
    """A run that was asked to stop, and saved itself first."""

    exit_code = ExitCode.INTERRUPTED
