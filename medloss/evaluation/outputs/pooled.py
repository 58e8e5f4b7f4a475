"""Values of all cases together: Dice in every order of averaging, calibration, lesion FROC.

The mean of a summary is that of one value for each case. What adds up over cases, as voxels, bins
of probabilities and candidates for lesions do, also has a value of all of them at once; which of
the two was taken is said in words wherever it stands.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.grouping import Grouping
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.outputs.statistics import BOOTSTRAP, Bootstrap
from medloss.evaluation.outputs.statistics.clusters import LEAST
from medloss.evaluation.outputs.statistics.intervals import LEAST_FOR_MEAN
from medloss.evaluation.records import WHOLE_CASE, CaseResult, ResultTable, label_key
from medloss.scoring import Bins, FoundLesions, froc_curve
from medloss.scoring.candidates import RATES, froc_scores

Floats = NDArray[np.float64]

DICE = "dice"
CASES_THEN_LABELS = "mean over cases, then over labels"
LABELS_THEN_CASES = "mean over labels, then over cases"
POOLED_CASES = "voxels of all cases pooled"
POOLED_THEN_LABELS = "voxels pooled by label, then mean over labels"
POOLED_ALL = "voxels of all cases and labels pooled"
POOLED_LESIONS = "lesions of all cases pooled"


@dataclasses.dataclass(frozen=True)
class Pooled:
    """A value of all cases that were scored.

    Args:
        metric: name in the tables.
        label: ``None`` for all of them but the background.
        order: what is put together, and what is averaged after it.
        value: NaN where it is undefined.
        ci_low: lower end of the 95% percentile bootstrap interval; what is drawn are cases, or the
            clusters of the study. NaN for fewer than 3 cases or 6 clusters.
        ci_high: upper end.
        curve: points of the FROC curve, by name; empty for others.
    """

    metric: str
    label: Label | None
    order: str
    value: float
    ci_low: float
    ci_high: float
    curve: dict[str, list[float]] = dataclasses.field(default_factory=dict)


def pooled(table: ResultTable, bootstrap: Bootstrap = BOOTSTRAP) -> tuple[Pooled, ...]:
    """Dice of the voxels that were counted, and what metrics of probabilities add up to.

    Cases that failed are left out. A label that neither map of a case has has no Dice there, as in
    nnU-Net, whatever the policies say.

    Example:
        >>> from medloss.evaluation.inputs.pairing import Pair
        >>> from medloss.scoring import Counts
        >>> cases = [
        ...     CaseResult(Pair(name, None, None), counts=((1, Counts(tp, fp, 0, 0)),))
        ...     for name, tp, fp in (("a", 1, 2), ("b", 1, 0))
        ... ]
        >>> [(each.order, round(each.value, 4)) for each in pooled(ResultTable((), (), cases))]
        [('voxels of all cases pooled', 0.6667)]
    """
    cases = [case for case in table.cases if not case.error]
    if not cases:
        return ()
    clusters = Grouping.of_record(table.settings).clusters([case.pair for case in cases])
    weights = _weights([clusters[x.name] if clusters else x.name for x in cases], bootstrap)
    named = {str(each["metric"]): each for each in table.settings.get("metrics", ())}
    found = [
        *_dice(cases, weights),
        *_calibration(cases, weights, named),
        *_froc(cases, weights, named),
    ]
    tails = [(1 - bootstrap.level) / 2, (1 + bootstrap.level) / 2]
    return tuple(
        Pooled(metric, label, order, float(values[0]), *_ends(values[1:], tails), curve)
        for metric, label, order, values, curve in found
    )


def _weights(clusters: Sequence[str], bootstrap: Bootstrap) -> Floats:
    """How often each case counts: in the first row once, in the others as its cluster was drawn."""
    once = np.ones((1, len(clusters)))
    names, own = np.unique(clusters, return_inverse=True)
    if len(names) < (LEAST_FOR_MEAN if len(names) == len(clusters) else LEAST):
        return once
    draws = np.random.default_rng(bootstrap.seed)
    drawn = draws.multinomial(len(names), np.full(len(names), 1 / len(names)), bootstrap.resamples)
    return np.concatenate([once, drawn[:, own].astype(np.float64)])


_Found = tuple[str, Label | None, str, Floats, dict[str, list[float]]]


def _dice(cases: Sequence[CaseResult], weights: Floats) -> Iterator[_Found]:
    labels = list(dict.fromkeys(label for case in cases for label, _ in case.counts))
    labels = [label for label in labels if label != 0] or labels
    if not labels:
        return
    counts = np.zeros((3, len(cases), len(labels)))
    for n, case in enumerate(cases):
        own = dict(case.counts)
        for m, label in enumerate(labels):
            if label in own:
                counts[:, n, m] = own[label].tp, own[label].fp, own[label].fn
    summed = _dice_of(weights @ counts)
    for m, label in enumerate(labels):
        yield DICE, label, POOLED_CASES, summed[:, m], {}
    if len(labels) == 1:
        return
    each = _dice_of(counts)
    defined = ~np.isnan(each)
    # One label that no case has makes the mean over labels undefined, as in nnU-Net's summary.
    of_labels = _ratio(weights @ np.where(defined, each, 0), weights @ defined).mean(axis=1)
    of_cases = _ratio(np.where(defined, each, 0).sum(axis=1), defined.sum(axis=1))
    held = ~np.isnan(of_cases)
    over_cases = _ratio(weights @ np.where(held, of_cases, 0), weights @ held)
    yield DICE, None, CASES_THEN_LABELS, of_labels, {}
    yield DICE, None, LABELS_THEN_CASES, over_cases, {}
    there = ~np.isnan(summed)
    over_labels = _ratio(np.where(there, summed, 0).sum(axis=1), there.sum(axis=1))
    yield DICE, None, POOLED_THEN_LABELS, over_labels, {}
    yield DICE, None, POOLED_ALL, _dice_of((weights @ counts).sum(axis=2)), {}


def _dice_of(counts: Floats) -> Floats:
    tp, fp, fn = counts
    return _ratio(2 * tp, 2 * tp + fp + fn)


_OF_BINS: dict[str, Callable[[Bins], float]] = {
    "expected_calibration_error": lambda bins: bins.expected_gap,
    "average_calibration_error": lambda bins: bins.average_gap,
    "maximum_calibration_error": lambda bins: bins.largest_gap,
}
"""Metrics of the bins of a reliability diagram, where they are made of all voxels."""


def _calibration(
    cases: Sequence[CaseResult], weights: Floats, named: dict[str, Any]
) -> Iterator[_Found]:
    for column, metric in named.items():
        options = metric["options"]
        plain = options.get("binning") == "equal_width" and not options.get("top_label")
        of = _OF_BINS.get(metric["name"])
        if of is None or not plain or options.get("within_mm") is not None:
            continue
        for label in dict.fromkeys(row.label for case in cases for row in case.reliability):
            many = options["bins"]
            sums = np.zeros((3, len(cases), many))
            for n, case in enumerate(cases):
                for row in case.reliability:
                    if row.label == label and len(row.voxels) == many:
                        voxels = np.array(row.voxels, dtype=np.float64)
                        means = np.nan_to_num(np.array([row.probability, row.frequency]))
                        sums[:, n] = voxels, *(voxels * means)
            if sums[0].any():
                values = [of(Bins(*row)) for row in np.moveaxis(weights @ sums, 0, 1)]
                yield column, label, POOLED_CASES, np.array(values), {}


def _froc(cases: Sequence[CaseResult], weights: Floats, named: dict[str, Any]) -> Iterator[_Found]:
    rows = [{(row.column, row.label): row for row in case.candidates} for case in cases]
    for column, label in dict.fromkeys(key for case in rows for key in case):
        own = [case.get((column, label)) for case in rows]
        # An image without a row has neither lesion nor candidate, and counts as an image.
        none = FoundLesions((), ())
        found = [FoundLesions(row.lesions, row.false) if row else none for row in own]
        rates = named.get(column, {}).get("options", {}).get("rates", RATES)
        curve = {name: each.tolist() for name, each in vars(froc_curve(found)).items()}
        yield column, label, POOLED_LESIONS, froc_scores(found, weights, rates), curve


def _ratio(one: Floats, other: Any) -> Floats:
    """NaN where nothing is below."""
    with np.errstate(invalid="ignore"):
        found: Floats = np.where(np.asarray(other) > 0, one, np.nan) / np.where(other, other, 1)
    return found


def _ends(values: Floats, tails: Sequence[float]) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return math.nan, math.nan
    low, high = np.quantile(known, tails)
    return float(low), float(high)


def asked_for(table: ResultTable) -> tuple[Pooled, ...]:
    """Those that people read: of metrics of the table, Dice over all labels; none of one case."""
    if len(table.cases) == 1:
        return ()
    asked = {measure.name for measure in table.measures}
    many = len(table.labels) > 1
    return tuple(
        each
        for each in pooled(table)
        if each.metric in asked and not (each.metric == DICE and many and each.label is not None)
    )


def pooled_entries(table: ResultTable) -> list[dict[str, Any]]:
    """What ``summary.json`` says of them."""
    return [
        {
            "metric": each.metric,
            "label": WHOLE_CASE if each.label is None else each.label,
            "name": table.label(label_key(each.label)).name,
            "order": each.order,
            "value": each.value,
            "ci_low": each.ci_low,
            "ci_high": each.ci_high,
            **({"curve": each.curve} if each.curve else {}),
        }
        for each in pooled(table)
    ]
