"""Pairs of label maps to score: organs with rough borders, and a prediction with errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Labels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class OrganScene:
    """What a pair is made of.

    Args:
        title: to read.
        shape: of the maps.
        spacing_mm: size of a voxel.
        classes: number of organs.
        radii_mm: smallest and largest mean radius.
        false_positives: probability that an organ also has a small one far away.
        shift: of the prediction, in voxels: a hopeless one.
        seed: of the random numbers.
    """

    title: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    classes: int
    radii_mm: tuple[float, float]
    false_positives: float = 0.15
    shift: tuple[int, int, int] = (0, 0, 0)
    seed: int = 0


THICK = ((256, 256, 128), (0.8, 0.8, 2.5))
SCENES = {
    "a": OrganScene("one organ", *THICK, 1, (50, 70), false_positives=1.0, seed=1),
    "b": OrganScene("14 organs", *THICK, 14, (9, 55), seed=2),
    "c": OrganScene("105 structures", (256,) * 3, (1.5,) * 3, 105, (9, 60), seed=3),
    "d": OrganScene("14 organs, hopeless", *THICK, 14, (9, 55), shift=(20, 15, 5), seed=2),
    "lesions": OrganScene("200 lesions", (240, 240, 155), (1.0,) * 3, 200, (1.5, 9), seed=5),
    "tiny": OrganScene("4 small organs", (40, 36, 30), (1.0, 1.0, 2.5), 4, (5, 9), seed=4),
}
"""By the name in ``--case``."""


def make_pair(scene: OrganScene) -> tuple[Labels, Labels]:
    """Reference and prediction: ellipsoids that share one noise on their borders, not the other."""
    rng = np.random.default_rng(scene.seed)
    field = _Field(scene, rng)
    reference, prediction = np.zeros((2, *scene.shape), dtype=np.uint8)
    nearest = np.ones((2, *scene.shape), dtype=np.float32)
    for label, (centre, radii) in enumerate(_ellipsoids(scene, rng), start=1):
        box, distance = field.around(centre, radii)
        rough = min(0.1, 2.0 / float(np.mean(radii)))  # about 2 mm at most
        both = distance + 0.1 * field.shared[box]
        only = rough * (0.7 * field.own[box] + 0.3 * field.fine[box])
        for labels, least, value in (
            (reference, nearest[0], both),
            (prediction, nearest[1], both + only),
        ):
            inside = value < least[box]
            least[box][inside] = value[inside]
            labels[box][inside] = label
        if rng.random() < scene.false_positives:
            spot = rng.uniform(0.15, 0.85, 3) * scene.shape * np.array(scene.spacing_mm)
            box, distance = field.around(spot, np.full(3, rng.uniform(2, 4)))
            prediction[box][distance < 1] = label
    return reference, np.roll(prediction, scene.shift, axis=(0, 1, 2))


class _Field:
    """Smooth noise in the shape of a scene, and distances to centres."""

    def __init__(self, scene: OrganScene, rng: np.random.Generator) -> None:
        self._scene = scene
        self.shared, self.own = (self._noise(rng, 9) for _ in range(2))
        self.fine = self._noise(rng, 3)

    def around(self, centre: Any, radii: Any) -> tuple[tuple[slice, ...], Floats]:
        """A box around an ellipsoid, and in it the distance from the centre in radii."""
        ends = zip(centre, radii, self._scene.spacing_mm, self._scene.shape, strict=True)
        box = tuple(
            slice(max(0, int((c - 1.6 * r) / mm)), max(1, min(n, int((c + 1.6 * r) / mm) + 2)))
            for c, r, mm, n in ends
        )
        squares = [
            ((np.arange(part.start, part.stop) * mm - c) / r) ** 2
            for part, c, r, mm in zip(box, centre, radii, self._scene.spacing_mm, strict=True)
        ]
        total = squares[0][:, None, None] + squares[1][:, None] + squares[2]
        return box, np.sqrt(total).astype(np.float32)

    def _noise(self, rng: np.random.Generator, voxels: int) -> Floats:
        shape = self._scene.shape
        coarse = [max(4, -(-n // voxels) + 3) for n in shape]
        values = rng.standard_normal(coarse).astype(np.float32)
        zoom = [n / (m - 2) for n, m in zip(shape, coarse, strict=True)]
        fine = ndimage.zoom(values, zoom, order=3, mode="nearest")
        cut: Floats = fine[tuple(slice(n) for n in shape)]
        noise: Floats = cut / cut.std()
        return noise


def _ellipsoids(scene: OrganScene, rng: np.random.Generator) -> list[tuple[Any, Any]]:
    """Centres and radii in mm."""
    extent = np.array(scene.shape) * scene.spacing_mm
    if scene.classes == 1:
        return [(extent * (0.48, 0.52, 0.5), scene.radii_mm[1] * np.array([1.1, 0.85, 0.8]))]
    found = []
    for _ in range(scene.classes):
        mean = np.exp(rng.uniform(*np.log(scene.radii_mm)))
        radii = mean * np.exp(rng.uniform(-0.35, 0.35, 3))
        low = np.minimum(0.7 * radii, 0.4 * extent)
        found.append((rng.uniform(low, extent - low), radii))
    return found
