"""The line of each file on the standard output: for a person, as JSON, or as a row of CSV."""

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence

from harness.base import app, csv_files
from harness.base.text import visible
from harness.dataset.images.rejection import Reason
from harness.prediction.answers import Answer

_MOST_TOLD = 5  # files of a reason that a person is told one by one


def make_writer(class_names: Sequence[str], form: str, *, is_explained: bool = False) -> Callable[[Answer], None]:
    """Returns a function that prints the line of an answer, after it has printed what stands above all.

    Args:
      class_names: the class of each label.
      form: "json", "csv" or "text", where the line of a file that cannot be used goes to the standard error output, if
        it is one of the first with its reason.
      is_explained: whether JSON and CSV name the file that explains each answer.
    """
    if form == "json":
        return lambda answer: print(_as_json(answer, class_names))
    if form == "csv":
        more = ["explanation"] * is_explained
        _print_row(["path", "label", "probability", *(f"p_{name}" for name in class_names), "error", *more])
        return lambda answer: _print_row([*_as_row(answer, class_names), *[answer.explanation] * is_explained])
    told: Counter[Reason] = Counter()
    width = max(len(visible(name)) for name in class_names)

    def write(answer: Answer) -> None:
        """Prints the line of an answer for a person."""
        if answer.rejected:
            told[answer.rejected.reason] += 1
            if told[answer.rejected.reason] <= _MOST_TOLD:
                app.say(f"error: {visible(answer.path)}: {visible(answer.rejected)}\n")
            return
        label, chance = find_label(answer, class_names)
        print(f"{visible(label):<{width}}  {chance:.3f}  {visible(answer.path)}")

    return write


def find_label(answer: Answer, class_names: Sequence[str]) -> tuple[str, float]:
    """Returns the most probable class of a picture that could be used, and its probability."""
    assert answer.chances is not None
    best = int(answer.chances.argmax())
    return class_names[best], round(float(answer.chances[best]), 6)


def _as_json(answer: Answer, class_names: Sequence[str]) -> str:
    if answer.chances is None:
        return json.dumps({"path": answer.path, "error": str(answer.rejected)})
    label, chance = find_label(answer, class_names)
    chances = {name: round(float(each), 6) for name, each in zip(class_names, answer.chances)}
    found = {"path": answer.path, "label": label, "probability": chance, "probabilities": chances}
    return json.dumps(found | ({"explanation": answer.explanation} if answer.explanation else {}))


def _as_row(answer: Answer, class_names: Sequence[str]) -> list[object]:
    if answer.chances is None:
        return [answer.path, "", "", *("" for _ in class_names), str(answer.rejected)]
    chances = [round(float(each), 6) for each in answer.chances]
    return [answer.path, *find_label(answer, class_names), *chances, ""]


def _print_row(cells: Sequence[object]) -> None:
    csv_files.write_rows(sys.stdout, [cells])
