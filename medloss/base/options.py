"""Options of a loss: annotated attributes that become keywords of its constructor."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(
    eq_default=False, kw_only_default=True, field_specifiers=(dataclasses.field, dataclasses.Field)
)
def options(cls: type[T]) -> type[T]:
    """Turn the annotated attributes of a loss class into keyword-only options of its constructor.

    Example:
        >>> from medloss.base import RegionLoss
        >>> @options
        ... class MeanProbabilityLoss(RegionLoss):
        ...     scale: float = 1.0
        ...     def terms(self):
        ...         return ("p", "v")
        ...     def per_class(self, s):
        ...         return self.scale * s.p / s.v
        >>> MeanProbabilityLoss(softmax=True, scale=2.0).scale
        2.0
    """
    return dataclass(eq=False, repr=False, kw_only=True)(cls)
