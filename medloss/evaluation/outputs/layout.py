"""Text in columns, as wide as the terminal and no wider: pure functions on strings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

_DIGITS = {"": 4, "mm": 3, "mm3": 1}


def number(value: float, unit: str = "") -> str:
    """A value to read: fixed decimals by unit, ``-`` where there is none.

    Example:
        >>> number(0.98765), number(12.3456, "mm"), number(float("nan")), number(float("inf"))
        ('0.9877', '12.346', '-', 'inf')
    """
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if abs(value) >= 1e6:
        return f"{value:.4g}"
    return f"{value:.{_DIGITS.get(unit, 4)}f}"


def heading(name: str, width: int) -> list[str]:
    """Break a name after its underscores into lines of at most ``width``, if its words allow.

    Example:
        >>> heading("average_symmetric_surface_distance", 10)
        ['average_', 'symmetric_', 'surface_', 'distance']
    """
    lines = [""]
    for word in name.replace("_", "_\n").replace("[", "\n[").split("\n"):
        if lines[-1] and len(lines[-1]) + len(word) > width:
            lines.append("")
        lines[-1] += word
    return lines


def fit(text: str, width: int) -> str:
    """Fill with spaces, or cut with an ellipsis.

    Example:
        >>> fit("liver", 7), fit("left adrenal gland", 7)
        ('liver  ', 'left a…')
    """
    if cell_len(text) <= width:
        return set_cell_size(text, width)
    return set_cell_size(text, width - 1) + "…"


def line(
    left: Sequence[str], right: Sequence[str], left_widths: Sequence[int], widths: Sequence[int]
) -> str:
    """Cells of text to the left of their columns, cells of numbers to the right of theirs.

    Example:
        >>> line(["liver"], ["0.9", "12"], [6], [5, 3])
        'liver     0.9  12'
    """
    words = [fit(cell, width) for cell, width in zip(left, left_widths, strict=True)]
    cells = [cell.rjust(width) for cell, width in zip(right, widths, strict=True)]
    return " ".join([*words, *cells]).rstrip()


def head_lines(
    left: Sequence[str],
    heads: Sequence[Sequence[str]],
    left_widths: Sequence[int],
    widths: Sequence[int],
) -> list[str]:
    """The lines of a table head, whose last line stands right above the cells."""
    depth = max(map(len, heads), default=1)
    padded = [[*[""] * (depth - len(head)), *head] for head in heads]
    lines = []
    for row in range(depth):
        words = left if row == depth - 1 else [""] * len(left)
        lines.append(line(words, [head[row] for head in padded], left_widths, widths))
    return lines


def widths_of(heads: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> list[int]:
    """Width of every column of numbers.

    Example:
        >>> widths_of([["mean"], ["not", "used"]], [["0.98765", "3"]])
        [7, 4]
    """
    columns = zip(heads, zip(*rows, strict=True) if rows else [()] * len(heads), strict=True)
    return [max(map(len, (*head, *cells))) for head, cells in columns]
