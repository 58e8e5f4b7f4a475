"""Matching with a k of each true box: as many of its cheapest candidates as its IoUs sum up to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Claims(NamedTuple):
    """Who claims the candidates, over the true boxes seen so far; each (K,).

    Args:
        number: of true boxes that claim a candidate.
        truth: one of them.
        lowest: cost of the candidate for the true box to which it costs least, a claimant or not.
        cheapest: that true box.
    """

    number: Tensor
    truth: Tensor
    lowest: Tensor
    cheapest: Tensor

    @classmethod
    def none(cls, candidates: int, like: Tensor) -> Claims:
        """Nobody claims anything yet."""
        nobody = torch.full((candidates,), -1, dtype=torch.long, device=like.device)
        return cls(nobody + 1, nobody, torch.full_like(nobody, torch.inf, dtype=like.dtype), nobody)

    def beside(self, cost: Tensor, overlap: Tensor, *, first: int, top: int) -> Claims:
        """These and the claims of the true boxes ``first``, ``first + 1``, ...

        Each claims its k cheapest candidates; k is the sum of its ``top`` highest IoUs, cut to an
        integer, at least 1.

        Args:
            cost: (m, K), infinite where a true box can claim nothing.
            overlap: (m, K), IoU.
            first: index of the first of the m true boxes.
            top: how many IoUs are summed.
        """
        few = min(top, cost.shape[1])
        k = overlap.topk(few, 1).values.sum(1).int().clamp_min(1)
        price, order = cost.topk(few, 1, largest=False)
        chosen = (torch.arange(few, device=cost.device) < k[:, None]) & price.isfinite()
        claimed = torch.zeros_like(cost, dtype=torch.bool).scatter(1, order, chosen)
        number = claimed.sum(0)
        truth = torch.where(number > 0, first + claimed.int().argmax(0), self.truth)
        lowest, cheapest = cost.min(0)
        lower = lowest < self.lowest
        return Claims(
            self.number + number,
            truth,
            torch.where(lower, lowest, self.lowest),
            torch.where(lower, first + cheapest, self.cheapest),
        )

    def settled(self) -> Tensor:
        """(K,), the true box that gets a candidate, −1 for none.

        A candidate that several claim goes to the true box to which it costs least.
        """
        return torch.where(self.number > 1, self.cheapest, self.truth)


def dynamic_k_matching(cost: Tensor, overlap: Tensor, *, top: int = 10) -> Tensor:
    """Match candidates to true boxes by cost, each true box with as many as its IoUs sum up to.

    Args:
        cost: (M, K), of true box i for candidate j; infinite in all of a row: no match for it.
        overlap: (M, K), IoU.
        top: how many of its highest IoUs a true box sums for its k, cut to an integer, at least 1.

    Returns:
        (K,), the true box of each candidate, −1 for none.

    Example:
        >>> cost = torch.tensor([[1.0, 2.0, 3.0], [5.0, 1.5, 9.0]])
        >>> overlap = torch.tensor([[0.9, 0.8, 0.5], [0.1, 0.7, 0.1]])
        >>> dynamic_k_matching(cost, overlap)
        tensor([ 0,  1, -1])
    """
    claims = Claims.none(cost.shape[1], cost)
    if cost.numel() == 0:
        return claims.truth
    return claims.beside(cost, overlap, first=0, top=top).settled()
