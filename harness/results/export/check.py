"""Runs exported files on validation pictures in a fresh process: a conversion that ends well proves nothing."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_LIMIT_S = 900
_MOST_LOG_CHARS = 300
_PROGRAM = "harness.results.export.answering"
_NO_GPUS = {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}  # the training may still hold their memory


@dataclass(frozen=True)
class Answers:
    """What a file answers: probabilities, float32 [n, classes], and the milliseconds one picture takes."""

    chances: np.ndarray
    ms_a_picture: float


@dataclass(frozen=True)
class Failure:
    """Why a file gives no answers."""

    reason: str


def ask(folder: Path, names: Mapping[str, str], pictures: np.ndarray) -> dict[str, Answers | Failure]:
    """Returns what files answer, all asked by one process, or by another one after a file that ends it.

    Args:
      folder: where the process works.
      names: the path of each format's file, from that folder.
      pictures: uint8 [n, size, size, 3].
    """
    given = io.BytesIO()
    np.save(given, pictures)
    found: dict[str, Answers | Failure] = {}
    while waiting := [name for name in names if name not in found]:
        answered, end = _run(folder, [f"{name}={names[name]}" for name in waiting], given.getvalue())
        found |= answered
        if silent := [name for name in waiting if name not in answered]:
            found[silent[0]] = Failure(f"the process that ran it {end}")
    return found


def _run(folder: Path, words: list[str], given: bytes) -> tuple[dict[str, Answers | Failure], str]:
    """Runs the process; returns the answers that it gave, and how it ended."""
    parent = str(Path(__file__).parents[3])  # of the package: the process works in another folder
    environment = {**os.environ, **_NO_GPUS, "PYTHONPATH": os.pathsep.join([parent, os.environ.get("PYTHONPATH", "")])}
    try:
        done = subprocess.run(
            [sys.executable, "-m", _PROGRAM, *words],
            cwd=folder,
            env=environment,
            input=given,
            capture_output=True,
            timeout=_LIMIT_S,
            check=False,
            start_new_session=True,  # Ctrl-C is for the training, which ends well or kills it
        )
    except subprocess.TimeoutExpired as error:
        return _read(error.stdout or b""), f"had not ended after {_LIMIT_S} s"
    if done.returncode < 0:
        return _read(done.stdout), f"was ended by {signal.Signals(-done.returncode).name}"
    log = done.stderr.decode(errors="replace").strip()[-_MOST_LOG_CHARS:]
    return _read(done.stdout), f"ended with {done.returncode}: {log}"


def _read(output: bytes) -> dict[str, Answers | Failure]:
    """Reads the lines that are complete."""
    found: dict[str, Answers | Failure] = {}
    for line in output.split(b"\n")[:-1]:
        said = json.loads(line)
        is_failure = "error" in said
        found[said["format"]] = (
            Failure(said["error"]) if is_failure else Answers(np.array(said["chances"], np.float32), said["ms"])
        )
    return found
