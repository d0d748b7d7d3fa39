"""A contact sheet: pictures as the model took them, small and in rows, each with its class, probability and name."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from harness.base import files
from harness.base.errors import ConfigError
from harness.base.text import shorten
from harness.dataset.images.arrays import Array
from harness.prediction.answers import Answer
from harness.prediction.lines import find_label

MOST = 200  # pictures: a sheet of 25 rows
_COLUMNS = 8
_SIDE, _GAP, _LINE, _FONT = 128, 8, 16, 12  # pixels
_FONT_FILE = "fonts/ttf/DejaVuSans.ttf"
_MOST_CHARS = 20  # of a line below a picture
_ENDINGS = (".png", ".jpg", ".jpeg")


class _Cell(NamedTuple):
    pixels: Array
    lines: tuple[str, str]


def check_file(path: Path) -> None:
    """Refuses a file that cannot become a sheet.

    Raises:
      ConfigError: it exists, or its name ends like no picture that can be written.
      OSError, StorageError: it cannot be written.
    """
    if path.suffix.lower() not in _ENDINGS:
        raise ConfigError(f"--sheet {path} is to be a picture. Give a name that ends with {' or '.join(_ENDINGS)}.")
    if path.exists():
        raise ConfigError(f"--sheet {path} exists already. Give another name, or remove it.")
    files.check_new(path)


class ContactSheet:
    """The first pictures of all that are added."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = class_names
        self._cells: list[_Cell] = []

    @property
    def num(self) -> int:
        """How many pictures are on it."""
        return len(self._cells)

    def add(self, batch: Sequence[Answer]) -> None:
        """Takes the pictures that could be used, until the sheet is full."""
        usable = ((answer, answer.pixels) for answer in batch if answer.pixels is not None)
        for answer, pixels in islice(usable, MOST - self.num):
            label, chance = find_label(answer, self._class_names)
            small = cv2.resize(pixels, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            shown = f"{shorten(label, _MOST_CHARS - 5)} {chance:.2f}", shorten(Path(answer.path).name, _MOST_CHARS)
            self._cells.append(_Cell(small, shown))

    def draw(self) -> Image.Image:
        """Returns the sheet, which has as many rows as it takes."""
        import matplotlib  # whose font knows more alphabets than Pillow's own, and which takes a moment to load

        num_columns = min(_COLUMNS, max(1, self.num))
        width, height = _SIDE + _GAP, _SIDE + 2 * _LINE + _GAP
        sheet = Image.new("RGB", (num_columns * width + _GAP, -(-self.num // num_columns) * height + _GAP), "white")
        pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(str(Path(matplotlib.get_data_path(), _FONT_FILE)), _FONT)
        for index, cell in enumerate(self._cells):
            row, column = divmod(index, num_columns)
            left, top = _GAP + column * width, _GAP + row * height
            sheet.paste(Image.fromarray(np.ascontiguousarray(cell.pixels)), (left, top))
            for number, line in enumerate(cell.lines):
                pen.text((left, top + _SIDE + number * _LINE), line, "black", font)
        return sheet

    def write(self, path: Path) -> None:
        """Writes the sheet, complete or not at all.

        Raises:
          OSError: the file cannot be written.
        """
        with files.open_new(path) as file:
            self.draw().save(file, "PNG" if path.suffix.lower() == ".png" else "JPEG", quality=90)
