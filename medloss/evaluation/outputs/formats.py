"""The summary to paste into a paper or a page, and every value as a Parquet file."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from medloss.evaluation.outputs.definitions import Definition, policies
from medloss.evaluation.outputs.layout import number
from medloss.evaluation.outputs.tables import Column, Summary
from medloss.evaluation.outputs.terminal import label_name
from medloss.evaluation.outputs.writers import CSV_COLUMNS, rows, whole_file
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: f"\\{letter}" for letter in "&%$#_"},
}
_HEADS = ("metric", "label", "n", "mean", "sd", "95% interval", "median", "quartiles", "not used")


def to_markdown(summaries: Sequence[Summary], plan: EvalPlan) -> str:
    """A line for each metric and label, and below it what the numbers mean."""
    lines = [_markdown_line(_HEADS), _markdown_line(("---",) * 2 + ("---:",) * 7)]
    lines += [
        _markdown_line([_markdown(cell) for cell in cells]) for cells in _cells(summaries, plan)
    ]
    return "\n".join([*lines, "", _markdown(_note(plan)), ""])


def to_latex(summaries: Sequence[Summary], plan: EvalPlan) -> str:
    """A ``tabular`` that needs the package booktabs, and below it what the numbers mean."""
    body = [" & ".join(map(_latex, cells)) + r" \\" for cells in _cells(summaries, plan)]
    return "\n".join(
        [
            r"% \usepackage{booktabs}",
            r"\begin{tabular}{llrrrrrrr}",
            r"\toprule",
            " & ".join(map(_latex, _HEADS)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            "",
            rf"% {_latex(_note(plan))}",
            "",
        ]
    )


TEXT: dict[str, Callable[[Sequence[Summary], EvalPlan], str]] = {
    "latex": to_latex,
    "markdown": to_markdown,
}
"""Writers of the tables that are text, by the name in ``--table``."""


def write_text(path: Path, text: str) -> None:
    """Write the file; it appears when it is complete."""
    with whole_file(path) as file:
        file.write(text)


def definitions_markdown(definitions: Sequence[Definition]) -> str:
    """The mean of each metric and label by each definition."""
    heads = ("metric", "label", *(plan.preset for plan, _, _ in definitions))
    lines = [_markdown_line(heads), _markdown_line(("---", "---", *["---:"] * len(definitions)))]
    for together in zip(*(summaries for _, _, summaries in definitions), strict=True):
        first, unit = together[0], together[0].column.unit
        name = label_name(first.label, definitions[0][0])
        means = [number(summary.mean, unit) for summary in together]
        cells = [_markdown(_title(first.column)), _markdown(name), *means]
        lines.append(_markdown_line(cells))
    notes = [f"- {_markdown(sentence)}" for sentence in policies(definitions)]
    return "\n".join([*lines, "", *notes, ""])


def check_parquet() -> None:
    """Raise if pyarrow is missing, before any work is done.

    Raises:
        ValueError: how to install it.
    """
    try:
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401
    except ImportError as error:
        raise ValueError("--table parquet needs pyarrow: the extra parquet of medloss") from error


def write_parquet(path: Path, cases: Sequence[CaseResult], plan: EvalPlan) -> None:
    """Write the rows of ``cases.csv`` as text columns and a column ``value`` of doubles."""
    import pyarrow
    from pyarrow import parquet

    kinds = [pyarrow.float64() if name == "value" else pyarrow.string() for name in CSV_COLUMNS]
    schema = pyarrow.schema(list(zip(CSV_COLUMNS, kinds, strict=True)))
    found = [*zip(*rows(cases, plan), strict=True)] or [()] * len(CSV_COLUMNS)
    arrays = [pyarrow.array(c, kind) for c, kind in zip(found, kinds, strict=True)]
    partial = path.with_name(f".{path.name}.partial")
    try:
        parquet.write_table(pyarrow.table(arrays, schema=schema), partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _cells(summaries: Sequence[Summary], plan: EvalPlan) -> list[list[str]]:
    table, previous = [], None
    for summary in summaries:
        unit = summary.column.unit
        show = [number(v, unit) for v in (summary.mean, summary.sd, summary.median)]
        name = _title(summary.column) if summary.column != previous else ""
        previous = summary.column
        table.append(
            [
                name,
                label_name(summary.label, plan),
                str(summary.n),
                show[0],
                show[1],
                f"{number(summary.ci_low, unit)} to {number(summary.ci_high, unit)}",
                show[2],
                f"{number(summary.q1, unit)} to {number(summary.q3, unit)}",
                str(summary.not_used),
            ]
        )
    return table


def _title(column: Column) -> str:
    return f"{column.name} ({column.unit})" if column.unit else column.name


def _note(plan: EvalPlan) -> str:
    return f"Preset {plan.preset}, distances in mm; {plan.policy.describe()}."


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown(text: str) -> str:
    """Text that is no markup: names come from files."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_{}\[\]<>|#~&])", r"\\\1", one_line)


def _latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
