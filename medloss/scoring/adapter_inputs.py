"""What MONAI's engines hand to a metric, as pairs of numpy maps with their spacing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray
from torch import Tensor

from medloss.spacing import Spacing, parse_spacing

Maps = tuple[NDArray[Any], NDArray[Any], Sequence[int]]
"""Reference, prediction, and the labels to score in them."""


def item_spacings(
    y_pred: Tensor, y: Tensor, spacing: Any, *, needed: bool
) -> Spacing | Sequence[None]:
    """Spacing of every item of a batch: as given, or that of a MetaTensor.

    Args:
        y_pred: prediction, batch first.
        y: reference, asked first.
        spacing: what the user gave, or ``None``.
        needed: whether the metric measures anything in mm.

    Raises:
        ValueError: it is needed, and nothing tells.
    """
    batch, axes = len(y), y.ndim - 2
    if not needed:
        return [None] * batch
    for tensor in (y, y_pred):
        if spacing is None and isinstance(tensor, MetaTensor):
            # A list if the batch was collated, else one row; at least as long as there are axes.
            pixdim = tensor.pixdim
            rows = pixdim if isinstance(pixdim, list) else [pixdim] * batch
            spacing = [row.tolist()[:axes] for row in rows]
    if spacing is None:
        raise ValueError(
            "spacing: distances need the size of a voxel; call with MetaTensors or with "
            "spacing=(mm, mm, mm), or make the metric with spacing_mm=(mm, mm, mm), or with "
            "spacing_mm='voxel' for distances in voxels"
        )
    return parse_spacing(spacing, batch=batch, axes=axes)


def ignored_voxels(
    y: Tensor, mask: Tensor | None, ignore_index: int | None
) -> tuple[Tensor, Sequence[NDArray[np.bool_] | None]]:
    """The reference with background where it is ignored, and for each item where that is.

    Args:
        y: reference, batch first.
        mask: (B, 1, *spatial), voxels of 0 do not count; or ``None``.
        ignore_index: label of a reference of label maps whose voxels do not count, or ``None``.

    Raises:
        ValueError: a mask of another shape, or a label to ignore in channels.
    """
    ignored = None
    if mask is not None:
        if mask.shape != y[:, :1].shape:
            raise ValueError(f"mask: expected {list(y[:, :1].shape)}, got {list(mask.shape)}")
        ignored = _plain(mask) == 0
    if ignore_index is not None:
        if y.shape[1] != 1:
            raise ValueError(
                f"ignore_index: expected y as label maps (B, 1, *spatial), got {list(y.shape)}"
            )
        marked = _plain(y) == ignore_index
        y = torch.where(marked, torch.zeros_like(y), y)
        ignored = marked if ignored is None else ignored | marked
    if ignored is None:
        return y, [None] * len(y)
    return y, list(ignored[:, 0].cpu().numpy())


def item_cases(
    y_pred: Tensor, y: Tensor, num_classes: int | None, *, background: bool
) -> Iterator[list[Maps]]:
    """Pairs of maps of every item: one pair of label maps, or one pair of masks for each channel.

    Channels may overlap (multi-label): each is a case of its own.

    Args:
        y_pred: prediction (B, C, *spatial) of 0 and 1, or label maps (B, 1, *spatial).
        y: reference, likewise.
        num_classes: number of labels of label maps; without it there are only channels.
        background: whether label or channel 0 is scored too; a single channel always is.

    Raises:
        ValueError: shapes that do not fit, or values that are neither.
    """
    if y.ndim not in (4, 5) or y_pred.ndim != y.ndim or y_pred[:, :1].shape != y[:, :1].shape:
        raise ValueError(
            f"y_pred: expected (B, C, *spatial) in 2D or 3D to match y {list(y.shape)}, "
            f"got {list(y_pred.shape)}"
        )
    is_map = [num_classes is not None and tensor.shape[1] == 1 for tensor in (y_pred, y)]
    classes = num_classes or y.shape[1]
    first = 0 if background or classes == 1 else 1
    both = (("y_pred", y_pred, is_map[0]), ("y", y, is_map[1]))
    for name, tensor, holds_labels in both:
        if not holds_labels and tensor.shape[1] != classes:
            raise ValueError(f"{name}: expected {classes} channels, got {tensor.shape[1]}")
    if all(is_map):
        predictions, references = (_labels(name, tensor, classes)[:, 0] for name, tensor, _ in both)
        for prediction, reference in zip(predictions, references, strict=True):
            yield [(reference, prediction, range(first, classes))]
        return
    scored = np.arange(first, classes).reshape(-1, *(1,) * (y.ndim - 2))
    predictions, references = (
        _labels(name, tensor, classes) == scored
        if holds_labels
        else _masks(name, tensor[:, first:])
        for name, tensor, holds_labels in both
    )
    for prediction, reference in zip(predictions, references, strict=True):
        yield [(r, p, (1,)) for r, p in zip(reference, prediction, strict=True)]


def _masks(name: str, tensor: Tensor) -> NDArray[np.bool_]:
    tensor = _plain(tensor)
    foreground = tensor != 0
    if not ((tensor == 1) | ~foreground).all():
        raise ValueError(
            f"{name}: expected only 0 and 1, got values from {float(tensor.min()):g} to "
            f"{float(tensor.max()):g}; binarise probabilities first (AsDiscrete), or give "
            f"num_classes for label maps"
        )
    masks: NDArray[np.bool_] = foreground.cpu().numpy()
    return masks


def _labels(name: str, tensor: Tensor, classes: int) -> NDArray[Any]:
    tensor = _plain(tensor)
    good = (tensor >= 0) & (tensor < classes)
    if tensor.is_floating_point():
        good &= tensor == tensor.round()
    if not good.all():
        raise ValueError(
            f"{name}: expected label maps of whole numbers from 0 to {classes - 1}, got "
            f"{float(tensor[~good][0]):g}"
        )
    labels: NDArray[Any] = tensor.to(torch.uint8 if classes <= 256 else torch.int32).cpu().numpy()
    return labels


def _plain(tensor: Tensor) -> Tensor:
    plain: Tensor = tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor
    return plain.detach()
