"""Any losses as one: their weighted sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from torch import nn

from medloss.base import options
from medloss.compound import Weight, WeightedSum, build_inner_loss


@options
class CompoundLoss(WeightedSum):
    """Weighted sum of any losses, with every term visible.

    Formula:
        L = Σ_k weight_k L_k over the terms k.

    The activation is chosen once, here; terms on class sums share one pass over the voxels. Terms
    of other libraries are called with the input and label as they came and bring their own
    activation. ``breakdown()`` tells the value of each term after a forward pass;
    ``step_schedule()`` brings weights with a schedule to the next epoch or iteration.

    Range: that of its terms.

    Empty target:
        as its terms.

    Args:
        terms: names (``"dice"``), mappings with ``name`` and options (``{"name": "focal", "gamma":
            1.5}``), or losses; nested ``_target_`` in a bundle config.
        weights: one for each term, 1 by default: a number, or a schedule such as ``{"schedule":
            "ramp", "start": 0, "end": 1, "steps": 100}``: ``constant``, ``ramp``, ``cosine``,
            ``rebalance``, ``equal_value``, ``equal_gradient_norm``.

    Example:
        >>> import torch
        >>> loss = CompoundLoss(terms=["dice", "cross_entropy"], weights=[1, 0.5], softmax=True)
        >>> z, y = torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.long)
        >>> value = loss(z, y)
        >>> round(loss.breakdown()["cross_entropy"].weighted, 4)
        0.3466

    Source:
        Taghanaki 2019, arXiv:1805.02798; Ma 2021, doi:10.1016/j.media.2021.102035.
    """

    terms: Sequence[str | Mapping[str, Any] | nn.Module] = ()
    weights: Sequence[Weight] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.terms, str | Mapping) or not isinstance(self.terms, Sequence):
            raise TypeError(f"terms: expected a list of losses, got {self.terms!r}")
        if isinstance(self.weights, str | Mapping):
            raise TypeError(f"weights: expected a list, one for each term, got {self.weights!r}")
        weights: list[Weight] = [1.0] * len(self.terms)
        if self.weights is not None:
            weights = list(self.weights)
        if len(weights) != len(self.terms):
            raise ValueError(f"weights: expected {len(self.terms)} numbers, got {len(weights)}")
        named: dict[str, tuple[Weight, nn.Module]] = {}
        for term, weight in zip(self.terms, weights, strict=True):
            name, loss = self._build(term)
            same = sum(other == name or other.startswith(f"{name}_") for other in named)
            named[f"{name}_{same + 1}" if name in named else name] = (weight, loss)
        self.set_terms(named)

    def _build(self, term: str | Mapping[str, Any] | nn.Module) -> tuple[str, nn.Module]:
        if isinstance(term, nn.Module):
            return type(term).__name__, term
        if isinstance(term, str):
            term = {"name": term}
        if not isinstance(term, Mapping) or "name" not in term:
            raise TypeError(f"terms: expected names, mappings with a name, or losses, got {term!r}")
        # Only what differs from the defaults, for losses of others that may lack an option.
        defaults = {field.name: field.default for field in fields(self)}
        inherited = self.pass_on("include_background", "weight")
        passed = {k: value for k, value in inherited.items() if value is not defaults[k]}
        return str(term["name"]), build_inner_loss(term, passed)
