"""Which voxels belong to a mean over voxels when not every class counts, or was annotated."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.base.targets import Prepared
from medloss.sums import work_dtype


def annotated_share(prepared: Prepared, *, include_background: bool = True) -> Tensor | None:
    """How much of the label of each voxel names classes that count, (B, 1, *spatial).

    Of exclusive classes a voxel belongs to a mean by that share: with 1 where its class counts and
    was annotated, with 0 where it was not, or is a background that does not count, and in between
    for soft labels. Independent classes have a mean of their own each, over every voxel.

    Args:
        prepared: checked inputs.
        include_background: whether class 0 counts.

    Returns:
        None where every class counts, and with it every voxel.
    """
    if prepared.present is None and include_background:
        return None
    batch, classes = prepared.values.shape[:2]
    counts = torch.ones(batch, classes, dtype=torch.bool, device=prepared.values.device)
    if prepared.present is not None:
        counts = prepared.present.clone()
    if not include_background:
        counts[:, 0] = False
    dtype = work_dtype(prepared.values)
    if prepared.is_index:
        label = prepared.target.long()
        known = (label >= 0) & (label < classes)
        of_label = counts.gather(1, label.where(known, 0).flatten(1)).view_as(label)
        return (of_label & known).to(dtype)
    shaped = counts.reshape(batch, classes, *[1] * (prepared.values.ndim - 2))
    return (prepared.target.to(dtype) * shaped).sum(1, keepdim=True)
