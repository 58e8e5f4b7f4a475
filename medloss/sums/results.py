"""What comes out of summing: additive over patches, batches and ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from medloss.sums.terms import Term, as_term, as_terms


class ClassSums:
    """Sums (or, before summing, voxel values) of some terms, each of shape (B, C, ...).

    A term is read as an attribute (``s.tp``) or, with its exponent or map, as ``s["focal", 2.0]``.
    Sums are additive: those of two patches of one volume, or of two ranks, are added with ``+``.

    Args:
        values: (B, K, C, ...): K terms; or a tuple of K tensors (B, C, ...).
        terms: what they are.

    Example:
        >>> s = ClassSums(torch.ones(1, 2, 3), (Term("power", 1.5), Term("power", 2.0)))
        >>> s["power", 2.0]
        tensor([[1., 1., 1.]])
        >>> s.power
        Traceback (most recent call last):
        AttributeError: power: expected one such term, got several: s['power', 1.5], s['power', 2.0]
    """

    def __init__(self, values: Tensor | tuple[Tensor, ...], terms: tuple[Term, ...]) -> None:
        self._held = values
        self.terms = terms

    @property
    def values(self) -> Tensor:
        """(B, K, C, ...): K terms."""
        held = self._held
        return held if isinstance(held, Tensor) else torch.stack(held, 1)

    def __getitem__(self, key: str | Term | tuple[str, float | str | None]) -> Tensor:
        return self._at(self.terms.index(as_term(key)))

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_") or name == "terms":  # asked of a copy that has nothing yet
            raise AttributeError(name)
        found = [index for index, term in enumerate(self.terms) if term.name == name]
        if len(found) == 1:
            return self._at(found[0])
        if not found:
            raise AttributeError(f"{name}: not among the summed terms {self.terms}")
        keys = ", ".join(f"s[{name!r}, {self.terms[index].key!r}]" for index in found)
        raise AttributeError(f"{name}: expected one such term, got several: {keys}")

    def __repr__(self) -> str:
        return f"ClassSums({self._held!r}, {self.terms!r})"

    def __add__(self, other: ClassSums) -> ClassSums:
        if self.terms != other.terms:
            raise ValueError(f"other: expected sums of {self.terms}, got {other.terms}")
        return ClassSums(self.values + other.values, self.terms)

    def of(self, terms: Sequence[str | Term]) -> ClassSums:
        """Those of some of the terms alone."""
        own = as_terms(terms)
        return self if own == self.terms else ClassSums(tuple(self[term] for term in own), own)

    def detach(self) -> ClassSums:
        """The same numbers, without the graph they came from."""
        return self._changed(lambda sums, _: sums.detach())

    def without_background(self) -> ClassSums:
        """The same without class 0, but that a NaN of it stays: the sums of the others show it."""

        def kept(sums: Tensor, axis: int) -> Tensor:
            # of a softmax voxel that is NaN a term may see the class of its label alone
            dropped = sums.detach().narrow(axis, 0, 1).clamp(0, 0)  # 0 of infinity too
            return sums.narrow(axis, 1, sums.shape[axis] - 1) + dropped

        return self._changed(kept)

    def only(self, present: Tensor) -> ClassSums:
        """The same with the sums of classes that were not annotated set to zero.

        Args:
            present: (B, C), which classes were annotated in each sample.
        """

        def kept(sums: Tensor, axis: int) -> Tensor:
            ones = [1] * (sums.ndim - axis - 1)
            return sums * present.reshape(len(present), *[1] * (axis - 1), present.shape[1], *ones)

        return self._changed(kept)

    def over_batch(self, batch: bool | Literal["world"]) -> ClassSums:
        """Sums over the samples of this batch, or of the batches of all ranks (``"world"``).

        The reduction over ranks is differentiable: with gradients averaged over ranks, as
        ``DistributedDataParallel`` does, training equals one rank that holds the joined batch.
        """
        if batch is False:
            return self
        pooled = self._changed(lambda sums, _: sums.sum(0, keepdim=True))
        if batch == "world" and _ranks():
            return ClassSums(_sum_over_ranks(pooled.values), self.terms)
        return pooled

    def _at(self, index: int) -> Tensor:
        held = self._held
        return held[:, index] if isinstance(held, Tensor) else held[index]

    def _changed(self, change: Callable[[Tensor, int], Tensor]) -> ClassSums:
        """The same after a change, which is told the axis of the classes."""
        held = self._held
        if isinstance(held, Tensor):
            return ClassSums(change(held, 2), self.terms)
        return ClassSums(tuple(change(each, 1) for each in held), self.terms)


def any_over_batch(present: Tensor, batch: bool | Literal["world"]) -> Tensor:
    """Classes annotated in any sample of this batch, or of the batches of all ranks, (1, C)."""
    present = present.any(0, keepdim=True)
    if batch == "world" and _ranks():
        counts = present.to(torch.int32)
        torch.distributed.all_reduce(counts, torch.distributed.ReduceOp.MAX)
        present = counts.bool()
    return present


class _SumOverRanks(torch.autograd.Function):
    """Sum over ranks; so is its gradient, as each rank's loss depends on every rank's values."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _sum_over_ranks(gradients[0])


_sum_over_ranks: Callable[[Tensor], Tensor] = _SumOverRanks.apply


def _ranks() -> bool:
    """Whether this process is one of several that train together."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized()
