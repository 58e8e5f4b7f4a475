"""Lesion-wise scores and the table of lesions, ours and panoptica's."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

import numpy as np

from medloss.offers.host import host
from medloss.scoring import Case, Components
from medloss.scoring.matching import match_lesions
from medloss.workbench.bench.metric_rivals import MetricRival, MetricTask, Score, Values

PRESET, MATCHING = "brats2026", "dice@0.000001"
"""Whose definitions are panoptica's as BraTS uses it."""

SCORES, TABLE = "lesion-wise scores", "table of lesions"
COMPUTES = {
    SCORES: "lesion_dice, lesion_hausdorff95, lesion_normalized_surface_dice of found lesions",
    TABLE: "volume, Dice and HD95 of each lesion of the reference",
}
"""Of ours, by the contest."""


def ours(contest: str) -> Score:
    """Of this package."""
    return _scores if contest == SCORES else _table


def _components(task: MetricTask) -> Components:
    maps = task.reference, task.prediction
    case = Case(*maps, labels=task.labels, spacing_mm=task.spacing_mm, preset=PRESET)
    return case.components(task.labels[0])


def _scores(task: MetricTask) -> Values:
    found = _components(task)
    options: dict[str, dict[str, Any]] = {
        "lesion_dice": {},
        "lesion_hausdorff95": {},
        "lesion_normalized_surface_dice": {"tolerance_mm": "voxel"},
    }
    metrics = [(host().metrics.find(name).load(), own) for name, own in options.items()]
    rule = {"matching": MATCHING, "unmatched": "excluded"}
    return np.array([[metric(found, **rule, **own) for metric, own in metrics]])


def _table(task: MetricTask) -> Values:
    found = match_lesions(_components(task), matching=MATCHING)
    hd95 = np.full(len(found.counted), -1.0)
    hd95[found.found] = [each.percentile(95) for each in found.surfaces]
    volumes = found.lesions.reference_voxels * (found.lesions.voxel_mm3 or 0)
    return _sorted(np.stack([volumes, found.dice, hd95], axis=1))


def _sorted(rows: Values) -> Values:
    """By volume, then overlap, whoever came first."""
    return rows[np.lexsort(rows.round(6).T[::-1])]


@functools.cache
def _evaluator() -> Any:
    module = import_module("panoptica")
    module.disable_citation_reminder()
    chosen = [module.Metric.DSC, module.Metric.HD95, module.Metric.NSD]
    return module.Panoptica_Evaluator(
        expected_input=module.InputType.SEMANTIC,
        instance_approximator=module.ConnectedComponentsInstanceApproximator(),
        instance_matcher=module.MaxBipartiteMatching(
            matching_metric=module.Metric.DSC, matching_threshold=1e-6
        ),
        instance_metrics=chosen,
        global_metrics=[],
    )


def _panoptica(contest: str, task: MetricTask) -> Values:
    found = _evaluator().evaluate(task.prediction, task.reference, voxelspacing=task.spacing_mm)
    result = found["ungrouped"]
    if contest == SCORES:
        return np.array([[result.sq_dsc, result.sq_hd95, result.sq_nsd]])
    rows = [
        [row["volume"], row["sq_dsc"], row["sq_hd95"]]
        if row["is_matched"]
        else [row["volume"], 0.0, -1.0]
        for row in result.to_dict(True)["reference_instances"]
    ]
    return _sorted(np.array(rows, dtype=float).reshape(-1, 3))


def lesion_rivals(contest: str) -> tuple[MetricRival, ...]:
    """All of them."""
    return (
        MetricRival(
            "panoptica",
            "panoptica",
            "panoptica",
            PRESET,
            "panoptica.Panoptica_Evaluator of masks, DSC, HD95 and NSD of matched instances",
            functools.partial(_panoptica, contest),
        ),
    )
