"""Whether the value of a loss follows from sums over parts, by trying it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from medloss.base.segmentation import SegmentationLoss
from medloss.base.sums_recorder import NotAdditiveError, added, sums_of, value_of
from medloss.base.targets import Extras, Prepared
from medloss.objects.spacing import Spacing
from medloss.sums import ClassSums

_EDGE = 8
"""Voxels along an axis of the volumes on which a loss has to prove itself."""

_TOLERANCE = 1e-6


def prove(loss: SegmentationLoss, like: Prepared) -> None:
    """Refuse a loss whose value on random voxels is not that of their sums in two parts.

    Raises:
        NotAdditiveError: so it is.
    """
    for solid in (False, True):
        input, target = _example(loss, like, solid=solid)
        whole = loss(input, target)
        found: list[ClassSums] = []
        for rows in (slice(0, 3), slice(3, None)):
            cut = {k: v[:, :, rows] if k in _SPATIAL else v for k, v in target.items()}
            part = loss.prepare(input[:, :, rows], cut, Extras())
            sums = sums_of(loss, part)
            found = added(found, sums) if found else sums
        value = value_of(loss, part, found)
        if not torch.allclose(value, whole, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True):
            raise NotAdditiveError(
                f"{type(loss).__name__} with these options looks beyond a voxel, so that the sums "
                f"of parts are not those of the whole; expected a function of class sums, or a "
                f"ready map"
            )


_SPATIAL = ("label", "mask", "distance_map", "skeleton", "components")


def _example(
    loss: SegmentationLoss, like: Prepared, *, solid: bool
) -> tuple[Tensor, dict[str, Any]]:
    """Random input, and target and extras of the same kind; or blocks of one class as target."""
    batch, classes, *spatial = like.values.shape
    device, generator = like.values.device, torch.Generator().manual_seed(0)
    small = [_EDGE] * len(spatial)

    def uniform(channels: int) -> Tensor:
        shape = (batch, channels, *small)
        return torch.rand(shape, generator=generator, dtype=torch.float64).to(device)

    input = uniform(classes)
    if loss.activation() == "probabilities":
        input = input / input.sum(1, keepdim=True) if classes > 1 else input
    else:
        input = 4 * input - 2
    share = torch.linspace(0, 0.99, _EDGE, device=device) if solid else uniform(1)
    labels = (share * max(2, classes)).long().expand(batch, 1, *small)
    dense = labels == torch.arange(classes, device=device).view(-1, *[1] * len(small))
    target: dict[str, Any] = {
        "label": labels if like.is_index or classes == 1 else dense.double(),
        "mask": None if like.mask is None else uniform(1).round(),
        "present": like.present,
        "spacing_mm": _spacing(like),
        "components": None if like.extras.components is None else labels,
    }
    for name in ("distance_map", "skeleton"):
        if getattr(like.extras, name) is not None:
            target[name] = 4 * uniform(classes) - 2
    return input, {key: value for key, value in target.items() if value is not None}


def _spacing(like: Prepared) -> Spacing | None:
    try:
        return like.spacing_mm
    except ValueError:  # a loss that needs it has said so by now
        return None
