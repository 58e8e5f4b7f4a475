"""What an evaluation says on the terminal, in tables as wide as that and no wider.

The layout is not rich's: a title stands between the lines of one table, as many metrics as fit
stand beside one another, and where nothing fits a number is wrapped by the terminal, never cut.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from medloss.evaluation.grouping import Grouping
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.lesions import LesionsOfSize
from medloss.evaluation.outputs.acceptance import acceptances
from medloss.evaluation.outputs.averages import averages
from medloss.evaluation.outputs.formats import number, p_value
from medloss.evaluation.outputs.lesions import sizes_of
from medloss.evaluation.outputs.pooled import asked_for
from medloss.evaluation.outputs.preparation import preparation
from medloss.evaluation.outputs.statistics import Interval
from medloss.evaluation.outputs.subgroups import RULE
from medloss.evaluation.outputs.tables import policies
from medloss.evaluation.profiles.telling import profile_sentences
from medloss.evaluation.records import (
    WHOLE_CASE,
    CaseResult,
    Measure,
    ResultTable,
    ScoredLabel,
    SubgroupTable,
    Summary,
    label_key,
)
from medloss.evaluation.requests import MetricChoice
from medloss.evaluation.score import EvalPlan

_WIDE = 110
_HEADING_WIDTH = 12
_LONGEST_CASE = 28
_STATUSES = ("missed", "spurious", "both_empty")
_COUNTS = (["n"], ["missed"], ["spur-", "ious"], ["both", "empty"], ["not", "used"])
_MOST_LINES = 10
_MOST_NAMES = 20


def print_summary(console: Console, table: ResultTable) -> None:
    """Print a block for each metric with a line for each label."""
    lines = table.lines
    if not lines:
        return
    wide = console.width >= _WIDE
    heads = [["mean"], ["sd"], ["median"], *([["min"], ["max"]] if wide else [["worst"]]), *_COUNTS]
    rows = [_statistics(each, wide=wide) for each in lines]
    last: list[str] = []
    if wide:
        width = max([len("worst case"), *(cell_len(each.worst_case) for each in lines)])
        width = min(width, _LONGEST_CASE)
        last = ["worst case", *(fit(each.worst_case, width) for each in lines)]
    _print_blocks(console, table, lines, heads, rows, last=last, apart=int(wide))
    console.print()


def print_averages(console: Console, table: ResultTable) -> None:
    """Print the means over several labels that a profile asks for."""
    for name, group in itertools.groupby(averages(table), key=lambda each: each.name):
        found = list(group)
        values = ", ".join(
            f"{each.measure.title} {number(each.value, each.measure.unit)}" for each in found
        )
        console.print(f"{name[:1].upper()}{name[1:]} ({found[0].rule}): {values}.", markup=False)


def print_definitions(console: Console, definitions: Sequence[ResultTable]) -> None:
    """Print the means by each definition: a block for each metric, a line for each label."""
    together = list(zip(*(table.lines for table in definitions), strict=True))
    heads = [[table.preset] for table in definitions]
    rows = [[number(each.mean, each.column.unit) for each in means] for means in together]
    console.print("Means by each definition:")
    first = [means[0] for means in together]
    _print_blocks(console, definitions[0], first, heads, rows, apart=1)
    for sentence in policies(definitions):
        console.print(sentence, markup=False)
    console.print()


def print_lesions(console: Console, table: ResultTable) -> None:
    """Print recall and precision of lesions by their size, where that was asked for."""
    found = sizes_of(table)
    if not found:
        return
    heads = [["lesions"], ["found"], ["recall"], ["pre-", "dicted"], ["right"], ["preci-", "sion"]]
    rows = [
        [
            *(str(each.reference), str(each.found), number(each.recall, "")),
            *(str(each.prediction), str(each.right), number(each.precision, "")),
        ]
        for each in found
    ]
    names = [f"{table.label(label_key(each.label)).title}, {_size(each)}" for each in found]
    _print_named(console, "lesions of", names, heads, rows)


def print_pooled(console: Console, table: ResultTable) -> None:
    """Print the values of all cases together: of Dice those over all labels."""
    found = asked_for(table)
    if not found:
        return
    heads = [["value"], ["95% CI", "low"], ["", "high"]]
    rows = [[number(x) for x in (each.value, each.ci_low, each.ci_high)] for each in found]
    console.print(Text("All cases together:", "bold"))
    names = [
        f"  {each.metric}"
        + ("" if each.label is None else f", {table.label(label_key(each.label)).title}")
        + f": {each.order}"
        for each in found
    ]
    _print_named(console, "", names, heads, rows)


def _print_named(
    console: Console,
    title: str,
    names: Sequence[str],
    heads: Sequence[list[str]],
    rows: Sequence[list[str]],
) -> None:
    """Rows of numbers with a name before each."""
    widths = [width + 1 for width in widths_of(heads, rows)]
    room = console.width - sum(widths) - len(widths)
    left = [max(8, min(max(map(cell_len, names)), room))]
    for text in head_lines([title], heads, left, widths):
        _print(console, text, "bold")
    for name, cells in zip(names, rows, strict=True):
        _print(console, line([name], cells, left, widths))
    console.print()


def _size(found: LesionsOfSize) -> str:
    if found.high_mm3 == float("inf"):
        return f"{found.low_mm3:g} mm³ or more"
    return f"{found.low_mm3:g} to below {found.high_mm3:g} mm³"


def print_intervals(console: Console, table: ResultTable) -> None:
    """Print the means with their intervals where patients or subgroups were asked for."""
    grouping = Grouping.of_record(table.settings)
    if grouping.cluster and table.lines:
        clusters = grouping.clusters([case.pair for case in table.cases]) or {}
        _print(
            console,
            f"{len(table.cases)} cases of {len(set(clusters.values()))} {grouping.noun} "
            f"({grouping.cluster}); 95% intervals of the means count {grouping.noun}:",
        )
        heads = [["mean"], ["low"], ["high"], ["n"], ["clus-", "ters"]]
        rows = [
            [
                *(number(x, each.column.unit) for x in (each.mean, each.ci_low, each.ci_high)),
                str(each.n),
                str(each.clusters or each.n),
            ]
            for each in table.lines
        ]
        _print_blocks(console, table, table.lines, heads, rows, apart=1)
        for caution in dict.fromkeys(map(_caution, table.lines)):
            if caution:
                _print(console, f"{caution}.")
        console.print()
    print_subgroups(console, [("", each) for each in table.subgroups])
    if table.subgroups:
        _print(console, f"{RULE[:1].upper()}{RULE[1:]}.")
        console.print()


def _caution(line: Summary) -> str:
    """What has to be said beside the interval of a mean, without an end."""
    if line.ci_method:
        return Interval(line.ci_low, line.ci_high, line.ci_method, line.n, line.clusters).caution
    if not line.clusters:
        return ""
    few = "cluster is" if line.clusters == 1 else "clusters are"
    return f"{line.clusters} {few} too few for an interval"


def print_subgroups(console: Console, tables: Sequence[tuple[str, SubgroupTable]]) -> None:
    """Print every metric by subgroup, each with its difference from the largest of its list.

    Args:
        console: to print on.
        tables: each with what its values are, where they are not those of the metric.
    """
    if not tables:
        return
    _print(console, "Subgroups:", "bold")
    names = ["", "  subgroup"]
    heads = [
        ["n"],
        ["mean"],
        ["low"],
        ["high"],
        ["differ-", "ence"],
        ["low"],
        ["high"],
        ["p", "(Holm)"],
    ]
    lines: list[tuple[str, list[str]]] = []
    for what, each in tables:
        unit, contrasts = each.measure.unit, {x.level: x for x in each.contrasts}
        title = f"{what}{_title(each.measure)}, {each.label.title}, by {each.variable}"
        lines.append((title, []))
        for group in each.groups:
            numbers = [number(x, unit) for x in (group.mean, group.ci_low, group.ci_high)]
            many = f"{group.n} ({group.clusters})" if group.clusters else str(group.n)
            apart = contrasts.get(group.level)
            rest = ["-"] * 4
            if apart is not None:
                rest = [number(x, unit) for x in (apart.mean, apart.ci_low, apart.ci_high)]
                rest.append(p_value(apart.p_holm))
            lines.append((f"  {group.level}", [many, *numbers, *rest]))
    rows = [cells for _, cells in lines if cells]
    widths = widths_of(heads, rows)
    room = console.width - sum(widths) - len(widths)
    left = [max(10, min(max(cell_len(name) for name, cells in lines if cells), room))]
    for text in head_lines(names[1:], heads, left, widths):
        _print(console, text, "bold")
    for name, cells in lines:
        if cells:
            _print(console, line([name], cells, left, widths))
        else:
            _print(console, name, "bold cyan")
    console.print()


def _print_blocks(
    console: Console,
    table: ResultTable,
    lines: Sequence[Summary],
    heads: Sequence[Sequence[str]],
    rows: Sequence[Sequence[str]],
    *,
    last: Sequence[str] = (),
    apart: int,
) -> None:
    """Rows of numbers by label, with a title above those of each metric.

    Args:
        console: to print on.
        table: that the lines are of.
        lines: one for each row.
        heads: of the columns of numbers.
        rows: numbers as text.
        last: head and cells of a column of text at the right, if there is one.
        apart: how much wider than its numbers a column is.
    """
    names = [f"  {table.label(each.key).title}" for each in lines]
    widths = [width + apart for width in widths_of(heads, rows)]
    room = console.width - sum(widths) - len(widths) - (cell_len(last[-1]) + 2 if last else 0)
    left = [max(8, min(max([len("  label"), *map(cell_len, names)]), room))]
    *above, lowest = head_lines(["  label"], heads, left, widths)
    for text in (*above, lowest + (f"  {last[0]}" if last else "")):
        _print(console, text, "bold")
    ends = [f"  {cell}" for cell in last[1:]] or [""] * len(rows)
    previous: Measure | None = None
    for each, name, cells, end in zip(lines, names, rows, ends, strict=True):
        if each.column != previous:
            previous = each.column
            _print(console, _title(previous), "bold cyan")
        _print(console, line([name], cells, left, widths) + end)


def print_cases(console: Console, table: ResultTable) -> None:
    """Print every value: a line for each case and label, with as many metrics as fit."""
    count = len(table.settings["metrics"])
    metrics, losses = table.measures[:count], table.measures[count:]
    good = [case for case in table.cases if not case.error]
    first = max([len("case"), *(cell_len(case.name) for case in good)])
    second = max([len("label"), *(cell_len(label.title) for label in table.labels)])
    left = [min(first, console.width // 4), min(second, console.width // 4), len("both_empty")]
    if table.labels and metrics:
        heads = ["case", "label", "status"]
        rows = [row for case in good for row in _label_rows(case, table.labels)]
        _print_values(console, heads, left, rows, metrics)
    if losses:
        _print_values(
            console, ["case"], left[:1], [([c.name], c, WHOLE_CASE) for c in good], losses
        )


def print_failed(console: Console, table: ResultTable) -> None:
    """Print the failed cases, each with its sentence, and images that no case is made of."""
    if table.failed:
        _print(console, f"{len(table.failed)} of {len(table.cases)} cases failed:", "bold red")
    for case in table.failed:
        console.print(Text.assemble("  ", (case.name, "bold"), f": {case.error}"), soft_wrap=True)
    if table.unscored:
        many = len(table.unscored)
        what = "image belongs" if many == 1 else "images belong"
        _print(
            console,
            f"{many} {what} to no case and is not scored, so that the exit code is 1 (--only says "
            f"which cases are meant): {_some(table.unscored)}",
            "bold red",
        )


def print_findings(console: Console, table: ResultTable) -> None:
    """Print what the user should look at before the numbers."""
    if table.findings:
        _print(console, "About the data:", "bold yellow")
    for finding in table.findings[:_MOST_LINES]:
        console.print(f"  {finding.sentence}.", markup=False, soft_wrap=True)
    if len(table.findings) > _MOST_LINES:
        console.print(f"  ... and {len(table.findings) - _MOST_LINES} more, in the JSON file.")


def print_acceptance(console: Console, table: ResultTable) -> None:
    """Print what became of each limit that the study must meet."""
    for each in acceptances(table):
        word, style = ("Met", "bold green") if each.passed else ("Not met", "bold red")
        text = f": {each.limit.label.title}: {each.words}."
        console.print(Text.assemble((word, style), text), soft_wrap=True)


def print_notes(console: Console, table: ResultTable, metrics: Sequence[MetricChoice]) -> None:
    """Print what the numbers mean: preset, policies, unit, and options that nobody gave."""
    good = len(table.cases) - len(table.failed)
    if good and not table.labels and not table.settings["losses"]:
        console.print("No file holds a label other than 0, so there is nothing to score.")
    for sentence in profile_sentences(table.profile):
        console.print(f"{sentence}.", markup=False)
    defaults = "".join(f" {m.column}: {m.defaults}." for m in metrics if m.defaults)
    console.print(
        f"{good} of {len(table.cases)} cases scored. Preset: {table.preset}, distances in mm. "
        f"{table.policy[:1].upper()}{table.policy[1:]}.{defaults}",
        markup=False,
    )


def _statistics(summary: Summary, *, wide: bool) -> list[str]:
    ends = (summary.minimum, summary.maximum) if wide else (summary.worst,)
    values = (summary.mean, summary.sd, summary.median, *ends)
    counts = (summary.n, *(summary.statuses.get(s, 0) for s in _STATUSES), summary.not_used)
    return [number(value, summary.column.unit) for value in values] + [str(n) for n in counts]


def _title(column: Measure) -> str:
    unit = f"{column.unit}, " if column.unit else ""
    return f"{column.name} ({unit}{column.better} is better)"


_Row = tuple[list[str], CaseResult, str]
"""Words at the left, and the case and label key that the values are of."""


def _label_rows(case: CaseResult, labels: Sequence[ScoredLabel]) -> Iterator[_Row]:
    name, status = case.name, case.statuses
    for label in labels:
        yield [name, label.title, status[label.key]], case, label.key
        name = ""  # said once


def _print_values(
    console: Console,
    names: list[str],
    left: list[int],
    rows: Sequence[_Row],
    shown: Sequence[Measure],
) -> None:
    heads = [
        [
            *broken_heading(column.name, _HEADING_WIDTH),
            *([f"({column.unit})"] if column.unit else []),
        ]
        for column in shown
    ]
    cells = [
        [number(case.values[key, column.name].value, column.unit) for column in shown]
        for _, case, key in rows
    ]
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
        for (words, *_), row in zip(rows, cells, strict=True):
            _print(console, line(words, row[part], left, widths[part]))
        console.print()
        start = stop


def _print(console: Console, text: str, style: str = "") -> None:
    # A terminal too narrow for the numbers wraps them; cutting would hide some.
    console.print(Text(text.rstrip(), style=style), soft_wrap=True)


# Inputs: what was left out, changed or brought to another grid


def print_input_notes(console: Console, table: ResultTable, plan: EvalPlan) -> None:
    """Print what happened to the files before they were scored."""
    for note in _input_notes(table.cases, plan):
        console.print(f"{note}.", markup=False, soft_wrap=True)


def _input_notes(cases: Sequence[CaseResult], plan: EvalPlan) -> Iterator[str]:
    """One line for each thing that the user should know, none for a study of plain files."""
    inputs = plan.inputs
    if inputs.left_out:
        many = len(inputs.left_out)
        what = (
            "reference without a prediction is"
            if many == 1
            else "references without a prediction are"
        )
        yield f"{many} {what} left out: {_some(inputs.left_out)}"
    if inputs.passed_over:
        yield f"Passed over, as no image of a case: {_some(inputs.passed_over)}"
    if inputs.beside:
        yield f"Beside labels, and not read: {_some(inputs.beside)}"
    if inputs.layout:
        yield f"Layout: {'; '.join(inputs.layout)}"
    yield from preparation(inputs.record())
    for name in plan.regions:
        yield f"Region {name}: labels {_members(plan.regions[name], plan)}"
    noted = [(case.pair.name, note) for case in cases for note in case.notes]
    for name, note in noted[:_MOST_LINES]:
        yield f"{name}: {note}"
    if len(noted) > _MOST_LINES:
        yield f"... and {len(noted) - _MOST_LINES} more such notes, in the JSON file"


def _members(labels: Sequence[Label], plan: EvalPlan) -> str:
    return ", ".join(f"{label} {plan.name(label)}".rstrip() for label in labels)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


# Columns of text: pure functions on strings


def broken_heading(name: str, width: int) -> list[str]:
    """Break a name after its underscores into lines of at most ``width``, if its words allow.

    Example:
        >>> broken_heading("average_symmetric_surface_distance", 10)
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
