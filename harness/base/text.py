"""Values and tables as text for a person. It knows no format of files."""

from collections.abc import Sequence


def format_table(rows: Sequence[Sequence[object]], *, num_left: int = 1) -> str:
    """Returns the rows, the first being the header, with the first columns to the left and numbers to the right.

    Args:
      rows: of equally many cells.
      num_left: how many columns are text.
    """
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            str(cell).ljust(width) if i < num_left else str(cell).rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def format_value(value: object) -> str:
    """Returns a value as text, a float to three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
