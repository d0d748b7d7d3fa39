"""Finished runs made by hand for tests: what each said of its validation pictures, and the files it left."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from harness.config import settings
from harness.config.settings import Setting
from harness.results import metrics, predictions
from harness.results.predictions import Prediction
from harness.runs.workdir import Workdir

NAMES = ("happy", "sad")
RECORDS = "a1" * 32


def rows_of(
    chances: Sequence[float], *, groups: Sequence[str] | None = None, label: str = ""
) -> tuple[Prediction, ...]:
    """Answers by the probability of happy; the first half is happy and the rest sad, unless all are of one label."""
    rows = []
    for index, chance in enumerate(chances):
        known = label or NAMES[2 * index >= len(chances)]
        own = chance if known == "happy" else 1 - chance
        group = groups[index] if groups else str(index)
        predicted = "happy" if chance > 0.5 else "sad"
        rows.append(Prediction(f"{known}/{index}.png", group, known, predicted, max(chance, 1 - chance), own))
    return tuple(rows)


def start_run(root: Path, *, records: str = RECORDS, **given: object) -> Workdir:
    """A run that has begun; settings are given as section__name."""
    workdir = Workdir(root)
    root.mkdir(parents=True)
    values = {name.replace("__", "."): Setting(value, "a test") for name, value in given.items()}
    workdir.config.write_text(settings.as_yaml(settings.make_config(values)))
    environment = {"harness": "0.1.0", "records": "tfrecords/faces", "records_sha256": records}
    in_force = {"precision": "float32", "batch": 32, "engine": "host"}
    workdir.environment.write_text(json.dumps({**environment, "in_force": in_force}))
    return workdir


def write_run(
    root: Path,
    chances: Sequence[float],
    *,
    groups: Sequence[str] | None = None,
    records: str = RECORDS,
    test: Sequence[float] = (),
    test_groups: Sequence[str] | None = None,
    **given: object,
) -> Path:
    """A run that has finished with these answers; its model has 1.5 MB and 1,234 parameters."""
    workdir = start_run(root, records=records, **given)
    rows = rows_of(chances, groups=groups)
    predictions.write(workdir.predictions, rows)
    on_test = _measure(test, rows_of(test, groups=test_groups)) if test else None
    run = {"num_parameters": 1234, "epochs": 9, "best_epoch": 7, "test": on_test, "verdict": {"level": "not shown"}}
    workdir.metrics.write_text(json.dumps({**_measure(chances, rows), **run}))
    workdir.export.mkdir()
    workdir.keras_model.write_bytes(bytes(1_500_000))
    return root


def _measure(chances: Sequence[float], rows: Sequence[Prediction]) -> dict[str, object]:
    labels = np.array([NAMES.index(row.label) for row in rows])
    both = np.array([[chance, 1 - chance] for chance in chances])
    return dataclasses.asdict(metrics.measure(labels, both, NAMES, groups=[row.group for row in rows]))
