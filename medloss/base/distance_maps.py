"""What losses on distances need of their checked inputs: spacing, masks, the map of the target."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.base.targets import Prepared
from medloss.distance.signed import Convention, Empty, signed_distance
from medloss.distance.steps import Steps, parsed
from medloss.objects.spacing import SpacingLike
from medloss.sums import work_dtype


def voxel_size(prepared: Prepared, given: SpacingLike | None) -> Steps:
    """Spacing from the call, else from the option ``given``, else from a MetaTensor.

    Raises:
        ValueError: nothing says how large a voxel is.
    """
    batch, _, *spatial = prepared.values.shape
    if given is not None and not prepared.spacing_was_given:
        return parsed(given, batch=batch, axes=len(spatial))
    found = prepared.spacing_mm
    if found is None:
        raise ValueError(
            "spacing_mm: expected the size of a voxel (as option, keyword of the call, key of "
            "the target mapping, or in a MetaTensor), got none; 'voxel' asks for voxel units"
        )
    if isinstance(found, Tensor):  # of a compiled graph: with numbers where that has broken
        return parsed(found, batch=batch, axes=len(spatial))
    return found


def known_voxels(prepared: Prepared) -> Tensor | None:
    """(B, 1, *spatial) bool, the voxels that count; None where all do."""
    return None if prepared.mask is None else prepared.mask > 0


def masks_of_classes(prepared: Prepared, skip: int = 0) -> Tensor:
    """The target of each class as a mask, (B, C − skip, *spatial) bool, without the first ones.

    A class that was not annotated has no voxels, whatever the target holds.
    """
    ones = [1] * (prepared.target.ndim - 2)
    if prepared.is_index:
        classes = torch.arange(skip, prepared.values.shape[1], device=prepared.target.device)
        masks = prepared.target == classes.view(1, -1, *ones).to(prepared.target.dtype)
    else:
        masks = prepared.target[:, skip:] > 0.5
    if prepared.present is not None:
        present = prepared.present[:, skip:]
        masks &= present.view(*present.shape, *ones)
    return masks


def map_of_target(
    prepared: Prepared,
    spacing_mm: SpacingLike | None,
    *,
    convention: Convention,
    empty: Empty,
    skip: int = 0,
) -> Tensor:
    """The ready map, or the signed distance map of the target, (B, C, *spatial).

    Ignored voxels are not known: no distance is measured to them.

    Args:
        prepared: checked inputs.
        spacing_mm: of the loss, where the call does not say it.
        convention: see :func:`medloss.distance.signed_distance`.
        empty: likewise.
        skip: classes that do not count and need no map.

    Raises:
        ValueError: there is no ready map, and nothing says how large a voxel is.
    """
    if prepared.extras.distance_map is not None:
        return prepared.extras.distance_map.to(work_dtype(prepared.values))
    return signed_distance(
        masks_of_classes(prepared, skip),
        voxel_size(prepared, spacing_mm),
        convention=convention,
        empty=empty,
        known=known_voxels(prepared),
        skip=skip,
        dtype=work_dtype(prepared.values),
    )


@torch.no_grad()
def masks_of_prediction(prepared: Prepared, skip: int = 0) -> Tensor:
    """Where each class has more than half of the probability, (B, C − skip, *spatial) bool."""
    values = prepared.input.detach()
    if prepared.activation == "softmax":
        return values.softmax(1)[:, skip:] > 0.5
    return values[:, skip:] > (0 if prepared.activation == "sigmoid" else 0.5)
