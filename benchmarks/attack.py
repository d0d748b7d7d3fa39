"""Attacks the project with hostile pictures, records and names for as long as you like, and keeps what fails.

    python benchmarks/attack.py pictures --seconds 600
    python benchmarks/attack.py records --count 5000 --seed 1
    python benchmarks/attack.py names --keep FOLDER

A variant follows from its number alone. What is refused as it should be is no failure; an error of another kind, a
process that dies, takes too much memory or hangs is one. Its files are kept, made smaller if an error allows it, with
what was seen beside them. The exit code is 1 if anything failed. The files in attacks/ say what is tried.
"""

import argparse
import importlib
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
import traceback
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

_LIMIT_S = 60.0  # for one variant; the first one imports libraries as well
_SHRINKING_S = 10.0  # for making one that failed smaller
_MOST_MEMORY_BYTES = 8 << 30  # of address space: libraries reserve much of it


def main() -> int:
    """Runs one kind of attack; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("pictures", "records", "names"))
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to go on (default: 60)")
    parser.add_argument("--count", type=int, help="how many variants to try, however long that takes")
    parser.add_argument("--seed", type=int, default=0, help="number of the first variant (default: 0)")
    parser.add_argument("--keep", type=Path, default=Path("attack"), help="folder of what fails (default: attack)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        run = _Run(arguments.kind, arguments.keep, Path(place))
        num_tried = run.go_on(arguments.seed, arguments.count, arguments.seconds)
    kept = f"; see {arguments.keep}" if run.num_failed else ""
    print(f"{arguments.kind}: {num_tried:,} variants from number {arguments.seed} on, {run.num_failed} failed{kept}")
    return int(run.num_failed > 0)


class _Run:
    """One attack: variants are tried in a process that may die, which this one watches."""

    def __init__(self, kind: str, keep: Path, place: Path) -> None:
        self._kind, self._keep, self._place = kind, keep, place
        self.num_failed = 0

    def go_on(self, first: int, count: int | None, seconds: float) -> int:
        """Tries variants from number `first` on, `count` of them or for so many seconds; returns how many."""
        number, started = first, time.monotonic()
        with tqdm(total=count, desc=self._kind, unit=" variants", delay=2, leave=False, disable=None) as bar:
            while number - first < count if count else time.monotonic() - started < seconds:
                ours, theirs = multiprocessing.Pipe()
                child = multiprocessing.get_context("spawn").Process(
                    target=_attempt_all, args=(self._kind, number, theirs, self._place)
                )
                child.start()
                theirs.close()
                while number - first < count if count else time.monotonic() - started < seconds:
                    error, files = self._wait(child, ours)
                    number += 1
                    bar.update()
                    if error:
                        self._note(number - 1, error, files)
                    if not child.is_alive():
                        break
                ours.close()  # by which a child that is well sees that it is to end
                child.join(_LIMIT_S)
                child.kill()
        return number - first

    def _wait(self, child: BaseProcess, pipe: Connection) -> tuple[str, dict[str, bytes]]:
        """Returns what was wrong with the next variant, "" for nothing, and the files to keep, if they are not its own.

        A child that gave no answer is ended.
        """
        try:
            if pipe.poll(_LIMIT_S):
                return pipe.recv()
            error = f"no answer in {_LIMIT_S:g} s"
        except EOFError:
            error = "the process died"
            child.join(_LIMIT_S)
        child.kill()
        child.join()
        return f"{error} (exit code {child.exitcode})", {}

    def _note(self, number: int, error: str, files: dict[str, bytes]) -> None:
        self.num_failed += 1
        _write(self._keep / f"{self._kind}-{number}", files or _find(self._kind).make(number))
        (self._keep / f"{self._kind}-{number}.txt").write_text(error, encoding="utf-8", errors="backslashreplace")
        tqdm.write(f"{self._kind} {number}: {error.strip().splitlines()[-1][:150]}", file=sys.stderr)


def _find(kind: str) -> ModuleType:
    """Returns the file in attacks/ with `make` and `attempt` of a kind; only it imports what it needs."""
    return importlib.import_module(f"attacks.{kind}")


def _attempt_all(kind: str, number: int, pipe: Connection, place: Path) -> None:
    """Tries one variant after the other, and sends what was wrong with each."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries tell there what they think of damaged files
    attack = _find(kind)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
    while True:
        files = attack.make(number)
        error = _attempt(attack, place / str(number), files)
        found: tuple[str, dict[str, bytes]] = ("", {})
        if error:
            smaller = _shrink(attack, place / str(number), files, error)
            found = ("".join(traceback.format_exception(error)), smaller)
        try:
            pipe.send(found)
        except BrokenPipeError:
            return
        number += 1


def _attempt(attack: ModuleType, folder: Path, files: dict[str, bytes]) -> Exception | None:
    """Returns what was wrong with a variant."""
    try:
        _write(folder, files)
        attack.attempt(folder)
    except Exception as error:
        return error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None


def _shrink(attack: ModuleType, folder: Path, files: dict[str, bytes], error: Exception) -> dict[str, bytes]:
    """Returns the files without as many of their bytes as the same error does without, in the time there is."""
    end, kind = time.monotonic() + _SHRINKING_S, _place_of(error)
    for name in sorted(files):
        size = len(files[name]) // 2
        while size:
            start = 0
            while start < len(files[name]):
                if time.monotonic() > end:
                    return files
                content = files[name][:start] + files[name][start + size :]
                if _place_of(_attempt(attack, folder, {**files, name: content})) == kind:
                    files = {**files, name: content}
                else:
                    start += size
            size //= 2
    return files


def _place_of(error: Exception | None) -> tuple[object, ...]:
    """The kind of an error and the line that raised it."""
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    return type(error), *((frames[-1].filename, frames[-1].lineno) if frames else ())


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


if __name__ == "__main__":
    raise SystemExit(main())
