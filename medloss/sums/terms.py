"""What is summed (:class:`Term`) and what comes out (:class:`ClassSums`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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
    if not isinstance(term.parameter, float | int):
        raise ValueError(f"{term.name}: expected a number as parameter, got {term.parameter!r}")
    return float(term.parameter)


@dataclass(frozen=True)
class ClassSums:
    """Sums (or, before summing, voxel values) of some terms, each of shape (B, C, ...).

    A term is read as an attribute (``s.tp``) or, with its parameter, as ``s["focal", 2.0]``.
    Sums are additive: those of two patches of one volume, or of two ranks, are added with ``+``.
    """

    values: Tensor
    """(B, K, C, ...): K terms."""
    terms: tuple[Term, ...]

    def __getitem__(self, key: str | tuple[str, float | str]) -> Tensor:
        term = Term(key) if isinstance(key, str) else Term(*key)
        return self.values[:, self.terms.index(term)]

    def __getattr__(self, name: str) -> Tensor:
        for index, term in enumerate(self.terms):
            if term.name == name:
                return self.values[:, index]
        raise AttributeError(f"{name}: not among the summed terms {self.terms}")

    def __add__(self, other: ClassSums) -> ClassSums:
        if self.terms != other.terms:
            raise ValueError(f"other: expected sums of {self.terms}, got {other.terms}")
        return ClassSums(self.values + other.values, self.terms)

    def without_background(self) -> ClassSums:
        """The same without class 0."""
        return ClassSums(self.values[:, :, 1:], self.terms)

    def only(self, present: Tensor) -> ClassSums:
        """The same with the sums of classes that were not annotated set to zero.

        Args:
            present: (B, C), which classes were annotated in each sample.
        """
        keep = present[:, None].reshape(*present[:, None].shape, *[1] * (self.values.ndim - 3))
        return ClassSums(self.values * keep, self.terms)

    def over_batch(self, batch: bool | Literal["world"]) -> ClassSums:
        """Sums over the samples of this batch, or of the batches of all ranks (``"world"``).

        The reduction over ranks is differentiable: with gradients averaged over ranks, as
        ``DistributedDataParallel`` does, training equals one rank that holds the joined batch.
        """
        if batch is False:
            return self
        values = self.values.sum(0, keepdim=True)
        if batch == "world" and _ranks():
            values = _SumOverRanks.apply(values)  # type: ignore[no-untyped-call]
        return ClassSums(values, self.terms)


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
        total = values.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total


def _ranks() -> bool:
    """Whether this process is one of several that train together."""
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_initialized()
