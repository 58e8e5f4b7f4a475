"""What is summed (:class:`Term`) and what comes out (:class:`ClassSums`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

Activation = Literal["softmax", "sigmoid", "probabilities"]


class Term(NamedTuple):
    r"""One function of probability p and target y that is summed over voxels v, for each class.

    ========== ======================== =====================================================
    name       summed                   parameter
    ========== ======================== =====================================================
    ``v``      1                        (the number of voxels that count)
    ``p``      p
    ``t``      y
    ``tp``     p y
    ``pp``     p²
    ``tt``     y²
    ``l1``     \|p − y\|
    ``power``  \|p − y\|^γ             γ
    ``sqt``    (p − y)² y
    ``ce``     −y log p
    ``ce_neg`` −(1 − y) log(1 − p)
    ``nlog``   −log p
    ``focal``  −y (1 − p)^γ log p       γ
    ``focal_neg`` −(1 − y) p^γ log(1 − p) γ
    ``map``    p φ                      name of the map φ, of shape (B, C, \*spatial)
    ``map2``   (p − y)² φ               name of the map φ
    ``tp_map`` p y φ                    name of the map φ
    ``t_map``  y φ                      name of the map φ
    ========== ======================== =====================================================
    """

    name: str
    parameter: float | str | None = None


WITH_EXPONENT = ("power", "focal", "focal_neg")
"""Terms with an exponent as parameter."""

WITH_MAP = ("map", "map2", "tp_map", "t_map")
"""Terms whose parameter names a map."""


def as_terms(terms: Sequence[str | Term]) -> tuple[Term, ...]:
    """Terms from terms or their bare names, each once, in the order given."""
    whole = (Term(term) if isinstance(term, str) else term for term in terms)
    return tuple(dict.fromkeys(whole))


def exponent(term: Term) -> float:
    """The number that a power or focal term carries.

    Raises:
        ValueError: it carries none.
    """
    # no union of types: the compiler of torch 2.8 cannot make one
    if not isinstance(term.parameter, (float, int)):
        raise ValueError(f"{term.name}: expected a number as parameter, got {term.parameter!r}")
    return float(term.parameter)


class ClassSums:
    """Sums (or, before summing, voxel values) of some terms, each of shape (B, C, ...).

    A term is read as an attribute (``s.tp``) or, with its parameter, as ``s["focal", 2.0]``.
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

    def __getitem__(self, key: str | tuple[str, float | str | None]) -> Tensor:
        return self._at(self.terms.index(Term(key) if isinstance(key, str) else Term(*key)))

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("_") or name == "terms":  # asked of a copy that has nothing yet
            raise AttributeError(name)
        found = [index for index, term in enumerate(self.terms) if term.name == name]
        if len(found) == 1:
            return self._at(found[0])
        if not found:
            raise AttributeError(f"{name}: not among the summed terms {self.terms}")
        keys = ", ".join(f"s[{name!r}, {self.terms[index].parameter!r}]" for index in found)
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
            return ClassSums(_SumOverRanks.apply(pooled.values), self.terms)  # type: ignore[no-untyped-call]
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


def work_dtype(input: Tensor) -> torch.dtype:
    """What is computed in, and the dtype of sums: float64 for float64, else float32."""
    return torch.float64 if input.dtype == torch.float64 else torch.float32


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
        total: Tensor = _SumOverRanks.apply(gradients[0])  # type: ignore[no-untyped-call]
        return total


def _ranks() -> bool:
    """Whether this process is one of several that train together."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized()
