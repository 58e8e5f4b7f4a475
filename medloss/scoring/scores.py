"""From a metric function and the facts of a case to a value under a policy for empty classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from medloss.scoring.case import Case, CountedCase
from medloss.scoring.cells import Cells
from medloss.scoring.presets import EmptyPolicy, Score, Status

if TYPE_CHECKING:
    from medloss.offers.records import Metric


def score(
    function: Callable[..., float],
    record: Metric,
    case: Case | CountedCase,
    label: int,
    policy: EmptyPolicy | None = None,
    **options: Any,
) -> Score:
    """Value of a metric for one class of a case, with the status of the class.

    The function says by its mathematics what an empty class gives: infinity or NaN where it is
    undefined. Only here does a policy replace it, and only as the policy says:

    ==================  ===========================================================
    status              value
    ==================  ===========================================================
    ok                  the function's
    missed, spurious    the function's; if infinite, as ``policy.missed`` says, and
                        so for each object that is missed, where it tells them apart
    both_empty          the function's (specificity is 1); if NaN, perfect where
                        ``policy.both_empty`` says so
    not_annotated       NaN
    ==================  ===========================================================

    Args:
        function: from the facts that the record names, in order, to a number.
        record: what the metric says about itself.
        case: the two label maps.
        label: class to score.
        policy: what missing classes count.
        options: passed to the function.

    Example:
        >>> import numpy as np
        >>> from medloss.offers.records import Metric
        >>> from medloss.scoring import Case, score
        >>> volume = Metric(
        ...     name="volume", target="m:f", family="region", summary="-",
        ...     facts=("counts",), better="higher",
        ... )
        >>> case = Case(np.eye(3, dtype=int), np.ones((3, 3), dtype=int), labels=[1])
        >>> score(lambda counts: counts.reference, volume, case, label=1)
        Score(value=3.0, status=<Status.OK: 'ok'>)
    """
    policy = policy or EmptyPolicy()
    status = case.status(label)
    if status is Status.NOT_ANNOTATED:
        return Score(math.nan, status)
    facts = (_fact(name, record, case, label, policy) for name in record.facts)
    value = float(function(*facts, **options))
    if math.isnan(value) and status is Status.BOTH_EMPTY and policy.both_empty == "perfect":
        value = _perfect(record)
    if math.isinf(value) and status is not Status.OK:
        value = _missed(value, record, case, policy)
    return Score(value, status)


def _fact(
    name: str, record: Metric, case: Case | CountedCase, label: int, policy: EmptyPolicy
) -> Any:
    fact = case.fact(name, label)
    if isinstance(fact, Cells):  # in which an object may be missed, of a class that is not
        return fact.under(_missed(math.inf, record, case, policy))
    return fact


def _missed(value: float, record: Metric, case: Case | CountedCase, policy: EmptyPolicy) -> float:
    if policy.missed == "exclude":
        return math.nan
    if record.unit != "mm" or policy.missed == "inf":
        return value  # only a length can be replaced by a length
    return case.diagonal_mm if policy.missed == "diagonal" else float(policy.missed)


def _perfect(record: Metric) -> float:
    if record.better == "lower":
        return 0.0
    return 1.0 if record.unit == "" else math.nan
