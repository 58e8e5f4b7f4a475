"""The 2D toys that the pictures are computed on.

Images of 40 x 72 voxels of 1 mm. A prediction is soft: its logit grows by 1.5 a mm from the contour
inwards, up to 6, and falls likewise outwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

HEIGHT, WIDTH = 40, 72
SLOPE, LARGEST = 1.5, 6.0
Y, X = np.mgrid[:HEIGHT, :WIDTH].astype(float)

Depth = np.ndarray
"""How deep each voxel lies inside a shape, in mm; negative outside."""


@dataclass(frozen=True)
class Path:
    """Predictions that leave the target step by step.

    Args:
        title: of the horizontal axis.
        places: along it.
        mark: where the prediction is the target.
        depth: of the prediction at a place.
    """

    title: str
    places: tuple[float, ...]
    mark: float
    depth: Callable[[float], Depth]


@dataclass(frozen=True)
class Scene:
    """A target, two paths, and the prediction whose gradient is shown.

    Args:
        caption: what is seen.
        depth: of the target.
        paths: two.
        shown: depth of the prediction with the gradient.
    """

    caption: str
    depth: Depth
    paths: tuple[Path, Path]
    shown: Depth


def mask_of(depth: Depth) -> np.ndarray:
    """The voxels inside."""
    return depth >= 0


def logits_of(depth: Depth) -> np.ndarray:
    """Of the foreground, less those of the background."""
    return np.clip(depth * SLOPE, -LARGEST, LARGEST)


def _steps(start: float, stop: float, step: float) -> tuple[float, ...]:
    return tuple(float(x) for x in np.arange(start, stop + step / 2, step))


def _disc(x: float, radius: float, y: float = 19.5) -> Depth:
    return radius - np.hypot(Y - y, X - x)


def _bar(y: float = 19.5, gap: float = 0.0) -> Depth:
    whole = np.minimum(2.5 - abs(Y - y), 30.0 - abs(X - 35.5))
    return np.minimum(whole, abs(X - 35.5) - gap / 2) if gap else whole


def _two(x: float, radius: float) -> Depth:
    return np.maximum(_disc(19.5, 12.0), _disc(x, radius))


DISC = Scene(
    "Target: a disc of radius 10 mm. Prediction: a soft disc that moves away, or changes its size.",
    _disc(23.5, 10.0),
    (
        Path("moved by, mm", _steps(0, 30, 1.5), 0.0, lambda mm: _disc(23.5 + mm, 10.0)),
        Path("radius, mm", _steps(1, 20, 1), 10.0, lambda mm: _disc(23.5, mm)),
    ),
    _disc(30.5, 10.0),
)
TUBE = Scene(
    "Target: a vessel, 5 mm thick. Prediction: a soft vessel that moves aside, or has a gap.",
    _bar(),
    (
        Path("moved by, mm", _steps(0, 12, 0.75), 0.0, lambda mm: _bar(19.5 + mm)),
        Path("gap, mm", _steps(0, 40, 2), 0.0, lambda mm: _bar(gap=mm)),
    ),
    _bar(gap=6.0),
)
LESIONS = Scene(
    "Target: two lesions, of radius 12 and 3 mm. Prediction: the large one is right, the small one "
    "moves away, or changes its size.",
    _two(51.5, 3.0),
    (
        Path("small one moved by, mm", _steps(0, 15, 0.75), 0.0, lambda mm: _two(51.5 + mm, 3.0)),
        Path("its radius, mm", _steps(0, 9, 0.5), 3.0, lambda mm: _two(51.5, mm - 0.01)),
    ),
    _two(55.5, 3.0),
)

TUBES = {"cl_dice", "dice_cl_dice", "skeleton_recall"}
OBJECTS = {
    "blob",
    "cc_dice_ce",
    "false_lesions",
    "lesion_dice",
    "lesion_f1",
    "lesion_precision",
    "lesion_sensitivity",
    "missed_lesions",
    "panoptic_quality",
    "recognition_quality",
    "segmentation_quality",
}


def scene_of(name: str) -> Scene:
    """The scene that shows what a loss or metric of this name is for."""
    return TUBE if name in TUBES else LESIONS if name in OBJECTS else DISC
