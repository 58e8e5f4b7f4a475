"""What the terms of a loss were in its last forward pass, as numbers to look at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class TermValue:
    """One term of a loss in its last forward pass.

    Args:
        value: of the term alone, its mean where ``reduction="none"`` leaves several.
        weight: it was multiplied by this.
        per_class: value of each class that counts, by its index or name, before class weights; the
            mean over the samples in which it was annotated (NaN: in none). Empty where the term
            does not tell its classes apart.
        gradient_norm: Euclidean norm of the gradient of the weighted term by the logits; None where
            it was not asked for, NaN where this forward pass was not one of those measured.
        gradient_share: the norm over the sum of the norms of all terms, likewise.
    """

    value: float
    weight: float
    per_class: Mapping[int | str, float] = field(default_factory=dict)
    gradient_norm: float | None = None
    gradient_share: float | None = None

    @property
    def weighted(self) -> float:
        """What the term adds to the loss."""
        return self.weight * self.value


def as_columns(terms: Mapping[str, TermValue]) -> dict[str, float]:
    """One row of a table: the loss, then what is known of each term.

    Example:
        >>> row = as_columns({"dice": TermValue(0.5, 2.0, {1: 0.4, "tumour": 0.6})})
        >>> for name, number in row.items():
        ...     print(name, number)
        loss 1.0
        dice/value 0.5
        dice/weight 2.0
        dice/weighted 1.0
        dice/class 1 0.4
        dice/tumour 0.6
    """
    row = {"loss": sum(term.weighted for term in terms.values())}
    for name, term in terms.items():
        row |= {
            f"{name}/value": term.value,
            f"{name}/weight": term.weight,
            f"{name}/weighted": term.weighted,
        }
        if term.gradient_norm is not None and term.gradient_share is not None:
            row[f"{name}/gradient_norm"] = term.gradient_norm
            row[f"{name}/gradient_share"] = term.gradient_share
        for of, value in term.per_class.items():
            row[f"{name}/{of}" if isinstance(of, str) else f"{name}/class {of}"] = value
    return row


class ClassValues(NamedTuple):
    """Values of classes as the mean Σ value / Σ count over the samples that count.

    Args:
        value: (B, C), for the classes that count.
        counts: (B, C), or None for a plain mean.
        first: index of the first class that counts.
    """

    value: Tensor
    counts: Tensor | None
    first: int

    def means(self, names: Sequence[str] | None) -> dict[int | str, float]:
        """By index, or by name where all classes, background included, have one; of nothing NaN."""
        means = self.value.mean(0)
        if self.counts is not None:
            means = torch.where(self.counts > 0, self.value, 0).sum(0) / self.counts.sum(0)
        of = enumerate(means.tolist(), self.first)
        return {index if names is None else names[index]: mean for index, mean in of}


def gradient_norms(values: Iterable[Tensor], logits: Tensor) -> list[Tensor]:
    """‖∂L_k/∂z‖ of each term k by the logits z, without its weight; the graph is kept.

    Args:
        values: of the terms; of several numbers the mean counts.
        logits: z, which the values were computed from.

    Raises:
        ValueError: the logits are no part of the graph.

    Example:
        >>> z = torch.tensor([3.0, 4.0], requires_grad=True)
        >>> [float(norm) for norm in gradient_norms([(z * z).sum() / 2, z.sum() * 0], z)]
        [5.0, 0.0]
    """
    if not logits.requires_grad:
        raise ValueError(
            "gradient_share, equal_gradient_norm: expected logits that require a gradient; with a "
            "FusedHead there are none"
        )
    norms = []
    for value in values:
        slope = None
        if value.requires_grad:
            (slope,) = torch.autograd.grad(
                value.mean() if value.ndim else value, logits, retain_graph=True, allow_unused=True
            )
        norms.append(logits.new_zeros(()) if slope is None else torch.linalg.vector_norm(slope))
    return norms


class LastPass(NamedTuple):
    """Values of the terms, on their device: nothing waits for them before they are asked for.

    Args:
        values: of each term, without axes, or a number.
        weights: they were multiplied by these.
        classes: values of classes, of terms that tell them apart.
        norms: of the terms' gradients by the logits, or None where this pass was not measured.
    """

    values: dict[str, Tensor | float]
    weights: dict[str, float | Tensor]
    classes: dict[str, ClassValues]
    norms: list[Tensor] | None

    def told(
        self, *, class_names: Sequence[str] | None, with_gradient: bool
    ) -> dict[str, TermValue]:
        """All of it as numbers."""
        weights = [float(weight) for weight in self.weights.values()]
        values, norms = _numbers(list(self.values.values())), [math.nan] * len(weights)
        if self.norms is not None:
            norms = [w * n for w, n in zip(weights, _numbers(self.norms), strict=True)]
        total = sum(norms)
        terms = {}
        for name, value, weight, norm in zip(self.values, values, weights, norms, strict=True):
            classes = self.classes.get(name)
            terms[name] = TermValue(
                value,
                weight,
                {} if classes is None else classes.means(class_names),
                norm if with_gradient else None,
                (norm / total if total else math.nan) if with_gradient else None,
            )
        return terms


def _numbers(values: Sequence[Tensor | float]) -> list[float]:
    """All at once, as each transfer would wait for the device."""
    tensors = [each.double() for each in values if isinstance(each, Tensor)]
    there = iter(torch.stack(tensors).tolist() if tensors else ())
    return [next(there) if isinstance(each, Tensor) else each for each in values]
