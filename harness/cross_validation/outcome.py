"""What a cross-validation leaves: figures as JSON, out_of_fold.csv, suspects.csv, two pages, a run in TensorBoard."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np

from harness.base import files
from harness.cross_validation import board, fold_records, out_of_fold, page, tables
from harness.cross_validation.cross_validator import Answer
from harness.cross_validation.labels import build_command, neighbours, suspects
from harness.cross_validation.labels import page as labels_page
from harness.dataset.images.arrays import Array
from harness.dataset.records import tfrecord
from harness.dataset.records.encoding import decode_pixels
from harness.input import record_reader
from harness.results.verdict import Verdict
from harness.search.trials.claims import Claims

_ANSWERS, _FIGURES = "out_of_fold.csv", "figures.json"  # metrics.json would make a run of it


def as_values(answer: Answer, judged: Verdict) -> dict[str, object]:
    """Returns all of it as plain values for JSON."""
    question = answer.question
    return {
        **answer.evaluation.as_values(),
        "folds": question.num_folds,
        "repeats": question.num_repeats,
        "epochs": question.config.train.epochs,
        "settings": list(question.settings),
        "per_fold": [
            {"repeat": row.repeat, "fold": row.fold, "num_trained": row.num_trained, **row.evaluation.as_values()}
            for row in answer.folds
        ],
        "learning_curve": [dataclasses.asdict(point) for point in answer.curve],
        "against": None if answer.other is None else answer.other.as_values(),
        "difference": None if answer.contrast is None else dataclasses.asdict(answer.contrast),
        "num_suspects": len(answer.suspects),
        "seconds": answer.seconds,
        "verdict": dataclasses.asdict(judged),
    }


def write(answer: Answer, judged: Verdict) -> None:
    """Writes all files of the folder; several processes that have worked on it may come here at once.

    Raises:
      OSError: they cannot be written.
    """
    folder = answer.question.folder
    answers = {_ANSWERS: answer.found}
    if answer.other_found is not None:
        answers[f"out_of_fold-{list(answer.question.settings)[1]}.csv"] = answer.other_found
    with Claims(folder, lambda: None).proposing():
        for name in (*answers, tables.SUSPECTS, tables.SUSPECTS_PAGE, tables.REPORT, _FIGURES):
            files.remove_unfinished(folder / name)
        for name, found in answers.items():
            out_of_fold.write(folder / name, found)
        suspects.write(folder / tables.SUSPECTS, answer.suspects)
        files.write_text(folder / tables.SUSPECTS_PAGE, _render_suspects(answer))
        files.write_text(folder / tables.REPORT, page.render(answer, judged))
        board.write(folder, answer, judged)
        files.write_json(folder / _FIGURES, as_values(answer, judged))


def _render_suspects(answer: Answer) -> str:
    question, pictures = answer.question, answer.found.pictures
    split = fold_records.open_all(question.data, question.records)

    def read(places: Sequence[int]) -> Iterator[tuple[int, Array]]:
        keys, expected = (tfrecord.IMAGE,), split.expected
        for place, (content,) in record_reader.read_examples(split.shards, np.array(places), expected, keys):
            yield place, decode_pixels(cast(bytes, content), expected.encoding, expected.image_size)

    known = neighbours.Pictures(pictures.paths, pictures.labels, pictures.members, pictures.class_names, read)
    return labels_page.render(
        labels_page.Facts(
            cases=neighbours.collect(answer.suspects, known),
            num_suspects=len(answer.suspects),
            num_pictures=len(pictures.paths),
            class_names=pictures.class_names,
            records=str(question.records),
            identity=question.data.digest,
            command=build_command.make(question.data, question.records, question.config.data),
        )
    )
