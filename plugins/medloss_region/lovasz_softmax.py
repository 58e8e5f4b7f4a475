"""Lovász softmax loss."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from medloss.base import options
from medloss.base.targets import Prepared
from medloss.histograms import error_histograms
from medloss.histograms.plain import check_bins
from medloss.sums import ClassSums, voxel_terms, work_dtype
from medloss_region.lovasz import LovaszBase
from medloss_region.lovasz_histogram import lovasz_of_histogram


@options
class LovaszSoftmaxLoss(LovaszBase):
    """Lovász softmax: the Jaccard loss of hard labels, extended to probabilities.

    Formula:
        e_v = |g − p| for each class and voxel, sorted in falling order;
        L = Σ_i e_i (J_i − J_{i−1}), J_i the Jaccard loss if the first i voxels are wrong;
        then the mean over the classes present in each sample (``classes="present"``) or all.

    Range: [0, 1]; for hard predictions it is exactly the Jaccard loss.

    Empty target:
        a class that is absent is left out of the mean by ``"present"`` (of a sample where none
        of the classes that count is present, none is left out); with ``"all"`` it costs its single
        largest error. ``method="histogram"`` gives that error no gradient.

    ``method="sort"`` is exact, in time O(N log N) for each class. ``method="histogram"`` takes time
    O(N), is additive over samples and ranks (``batch="world"``), and is off by at most the widest
    cell, 2 / bins: 0.002 for 1024 bins. Measured there on 96³ voxels, 2 and 14 classes, from
    random to nearly right logits: value off by less than 10⁻⁶, gradient by 0.1 to 1 %.
    The paper pools the batch (``batch=True``). The smoothing options have no use here.

    Args:
        classes: ``"present"`` or ``"all"``.
        method: ``"sort"`` or ``"histogram"``.
        bins: cells of the histogram, even.

    Example:
        >>> import torch
        >>> z = [[2.0, 0, -1, 0.5], [0, 1, 0.5, -0.5], [-1, 0.5, 2, 1]]
        >>> z = torch.tensor(z, dtype=torch.float64)[None, :, None]
        >>> y = torch.tensor([[[[0, 1, 2, 0]]]])
        >>> round(LovaszSoftmaxLoss(softmax=True)(z, y).item(), 12)
        0.435611389166

    Source:
        Berman 2018, arXiv:1705.08790.
    """

    classes: Literal["present", "all"] = "present"
    method: Literal["sort", "histogram"] = "sort"
    bins: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("classes", ("present", "all")), ("method", ("sort", "histogram"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: expected one of {allowed}, got {getattr(self, name)!r}")
        check_bins(self.bins)
        if self.batch == "world" and self.method == "sort":
            raise ValueError(
                "batch: expected False or True, no rank can sort the voxels of others; "
                "method='histogram' allows 'world'"
            )

    def errors(self, prepared: Prepared) -> Tensor:
        """|p − g| of each class and voxel, (B, C, *spatial)."""
        activation = prepared.activation
        return voxel_terms(prepared.input, prepared.target, ("l1",), activation=activation).l1

    def compute(self, prepared: Prepared) -> Tensor:
        """Sort or count, and reduce over the classes that are present."""
        by_method = self.by_sorting if self.method == "sort" else self.by_counting
        value, volume = by_method(prepared)
        annotated = self.annotated(prepared)
        if self.classes == "all":
            return self.reduce_classes(value, annotated)
        there = volume > 0
        there = there | ~there.any(1, keepdim=True)
        return self.reduce_classes(value, there if annotated is None else there & annotated)

    def by_counting(self, prepared: Prepared) -> tuple[Tensor, Tensor]:
        """As :meth:`by_sorting`, from histograms."""
        counts = error_histograms(
            prepared.input,
            prepared.target,
            activation=prepared.activation,
            mask=prepared.mask,
            bins=self.bins,
        )
        if prepared.present is not None:
            counts = counts * prepared.present[..., None, None]
        counts = counts[:, self.channels(counts.shape[1])]
        sums = ClassSums(counts, ()).over_batch(self.batch)
        value = lovasz_of_histogram(sums.values).to(work_dtype(prepared.input))
        return value, sums.values[:, :, 0].sum(-1).detach().to(value)
