"""Limits that a study must meet to be accepted: of a mean, or in a share of the cases."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medloss.evaluation.outputs.names import briefly, called, unit_of
from medloss.evaluation.outputs.statistics import SHARE
from medloss.evaluation.outputs.statistics.intervals import share_interval
from medloss.evaluation.records import WHOLE_CASE, Measure, ResultTable, ScoredLabel
from medloss.evaluation.requests import named_columns, read_number
from medloss.objects.spacing import at_least, within

ALL = "all"
_FORM = re.compile(
    r"(?P<label>.+?)\s*:\s*(?P<metric>[^<>=\s][^<>]*?)\s*(?P<sign>>=|<=|>|<)\s*(?P<value>\S+(?:\s+mm[3\u00b3]?)?)"
    r"(?:\s+in\s+(?P<share>[\d.]+\s*%?)(?:\s+of(?:\s+the)?\s+cases)?)?\s*"
)
_SIGNS = {">=": "\N{GREATER-THAN OR EQUAL TO}", "<=": "\N{LESS-THAN OR EQUAL TO}"}
_BETTER = {">": "higher", "<": "lower"}


@dataclass(frozen=True)
class Limit:
    """What a metric of a label must be.

    Args:
        text: as it was given.
        label: whose values are compared.
        measure: metric or loss.
        sign: ``>=``, ``>``, ``<=`` or ``<``.
        value: that they are compared with.
        share: of the cases that must meet it; ``None`` where the mean must.
    """

    text: str
    label: ScoredLabel
    measure: Measure
    sign: str
    value: float
    share: float | None = None

    def met_by(self, value: float) -> bool:
        """Whether a value is on the right side."""
        return meets(value, self.sign, self.value, self.measure.unit)

    @property
    def words(self) -> str:
        """The limit as a page has it."""
        unit = f" {unit_of(self.measure)}" if self.measure.unit else ""
        sign = _SIGNS.get(self.sign, self.sign)
        of = "the mean" if self.share is None else f"{100 * self.share:g}% of the cases"
        return f"{called(self.measure)} {sign} {self.value:g}{unit} in {of}"


def meets(value: float, sign: str, limit: float, unit: str) -> bool:
    """Whether a value is on the right side of a limit; equal ones are, however they were rounded.

    Args:
        value: a mean, or of a case; NaN meets nothing.
        sign: ``>=``, ``>``, ``<=`` or ``<``.
        limit: that it is compared with.
        unit: of both.

    Example:
        >>> meets(0.1 + 0.2, "<=", 0.3, ""), meets(0.3, "<", 0.1 + 0.2, "")
        (True, False)
    """
    if math.isnan(value):
        return False
    if unit:  # sizes in mm or mm³
        above, below = bool(at_least(value, limit)), bool(within(value, limit))
    else:
        same = math.isclose(value, limit, rel_tol=SHARE)
        above, below = value > limit or same, value < limit or same
    return {">=": above, "<=": below, ">": not below, "<": not above}[sign]


@dataclass(frozen=True)
class Acceptance:
    """What became of a limit.

    Args:
        limit: that was set.
        mean: of the values; NaN where there is none.
        met: cases that meet it.
        of: cases that count.
        ends: exact interval (Clopper and Pearson) of the share of cases that meet it.
        failed: cases that count as not meeting it, because they could not be scored.
    """

    limit: Limit
    mean: float
    met: int
    of: int
    ends: tuple[float, float]
    failed: int

    @property
    def passed(self) -> bool:
        """Whether the mean, or the observed share of cases, is what it must be."""
        if self.limit.share is None:
            return self.limit.met_by(self.mean)
        needed = self.limit.share * self.of
        return self.of > 0 and (self.met >= needed or math.isclose(self.met, needed))

    @property
    def share(self) -> float:
        """Of the cases that meet it."""
        return self.met / self.of if self.of else math.nan

    @property
    def words(self) -> str:
        """The limit and what there is, without an end."""
        unit = self.limit.measure.unit
        many = f"{self.met} of {self.of} {'case meets' if self.of == 1 else 'cases meet'} it"
        ends = [f"{100 * end:.0f}" for end in self.ends]
        interval = f" ({ends[0]} to {ends[1]}%)" if self.of > 1 else ""
        failed = f", {self.failed} of which failed" if self.failed else ""
        mean = briefly(self.mean, unit)
        if not self.passed and mean == briefly(self.limit.value, unit):
            mean = f"{self.mean:.6g}"  # which, rounded, would look as good as the limit
        return f"{self.limit.words}: the mean is {mean}; {many}{interval}{failed}"

    @property
    def beyond_chance(self) -> bool:
        """Whether the whole interval of the share is on the side that the verdict is on."""
        wanted = self.limit.share
        if wanted is None or not self.of:
            return False
        return self.ends[0] >= wanted if self.passed else self.ends[1] < wanted


def parse_limits(
    texts: Iterable[str], measures: Sequence[Measure], labels: Sequence[ScoredLabel] | None
) -> tuple[Limit, ...]:
    """Read ``LABEL: METRIC OP NUMBER [in SHARE of cases]``; ``all`` is each label by itself.

    Args:
        texts: of the command line or of a profile.
        measures: metrics and losses that are computed.
        labels: that are scored, which a limit calls by number or name; ``None`` where they are
            known only when all files have been read.

    Raises:
        ValueError: another form, something that is not there, or a limit on the side of the values
            that are worse.

    Example:
        >>> dice, liver = Measure("dice", "", "higher"), ScoredLabel("1", "liver")
        >>> [limit.words for limit in parse_limits(["liver: dice>=0.9 in 95%"], [dice], [liver])]
        ['Dice ≥ 0.9 in 95% of the cases']
    """
    return tuple(limit for text in texts for limit in _parse(text, measures, labels))


def acceptances(table: ResultTable) -> tuple[Acceptance, ...]:
    """What became of each limit that the settings of a table hold.

    Raises:
        ValueError: one of them cannot be read.
    """
    texts = table.settings.get("acceptance", ())
    return tuple(
        _judge(limit, table)
        for text in texts
        for limit in _parse(text, table.measures, table.labels, found=True)
    )


def acceptance_entries(table: ResultTable) -> list[dict[str, Any]]:
    """The same as JSON has it."""
    return [
        {
            "limit": each.limit.text,
            "label": each.limit.label.key,
            "metric": each.limit.measure.name,
            "passed": each.passed,
            "mean": each.mean,
            "met": each.met,
            "of": each.of,
            "failed": each.failed,
            "share": each.share,
            "share_ci": list(each.ends),
        }
        for each in acceptances(table)
    ]


def _parse(
    text: str,
    measures: Sequence[Measure],
    labels: Sequence[ScoredLabel] | None,
    *,
    found: bool = False,
) -> Iterator[Limit]:
    """Limits of a text; of labels that were found, one that is not among them has no values."""
    parts = _FORM.fullmatch(text.strip())
    if parts is None:
        raise ValueError(
            f"--accept: {text!r} is not of the form LABEL: METRIC>=NUMBER, with 'in 90% of cases' "
            f"behind it or not"
        )
    given = parts.groupdict()
    share = _share(text, given["share"])
    measure = _measure(text, given["metric"], measures)
    value = _number(text, given["value"], measure.unit)
    if measure.better != _BETTER[given["sign"][0]]:
        raise ValueError(f"--accept: {text!r}: of {measure.name}, {measure.better} is better")
    for label in _labels(text, given["label"], labels, found=found):
        yield Limit(text, label, measure, given["sign"], value, share)


def _number(text: str, given: str, unit: str = "") -> float:
    try:
        return read_number(given, unit)
    except ValueError as error:
        raise ValueError(f"--accept: {text!r}: {error}") from error


def _share(text: str, given: str | None) -> float | None:
    if given is None:
        return None
    share = _number(text, given)
    if not 0 < share <= 1:
        raise ValueError(
            f"--accept: {text!r}: expected a share of cases such as 0.9 or 90%, got {given}"
        )
    return share


def _measure(text: str, given: str, measures: Sequence[Measure]) -> Measure:
    """By the name of its column, or as a page calls it, or by its name where that is one metric."""
    columns, label = named_columns(given, [measure.name for measure in measures])
    if len(columns) == 1 and not label:
        return next(measure for measure in measures if measure.name == columns[0])
    for names in (
        [called(measure).casefold() for measure in measures],
        [measure.name.partition("[")[0] for measure in measures],
    ):
        wanted = given if given in names else given.casefold()
        if names.count(wanted) == 1:
            return measures[names.index(wanted)]
    there = ", ".join(measure.name for measure in measures)
    raise ValueError(f"--accept: {text!r}: {given!r} is not computed; there are {there}")


def _labels(
    text: str, given: str, labels: Sequence[ScoredLabel] | None, *, found: bool
) -> Sequence[ScoredLabel]:
    if given.casefold() == ALL:
        return labels or [ScoredLabel(WHOLE_CASE)]
    named = [label for label in labels or () if given in (label.key, label.name)] or [
        label for label in labels or () if given.casefold() == label.name.casefold()
    ]
    if len(named) == 1:
        return named
    if labels is None or found:
        return [ScoredLabel(given)]
    there = ", ".join(label.title for label in labels[:12])
    raise ValueError(f"--accept: {text!r}: no label is called {given!r}; there are {there}")


def _judge(limit: Limit, table: ResultTable) -> Acceptance:
    """Compare every case; one without a value counts only where that is its own fault.

    A label in neither map, or not annotated, says nothing. A failed case does not meet the limit,
    and neither does one whose label is missed or spurious where the policy leaves that out.
    """
    excluded = _excluded(table.settings.get("policies", {}))
    values = []
    for case in table.cases:
        found = case.values.get((limit.label.key, limit.measure.name))
        if case.error:
            values.append(math.nan)
        elif found and (found.used or (excluded and found.status in ("missed", "spurious"))):
            values.append(found.value)
    met = sum(map(limit.met_by, values))
    used = [value for value in values if not math.isnan(value)]
    mean = (math.inf if math.inf in used else math.fsum(used) / len(used)) if used else math.nan
    return Acceptance(
        limit, mean, met, len(values), share_interval(met, len(values)), len(table.failed)
    )


def _excluded(policies: Mapping[str, Any]) -> bool:
    return policies.get("missed") == "exclude"
