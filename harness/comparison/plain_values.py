"""A comparison as plain values for JSON, in the form that the docs describe."""

import dataclasses

import numpy as np

from harness.comparison.comparison import Comparison, Disagreement, Measured
from harness.comparison.contrast import Contrast, Judged

_MOST_PICTURES = 1000  # on which runs disagree
_OF_TRAINING = ("num_parameters", "epochs", "best_epoch")


def make(found: Comparison) -> dict[str, object]:
    """Returns everything; an interval that is not known is null."""
    names = [one.run.name for one in found.measured]
    return {
        "measured_on": found.measured_on,
        "num_examples": found.measured[0].figures.num_examples,
        "num_groups": found.measured[0].figures.num_groups,
        "class_names": list(found.measured[0].figures.class_names),
        "reference": names[0],
        "runs": [_describe_run(one) for one in found.measured],
        "differences": [{"run": name, **_describe(one)} for name, one in zip(names[1:], found.contrasts)],
        "settings": {name: dict(zip(names, values)) for name, values in found.settings.items()},
        "num_disagreements": len(found.disagreements),
        "disagreements": [_describe_picture(one, names) for one in found.disagreements[:_MOST_PICTURES]],
        "notes": list(found.notes),
    }


def _describe_run(one: Measured) -> dict[str, object]:
    figures = dataclasses.asdict(one.figures)
    of_sample = ("class_names", "num_examples", "num_groups", "test", "verdict", *_OF_TRAINING)
    return {
        "run": one.run.name,
        **{name: value for name, value in figures.items() if name not in of_sample},
        **{name: getattr(one.run.figures, name) for name in _OF_TRAINING},
        "num_bytes": one.run.num_bytes,
        "ms_a_picture": one.ms_a_picture,
    }


def _describe(one: Contrast) -> dict[str, object]:
    return {
        "accuracy": _describe_judged(one.accuracy),
        "loss": _describe_judged(one.loss),
        "num_won": one.num_won,
        "num_lost": one.num_lost,
        "mcnemar_p": one.mcnemar,
    }


def _describe_judged(judged: Judged) -> dict[str, object]:
    ends = judged.difference.low, judged.difference.high
    return {
        "difference": judged.difference.mean,
        "ci95": list(ends) if np.isfinite(ends).all() else None,
        "p": judged.p_value,
        "word": judged.word,
    }


def _describe_picture(one: Disagreement, names: list[str]) -> dict[str, object]:
    answers = {
        name: {"predicted": answer.predicted, "probability": answer.probability}
        for name, answer in zip(names, one.answers)
    }
    return {"path": one.path, "label": one.label, "answers": answers}
