"""A file for each picture that shows where it speaks for its class: the picture, and beside it the places in colour.

Which places these are, results/explanation.py finds.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.base import files
from harness.base.errors import ConfigError
from harness.base.text import visible
from harness.dataset.images.arrays import Array
from harness.dataset.records.encoding import encode_jpeg
from harness.prediction.answers import Answer
from harness.prediction.lines import find_label
from harness.results import overlay

if TYPE_CHECKING:
    from harness.results.explanation import Explainer

_QUALITY = 90
_MOST_STEM, _MOST_LABEL = 120, 60  # bytes of a file's name, of which there are 255


def check_folder(folder: Path) -> None:
    """Refuses a folder in which something would be written over.

    Raises:
      ConfigError: it is no folder, or there is something in it.
      OSError, StorageError: no file can be written to it.
    """
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"--explain {folder} is a file. Give a new folder.")
    if first := next(folder.iterdir() if folder.exists() else iter(()), None):
        raise ConfigError(f"--explain {folder} is not empty: it holds {first.name}. Give a new or an empty folder.")
    files.check_new(folder / "picture.jpg")


class Overlays:
    """The files of one folder, named after pictures with their class and probability; names that meet get a number."""

    def __init__(self, folder: Path, explain: "Explainer", class_names: Sequence[str]) -> None:
        self._folder, self._explain, self._class_names = folder, explain, class_names
        self._num_named: dict[str, int] = {}
        self.num_silent = 0  # pictures in which nothing speaks for the class

    def write(self, batch: Sequence[Answer]) -> list[Answer]:
        """Writes a file for each picture that could be used; returns the answers with their files.

        Raises:
          OSError: a file cannot be written.
        """
        usable = [answer for answer in batch if answer.pixels is not None and answer.chances is not None]
        if not usable:
            return list(batch)
        labels = np.array([answer.chances.argmax() for answer in usable if answer.chances is not None])
        pixels = np.stack([answer.pixels for answer in usable if answer.pixels is not None])
        maps = iter(zip(pixels, self._explain(pixels, labels)))
        return [self._write_one(answer, *next(maps)) if answer.rejected is None else answer for answer in batch]

    def _write_one(self, answer: Answer, pixels: Array, places: Array) -> Answer:
        path = self._folder / self._name(answer)
        shown = np.concatenate([pixels, overlay.draw(pixels, places)], axis=1)
        files.write_bytes(path, encode_jpeg(shown, _QUALITY))
        self.num_silent += not places.any()
        return answer._replace(explanation=str(path))

    def _name(self, answer: Answer) -> str:
        label, chance = find_label(answer, self._class_names)
        stem = f"{_cut(Path(answer.path).stem, _MOST_STEM)}_{_cut(label, _MOST_LABEL)}_{chance:.3f}"
        key = stem.casefold()  # some file systems take both cases for one
        self._num_named[key] = number = self._num_named.get(key, 0) + 1
        return f"{stem}.jpg" if number == 1 else f"{stem} ({number}).jpg"


def _cut(text: str, most_bytes: int) -> str:
    """A text as a part of a file's name."""
    return visible(text).replace("/", "_").encode()[:most_bytes].decode(errors="ignore")
