"""Signed distance maps of masks: negative inside, positive outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from medloss.distance.steps import Steps, parsed, steps_of
from medloss.distance.transform import checked_mask, distances, recorded_mask
from medloss.objects.spacing import SpacingLike
from medloss.runtime.eager import is_transformed
from medloss.runtime.operators import without_gradient

Convention = Literal["surface", "kervadec", "symmetric"]
Empty = Literal["distance_to_border", "zero"]
CONVENTIONS = ("surface", "kervadec", "symmetric")
EMPTY = ("distance_to_border", "zero")


@torch.no_grad()
def signed_distance(
    mask: Tensor,
    spacing_mm: SpacingLike | Tensor,
    *,
    convention: Convention = "surface",
    empty: Empty = "distance_to_border",
    known: Tensor | None = None,
    skip: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    r"""Signed distance in mm from each voxel centre to the boundary of a mask.

    ``surface``
        to the surface of the mask's voxels: zero on the voxel faces between inside and outside, so
        the voxels on either side of a face lie half a voxel away, −s/2 and +s/2.
    ``kervadec``
        outside the distance to the nearest inside centre; inside −(distance to the nearest outside
        centre − h), h the smallest spacing: 0 where that centre is h away, −(s − h) across a face
        along an axis of spacing s. At unit spacing the rim of the mask is 0, and this is the
        integer map of the paper's code.
    ``symmetric``
        distance between centres on both sides, which jumps from −s to +s across a face.

    Args:
        mask: (B, C, \*spatial); what is not 0 is inside.
        spacing_mm: size of a voxel, for all or for each sample.
        convention: where zero is.
        empty: map of a mask that is empty (or full): ``distance_to_border`` is plus (minus) the
            distance to the border of the image, the least that an unseen object can be away;
            ``zero`` makes the class silent.
        known: (B, 1, \*spatial) bool; no distance is measured to a voxel that is not known, and
            its own is 0.
        skip: channels of 0 that are put before those of the mask.
        dtype: of the result, float32 or float64.

    Raises:
        ValueError: a mask of another shape, a spacing or a word that cannot be meant.

    Example:
        >>> mask = torch.tensor([[[[0, 0, 1, 1, 0]]]])
        >>> signed_distance(mask, (1.0, 2.0))
        tensor([[[[ 3.,  1., -1., -1.,  1.]]]])
    """
    check_map_options(convention, empty)
    whole = checked_mask(mask)
    shape = {"batch": mask.shape[0], "axes": mask.ndim - 2}
    if torch.compiler.is_compiling():
        sizes = spacing_mm if isinstance(spacing_mm, Tensor) else parsed(spacing_mm, **shape)
        given = recorded_mask(whole), steps_of(sizes), known
        found: Tensor = _operator(*given, convention, empty, skip, dtype)
        return found
    spacing = parsed(spacing_mm, **shape)
    radius = 0.5 if convention == "surface" else 0.0
    if known is None:
        signed = distances(whole, spacing, radius=radius, inside=-1, skip=skip, dtype=dtype)
    else:
        signed = _among(whole, known, spacing, radius, skip, dtype)
    counted = signed[:, skip:]
    if convention == "kervadec":
        for sample, inside, row in zip(counted, whole, steps_of(spacing), strict=True):
            least = row.min().to(sample)
            sample.copy_(torch.where(inside, (sample + least).clamp_max_(0), sample))
    empties, fulls = _one_sided(whole, known, counted)
    fill_borderless(counted, empties, fulls, spacing, empty)
    if known is not None:
        counted.masked_fill_(~known, 0)
    return signed


# In a compiled graph all of it is one operator: as fast as without, and the same to the last digit.
def _recorded(mask: Tensor, steps: Tensor, known: Tensor | None, *options: Any) -> Tensor:
    names = ("convention", "empty", "skip", "dtype")
    return signed_distance(mask, steps, known=known, **dict(zip(names, options, strict=True)))


def _fake(mask: Tensor, steps: Tensor, known: Tensor | None, *options: Any) -> Tensor:
    *_, skip, dtype = options
    return mask.new_empty((mask.shape[0], skip + mask.shape[1], *mask.shape[2:]), dtype=dtype)


_operator = without_gradient(
    "medloss::signed_distance",
    "(Tensor mask, Tensor steps, Tensor? known, str convention, str empty, int skip, "
    "ScalarType dtype) -> Tensor",
    _recorded,
    _fake,
)


def fill_borderless(
    maps: Tensor, empties: Tensor, fulls: Tensor, spacing: Steps, empty: Empty
) -> None:
    """Write what a class without a border has as its map, in place.

    Args:
        maps: (B, C, *spatial).
        empties: (B, C), whether the class is nowhere.
        fulls: (B, C), whether it is everywhere.
        spacing: size of a voxel of each sample, mm.
        empty: what such a map is.
    """
    if not torch.compiler.is_compiling() and maps.device.type == "cpu" and not is_transformed():
        for b, c in (empties | fulls).nonzero().tolist():
            border = distance_to_border(maps.shape[2:], spacing[b], like=maps)
            maps[b, c] = 0 if empty == "zero" else border if empties[b, c] else -border
        return
    # What to do may not depend on the data in a compiled graph or under vmap, and a GPU would have
    # to be waited for: every map is written, sample by sample.
    signs = (empties.to(maps.dtype) - fulls.to(maps.dtype)) * (empty != "zero")
    to_fill = empties | fulls
    for sample, which, sign, row in zip(maps, to_fill, signs, spacing, strict=True):
        each = (-1, *[1] * (maps.ndim - 2))
        filled = sign.view(each) * distance_to_border(maps.shape[2:], row, like=maps)
        sample.copy_(torch.where(which.view(each), filled, sample))


def check_map_options(convention: str, empty: str) -> None:
    """Refuse words that name no convention.

    Raises:
        ValueError: the word is none of those there are.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention: expected one of {CONVENTIONS}, got {convention!r}")
    if empty not in EMPTY:
        raise ValueError(f"empty: expected one of {EMPTY}, got {empty!r}")


def _among(
    mask: Tensor, known: Tensor, spacing: Steps, radius: float, skip: int, dtype: torch.dtype
) -> Tensor:
    """Signed distances to known voxels alone."""
    inside = distances(
        mask | ~known, spacing, radius=radius, inside=-1, outside=0, skip=skip, dtype=dtype
    )
    outside = distances(
        mask & known, spacing, radius=radius, inside=0, outside=1, skip=skip, dtype=dtype
    )
    inside[:, skip:].masked_fill_(~mask, 0)
    return inside.add_(outside)


def _one_sided(mask: Tensor, known: Tensor | None, signed: Tensor) -> tuple[Tensor, Tensor]:
    """Which masks have no voxel inside, and which have only those, (B, C) each."""
    if known is None:  # then all of the map is infinite, the first voxel too
        first = signed.flatten(2)[:, :, :1]
        return (first == torch.inf).all(2), (first == -torch.inf).all(2)
    inside, outside = ((side & known).flatten(2).any(2) for side in (mask, ~mask))
    return ~inside, inside & ~outside


def distance_to_border(
    shape: tuple[int, ...] | torch.Size, spacing_mm: Sequence[float] | Tensor, *, like: Tensor
) -> Tensor:
    """Distance in mm from each voxel centre to the nearest face of the image.

    An axis of a single voxel has no faces, unless every axis is one: a slice of a volume has the
    distances of an image.
    """
    nearest = torch.full(shape, torch.inf, dtype=like.dtype, device=like.device)
    for axis, (length, step) in enumerate(zip(shape, spacing_mm, strict=True)):
        if length == 1 and max(shape) > 1:
            continue
        index = torch.arange(length, device=like.device, dtype=like.dtype)
        along = (torch.minimum(index, length - 1 - index) + 0.5) * step
        nearest = torch.minimum(nearest, along.view(-1, *[1] * (len(shape) - axis - 1)))
    return nearest
