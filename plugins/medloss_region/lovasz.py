"""The Lovász extension of the Jaccard loss: what the hinge and the softmax form share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from medloss.base import SegmentationLoss
from medloss.base.targets import Prepared
from medloss.sums import any_over_batch
from medloss.sums.numeric import ratio


def lovasz_weights(errors: Tensor, foreground: Tensor, background: Tensor) -> Tensor:
    """What each error counts: the step of the Jaccard loss when its voxel joins the wrong ones.

    With the voxels in order of falling error, J_i = 1 − (G − Σ g) / (G + Σ (1 − g)) over the first
    i of them, and voxel i counts J_i − J_{i−1}. Sums run in float64, which is exact for volumes up
    to 2⁵³ voxels (float32 stops at 2²⁴ = 256³), and equal errors keep their order.

    Args:
        errors: (N,).
        foreground: (N,), g, times the weight of the voxel.
        background: (N,), 1 − g, times the weight of the voxel.

    Returns:
        (N,), in the order and dtype of ``errors``; their sum is 1, or 0 where nothing counts.

    Example:
        >>> lovasz_weights(torch.tensor([0.1, 0.9]), torch.tensor([1.0, 0]), torch.tensor([0, 1.0]))
        tensor([0.5000, 0.5000])
    """
    order = errors.argsort(descending=True, stable=True)
    inside = foreground[order].cumsum(0, dtype=torch.float64)
    outside = background[order].cumsum(0, dtype=torch.float64)
    steps = ratio(inside + outside, inside[-1:] + outside).diff(prepend=inside.new_zeros(1))
    # Not a number has no place in an order; the gradient is to tell, too.
    steps = steps.masked_fill(errors.isnan().any(), torch.nan)
    return torch.empty_like(errors).index_copy_(0, order, steps.to(errors))


class LovaszBase(SegmentationLoss):
    """A loss on sorted errors, with one value for each (sample, class)."""

    two_channels_equal_one: ClassVar[bool] = True

    def errors(self, prepared: Prepared) -> Tensor:
        """Error of at least 0 of each class and voxel, (B, C, *spatial)."""
        raise TypeError(f"{type(self).__name__}: a Lovász loss must define errors()")

    def rows(self, prepared: Prepared, *, pool: bool) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Errors, foreground and background of each sample, or of all, and class that counts."""
        errors = self.errors(prepared)
        samples, classes = errors.shape[:2]
        for sample in [slice(None)] if pool else [slice(i, i + 1) for i in range(samples)]:
            for channel in self.channels(classes):
                target = prepared.target[sample, 0 if prepared.is_index else channel]
                foreground = (target == channel if prepared.is_index else target).to(errors)
                weight = torch.ones_like(foreground)
                if prepared.mask is not None:
                    weight = weight * prepared.mask[sample, 0]
                if prepared.present is not None:
                    annotated = prepared.present[sample, channel]
                    weight = weight * annotated.view(-1, *[1] * (weight.ndim - 1))
                yield (
                    errors[sample, channel].flatten(),
                    (weight * foreground).flatten(),
                    (weight * (1 - foreground)).flatten(),
                )

    def channels(self, classes: int) -> range:
        """The classes that count."""
        return range(0 if self.include_background else 1, classes)

    def by_sorting(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Loss and volume of each sample (one row if the batch is pooled) and class that counts."""
        values, volumes = [], []
        for errors, foreground, background in self.rows(prepared, pool=self.batch is True):
            weights = lovasz_weights(errors.detach(), foreground, background)
            values.append((errors * weights).sum())
            volumes.append(foreground.sum())
        rows = 1 if self.batch is True else len(prepared.values)
        shape = (rows, len(self.channels(prepared.values.shape[1])))
        nothing = prepared.input.flatten()[:0]  # an empty batch has a gradient as well
        value, volume = (
            torch.cat([nothing, *(each.view(1) for each in of)]).view(shape)
            for of in (values, volumes)
        )
        return value, volume

    def annotated(self, prepared: Prepared) -> Tensor | None:
        """Which classes that count were annotated, in rows as :meth:`by_sorting` has them."""
        present = prepared.present
        if present is None:
            return None
        if self.batch is not False:
            present = any_over_batch(present, self.batch)
        return present if self.include_background else present[:, 1:]
