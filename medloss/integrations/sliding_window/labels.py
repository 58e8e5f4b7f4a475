"""Label maps that are made row by row."""

from __future__ import annotations

from typing import Any

import torch
from monai.data.meta_tensor import MetaTensor
from torch import Tensor

from medloss.integrations.sliding_window.stitch import Rows


def narrowest(classes: int) -> torch.dtype:
    """Smallest integer type that holds every class.

    Example:
        >>> narrowest(256), narrowest(257)
        (torch.uint8, torch.int16)
    """
    for dtype in (torch.uint8, torch.int16):
        if classes - 1 <= torch.iinfo(dtype).max:
            return dtype
    return torch.int32


def plain(tensor: Any) -> Any:
    """The plain tensor inside a MetaTensor; anything else as it is."""
    return tensor.as_tensor() if isinstance(tensor, MetaTensor) else tensor


def decide(values: Tensor, *, sigmoid: bool = False, threshold: float | None = None) -> Tensor:
    r"""Labels of (B, C, \*spatial): (B, 1, \*spatial), or (B, C, \*spatial) with a threshold.

    Raises:
        ValueError: a single channel without threshold.

    Example:
        >>> values = torch.tensor([[[0.2, 0.6], [0.8, 0.4]]])
        >>> decide(values), decide(values, threshold=0.5)
        (tensor([[[1, 0]]], dtype=torch.uint8), tensor([[[0, 1], [1, 0]]], dtype=torch.uint8))
    """
    if threshold is not None:
        return ((values.sigmoid() if sigmoid else values) >= threshold).to(torch.uint8)
    if values.shape[1] == 1:
        raise ValueError("threshold: expected a number for a network with one channel, got None")
    return values.argmax(1, keepdim=True).to(narrowest(values.shape[1]))


class LabelMap:
    """Filled with rows; its memory is a byte for each voxel, or for each voxel and channel.

    Args:
        shape: (B, *spatial).
        sigmoid: values are logits of independent classes.
        threshold: classes are independent; without it they exclude one another.
    """

    def __init__(
        self, shape: tuple[int, ...], *, sigmoid: bool = False, threshold: float | None = None
    ) -> None:
        self.shape, self.sigmoid, self.threshold = shape, sigmoid, threshold
        self.values: Tensor | None = None

    def add(self, rows: Rows) -> None:
        """Fill in these rows.

        Raises:
            ValueError: a single channel without threshold.
        """
        found = decide(rows.values, sigmoid=self.sigmoid, threshold=self.threshold)
        if self.values is None:
            shape = (self.shape[0], found.shape[1], *self.shape[1:])
            self.values = torch.zeros(shape, dtype=found.dtype, device=found.device)
        self.values[rows.sample : rows.sample + 1, :, rows.where] = found

    def like(self, inputs: Tensor) -> Tensor:
        """The label map, with the meta data of ``inputs`` where it has any.

        Raises:
            ValueError: no rows came.
        """
        if self.values is None:
            raise ValueError(f"inputs: expected at least one volume, got {list(inputs.shape)}")
        if not isinstance(inputs, MetaTensor):
            return self.values
        result: Tensor = MetaTensor(self.values).copy_meta_from(inputs, copy_attr=False)
        return result
