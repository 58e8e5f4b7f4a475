"""What a study says on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.outputs.layout import fit, head_lines, heading, line, number, widths_of
from medloss.evaluation.outputs.tables import Column, Summary, columns
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan, plan_labels

if TYPE_CHECKING:
    from medloss.evaluation.outputs.definitions import Definition

_WIDE = 110
_HEADING_WIDTH = 12
_LONGEST_CASE = 28
_STATUSES = ("missed", "spurious", "both_empty")
_COUNTS = (["n"], ["missed"], ["spur-", "ious"], ["both", "empty"], ["not", "used"])


def print_summary(console: Console, summaries: Sequence[Summary], plan: EvalPlan) -> None:
    """Print a block for each metric with a line for each label."""
    if not summaries:
        return
    wide = console.width >= _WIDE
    heads = [["mean"], ["sd"], ["median"], *([["min"], ["max"]] if wide else [["worst"]]), *_COUNTS]
    rows = [_statistics(summary, wide=wide) for summary in summaries]
    names = [f"  {label_name(summary.label, plan)}" for summary in summaries]
    widths = [width + wide for width in widths_of(heads, rows)]
    last = max([len("worst case"), *(cell_len(s.worst_case) for s in summaries)])
    last = min(last, _LONGEST_CASE)
    room = console.width - sum(widths) - len(widths) - (last + 2 if wide else 0)
    left = [max(8, min(max([len("  label"), *map(cell_len, names)]), room))]
    for index, text in enumerate(lines := head_lines(["  label"], heads, left, widths)):
        _print(console, text + ("  worst case" if wide and index == len(lines) - 1 else ""), "bold")
    previous = None
    for summary, name, cells in zip(summaries, names, rows, strict=True):
        if summary.column != previous:
            previous = summary.column
            _print(console, _title(summary.column), "bold cyan")
        worst = f"  {fit(summary.worst_case, last)}" if wide else ""
        _print(console, line([name], cells, left, widths) + worst)
    console.print()


def print_cases(console: Console, cases: Sequence[CaseResult], plan: EvalPlan) -> None:
    """Print every value: a line for each case and label, with as many metrics as fit."""
    metrics = columns(plan)[: len(plan.metrics)]
    losses = columns(plan)[len(plan.metrics) :]
    good = [case for case in cases if not case.error]
    labels = plan_labels(cases, plan)
    first = max([len("case"), *(cell_len(case.pair.name) for case in good)])
    second = max([len("label"), *(cell_len(label_name(label, plan)) for label in labels)])
    left = [min(first, console.width // 4), min(second, console.width // 4), len("both_empty")]
    if labels and metrics:
        heads = ["case", "label", "status"]
        rows = [row for case in good for row in _label_rows(case, labels, plan)]
        _print_values(console, heads, left, rows, metrics)
    if losses:
        rows = [([case.pair.name], _by_label(case)[None][1]) for case in good]
        _print_values(console, ["case"], left[:1], rows, losses)


def print_failed(console: Console, cases: Sequence[CaseResult]) -> None:
    """Print the failed cases, each with its sentence."""
    failed = [case for case in cases if case.error]
    if failed:
        _print(console, f"{len(failed)} of {len(cases)} cases failed:", "bold red")
    for case in failed:
        console.print(
            Text.assemble("  ", (case.pair.name, "bold"), f": {case.error}"), soft_wrap=True
        )


def print_notes(console: Console, cases: Sequence[CaseResult], plan: EvalPlan) -> None:
    """Print what the numbers mean: preset, policies, unit."""
    good = sum(not case.error for case in cases)
    if good and not plan_labels(cases, plan) and not plan.losses:
        console.print("No file holds a label other than 0, so there is nothing to score.")
    policy = plan.policy.describe()
    defaults = "".join(f" {c.name}: {c.defaults}." for c in columns(plan) if c.defaults)
    console.print(
        f"{good} of {len(cases)} cases scored. Preset: {plan.preset}, distances in mm. "
        f"{policy[:1].upper()}{policy[1:]}.{defaults}",
        markup=False,
    )


def print_definitions(console: Console, definitions: Sequence[Definition]) -> None:
    """Print the means by each definition: a block for each metric, a line for each label."""
    from medloss.evaluation.outputs.definitions import policies

    first = definitions[0][0]
    together = list(zip(*(summaries for _, _, summaries in definitions), strict=True))
    heads = [[plan.preset] for plan, _, _ in definitions]
    rows = [[number(s.mean, s.column.unit) for s in means] for means in together]
    names = [f"  {label_name(means[0].label, first)}" for means in together]
    widths = [width + 1 for width in widths_of(heads, rows)]
    room = console.width - sum(widths) - len(widths)
    left = [max(8, min(max([len("  label"), *map(cell_len, names)]), room))]
    console.print("Means by each definition:")
    for text in head_lines(["  label"], heads, left, widths):
        _print(console, text, "bold")
    previous = None
    for means, name, cells in zip(together, names, rows, strict=True):
        if means[0].column != previous:
            previous = means[0].column
            _print(console, _title(previous), "bold cyan")
        _print(console, line([name], cells, left, widths))
    for sentence in policies(definitions):
        console.print(sentence, markup=False)
    console.print()


def label_name(label: Label | None, plan: EvalPlan) -> str:
    """Number and name of a label, ``all`` for the whole case."""
    return "all" if label is None else f"{label} {plan.name(label)}".rstrip()


def _statistics(summary: Summary, *, wide: bool) -> list[str]:
    ends = (summary.minimum, summary.maximum) if wide else (summary.worst,)
    values = (summary.mean, summary.sd, summary.median, *ends)
    counts = (summary.n, *(summary.statuses.get(s, 0) for s in _STATUSES), summary.not_used)
    return [number(value, summary.column.unit) for value in values] + [str(n) for n in counts]


def _title(column: Column) -> str:
    unit = f"{column.unit}, " if column.unit else ""
    return f"{column.name} ({unit}{column.better} is better)"


_Rows = list[tuple[list[str], dict[str, float]]]


def _label_rows(
    case: CaseResult, labels: Sequence[Label], plan: EvalPlan
) -> Iterator[tuple[list[str], dict[str, float]]]:
    name, found = case.pair.name, _by_label(case)
    for label in labels:
        status, values = found[label]
        yield [name, label_name(label, plan), status], values
        name = ""  # said once


def _by_label(case: CaseResult) -> dict[Label | None, tuple[str, dict[str, float]]]:
    """Status and values of every label."""
    found: dict[Label | None, tuple[str, dict[str, float]]] = {}
    for result in case.results:
        found.setdefault(result.label, (result.status, {}))[1][result.column] = result.value
    return found


def _print_values(
    console: Console, names: list[str], left: list[int], rows: _Rows, shown: Sequence[Column]
) -> None:
    heads = [
        [*heading(column.name, _HEADING_WIDTH), *([f"({column.unit})"] if column.unit else [])]
        for column in shown
    ]
    cells = [[number(values[c.name], c.unit) for c in shown] for _, values in rows]
    widths = [width + 1 for width in widths_of(heads, cells)]
    start = 0
    while rows and start < len(shown):
        stop = start + 1
        while (
            stop < len(shown)
            and sum(left) + len(left) + sum(widths[start : stop + 1]) + (stop - start)
            < console.width
        ):
            stop += 1
        part = slice(start, stop)
        for text in head_lines(names, heads[part], left, widths[part]):
            _print(console, text, "bold")
        for (words, _), row in zip(rows, cells, strict=True):
            _print(console, line(words, row[part], left, widths[part]))
        console.print()
        start = stop


def _print(console: Console, text: str, style: str = "") -> None:
    # A terminal too narrow for the numbers wraps them; cutting would hide some.
    console.print(Text(text.rstrip(), style=style), soft_wrap=True)
