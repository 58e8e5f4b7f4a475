"""What an evaluation found, in sentences made of its numbers, short however many labels it has."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from medloss.evaluation.outputs.names import briefly, called, readable, unit_of
from medloss.evaluation.outputs.report.label_table import (
    LEAST,
    LabelRow,
    LabelTable,
    mean_of,
)
from medloss.evaluation.outputs.report.pictures import judge
from medloss.evaluation.records import WHOLE_CASE, Measure, ResultTable, Summary

_FEW_LABELS = 6
_MOST_NAMED = 5
_MOST_FINDINGS = 3


@dataclass(frozen=True)
class Sentence:
    """A sentence of the verdict.

    Args:
        text: without an end.
        about: a label, which stands before it.
        kind: ``"bad"`` for what went wrong, ``"warn"`` for what should be looked at, or ``""``.
    """

    text: str
    about: str = ""
    kind: str = ""


def verdict(table: ResultTable, labels: LabelTable) -> list[Sentence]:
    """The sentences, what went wrong first.

    Args:
        table: of the study.
        labels: of it.
    """
    measure = judge(table)
    rows = [row for block in labels.blocks for row in block.rows]
    found = [*_failed(table), *_of_the_data(table)]
    found += _whole_cases(table)
    if not rows or measure is None:
        return found or [Sentence("No label has a value")]
    place = labels.measures.index(measure)
    if len(rows) <= _FEW_LABELS:
        return [*found, *(_label(row, place, measure) for row in rows)]
    return [*found, *_many(rows, place, measure), *_missing(rows)]


def with_interval(line: Summary, measure: Measure) -> str:
    """A mean with its interval, where there are enough cases for one.

    Example:
        >>> from medloss.evaluation.records import Measure
        >>> dice = Measure("dice", "", "higher")
        >>> numbers = dict.fromkeys(("sd", "q1", "median", "q3", "minimum", "maximum"), 0.0)
        >>> line = Summary(1, dice, n=9, mean=0.95, ci_low=0.94, ci_high=0.96, **numbers,
        ...                worst_case="a", statuses={}, not_used=0, failed=0)
        >>> with_interval(line, dice)
        '0.95 (0.94 to 0.96)'
    """
    if line.n < LEAST or math.isnan(line.ci_low):
        return briefly(line.mean, measure.unit)
    low, high, mean = (
        briefly(value, measure.unit, bare=True) for value in (line.ci_low, line.ci_high, line.mean)
    )
    return f"{mean} ({low} to {high}) {unit_of(measure)}".strip()


def listed(words: Sequence[str]) -> str:
    """Words in a sentence.

    Example:
        >>> listed(["liver", "tumour", "spleen"])
        'liver, tumour and spleen'
    """
    *most, last = words or [""]
    return f"{', '.join(most)} and {last}" if most else last


def cases_of(n: int) -> str:
    """How many cases.

    Example:
        >>> cases_of(1), cases_of(2)
        ('1 case', '2 cases')
    """
    return f"{n} {'case' if n == 1 else 'cases'}"


def _failed(table: ResultTable) -> Iterator[Sentence]:
    many = len(table.failed)
    if many:
        rest = "is in none of the numbers" if many == 1 else "are in none of the numbers"
        yield Sentence(f"{many} of {cases_of(len(table.cases))} failed and {rest}", kind="bad")


def _of_the_data(table: ResultTable) -> Iterator[Sentence]:
    for finding in table.findings[:_MOST_FINDINGS]:
        yield Sentence(finding.sentence[:1].upper() + finding.sentence[1:], kind="warn")
    if len(table.findings) > _MOST_FINDINGS:
        more = len(table.findings) - _MOST_FINDINGS
        yield Sentence(f"{more} more such findings stand below", kind="warn")


def _whole_cases(table: ResultTable) -> Iterator[Sentence]:
    """The losses, which are of no label."""
    for line in table.lines:
        if line.key == WHOLE_CASE and line.n:
            text = f"{with_interval(line, line.column)} in {cases_of(line.n)}"
            yield Sentence(text, called(line.column))


def _label(row: LabelRow, place: int, measure: Measure) -> Sentence:
    line = row.lines[place]
    parts = []
    if line is None or line.n == 0:
        parts.append(f"no value of {called(measure)}")
    else:
        parts.append(f"{called(measure)} {with_interval(line, measure)} in {cases_of(line.n)}")
    missed, spurious = row.cases("missed"), row.cases("spurious")
    if missed:
        parts.append(f"{missed} of {row.present} missed")
    if spurious:
        parts.append(f"predicted in {spurious} of {cases_of(row.absent)} without it")
    kind = "bad" if missed else "warn" if spurious else ""
    return Sentence("; ".join(parts), readable(row.label), kind)


def _many(rows: Sequence[LabelRow], place: int, measure: Measure) -> Iterator[Sentence]:
    """The spread of all labels, and the worst of them."""
    name = called(measure)
    valued = [row for row in rows if not math.isnan(mean_of(row.lines[place]))]
    if not valued:
        yield Sentence(f"No label has a value of {name}")
        return
    ordered = sorted(valued, key=lambda row: mean_of(row.lines[place]))
    if measure.better == "lower":
        ordered.reverse()
    middle = sorted(mean_of(row.lines[place]) for row in valued)[len(valued) // 2]
    ends = [
        f"{briefly(mean_of(row.lines[place]), measure.unit)} ({readable(row.label)})"
        for row in (ordered[0], ordered[-1])
    ]
    yield Sentence(
        f"{name} of {len(valued)} labels: from {ends[0]} to {ends[1]}; half of the labels have "
        f"{briefly(middle, measure.unit)} or {'more' if measure.better == 'higher' else 'less'}"
    )
    worst = []
    for row in ordered[:_MOST_NAMED]:
        line = row.lines[place]
        if line is not None:
            worst.append(f"{readable(row.label)} {with_interval(line, measure)}")
    yield Sentence(f"Worst by {name}: {', '.join(worst)}")


def _missing(rows: Sequence[LabelRow]) -> Iterator[Sentence]:
    """The labels that are missed, and those that are predicted where they are not."""
    for status, word, among, kind in (
        ("missed", "Missed", "present", "bad"),
        ("spurious", "Predicted without being there", "absent", "warn"),
    ):
        found = [(row.cases(status), getattr(row, among), row) for row in rows]
        found = sorted((x for x in found if x[0]), key=lambda x: -x[0] / x[1])
        if not found:
            continue
        named = ", ".join(f"{readable(row.label)} in {n} of {of}" for n, of, row in found[:3])
        more = f", and {len(found) - 3} more labels" if len(found) > 3 else ""
        yield Sentence(f"{word}: {named}{more}", kind=kind)
