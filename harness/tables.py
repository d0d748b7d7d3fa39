"""Tables of text whose columns line up."""

from collections.abc import Sequence


def format_table(rows: Sequence[Sequence[object]]) -> str:
    """Returns the rows, the first being the header, with the first column to the left and numbers to the right."""
    widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
