"""Made-up label maps, one kind of task each, as files."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
from numpy.typing import NDArray

Maps = list[NDArray[np.uint8]]


def save(folder: Path, maps: Maps, spacing_mm: tuple[float, ...] = (1.0, 1.0, 1.0)) -> Path:
    folder.mkdir(exist_ok=True)
    for number, labels in enumerate(maps):
        affine = np.diag([*spacing_mm, *[1.0] * (4 - len(spacing_mm))])
        nibabel.save(nibabel.Nifti1Image(labels, affine), folder / f"case{number:03d}.nii.gz")
    return folder


def blank(size: int = 48) -> NDArray[np.uint8]:
    return np.zeros((size,) * 3, np.uint8)


def put_ball(labels: NDArray[np.uint8], center: tuple[int, ...], radius: float, label: int) -> None:
    grid = np.ogrid[tuple(slice(n) for n in labels.shape)]
    inside = sum((axis - middle) ** 2 for axis, middle in zip(grid, center, strict=True))
    labels[np.asarray(inside <= radius**2)] = label


def organs() -> Maps:
    """Two compact organs in every case."""
    maps = []
    for case in range(3):
        labels = blank()
        put_ball(labels, (15, 20, 20 + case), 10, 1)
        put_ball(labels, (35, 20, 20), 8 + case % 2, 2)
        maps.append(labels)
    return maps


def vessels() -> Maps:
    """One class: a grid of vessels of 3 x 3 voxels."""
    labels = blank()
    for place in (8, 24, 40):
        labels[place : place + 3, 20:23, :] = 1
        labels[20:23, place : place + 3, :] = 1
    return [labels, labels[::-1].copy()]


def lesions() -> Maps:
    """One class: many lesions of several sizes."""
    maps = []
    for case in range(3):
        labels = blank()
        for n, place in enumerate(np.ndindex(3, 3, 3)):
            center = tuple(int(8 + 16 * k) for k in place)
            put_ball(labels, center, 1 + (n + case) % 4, 1)
        maps.append(labels)
    return maps


def tumours() -> Maps:
    """One tumour a case, small, of very different sizes; none in the last case."""
    maps = [blank(64) for _ in range(4)]
    for labels, radius in zip(maps, (2, 4, 7), strict=False):
        put_ball(labels, (30, 30, 30), radius, 1)
    return maps


def unequal() -> Maps:
    """Six organs, one of them 1000 times as large as another."""
    labels = blank(64)
    put_ball(labels, (32, 32, 20), 18, 1)
    for n, radius in enumerate((9, 7, 5, 3, 1.5)):
        put_ball(labels, (5 + 12 * n, 32, 52), radius, n + 2)
    return [labels, labels.copy()]


def many_classes() -> Maps:
    """35 organs of one size."""
    labels = blank(60)
    for n, place in enumerate(list(np.ndindex(4, 3, 3))[:35]):
        put_ball(labels, tuple(int(7 + 15 * k) for k in place), 6, n + 1)
    return [labels]
