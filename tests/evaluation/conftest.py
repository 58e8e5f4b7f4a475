from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

OBLIQUE = np.array(
    [
        [0.8 * np.cos(0.3), -0.9 * np.sin(0.3), 0.0, -31.5],
        [0.8 * np.sin(0.3), 0.9 * np.cos(0.3), 0.0, 12.25],
        [0.0, 0.0, -2.5, 40.0],
        [0.0, 0.0, 0.0, 1.0],
    ]
)
"""Anisotropic, turned by 0.3 rad about z, third axis downwards; RAS+."""


def _to_nifti(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)


def _to_itk(path: Path, array: np.ndarray, affine: np.ndarray, classes: bool) -> None:
    dimensions = array.ndim - classes
    lps = (np.diag([-1, -1, 1, 1]) @ affine)[:dimensions, [*range(dimensions), 3]]
    spacing = np.linalg.norm(lps[:, :-1], axis=0)
    axes = (*reversed(range(dimensions)), *range(dimensions, array.ndim))
    image = SimpleITK.GetImageFromArray(array.transpose(axes), isVector=classes)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:, :-1] / spacing).ravel().tolist())
    image.SetOrigin(lps[:, -1].tolist())
    SimpleITK.WriteImage(image, str(path), useCompression=path.suffix != ".mhd")


@pytest.fixture
def oblique() -> np.ndarray:
    return OBLIQUE.copy()


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write an array in the format that the name says; ``classes`` when its last axis is one."""

    def write(
        name: str,
        array: np.ndarray,
        affine: np.ndarray | tuple[float, ...] = (1.0, 1.0, 1.0),
        *,
        classes: bool = False,
    ) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        matrix = np.asarray(affine, dtype=float)
        matrix = np.diag([*matrix, 1.0]) if matrix.ndim == 1 else matrix
        if ".nii" in path.name:
            _to_nifti(path, array, matrix)
        else:
            _to_itk(path, array, matrix, classes)
        return path

    return write
