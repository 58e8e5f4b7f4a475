"""What the terms of a loss were in its last forward pass, as numbers to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
