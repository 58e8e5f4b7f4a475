"""Structural similarity loss."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import Tensor

from medloss.base import mean_of, options
from medloss.base.targets import Prepared
from medloss.compound import WeightedSum
from medloss.sums import any_over_batch, voxel_terms
from medloss.sums.numeric import ratio
from medloss_distribution.cross_entropy import CrossEntropyLoss
from medloss_distribution.voxelwise_cross_entropy import EachVoxelLoss

BORDERS = ("valid", "reflect")


@options
class StructuralError(EachVoxelLoss):
    """Cross entropy times the structural error where that is large."""

    window: int = 3
    sigma: float = 1.5
    beta: float = 0.1
    constant: float = 0.01
    border: Literal["valid", "reflect"] = "valid"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (isinstance(self.window, int) and self.window >= 3 and self.window % 2):
            raise ValueError(f"window: expected an odd number from 3 on, got {self.window!r}")
        for name in ("sigma", "constant"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: expected more than 0, got {getattr(self, name)!r}")
        if not 0 <= self.beta < 1:
            raise ValueError(f"beta: expected a number in [0, 1), got {self.beta!r}")
        if self.border not in BORDERS:
            raise ValueError(f"border: expected one of {BORDERS}, got {self.border!r}")

    def compute(self, prepared: Prepared) -> Tensor:
        """Mean of each image over what is kept of it, then over images."""
        value = ratio(*self.of_images(prepared))
        if self.reduction == "none":
            return value
        if self.reduction == "sum":
            return value.sum()
        return mean_of(value, self.images(prepared))

    def images(self, prepared: Prepared) -> Tensor | None:
        """Whether a class that counts was annotated in each image, (B, 1); None where all were."""
        present = prepared.present
        if present is None:
            return None
        counts = present if self.include_background else present[:, 1:]
        if self.batch is not False:
            counts = any_over_batch(counts, self.batch)
        return counts.any(1, keepdim=True)

    def each(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """Weighted cross entropy and weight; in float32, variances near 0 would cancel out."""
        g, exclusive = prepared.one_hot().double(), prepared.is_exclusive
        voxels = voxel_terms(
            prepared.input.double(), g, ("ce", "ce_neg", "p"), activation=prepared.activation
        )
        error = self.error(g, voxels.p, prepared.mask)
        worst = error.detach().flatten(2).amax(2).view(*error.shape[:2], *[1] * (error.ndim - 2))
        kept = (error > self.beta * worst).to(error)
        cross_entropy = voxels.ce if exclusive else voxels.ce + voxels.ce_neg
        value = error * kept * cross_entropy
        value, weight = self.counted(value, kept * g if exclusive else kept, prepared)
        return value.to(prepared.input), weight.to(prepared.input)

    def error(self, g: Tensor, p: Tensor, mask: Tensor | None) -> Tensor:
        """Difference e of standardised target and prediction, (B, C, *spatial)."""
        counts = torch.ones_like(g[:, :1]) if mask is None else (mask > 0).to(g)
        total = self.blurred(counts).clamp_min(torch.finfo(g.dtype).tiny)
        standardised = []
        for x in (g, p):
            mean = self.blurred(x * counts) / total
            variance = self.blurred(x * x * counts) / total - mean * mean
            flat = variance < 1e-14  # no more than the rounding of a window that is constant
            deviation = torch.where(flat, 0, torch.where(flat, 1, variance).sqrt())
            standardised.append((x - mean + self.constant) / (deviation + self.constant))
        return (standardised[0] - standardised[1]).abs() * counts

    def blurred(self, x: Tensor) -> Tensor:
        """Gaussian window along every spatial axis longer than one voxel."""
        reach = self.window // 2
        for axis in range(2, x.ndim):
            length = x.shape[axis]
            if length == 1:
                continue
            out, place = x, torch.arange(length, device=x.device)
            for offset in (*range(-reach, 0), *range(1, reach + 1)):
                # about the outermost voxels, as often as it takes
                mirrored = (place + offset) % (2 * length - 2)
                source = torch.minimum(mirrored, 2 * length - 2 - mirrored)
                shifted = x.index_select(axis, source)
                if self.border == "valid":
                    inside = (place + offset >= 0) & (place + offset < length)
                    shifted = shifted * inside.view(-1, *[1] * (x.ndim - axis - 1))
                out = out + math.exp(-(offset**2) / (2 * self.sigma**2)) * shifted
            x = out
        return x


@options
class StructuralSimilarityLoss(WeightedSum):
    """Cross entropy, counted again where prediction and target differ in structure.

    Formula:
        L = lambda_structure Σ e f CE / Σ f + lambda_ce CE, over the voxels of each image; of
        exclusive classes the true one counts;
        e = |(g − μ_g + C) / (σ_g + C) − (p − μ_p + C) / (σ_p + C)|, means μ and deviations σ in a
        Gaussian window around the voxel; f = 1 where e > beta · the largest e of the image and
        class, else 0.

    The gradient passes through e as well. Moments are taken in float64: windows in which nothing
    varies would otherwise drown in rounding.

    Range: [0, ∞).

    Empty target:
        the structural term is blind to a constant prediction; cross entropy keeps value and
        gradient.

    Args:
        window: voxels along an edge of the window, odd.
        sigma: of the window, in voxels.
        beta: share of the largest e that a voxel must exceed.
        constant: C, which keeps flat windows finite.
        border: ``"valid"``: the window holds only voxels that count; ``"reflect"``: the image is
            mirrored beyond its border.
        lambda_structure: weight of the structural term.
        lambda_ce: weight of the cross entropy.
        weight: one number, or one for each class that counts, for both terms.

    Example:
        >>> import torch
        >>> g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
        >>> g[..., 1:4, 1:4] = 1
        >>> p = 0.1 + 0.7 * g
        >>> p[..., 1, 1], p[..., 0, 4] = 0.3, 0.7
        >>> loss = StructuralSimilarityLoss(lambda_ce=0, lambda_structure=1, border="reflect")
        >>> round(loss(p, g).item(), 12)
        0.326077068757

    Source:
        Zhao 2019, arXiv:1910.08711.
    """

    spatial_axes: ClassVar[tuple[int, ...] | None] = (2, 3)

    window: int = 3
    sigma: float = 1.5
    beta: float = 0.1
    constant: float = 0.01
    border: Literal["valid", "reflect"] = "valid"
    lambda_structure: float = 0.5
    lambda_ce: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        shared = self.pass_on("include_background", "weight")
        structure = StructuralError(
            window=self.window,
            sigma=self.sigma,
            beta=self.beta,
            constant=self.constant,
            border=self.border,
            **shared,
        )
        self.set_terms(
            {
                "structure": (self.lambda_structure, structure),
                "cross_entropy": (self.lambda_ce, CrossEntropyLoss(**shared)),
            }
        )
