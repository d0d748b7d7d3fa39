"""The trained model as files that need no harness: written, run in a fresh process, and compared before they count.

Exports are in float32 whatever the training precision was, and take raw pixels: float32 [batch, size, size, 3] in
[0, 255], RGB. model.keras is written by every training; the other formats are made from it, by a training that ends or
later.
"""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from harness.base import files
from harness.base.app import MEMORY_ADVICE
from harness.base.errors import CheckpointError, explain
from harness.config.preparation import Preparation
from harness.config.schema import Config
from harness.models.network import build_model
from harness.results.export import check, exported, keras_files
from harness.results.export.check import Answers, Failure
from harness.results.export.exported import KERAS, ExportedFile, Exports, LeftOut
from harness.results.export.formats import FORMATS, Source, Unsuitable
from harness.results.export.signature import Signature
from harness.runs.workdir import Workdir

NUM_COMPARED = 32  # validation pictures that each file is asked about
_BATCH = 32
# The same weights in another precision give other probabilities; in the same precision only other sums' orders.
_TOLERANCE = {"float32": 1e-4, "mixed_bfloat16": 0.1, "mixed_float16": 0.02}


@dataclass(frozen=True)
class Probe:
    """Validation pictures that exported files are asked about: uint8 [n, size, size, 3], and their labels, int [n]."""

    pictures: np.ndarray
    labels: np.ndarray


def export_keras(
    model: keras.Model,
    config: Config,
    workdir: Workdir,
    *,
    class_names: tuple[str, ...],
    preparation: Preparation,
    precision: str,
    pictures: np.ndarray,
) -> tuple[keras.Model, float]:
    """Writes model.keras and signature.json, reads the model back, and compares it with the trained one.

    Args:
      model: the trained model with its best weights.
      config: its section `model` is used.
      workdir: the run folder.
      class_names: the class of each label.
      preparation: how the pictures were prepared that it was trained on.
      precision: the precision the model was trained in.
      pictures: to compare on, uint8 [n, size, size, 3].

    Returns:
      The model in float32, and the largest difference of a probability.

    Raises:
      CheckpointError: the exported file does not give the probabilities of the trained model.
    """
    plain = build_model(
        config.model,
        num_classes=len(class_names),
        image_size=preparation.image_size,
        seed=config.train.seed,
        precision="float32",
    )
    plain.set_weights(model.get_weights())
    keras_files.save(plain, workdir.keras_model)
    pixels = pictures.astype(np.float32)
    reread = np.asarray(keras_files.load(workdir.keras_model)(pixels, training=False))
    difference = float(np.abs(reread - np.asarray(model(pixels, training=False))).max())
    if not difference <= _TOLERANCE[precision]:
        raise _differs(workdir, difference, _TOLERANCE[precision])
    files.write_json(workdir.signature, asdict(Signature(class_names, **asdict(preparation))))
    return plain, difference


def _differs(workdir: Workdir, difference: float, tolerance: float) -> CheckpointError:
    shown = exported.describe_difference(difference)
    return CheckpointError(
        f"{workdir.keras_model} gives probabilities that differ by {shown} from the trained model's; expected at most "
        f"{tolerance}. The checkpoints in {workdir.best} are unharmed."
    )


def _answer(model: keras.Model, pictures: np.ndarray) -> np.ndarray:
    """Returns what a model answers on CPUs, as the fresh process does: GPUs may round the factors of products."""
    parts = [pictures[start : start + _BATCH] for start in range(0, len(pictures), _BATCH)]
    with tf.device("/cpu:0"):
        return np.concatenate([np.asarray(model(part.astype(np.float32), training=False)) for part in parts])


def export_formats(source: Source, workdir: Workdir, formats: Sequence[str], probe: Probe) -> Exports:
    """Writes the model in further formats; each is left behind if a fresh process gets the right answers from it.

    Returns:
      What became of model.keras and of these formats; export.json says it too, beside what it said of others.

    Raises:
      CheckpointError: model.keras does not give the probabilities of the trained model there.
      OSError: a file cannot be written.
    """
    if not formats:
        return Exports()
    with _make_room(workdir) as room:
        left_out = [LeftOut(name, reason) for name in formats if (reason := _write(source, name, room))]
        written = [name for name in formats if name not in [item.format for item in left_out]]
        paths = {KERAS: os.path.relpath(workdir.keras_model, room), **{name: FORMATS[name].file for name in written}}
        answers = check.ask(room, paths, probe.pictures)
        stored, chances = _judge_keras(answers[KERAS], _answer(source.answering, probe.pictures), workdir, probe)
        found = [_judge(name, answers[name], chances, room, probe) for name in written]
        for item in found:
            if isinstance(item, ExportedFile):
                _publish(room / item.file, workdir.export / item.file)
        left_out += [item for item in found if isinstance(item, LeftOut)]
        for item in left_out:
            _remove(workdir.export / FORMATS[item.format].file)
    exports = Exports((stored, *(item for item in found if isinstance(item, ExportedFile))), tuple(left_out))
    exported.write(workdir, exported.read(workdir).renew(exports))
    return exports


@contextmanager
def _make_room(workdir: Workdir) -> Iterator[Path]:
    """Yields a folder beside the exports, which is removed with what is left in it."""
    room = workdir.export / f".tmp-{os.getpid()}"
    room.mkdir(parents=True)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _write(source: Source, name: str, room: Path) -> str:
    """Writes a format; returns why it could not be, or ""."""
    path = room / FORMATS[name].file
    try:
        FORMATS[name].write(source, path)
    except Unsuitable as error:
        return str(error)
    except Exception as error:  # converters fail in every way
        if explain(error, memory_advice=MEMORY_ADVICE):
            raise
        return f"its conversion failed: {' '.join(str(error).split())[:200] or type(error).__name__}"
    return ""


def _judge_keras(
    answers: Answers | Failure, expected: np.ndarray, workdir: Workdir, probe: Probe
) -> tuple[ExportedFile, np.ndarray]:
    """Returns the figures of model.keras, and its probabilities, which those of all others are compared with."""
    if isinstance(answers, Failure):
        raise CheckpointError(f"{workdir.keras_model} cannot be used by another process: {answers.reason}")
    found = _measure(KERAS, workdir.keras_model, answers, expected, probe=probe, tolerance=_TOLERANCE["float32"])
    if not found.difference <= found.tolerance:
        raise _differs(workdir, found.difference, found.tolerance)
    return found, answers.chances


def _judge(
    name: str, answers: Answers | Failure, expected: np.ndarray, room: Path, probe: Probe
) -> ExportedFile | LeftOut:
    """Returns the figures of a file, or why it does not count."""
    if isinstance(answers, Failure):
        return LeftOut(name, f"it cannot be used: {answers.reason}")
    form = FORMATS[name]
    found = _measure(name, room / form.file, answers, expected, probe=probe, tolerance=form.tolerance)
    if not found.difference <= form.tolerance:
        shown = exported.describe_difference(found.difference)
        return LeftOut(
            name,
            f"its probabilities differ by {shown} from those of model.keras, expected at most {form.tolerance}; it "
            f"takes {found.flips} of {found.num_pictures} pictures for another class",
        )
    before = _share_right(expected, probe.labels)
    if form.most_lost is not None and found.accuracy < before - form.most_lost:
        return LeftOut(
            name,
            f"its accuracy is {found.accuracy:.3f} on {found.num_pictures} validation pictures, where that of "
            f"model.keras is {before:.3f}; expected at most {form.most_lost} less",
        )
    return found


def _measure(
    name: str, path: Path, answers: Answers, expected: np.ndarray, *, probe: Probe, tolerance: float
) -> ExportedFile:
    return ExportedFile(
        format=name,
        file=path.name,
        num_bytes=sum(part.stat().st_size for part in _list_files(path)),
        num_pictures=len(expected),
        difference=float(np.abs(answers.chances - expected).max()),
        tolerance=tolerance,
        flips=int((answers.chances.argmax(axis=1) != expected.argmax(axis=1)).sum()),
        accuracy=_share_right(answers.chances, probe.labels),
        ms_a_picture=answers.ms_a_picture,
    )


def _share_right(chances: np.ndarray, labels: np.ndarray) -> float:
    return float((chances.argmax(axis=1) == labels).mean())


def _list_files(path: Path) -> list[Path]:
    return [part for part in path.rglob("*") if part.is_file()] if path.is_dir() else [path]


def _publish(made: Path, target: Path) -> None:
    """Gives what was made its name, in the place of an earlier one."""
    files.sync(*_list_files(made))
    _remove(target)
    made.rename(target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
