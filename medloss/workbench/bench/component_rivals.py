"""Scores of each component in its cell, and Betti numbers: ours and others'."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import Any

import numpy as np

from medloss.offers.host import host
from medloss.scoring import Case
from medloss.workbench.bench.metric_rivals import (
    NAN,
    MetricRival,
    MetricTask,
    Score,
    Values,
)

CELLS, BETTI = "scores per component", "Betti numbers"
COMPUTES = {
    CELLS: "per_component_dice, _hausdorff95 and _normalized_surface_dice, cells in voxels",
    BETTI: "betti_error of dimension 0, 1 and 2, 26 and 6 neighbours",
}
"""Of ours, by the contest."""
_METRICS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    CELLS: [
        ("per_component_dice", {"cells_in": "voxels"}),
        ("per_component_hausdorff95", {"cells_in": "voxels"}),
        ("per_component_normalized_surface_dice", {"cells_in": "voxels", "tolerance_mm": 1.0}),
    ],
    BETTI: [("betti_error", {"dimension": dimension}) for dimension in range(3)],
}


def ours(contest: str) -> Score:
    """Of this package."""
    metrics = [(host().metrics.find(name), options) for name, options in _METRICS[contest]]

    def score(task: MetricTask) -> Values:
        maps = task.reference, task.prediction
        case = Case(*maps, labels=task.labels, spacing_mm=task.spacing_mm, preset="monai")
        fact = case.fact(metrics[0][0].record.facts[0], task.labels[0])
        return np.array([[metric.load()(fact, **options) for metric, options in metrics]])

    return score


def _monai(task: MetricTask) -> Values:
    metrics, torch = import_module("monai.metrics"), import_module("torch")
    y, y_pred = (
        torch.from_numpy(np.stack([mask == 0, mask != 0])[None].view(np.uint8))
        for mask in (task.reference, task.prediction)
    )
    found = metrics.compute_dice(y_pred, y, include_background=False, per_component=True)
    return np.array([[float(found), NAN, NAN]])


def _scikit_image(task: MetricTask) -> Values:
    measure = import_module("skimage.measure")
    numbers = []
    for mask in (task.reference != 0, task.prediction != 0):
        around = np.pad(mask, 1)
        objects = measure.label(mask, connectivity=3, return_num=True)[1]
        cavities = measure.label(~around, connectivity=1, return_num=True)[1] - 1
        tunnels = objects + cavities - measure.euler_number(around, connectivity=3)
        numbers.append((objects, tunnels, cavities))
    reference, prediction = np.array(numbers, dtype=float)
    errors: Values = np.abs(prediction - reference)[None]
    return errors


def component_rivals(contest: str) -> tuple[MetricRival, ...]:
    """All of them."""
    return _rivals()[contest]


@functools.cache
def _rivals() -> dict[str, tuple[MetricRival, ...]]:
    return {
        CELLS: (
            MetricRival(
                "MONAI",
                "monai",
                "monai",
                "monai",
                "compute_dice(per_component=True): Dice alone, in float32",
                _monai,
                has=(True, False, False),
                close=1e-4,  # voxels that are as near to two components go to either
            ),
        ),
        BETTI: (
            MetricRival(
                "scikit-image",
                "skimage",
                "scikit-image",
                "",
                "measure.label of both sides of the mask, and measure.euler_number",
                _scikit_image,
            ),
        ),
    }
