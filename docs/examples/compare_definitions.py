"""Means of surface metrics over the labels that two label maps share, by every definition.

python docs/examples/compare_definitions.py REFERENCE PREDICTION TOLERANCE_MM
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import medloss_boundary.metrics as surface
from medloss.evaluation.reading.images import read_image
from medloss.scoring import PRESETS, Case
from medloss_boundary.metrics import boundary_iou

reference, prediction = (read_image(Path(path)) for path in sys.argv[1:3])
tolerance_mm = float(sys.argv[3])
maps = [image.labels() for image in (reference, prediction)]
labels = tuple(int(n) for n in np.intersect1d(*maps) if n)
print(f"{len(labels)} labels; HD, HD95, ASSD, MASD in mm, NSD, boundary IoU")
for preset in PRESETS:
    case = Case(*maps, labels=labels, spacing_mm=reference.spacing_mm, preset=preset)
    rows = [
        (
            surface.hausdorff(found),
            surface.hausdorff95(found),
            surface.average_symmetric_surface_distance(found),
            surface.mean_average_surface_distance(found),
            surface.normalized_surface_dice(found, tolerance_mm=tolerance_mm),
            boundary_iou(found, width_mm=tolerance_mm),
        )
        for found in map(case.surfaces, labels)
    ]
    print(f"{preset:16}", *(f"{value:.3f}" for value in np.mean(rows, axis=0)))
