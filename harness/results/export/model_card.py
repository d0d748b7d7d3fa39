"""What goes with the exported files: labels.txt, and MODEL_CARD.md on what the model is for, its data and figures.

The front matter is Hugging Face's: https://huggingface.co/docs/hub/model-cards
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness import __version__
from harness.base import files
from harness.base.text import cap_rows, list_names, shorten, visible
from harness.config.preparation import describe_preparation
from harness.config.schema import Config
from harness.dataset.records.manifest import Manifest
from harness.results.export import exported
from harness.results.export.exported import Exports
from harness.results.statistics import intervals, sample
from harness.results.statistics.intervals import Interval
from harness.runs.workdir import Workdir

_LICENCES = ("license", "licence", "copying")  # how files of licences begin
_MANY = 20  # pictures of a class from which on its figures mean something


@dataclass(frozen=True)
class Figures:
    """The figures of a split that a card states, as metrics.json has them; an interval that is not known is None."""

    split: str
    num_examples: int
    num_groups: int | None
    accuracy: float
    accuracy_ci95: Interval
    loss: float
    loss_ci95: Interval | None = None
    auc: float | None = None
    auc_ci95: Interval | None = None


@dataclass(frozen=True)
class Judgement:
    """What to think of them, in sentences, the figures first."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class RunFigures(Figures):
    """Those of the validation split, those of the test split where there is one, and the verdict on the latter."""

    test: Figures | None = None
    verdict: Judgement | None = None

    @property
    def judged(self) -> Figures:
        """Those that the verdict speaks of."""
        return self.test or self


def write(
    workdir: Workdir, config: Config, data: Manifest, figures: RunFigures, exports: Exports, *, num_weights: int
) -> None:
    """Writes the class names of a run, one a line, and its card.

    Args:
      workdir: the run folder.
      config: its settings.
      data: the records that it was trained on.
      figures: on their splits.
      exports: the files of the model.
      num_weights: how many numbers it has learnt or been given.
    """
    name = visible(workdir.root.name)
    sections = [
        f"---\n{_front_matter(name, data, figures.judged)}---",
        f"# {name}",
        _describe(config, data, num_weights),
        "## How good it is\n\n" + _describe_figures(figures),
        "## What it is for, and what not\n\n" + _list(_list_limits(data, figures.judged.split)),
        "## What it was trained on\n\n" + _describe_data(data),
        "## Files\n\n" + _describe_files(exports, config, data),
    ]
    files.write_text(workdir.labels, "".join(f"{visible(label)}\n" for label in data.class_names))
    files.write_text(workdir.model_card, "\n\n".join(sections) + "\n")


def _front_matter(name: str, data: Manifest, figures: Figures) -> str:
    measured = [("accuracy", figures.accuracy), ("loss", figures.loss), ("roc_auc", figures.auc)]
    result = {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {"type": "imagefolder", "name": visible(Path(data.images).name), "split": figures.split},
        "metrics": [{"type": kind, "value": round(value, 6)} for kind, value in measured if value is not None],
    }
    matter = {
        "license": "unknown",
        "library_name": "keras",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "tensorflow", "keras"],
        "model-index": [{"name": name, "results": [result]}],
    }
    return yaml.safe_dump(matter, sort_keys=False, allow_unicode=True)


def _describe(config: Config, data: Manifest, num_weights: int) -> str:
    return (
        f"A picture in, the probability of each of {len(data.class_names)} classes out: "
        f"{_escape(list_names(data.class_names, separator=', '))}. The network is {config.model.name} with "
        f"{num_weights:,} weights, on RGB pictures of {describe_preparation(data.preparation)}; trained with harness "
        f"{__version__}."
    )


def _describe_figures(figures: RunFigures) -> str:
    judged = figures.judged
    rows = [
        ("figure", f"{judged.split} split", "95 % interval"),
        ("accuracy", f"{judged.accuracy:.3f}", intervals.describe(judged.accuracy_ci95)),
        ("log loss [nats]", f"{judged.loss:.4f}", intervals.describe(judged.loss_ci95, 4)),
        ("area under the ROC curve", *_describe_area(judged)),
    ]
    sentences = figures.verdict.sentences if figures.verdict else (f"On {sample.describe(judged, judged.split)}.",)
    told = "\n\n".join(_escape(sentence[:1].upper() + sentence[1:]) for sentence in sentences)
    return f"{_table(rows)}\n\n{told}"


def _describe_area(figures: Figures) -> tuple[str, str]:
    if figures.auc is None:
        return "not defined", ""
    return f"{figures.auc:.3f}", intervals.describe(figures.auc_ci95)


def _list_limits(data: Manifest, split: str) -> Iterator[str]:
    yield "It is for pictures like those it was trained on: the same kind of subject, drawn or photographed alike."
    yield "It names one of its classes whatever it is shown; there is no answer for none of them."
    yield "Probabilities are as trained, no temperature is applied: they may be surer than they are right."
    yield "Nothing was measured on who or what is in the pictures beside their class."
    counts = data.splits[split].class_counts
    few = [f"{_escape(visible(name))} ({counts[name]})" for name in data.class_names if counts[name] < _MANY]
    if few:
        named = list_names(few, separator=", ")
        yield f"Of these there were fewer than {_MANY} {split} pictures, which say little: {named}."


def _describe_data(data: Manifest) -> str:
    names = [name for name, split in data.splits.items() if split.num_examples]
    rows = [
        (_escape(visible(label)), *(str(data.splits[name].class_counts.get(label, 0)) for name in names))
        for label in data.class_names
    ]
    shown, more = cap_rows(rows)
    licences = _list_licences(data.images)
    found = (
        f"Files on their licences lie there: {', '.join(licences)}."
        if licences
        else "No file there says their licences."
    )
    return (
        f"{_table([('class', *names), *shown])}{more and f'{chr(10)}{chr(10)}… {more}'}\n\nPictures of "
        f"`{visible(data.images)}`, records `{data.digest[:16]}`. {found} The licence of the model is for whoever "
        "publishes it to state, in the front matter above."
    )


def _list_licences(images: str) -> list[str]:
    try:
        names = sorted(path.name for path in Path(images).iterdir() if path.is_file())
    except OSError:  # gone, or not on this machine
        return []
    return [f"`{visible(name)}`" for name in names if name.lower().startswith(_LICENCES)]


def _describe_files(exports: Exports, config: Config, data: Manifest) -> str:
    rows = [("file", *exported.FIGURES), *((f"`{item.file}`", *item.list_figures()) for item in exports.files)]
    measured = (
        f"{_table(rows)}\n\nEach was run on validation pictures in a process of its own: the largest difference of a "
        "probability and the pictures taken for another class are from the trained model for `model.keras`, and from "
        "`model.keras` for the others. Milliseconds are of single pictures, on the CPUs of the machine that wrote "
        "it.\n\n"
    )
    size, known = data.preparation.image_size, {item.format for item in exports.files}
    whole_numbers = "; that of 8 bits takes and gives uint8" if "tflite_int8" in known else ""
    is_single = len(data.class_names) == 2 and config.model.head != "softmax"
    second = (
        f" Files of Keras give the probability of {_escape(shorten(data.class_names[1]))} alone." if is_single else ""
    )
    return (
        f"{measured if exports.files else ''}All take float32 [n, {size}, {size}, 3], RGB from 0 to 255, and scale it "
        f"themselves{whole_numbers}. `labels.txt` has the classes in the order of the outputs.{second}"
        f"{_EXAMPLE if 'saved_model' in known else ''}"
    )


_EXAMPLE = """ The SavedModel also takes JPEG and PNG files as they are (`serve_bytes`):

```python
import tensorflow as tf

model = tf.saved_model.load("saved_model")
answer_files = model.signatures["serve_bytes"]
answer = answer_files(image_bytes=tf.constant([open("photo.jpg", "rb").read()]))
print(answer["label"].numpy(), answer["probabilities"].numpy())
```"""


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"* {line}" for line in lines)


def _table(rows: Sequence[Sequence[object]]) -> str:
    header, *body = ["| " + " | ".join(map(str, row)) + " |" for row in rows]
    return "\n".join([header, "|---" * len(rows[0]) + "|", *body])


def _escape(text: str) -> str:
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#" else char for char in text)
