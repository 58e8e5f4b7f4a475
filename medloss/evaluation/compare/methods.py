"""What a paper has to say of a comparison: a paragraph and a table, in Markdown or LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from medloss.evaluation.compare.outputs import heading, notes
from medloss.evaluation.compare.paired import Decisions, Difference
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.compare.verdicts import verdict
from medloss.evaluation.outputs.formats import number, p_value
from medloss.evaluation.outputs.methods import (
    definitions_paragraph,
    methods_latex,
    methods_markdown,
    table_rows,
    versions_paragraph,
)
from medloss.runtime.files import write_text

_HEADS = (
    *("metric", "label", "runs", "n", "means", "difference", "95% interval", "median"),
    *("better/equal/worse", "p", "p (Holm)"),
)


def write_comparison_methods(
    path: Path, compared: ComparedTable, found: Sequence[Difference], decisions: Decisions
) -> None:
    """Write it: LaTeX where the suffix is ``.tex``, else Markdown."""
    rows = [_row(each) for each in found]
    markdown, latex = table_rows(_HEADS, rows)
    names = ", ".join(run.name for run in compared.runs)
    said = [
        f"{heading(compared, decisions)}: {names}.",
        definitions_paragraph(compared.runs[0].table, compared.measures),
        *notes(compared, found, decisions),
        "Results in words: "
        + " ".join(f"{e.measure.name}, {e.label.title}: {verdict(e)}." for e in found),
        *(f"{run.name}: {versions_paragraph(run.table)}." for run in compared.runs),
    ]
    text = methods_latex(said, latex) if path.suffix == ".tex" else methods_markdown(said, markdown)
    write_text(path, text)


def _row(each: Difference) -> tuple[str, ...]:
    first, second, mean, low, high, median = (
        number(value, each.measure.unit)
        for value in (
            *(each.mean_first, each.mean_second, each.mean),
            *(each.ci_low, each.ci_high, each.median),
        )
    )
    return (
        each.measure.title,
        each.label.title,
        f"{each.second} - {each.first}",
        f"{each.n} ({each.clusters})" if each.clusters else str(each.n),
        f"{second} - {first}",
        mean,
        f"{low} to {high}",
        median,
        f"{each.wins}/{each.ties}/{each.losses}",
        p_value(each.p),
        p_value(each.p_holm),
    )
