"""MONAI forms of the metrics, and a batch with every status, for the tests of the adapter."""

from __future__ import annotations

import math

import numpy as np
import torch
from monai.networks.utils import one_hot
from scoring.shapes import box

import medloss_boundary
import medloss_region
from medloss.scoring.adapter import adapt
from medloss_boundary import metrics as boundary
from medloss_region import metrics as region

RECORDS = {
    record.name: record
    for module in (medloss_region, medloss_boundary)
    for record in module.medloss_metrics()
}
Dice, Sensitivity = (adapt(RECORDS[f.__name__], f) for f in (region.dice, region.sensitivity))
Hausdorff95, SurfaceDice = (
    adapt(RECORDS[f.__name__], f) for f in (boundary.hausdorff95, boundary.normalized_surface_dice)
)
NAN = math.nan
SPACING = (1.5, 1.5, 3.0)


def labels(*boxes: tuple[int, int], shape: tuple[int, ...] = (8, 9, 10)) -> torch.Tensor:
    """Label map (1, 1, *shape) of cubes (label, start along the first axis)."""
    array = np.zeros(shape, dtype=np.uint8)
    for label, start in boxes:
        stop = [start + 2, *(3 * label for _ in shape[1:])]
        array[box(shape, [start, *(3 * label - 2 for _ in shape[1:])], stop)] = label
    return torch.from_numpy(array)[None, None]


def channels(label_map: torch.Tensor, classes: int = 3) -> torch.Tensor:
    return one_hot(label_map, classes)


# Items: class 1 and 2 found; 1 missed, 2 in neither; 1 spurious, 2 found.
Y = torch.cat([labels((1, 1), (2, 4)), labels((1, 1)), labels((2, 4))])
Y_PRED = torch.cat([labels((1, 2), (2, 4)), labels(), labels((1, 1), (2, 5))])
DIAGONAL = math.hypot(8 * 1.5, 9 * 1.5, 10 * 3.0)
HD95 = [[1.5, 0.0], [DIAGONAL, NAN], [DIAGONAL, 1.5]]


def close(tensor, expected):
    torch.testing.assert_close(
        tensor, torch.tensor(expected, dtype=torch.float64), equal_nan=True, rtol=1e-12, atol=1e-12
    )
