"""Time of the distance transform of many masks, beside the package edt.

pip install edt; python docs/examples/measure_distance_transform.py
"""

from __future__ import annotations

import statistics

import edt as package
import numpy as np
import torch
from torch.nn import functional

from medloss.bench.devices import find_device
from medloss.bench.measure import Entrant, rounds
from medloss.distance import edt

BATCH, CLASSES, SIDE, SPACING_MM, ROUNDS = 2, 14, 96, (1.0, 1.0, 2.5), 5
torch.set_num_threads(2)
torch.manual_seed(0)
noise = torch.randn(BATCH, CLASSES, 9, 9, 9)
labels = functional.interpolate(noise, (SIDE,) * 3, mode="trilinear").argmax(1, keepdim=True)
masks = torch.cat([labels == label for label in range(CLASSES)], 1)
each_mask = masks.flatten(0, 1).numpy()


def theirs() -> np.ndarray:
    """One mask after another, as the package works."""
    return np.stack([package.edt(mask, anisotropy=SPACING_MM, parallel=2) for mask in each_mask])


entrants = [Entrant("medloss", lambda: edt(masks, SPACING_MM)), Entrant("edt", theirs)]
difference = np.abs(edt(masks, SPACING_MM).flatten(0, 1).numpy() - theirs())
print(f"{len(each_mask)} masks of {SIDE}^3; largest difference {np.nanmax(difference):g} mm")
for name, found in rounds(entrants, ROUNDS, find_device("cpu")).items():
    print(f"{name:10}{1e3 * statistics.median(found.wall_s):8.0f} ms")
