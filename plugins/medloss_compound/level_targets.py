"""Targets in the resolution of each level of deep supervision."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.objects.spacing import Spacing, SpacingSource, parse_spacing

SPATIAL = ("label", "mask", "distance_map", "skeleton", "components")
"""What a target may hold for each voxel."""


def joined(target: Any, extras: Mapping[str, Any]) -> dict[str, Any]:
    """Label and extras as one mapping.

    Raises:
        ValueError: an extra is given twice, or there is no label.
    """
    if not isinstance(target, Mapping):
        return {"label": target, **extras}
    if "label" not in target:
        hint = "; did you mean 'label'?" if difflib.get_close_matches("label", target, n=1) else ""
        raise ValueError(
            f"target: expected a mapping with the key 'label', got {sorted(target)}{hint}"
        )
    for name in extras:
        if target.get(name) is not None and extras[name] is not None:
            raise ValueError(f"{name}: given twice, as keyword and inside the target mapping")
    return {**target, **extras}


def nearest(tensor: Tensor, size: Sequence[int]) -> Tensor:
    """The nearest voxel to each centre of a coarser grid, exactly, whatever the dtype.

    Voxel i of n takes voxel ⌊(i + ½) N / n⌋ of N, as torch's ``nearest-exact`` does for floats.

    Args:
        tensor: (B, C, *spatial).
        size: spatial shape that is wanted.

    Example:
        >>> nearest(torch.arange(8).view(1, 1, 8, 1), (3, 1)).flatten()
        tensor([1, 4, 6])
    """
    if hasattr(tensor, "as_tensor"):  # the affine of a MetaTensor is that of the full resolution
        tensor = tensor.as_tensor()
    for axis, n in enumerate(size, start=2):
        whole = tensor.shape[axis]
        if n != whole:
            i = torch.arange(n, device=tensor.device)
            tensor = tensor.index_select(axis, (2 * i + 1) * whole // (2 * n))
    return tensor


def target_at(target: Mapping[str, Any], output: Tensor, full: Tensor) -> dict[str, Any]:
    """The target in the resolution of an output.

    Args:
        target: ``label`` and what else belongs to it, in full resolution.
        output: (B, C, *spatial).
        full: output of the highest resolution, which may know the spacing.

    Raises:
        TypeError: what has voxels is no tensor.
    """
    for name in SPATIAL:
        if target.get(name) is not None and not isinstance(target[name], Tensor):
            raise TypeError(f"{name}: expected a torch.Tensor, got {type(target[name]).__name__}")
    shape, size = target["label"].shape[2:], output.shape[2:]
    if (
        shape == size
        or len(shape) != len(size)
        or any(n < m for n, m in zip(shape, size, strict=True))
    ):
        return dict(target)  # nothing to do, or nothing that can be meant: the loss says what
    here = {k: nearest(v, size) if k in SPATIAL and v is not None else v for k, v in target.items()}
    spacing = _spacing(target, full)
    if spacing is not None:
        here["spacing_mm"] = scaled(spacing, [n / m for n, m in zip(shape, size, strict=True)])
    return here


def _spacing(target: Mapping[str, Any], full: Tensor) -> Spacing | None:
    """That of the full resolution; None where nothing says it, or a MetaTensor no longer can."""
    shape = {"batch": full.shape[0], "axes": full.ndim - 2}
    given = target.get("spacing_mm")
    if given is not None:
        return parse_spacing(given, **shape)
    try:
        return SpacingSource(None, target["label"], full, **shape).read()
    except ValueError:  # a loss that needs it says so in full resolution
        return None


def scaled(spacing_mm: Spacing, factors: Sequence[float]) -> Spacing:
    """Size of voxels that are larger by a factor along each axis."""
    return tuple(tuple(s * f for s, f in zip(row, factors, strict=True)) for row in spacing_mm)
