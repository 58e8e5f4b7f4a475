"""``methods.md`` and ``methods.tex``: what a paper has to say of an evaluation, and its table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from medloss.evaluation.grouping import Grouping
from medloss.evaluation.outputs.formats import latex_text, markdown_text, to_latex, to_markdown
from medloss.evaluation.outputs.names import options_text
from medloss.evaluation.outputs.preparation import preparation, resampled
from medloss.evaluation.outputs.statistics import BOOTSTRAP, Bootstrap
from medloss.evaluation.outputs.statistics.intervals import METHODS
from medloss.evaluation.outputs.statistics.means import interval_rules
from medloss.evaluation.outputs.subgroups import RULE
from medloss.evaluation.records import Measure, ResultTable
from medloss.runtime.files import write_text

METHOD_FILES = ("methods.md", "methods.tex")


def write_methods(folder: Path, table: ResultTable) -> list[Path]:
    """Write the paragraph and the table, in Markdown and in LaTeX; the files."""
    written = [folder / name for name in METHOD_FILES]
    write_text(written[0], methods_markdown(paragraphs(table), to_markdown(table)))
    write_text(written[1], methods_latex(paragraphs(table), to_latex(table)))
    return written


def methods_markdown(said: Iterable[str], table: str) -> str:
    """Paragraphs and a table."""
    return "\n\n".join(["# Methods", *map(markdown_text, said), "# Results", table])


def methods_latex(said: Iterable[str], table: str) -> str:
    """Likewise."""
    return "\n\n".join(
        [r"\section*{Methods}", *map(latex_text, said), r"\section*{Results}", table]
    )


def paragraphs(table: ResultTable) -> list[str]:
    """What was done, in the words of a methods section."""
    said = _cases(table), definitions_paragraph(table), _statistics(table)
    return [*said, versions_paragraph(table)]


def _cases(table: ResultTable) -> str:
    failed, many = len(table.failed), len(table.cases)
    said = f"Predictions were compared with references in {_count(many, 'case')}"
    grouping, clusters = Grouping.of_record(table.settings), _clusters(table)
    if clusters:
        said += f" of {clusters} {grouping.noun} (by {grouping.cluster})"
    said += f"; {failed} could not be scored." if failed else ", all of which were scored."
    counts: dict[str, int] = {}
    for case in table.cases:
        for status in case.statuses.values():
            counts[status] = counts.get(status, 0) + 1
    told = [
        f"{counts[status]} {words}"
        for status, words in (
            ("missed", "missed (in the reference only)"),
            ("spurious", "spurious (in the prediction only)"),
            ("both_empty", "in neither"),
            ("not_annotated", "not annotated"),
        )
        if counts.get(status)
    ]
    labels = ", ".join(label.title for label in table.labels)
    if labels:
        said += f" Labels: {labels}."
    if told:
        said += f" Of all labels in all cases, {', '.join(told)}."
    if table.left_out:
        said += f" {_count(len(table.left_out), 'reference')} without a prediction left out."
    return said


def definitions_paragraph(table: ResultTable, measures: Sequence[Measure] | None = None) -> str:
    """How the numbers are defined.

    Args:
        table: whose.
        measures: of these only.
    """
    settings = table.settings
    names = {measure.name for measure in (table.measures if measures is None else measures)}
    entries = (*settings["metrics"], *settings["losses"])
    metrics = [_metric(each) for each in entries if each["metric"] in names]
    told = "".join(f" {said}." for said in (*preparation(table.inputs), *resampled(table.cases)))
    return (
        f"Metrics: {'; '.join(metrics)}. Surfaces and percentiles are defined as by the preset "
        f"{table.preset}; distances are in mm. Labels that are absent: {table.policy}."
        f"{told}"
    )


def _metric(entry: dict[str, Any]) -> str:
    options = options_text(entry["options"])
    unit = f"{entry['unit']}, " if entry["unit"] else ""
    return f"{entry['name']} ({options}{', ' if options else ''}{unit}{entry['better']} is better)"


def _statistics(table: ResultTable) -> str:
    made = table.settings.get("bootstrap")
    noun = Grouping.of_record(table.settings).noun if _clusters(table) else ""
    methods = sorted({METHODS[line.ci_method] for line in table.lines if line.ci_method})
    said = (
        f"Values are given as mean, standard deviation (n - 1), median and quartiles (linear "
        f"interpolation, type 7). 95% intervals of means: "
        f"{interval_rules(Bootstrap(**made) if made else BOOTSTRAP, noun=noun)}; they end "
        f"where the range of the metric does. Used here: "
        f"{'; '.join(methods) or 'none'}. "
    )
    if not noun:
        said += "Intervals of medians are two of the sorted values (from 6 cases on). "
    said += "Intervals are not adjusted for their number."
    if table.subgroups:
        names = ", ".join(dict.fromkeys(each.variable for each in table.subgroups))
        said += f" Subgroups: {names}; {RULE}."
    return said


def versions_paragraph(table: ResultTable) -> str:
    """What computed them."""
    versions = dict(table.settings.get("versions", {}))
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    command = table.settings.get("command", "")
    return f"Computed by medloss {table.version} ({told}). Command: {command}"


def _clusters(table: ResultTable) -> int:
    clusters = Grouping.of_record(table.settings).clusters([case.pair for case in table.cases])
    return len(set(clusters.values())) if clusters else 0


def _count(many: int, what: str) -> str:
    return f"{many} {what}{'' if many == 1 else 's'}"


def table_rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[str, str]:
    """A table in Markdown and in LaTeX (with the package booktabs)."""
    body = [list(row) for row in rows]
    markdown = [head, ["---"] * len(head), *body]
    latex = [" & ".join(map(latex_text, row)) + r" \\" for row in body]
    return (
        "\n".join(
            f"| {' | '.join(row if row == markdown[1] else map(markdown_text, row))} |"
            for row in markdown
        )
        + "\n",
        "\n".join(
            [
                r"% \usepackage{booktabs}",
                rf"\begin{{tabular}}{{{'l' * len(head)}}}",
                r"\toprule",
                " & ".join(map(latex_text, head)) + r" \\",
                r"\midrule",
                *latex,
                r"\bottomrule",
                r"\end{tabular}",
                "",
            ]
        ),
    )
