"""The keys of nnU-Net's ``summary.json``, with the meaning that they have there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from medloss.evaluation.score import CaseResult
from medloss.scoring.facts import Counts

KEYS = ("Dice", "IoU", "FP", "TP", "FN", "TN", "n_pred", "n_ref")


def nnunet_keys(cases: Sequence[CaseResult]) -> dict[str, Any]:
    """``foreground_mean``, ``mean`` and ``metric_per_case``, of the cases that were scored.

    A label that neither file of a case has is undefined there (null) and left out of the mean,
    whatever the policies say; ``foreground_mean`` is the mean of the labels' means, and null if one
    of them is.

    Args:
        cases: complete.
    """
    scored = [case for case in cases if not case.error]
    per_case: list[dict[str, Any]] = [
        {
            "reference_file": str(case.pair.reference),
            "prediction_file": str(case.pair.prediction),
            "metrics": {str(label): _values(counts) for label, counts in case.counts},
        }
        for case in scored
    ]
    labels = list(dict.fromkeys(label for case in scored for label, _ in case.counts))
    means = {
        str(label): {key: _mean([m["metrics"][str(label)][key] for m in per_case]) for key in KEYS}
        for label in labels
    }
    foreground = [mean for label, mean in means.items() if label != "0"]
    overall = {key: _plain_mean([mean[key] for mean in foreground]) for key in KEYS}
    return {"foreground_mean": overall, "mean": means, "metric_per_case": per_case}


def _values(counts: Counts) -> dict[str, float | int | None]:
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    any_of_both = tp + fp + fn
    return {
        "Dice": 2 * tp / (2 * tp + fp + fn) if any_of_both else None,
        "IoU": tp / any_of_both if any_of_both else None,
        "FP": fp,
        "TP": tp,
        "FN": fn,
        "TN": tn,
        "n_pred": counts.prediction,
        "n_ref": counts.reference,
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """Of those that are defined; as ``numpy.nanmean``."""
    return _plain_mean([value for value in values if value is not None])


def _plain_mean(values: Sequence[float | None]) -> float | None:
    if not values or any(value is None for value in values):
        return None
    return math.fsum(value for value in values if value is not None) / len(values)
