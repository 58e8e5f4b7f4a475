"""The Lovász extension of the Jaccard loss from a histogram of errors: additive, without a sort.

With n(t) the voxels whose error exceeds t, the extension is the integral of J(n(t)) over t. A soft
histogram, in which an error between two edges counts for both by its distance, holds the mean of
n(t) over each cell, and J of that mean takes the place of the mean of J. J only falls with t, so
both lie between its values at the ends of the cell: the error is at most the widest cell.
"""

from __future__ import annotations

from torch import Tensor

from medloss.histograms import edges
from medloss.sums.numeric import ratio


def lovasz_of_histogram(histogram: Tensor) -> Tensor:
    """Σ over cells of their width times J of the mean counts above, (...).

    Args:
        histogram: (..., 2, bins + 1), foreground and background, of one image or the sum of
            several, with the edges of :func:`medloss.histograms.edges`.
    """
    inside, outside = histogram.flip(-1).cumsum(-1).flip(-1)[..., 1:].unbind(-2)
    volume = histogram[..., 0, :].sum(-1, keepdim=True)
    widths = edges(histogram.shape[-1] - 1, histogram).diff()
    return (ratio(inside + outside, volume + outside) * widths).sum(-1)
