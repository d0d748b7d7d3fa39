"""Names, values and tables as text for a person: on one line each, of a bounded length. It knows no format of files.

Names come from files, and may hold anything: what would move the cursor, end a line or turn the direction of writing is
shown as an escape.
"""

import shlex
import unicodedata
from collections.abc import Mapping, Sequence

_MOST_CHARS = 40  # of a name that stands among others; a table of longer ones wraps in a terminal
_MOST_LISTED = 12
MOST_ROWS = 20


def visible(value: object) -> str:
    """Returns a value on one line, whose control and direction characters and line ends are escapes."""
    shown = str(value)
    if shown.isprintable():
        return shown
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in shown)


def as_word(value: object) -> str:
    """Returns a path or a value as one word of a command that can be copied into a shell."""
    return shlex.quote(visible(value))


def shorten(value: object, most: int = _MOST_CHARS) -> str:
    """Returns a value made visible, and cut in its middle to so many characters: names tend to differ at their ends."""
    shown = visible(value)
    if len(shown) <= most:
        return shown
    return f"{shown[: most // 3]}…{shown[-(most - most // 3 - 1) :]}"


def count(number: int, word: str) -> str:
    """Returns a number of things, such as "1 picture" or "1,000 pictures"."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def list_names(names: Sequence[str], *, separator: str = " | ") -> str:
    """Returns the names, or the first of many and how many there are."""
    shown = separator.join(map(shorten, names[:_MOST_LISTED]))
    return shown if len(names) <= _MOST_LISTED else f"{shown}{separator}… ({len(names):,} in all)"


def format_table(rows: Sequence[Sequence[object]], *, num_left: int = 1) -> str:
    """Returns the rows, the first being the header, with the first columns to the left and numbers to the right.

    Args:
      rows: of equally many cells.
      num_left: how many columns are text.
    """
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(_width(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = []
    for row in cells:
        padding = [" " * (width - _width(cell)) for cell, width in zip(row, widths)]
        placed = [cell + pad if i < num_left else pad + cell for i, (cell, pad) in enumerate(zip(row, padding))]
        lines.append("  ".join(placed).rstrip())
    return "\n".join(lines)


def split_columns(rows: Sequence[Sequence[object]], width: int) -> list[list[tuple[object, ...]]]:
    """Returns a table as several that each fit into so many columns of a terminal; all have its first column.

    Args:
      rows: of equally many cells, two or more, the first being the header.
      width: of the terminal. A single cell that is wider stays whole.
    """
    widths = [max(_width(visible(row[i])) for row in rows) + 2 for i in range(len(rows[0]))]  # with the gap between
    room = width + 2 - widths[0]
    parts: list[list[int]] = [[]]
    for index in range(1, len(widths)):
        if parts[-1] and sum(widths[other] for other in (*parts[-1], index)) > room:
            parts.append([])
        parts[-1].append(index)
    return [[(row[0], *(row[index] for index in part)) for row in rows] for part in parts]


def cap_rows(rows: Sequence[Sequence[object]]) -> tuple[Sequence[Sequence[object]], str]:
    """Returns the rows below a header that a terminal takes, and what to say of the others, "" if there are none."""
    left_out = len(rows) - MOST_ROWS
    return (rows, "") if left_out <= 0 else (rows[:MOST_ROWS], f"and {left_out:,} more")


def _width(shown: str) -> int:
    """The columns that a text takes in a terminal."""
    if shown.isascii():
        return len(shown)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in shown
    )


def format_value(value: object) -> str:
    """Returns a value as text, a float to three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def name_by_values(name: str, values: Mapping[str, object]) -> str:
    """Returns a name with the values that set it apart, their settings without their sections: "003: dropout 0.2"."""
    listed = ", ".join(f"{setting.rpartition('.')[2]} {format_value(value)}" for setting, value in values.items())
    return f"{name}: {listed}" if listed else name


def format_bytes(num_bytes: float) -> str:
    """Returns a number of bytes in the largest unit that leaves a digit before the point, to two or three digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if num_bytes < 999.5 or unit == "TB":
            break
        num_bytes /= 1000
    return f"{num_bytes:.1f} {unit}" if num_bytes < 9.95 and unit != "B" else f"{num_bytes:,.0f} {unit}"
