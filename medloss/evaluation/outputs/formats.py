"""Numbers as text, the summary to paste into a paper or a page, every value as a Parquet file."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from medloss.evaluation.outputs.results import csv_columns, rows
from medloss.evaluation.records import Measure, ResultTable
from medloss.runtime.files import partial_file

_DIGITS = {"": 4, "mm": 3, "mm3": 1}
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: f"\\{letter}" for letter in "&%$#_"},
}
_HEADS = ("metric", "label", "n", "mean", "sd", "95% interval", "median", "quartiles", "not used")


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


def p_value(found: float) -> str:
    """A p value as papers print it.

    Example:
        >>> p_value(0.0123456), p_value(0.00002), p_value(0.6)
        ('0.012', '< 0.001', '0.60')
    """
    if math.isnan(found):
        return "-"
    if found < 0.001:
        return "< 0.001"
    return f"{found:.3f}" if found < 0.1 else f"{found:.2f}"


def to_markdown(table: ResultTable) -> str:
    """A line for each metric and label, and below it what the numbers mean."""
    lines = [_markdown_line(_HEADS), _markdown_line(("---",) * 2 + ("---:",) * 7)]
    lines += [_markdown_line(map(markdown_text, cells)) for cells in _cells(table)]
    return "\n".join([*lines, "", markdown_text(_note(table)), ""])


def to_latex(table: ResultTable) -> str:
    """A ``tabular`` that needs the package booktabs, and below it what the numbers mean."""
    body = [" & ".join(map(latex_text, cells)) + r" \\" for cells in _cells(table)]
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{tabular}{llrrrrrrr}",
            r"\toprule",
            " & ".join(map(latex_text, _HEADS)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
            rf"% {latex_text(_note(table))}",
            "",
        ]
    )


TEXT: dict[str, Callable[[ResultTable], str]] = {"latex": to_latex, "markdown": to_markdown}
"""Writers of the tables that are text, by the name in ``--table``."""


def definitions_markdown(definitions: Sequence[ResultTable], notes: Iterable[str]) -> str:
    """The mean of each metric and label by each definition, and sentences below."""
    heads = ("metric", "label", *(table.preset for table in definitions))
    lines = [_markdown_line(heads), _markdown_line(("---", "---", *["---:"] * len(definitions)))]
    for together in zip(*(table.lines for table in definitions), strict=True):
        column, title = together[0].column, definitions[0].label(together[0].key).title
        means = [number(line.mean, column.unit) for line in together]
        lines.append(_markdown_line([markdown_text(column.title), markdown_text(title), *means]))
    return "\n".join([*lines, "", *(f"- {markdown_text(sentence)}" for sentence in notes), ""])


def check_parquet() -> None:
    """Raise if pyarrow is missing, before any work is done.

    Raises:
        ValueError: how to install it.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise ValueError("--table parquet needs pyarrow: the extra parquet of medloss") from error


def write_parquet(path: Path, table: ResultTable) -> None:
    """Write the rows of ``cases.csv`` as text columns and a column ``value`` of doubles."""
    import pyarrow
    from pyarrow import parquet

    names = csv_columns(table)
    kinds = [pyarrow.float64() if name == "value" else pyarrow.string() for name in names]
    schema = pyarrow.schema(list(zip(names, kinds, strict=True)))
    found = [*zip(*rows(table), strict=True)] or [()] * len(names)
    arrays = [pyarrow.array(c, kind) for c, kind in zip(found, kinds, strict=True)]
    with partial_file(path) as partial:
        parquet.write_table(pyarrow.table(arrays, schema=schema), partial)


def _cells(table: ResultTable) -> Iterator[list[str]]:
    previous: Measure | None = None
    for line in table.lines:
        unit = line.column.unit
        mean, sd, median, low, high, q1, q3 = (
            number(value, unit)
            for value in (
                *(line.mean, line.sd, line.median, line.ci_low, line.ci_high, line.q1, line.q3),
            )
        )
        name = line.column.title if line.column != previous else ""
        previous = line.column
        label, n, left = table.label(line.key).title, str(line.n), str(line.not_used)
        yield [name, label, n, mean, sd, f"{low} to {high}", median, f"{q1} to {q3}", left]


def _note(table: ResultTable) -> str:
    return f"Preset {table.preset}, distances in mm; {table.policy}."


def _markdown_line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def markdown_text(text: str) -> str:
    """Text that is no markup: names come from files."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]<>|#~&])", r"\\\1", one_line)


def latex_text(text: str) -> str:
    """Text that LaTeX shows as it is."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
