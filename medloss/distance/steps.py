"""Sizes of voxels where a graph is compiled: a tensor, whose numbers are those of each call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.objects.spacing import Spacing, parse_spacing
from medloss.runtime.operators import without_gradient

Steps = Spacing | Tensor
"""Size of a voxel along each axis, for each sample: numbers, or a float64 tensor (B, axes)."""


def parsed(spacing_mm: Any, *, batch: int, axes: int) -> Steps:
    """:func:`medloss.objects.spacing.parse_spacing`; in a compiled graph a tensor stays one.

    There an operator looks at its numbers in each call, so that a wrong size is refused as ever,
    and a new one needs no new graph. Plain numbers are those of the trace until they change, which
    compiles once more, for all others.

    Args:
        spacing_mm: see :data:`medloss.objects.spacing.SpacingLike`.
        batch: number of samples.
        axes: number of spatial axes.

    Raises:
        ValueError: another shape, or a value that is not positive and finite.
    """
    if not torch.compiler.is_compiling() or not _holds_tensors(spacing_mm):
        return parse_spacing(spacing_mm, batch=batch, axes=axes)
    steps: Tensor = _operator(_joined(spacing_mm), batch, axes)
    return steps


def steps_of(spacing_mm: Steps) -> Tensor:
    """Spacing as a tensor (B, axes) on the host, in float64.

    In a compiled graph it is made by products: what multiplies a tensor may be another number in
    the next call, where a list of numbers would have to be compiled again.
    """
    if isinstance(spacing_mm, Tensor):
        return spacing_mm
    if not torch.compiler.is_compiling():
        return torch.tensor(spacing_mm, dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    return torch.stack([torch.stack([one * step for step in row]) for row in spacing_mm])


def _holds_tensors(given: Any) -> bool:
    if isinstance(given, list | tuple):
        return any(_holds_tensors(each) for each in given)
    return not isinstance(given, (str, int, float)) and hasattr(given, "tolist")


def _joined(given: Any) -> Tensor:
    if isinstance(given, list | tuple):
        return torch.stack([_joined(each) for each in given])
    return torch.as_tensor(given, dtype=torch.float64, device="cpu")


def _parse(given: Tensor, batch: int, axes: int) -> Tensor:
    return torch.tensor(parse_spacing(given, batch=batch, axes=axes), dtype=torch.float64)


def _fake(given: Tensor, batch: int, axes: int) -> Tensor:
    return given.new_empty((batch, axes), dtype=torch.float64)


_operator = without_gradient(
    "medloss::spacing", "(Tensor given, SymInt batch, SymInt axes) -> Tensor", _parse, _fake
)
