"""Distances of masks, by the backend that suits: an operator of torch, and the plain transform."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from medloss.distance.separable import Measurement
from medloss.distance.steps import Steps, parsed, steps_of
from medloss.objects.spacing import SpacingLike
from medloss.runtime.backends import Candidate, Choice, chosen, no_loops
from medloss.runtime.operators import without_gradient
from medloss.sums.gpu import usable

VARIABLE = "MEDLOSS_DISTANCE_BACKEND"
_LONGEST_LINE = 1 << 14


def _numba_refuses(mask: Tensor, shifted: bool) -> str | None:
    why_not = no_loops(mask.device, "mask")
    if why_not is None and shifted:
        why_not = "it measures from the centres of voxels alone"
    return why_not or _empty(mask)


def _triton_refuses(mask: Tensor, shifted: bool) -> str | None:
    reason: str | None = usable.why_not(mask.device)
    return reason or _empty(mask) or _too_large(mask)


def _empty(mask: Tensor) -> str | None:
    return None if mask.numel() else "the mask is empty"


def _too_large(mask: Tensor) -> str | None:
    if mask.shape[-1] > _LONGEST_LINE:
        return f"a line of the last axis is longer than {_LONGEST_LINE} voxels"
    voxels = mask[:1, :1].numel()
    return None if voxels < 1 << 31 else f"a mask of {voxels} voxels has more than 2^31"


# In order of preference; each has a function ``distances`` of a ``Measurement``.
CANDIDATES: dict[str, Candidate[Tensor, bool]] = {
    "numba": Candidate("medloss.distance.compiled", "compiled loops on the CPU", _numba_refuses),
    "triton": Candidate("medloss.distance.gpu", "kernels for CUDA devices", _triton_refuses),
    "torch": Candidate("medloss.distance.separable", "plain torch, any device", lambda *_: None),
}


def distance_backends() -> tuple[str, ...]:
    """Names of the backends, the preferred one first."""
    return tuple(CANDIDATES)


def chosen_distance_backend(mask: Tensor, *, shifted: bool = False) -> Choice:
    """Which backend measures distances of this mask, and why.

    Args:
        mask: device and shape decide.
        shifted: whether distances are measured from elsewhere than the centres of voxels.

    Raises:
        ValueError: ``MEDLOSS_DISTANCE_BACKEND`` names no backend, or one that cannot serve it.

    Example:
        >>> chosen_distance_backend(torch.zeros(1, 2, 4, 4, dtype=torch.bool)).name
        'numba'
    """
    if not os.environ.get(VARIABLE):
        usable.warn_without(mask.device)
    return chosen(CANDIDATES, VARIABLE, "measure", mask, shifted)


def distances(
    mask: Tensor,
    spacing_mm: Steps,
    *,
    radius: float = 0.0,
    inside: int = 1,
    outside: int = 1,
    skip: int = 0,
    dtype: torch.dtype = torch.float32,
    shift: Sequence[float] = (),
) -> Tensor:
    """A :class:`medloss.distance.separable.Measurement`, by the chosen backend."""
    backend = chosen_distance_backend(mask, shifted=any(shift)).name
    steps = steps_of(spacing_mm)
    wide = dtype == torch.float64
    moved = list(shift)
    if torch.compiler.is_compiling():
        mask = recorded_mask(mask)
    result: Tensor = _operator(mask, steps, radius, inside, outside, skip, wide, moved, backend)
    return result


def edt(
    mask: Tensor, spacing_mm: SpacingLike = "voxel", *, dtype: torch.dtype = torch.float32
) -> Tensor:
    r"""Exact Euclidean distance transform: from each True voxel to the nearest False one, in mm.

    Between voxel centres, as ``scipy.ndimage.distance_transform_edt``; 0 at False voxels. The image
    border is no end of the object: a mask without a False voxel is infinitely deep.

    Args:
        mask: (B, C, \*spatial), 2D or 3D; what is not 0 is True.
        spacing_mm: size of a voxel, for all or for each sample; ``"voxel"`` is 1 everywhere.
        dtype: float32 or float64.

    Raises:
        ValueError: a mask of another shape, or a spacing that cannot be meant.

    Example:
        >>> mask = torch.tensor([[[[0, 1, 1, 1], [0, 1, 1, 1]]]])
        >>> edt(mask, (1.0, 0.5))[0, 0]
        tensor([[0.0000, 0.5000, 1.0000, 1.5000],
                [0.0000, 0.5000, 1.0000, 1.5000]])

    Source:
        Felzenszwalb 2012, doi:10.4086/toc.2012.v008a019: the transform is separable.
    """
    whole = checked_mask(mask)
    spacing = parsed(spacing_mm, batch=mask.shape[0], axes=mask.ndim - 2)
    return distances(whole, spacing, outside=0, dtype=dtype)


def checked_mask(mask: Tensor) -> Tensor:
    """The mask as bool.

    Raises:
        TypeError: it is no tensor.
        ValueError: it is not (B, C, H, W) or (B, C, H, W, D).
    """
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask: expected a torch.Tensor, got {type(mask).__name__}")
    if mask.ndim not in (4, 5):
        raise ValueError(f"mask: expected (B, C, H, W) or (B, C, H, W, D), got {list(mask.shape)}")
    return mask.detach() != 0 if mask.dtype != torch.bool else mask.detach()


def recorded_mask(mask: Tensor) -> Tensor:
    """A mask as an operator is given it in a compiled graph, where it may hold other numbers.

    For CPUs torch's compiler writes bool one by one, which takes as long as the distances do.
    """
    return mask.float() if mask.device.type == "cpu" else mask


def _measure(mask: Tensor, steps: Tensor, *options: Any) -> Tensor:
    radius, inside, outside, skip, wide, shift, backend = options
    asked = Measurement(
        checked_mask(mask), steps.tolist(), radius, inside, outside, skip, _dtype(wide), shift
    )
    found: Tensor = CANDIDATES[backend].load().distances(asked)
    return found


def _fake(mask: Tensor, steps: Any, *options: Any) -> Tensor:
    _, _, _, skip, wide, *_ = options
    shape = (mask.shape[0], skip + mask.shape[1], *mask.shape[2:])
    return mask.new_empty(shape, dtype=_dtype(wide))


def _dtype(wide: bool) -> torch.dtype:
    return torch.float64 if wide else torch.float32


# An operator, so that a compiled graph need not break at it.
_operator = without_gradient(
    "medloss::distances",
    "(Tensor mask, Tensor steps, float radius, int inside, int outside, int skip, "
    "bool wide, float[] shift, str backend) -> Tensor",
    _measure,
    _fake,
)
