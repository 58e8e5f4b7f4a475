"""Weighted sums of losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

import medloss
from medloss.base import SegmentationLoss, SumsLoss, options
from medloss.sums import Term
from medloss.targets import Prepared


@dataclass(frozen=True)
class TermValue:
    """One term of a compound loss after a forward pass."""

    value: float
    weight: float

    @property
    def weighted(self) -> float:
        """What the term adds to the loss."""
        return self.weight * self.value


class WeightedSum(SegmentationLoss):
    """A loss that adds weighted terms under one activation and one pass of class sums.

    A subclass names its terms in ``__post_init__`` with :meth:`set_terms`.
    """

    def pass_on(self, *also: str) -> dict[str, Any]:
        """Options that the terms inherit: activation, reduction, pooling, and those named."""
        names = ("sigmoid", "softmax", "other_act", "reduction", "batch", *also)
        return {name: getattr(self, name) for name in names}

    def set_terms(self, terms: Mapping[str, tuple[float, nn.Module]]) -> None:
        """Take over the terms: name to (weight, loss).

        Raises:
            ValueError: no term, a weight below 0, or a term with an activation of its own.
        """
        if not terms:
            raise ValueError("terms: expected at least one loss, got none")
        for name, (weight, loss) in terms.items():
            if not weight >= 0:
                raise ValueError(f"{name}: expected a weight of at least 0, got {weight!r}")
            if isinstance(loss, SegmentationLoss):
                self._check_term(name, loss)
        self.term_weights = {name: float(weight) for name, (weight, _) in terms.items()}
        self.losses = nn.ModuleDict({name: loss for name, (_, loss) in terms.items()})
        self._last: dict[str, Tensor] = {}

    def check(self, prepared: Prepared) -> None:
        """Every term may refuse."""
        super().check(prepared)
        for loss in self.losses.values():
            if isinstance(loss, SegmentationLoss):
                loss.check(prepared)

    def compute(self, prepared: Prepared) -> Tensor:
        """The weighted sum of all terms; terms on class sums share one pass."""
        values = self._on_sums(prepared)
        for name, loss in self.losses.items():
            if name not in values:
                values[name] = self._other(name, loss, prepared)
        self._last = {name: value.detach() for name, value in values.items()}
        rank = max(value.ndim for value in values.values())
        total = torch.zeros((), device=prepared.values.device)
        for name, weight in self.term_weights.items():
            value = values[name]
            if 0 < value.ndim < rank:  # (B, C) beside (B, C, *spatial)
                value = value.reshape(*value.shape, *[1] * (rank - value.ndim))
            total = total + weight * value
        return total

    def breakdown(self) -> dict[str, TermValue]:
        """Value and weight of each term in the last forward pass.

        Raises:
            RuntimeError: there was none yet.
        """
        if not self._last:
            raise RuntimeError("breakdown: expected a forward pass first, there was none")
        return {
            name: TermValue(float(self._last[name].mean()), weight)
            for name, weight in self.term_weights.items()
        }

    def _on_sums(self, prepared: Prepared) -> dict[str, Tensor]:
        shared = {n: loss for n, loss in self.losses.items() if isinstance(loss, SumsLoss)}
        terms: list[str | Term] = [term for loss in shared.values() for term in loss.terms()]
        if not terms:
            return {}
        maps = {k: v for loss in shared.values() for k, v in loss.maps(prepared).items()}
        sums = prepared.sums(terms, maps)
        return {name: loss.from_sums(sums, prepared) for name, loss in shared.items()}

    def _other(self, name: str, loss: nn.Module, prepared: Prepared) -> Tensor:
        if isinstance(loss, SegmentationLoss):
            return loss.compute(prepared)
        if prepared.mask is not None or prepared.present is not None:
            raise ValueError(
                f"{name}: {type(loss).__name__} of another library knows no mask, present or "
                f"ignore_index; leave them out, or this term"
            )
        value = loss(prepared.raw, prepared.label)
        if not isinstance(value, Tensor):
            raise TypeError(f"{name}: expected one tensor, got {type(value).__name__}")
        return value

    def _check_term(self, name: str, loss: SegmentationLoss) -> None:
        own = [k for k in ("sigmoid", "softmax") if getattr(loss, k) and not getattr(self, k)]
        own += ["other_act"] * (loss.other_act is not None and loss.other_act is not self.other_act)
        if own:
            raise ValueError(
                f"{name}: {', '.join(own)} belongs to the compound loss, whose one activation "
                f"serves every term"
            )
        for option in ("ignore_index", "to_onehot_y"):
            if getattr(loss, option) not in (None, False, getattr(self, option)):
                raise ValueError(f"{name}: {option} belongs to the compound loss, not to a term")


@options
class CompoundLoss(WeightedSum):
    """Weighted sum of any losses, with every term visible.

    Formula:
        L = Σ_k weight_k L_k over the terms k.

    The activation is chosen once, here; terms on class sums share one pass over the voxels. Terms
    of other libraries are called with the input and label as they came and bring their own
    activation. ``breakdown()`` tells the value of each term after a forward pass.

    Range: that of its terms.

    Empty target:
        as its terms.

    Args:
        terms: names (``"dice"``), mappings with ``name`` and options (``{"name": "focal", "gamma":
            1.5}``), or losses; nested ``_target_`` in a bundle config.
        weights: one number for each term; 1 by default.

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
    weights: Sequence[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.terms, str | Mapping) or not isinstance(self.terms, Sequence):
            raise TypeError(f"terms: expected a list of losses, got {self.terms!r}")
        weights = [1.0] * len(self.terms) if self.weights is None else list(self.weights)
        if len(weights) != len(self.terms):
            raise ValueError(f"weights: expected {len(self.terms)} numbers, got {len(weights)}")
        named: dict[str, tuple[float, nn.Module]] = {}
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
        given = {key: value for key, value in term.items() if key != "name"}
        return str(term["name"]), medloss.loss(term["name"], **{**passed, **given})
