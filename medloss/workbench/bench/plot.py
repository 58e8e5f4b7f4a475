"""A report as a bar chart: times and memory of the rivals in multiples of ours."""

from __future__ import annotations

import statistics
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medloss.runtime.files import partial_file
from medloss.workbench.bench.report import number
from medloss.workbench.bench.results import BenchReport, Contest, Entry, Table

FORMATS = (".png", ".svg")
_OURS, _RIVAL = "#1b6ca8", "#c9802b"
_BAR_INCHES = 0.27


def check_plot(path: Path) -> None:
    """Raise if a plot cannot be drawn to ``path``, before any work is done for it.

    Raises:
        ValueError: matplotlib is missing, or the name ends otherwise than a picture's.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(f"--plot: expected a name that ends in .png or .svg, got {path.name!r}")
    if find_spec("matplotlib") is None:
        raise ValueError("--plot needs matplotlib: the extra bench of medloss")


def save_plot(report: BenchReport, path: Path) -> None:
    """Draw one row of two panels, time and memory, for each table."""
    from matplotlib.figure import Figure

    tables = [table for table in report.tables if any(_bars(c) for c in table.contests)]
    if not tables:
        raise ValueError("--plot: there is nothing to draw, nothing was measured")
    heights = [1.2 + _BAR_INCHES * sum(len(_bars(c)) + 1 for c in t.contests) for t in tables]
    figure = Figure(figsize=(11, sum(heights)), layout="constrained")
    axes = figure.subplots(len(tables), 2, squeeze=False, sharey="row", height_ratios=heights)
    for (left, right), table in zip(axes, tables, strict=True):
        _draw_times(left, table)
        _draw_memory(right, table)
        _label(left, table)
    with partial_file(path) as partial:
        figure.savefig(partial, dpi=150)


def _bars(contest: Contest) -> list[Entry]:
    """Those that were measured."""
    return [entry for entry in contest.entries if entry.wall_s]


def _places(table: Table) -> list[tuple[float, Contest, Entry]]:
    """Where each bar is: from the top, a gap between contests."""
    places, at = [], 0.0
    for contest in table.contests:
        for entry in _bars(contest):
            places.append((at, contest, entry))
            at += 1
        at += 0.6
    return places


def _label(axis: Any, table: Table) -> None:
    places = _places(table)
    labels = []
    for _, contest, entry in places:
        first = entry is _bars(contest)[0]
        labels.append(f"{contest.name}   {entry.name}" if first else entry.name)
    axis.set_yticks([at for at, _, _ in places], labels)
    axis.invert_yaxis()
    axis.margins(y=0.02)


def _draw_times(axis: Any, table: Table) -> None:
    for at, contest, entry in _places(table):
        if entry is contest.ours:
            axis.barh(at, 1, color=_OURS)
            milliseconds = number(1000 * statistics.median(entry.wall_s))
            axis.text(1, at, f"  {milliseconds} ms", va="center", fontsize=8)
            continue
        slower = contest.slower(entry)
        if slower is None:
            continue
        off = [[slower.median - slower.least], [slower.most - slower.median]]
        axis.barh(at, slower.median, color=_RIVAL, xerr=off, ecolor="0.3", capsize=2)
        axis.text(slower.most, at, f"  {number(slower.median)}", va="center", fontsize=8)
    axis.axvline(1, color="0.6", linewidth=0.8, zorder=0)
    axis.margins(x=0.12)
    axis.set_xlim(left=0)
    axis.set_xlabel("time, multiples of ours (line: range of the rounds)")
    axis.set_title(table.title, loc="left", fontsize=10)


def _draw_memory(axis: Any, table: Table) -> None:
    for at, contest, entry in _places(table):
        memory = contest.memory(entry)
        if memory is None:
            continue
        axis.barh(at, memory, color=_OURS if entry is contest.ours else _RIVAL)
        axis.text(memory, at, f"  {memory:.2f}", va="center", fontsize=8)
    axis.margins(x=0.12)
    axis.set_xlim(left=0)
    axis.set_xlabel(f"peak extra memory, multiples of the {table.settings.get('unit', 'unit')}")
    if all(contest.memory(entry) is None for _, contest, entry in _places(table)):
        axis.set_title("memory was not measured", loc="left", fontsize=10)
