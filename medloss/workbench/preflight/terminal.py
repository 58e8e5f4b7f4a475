"""A report on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from medloss.workbench.preflight.labels import MANY, shortened
from medloss.workbench.preflight.report import ClassRow, Over, Report, Severity, TermRow

STYLE: dict[Severity, str] = {"defect": "bold red", "warning": "yellow", "note": "cyan"}
_OVER: dict[Over, str] = {"mean": "mean", "sum": "sum", "pooled": "pooled", "untold": "?"}
_COLUMNS = ("term", "sees", "value", "weight", "gradient", "share", "empty", "16 bit", "batch")
_HALVES = (("float16", "fp16"), ("bfloat16", "bf16"))


def show(report: Report, console: Console) -> None:
    """Print what was checked, the terms, the classes, and the findings."""
    for name, value in report.source.items():
        console.print(f"[bold]{escape(name)}[/] {escape(value)}", soft_wrap=True)
    facts = report.input
    console.print(f"[bold]loss[/] {escape(report.loss)}", soft_wrap=True)
    console.print(
        f"[bold]input[/] {facts['shape']} {facts['dtype']} on {facts['device']}, {facts['kind']} "
        f"from {facts['lowest']:.4g} to {facts['highest']:.4g}; "
        f"[bold]label[/] {facts['label_shape']} {facts['label_dtype']}",
        highlight=False,
        soft_wrap=True,
    )
    rows = report.classes if len(report.classes) <= MANY else _present(report.classes)
    classes = shortened(f"{row.index}: {row.share:.2%}" for row in rows) + " of the voxels"
    if len(report.classes) > MANY:
        classes += f"; {len(rows)} of {len(report.classes)} classes are there"
    console.print(f"[bold]classes[/] {classes}", highlight=False, soft_wrap=True)
    if report.terms:
        console.print()
        console.print(_terms(report.terms))
        console.print(_step(report), highlight=False, soft_wrap=True)
    console.print()
    for finding in report.findings:
        style = STYLE[finding.severity]
        terms = f" {escape(', '.join(finding.terms))}:" if finding.terms else ""
        console.print(
            f"[{style}]{finding.severity}[/] [bold]{finding.check}[/]{terms} "
            f"{escape(finding.message)}",
            highlight=False,
        )
        console.print(Padding(f"[dim]{escape(finding.advice)}[/]", (0, 0, 0, 4)), highlight=False)
    told = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in report.counts().items())
    console.print(f"[bold]{told}[/]", highlight=False)


def _present(rows: Sequence[ClassRow]) -> list[ClassRow]:
    """The classes that are there, the largest first."""
    return sorted((row for row in rows if row.share), key=lambda row: -row.share)


def _terms(rows: Sequence[TermRow]) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0))
    for column in _COLUMNS:
        side: Literal["left", "right"] = "right" if column in _COLUMNS[2:6] else "left"
        table.add_column(column, justify=side, header_style="bold", no_wrap=column == "term")
    for row in rows:
        cells: list[Any] = [
            row.name,
            row.applied,
            f"{row.value:.4g}",
            f"{row.weight:.4g}",
            f"{row.gradient_norm:.3g}",
            f"{row.gradient_share:.1%}",
            "?" if row.empty is None else row.empty.teaches.removesuffix(" foreground"),
            _halves(row),
            "?" if row.batch is None else _OVER[row.batch.over],
        ]
        table.add_row(*(escape(cell) for cell in cells))
    return table


def _halves(row: TermRow) -> str:
    """Which half precisions change the term, if any."""
    bad = [short for name, short in _HALVES if name in row.halves and not row.halves[name].good]
    if bad:
        return " ".join(f"{short}!" for short in bad)
    return "good" if row.halves else "?"


def _step(report: Report) -> str:
    told = f"loss {report.value:.4g}, gradient {report.gradient_norm:.3g}"
    cost = report.cost
    if cost is None:
        return told
    told += f"; a step {1e3 * cost.seconds:.3g} ms"
    if cost.extra_bytes is not None:
        told += f" and {cost.extra_bytes / 2**20:.3g} MiB beyond the input"
        told += f" ({cost.input_bytes / 2**20:.3g} MiB)"
    if cost.network_seconds is not None:
        share = cost.seconds / (cost.seconds + cost.network_seconds)
        told += f"; the network {1e3 * cost.network_seconds:.3g} ms: the loss is {share:.0%}"
    return told
