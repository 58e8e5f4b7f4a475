"""Weighted sums of any losses: terms, weights, schedules, and what each term was.

What a family, or anyone's plugin, builds a compound loss on: a :class:`WeightedSum` whose
``__post_init__`` names its terms.

Example:
    >>> import torch
    >>> from medloss.base import options
    >>> @options
    ... class DiceFocal(WeightedSum):
    ...     lambda_focal: Weight = 1.0
    ...     def __post_init__(self):
    ...         super().__post_init__()
    ...         shared = self.pass_on("include_background", "weight")
    ...         dice = build_inner_loss("dice", shared)
    ...         focal = build_inner_loss({"name": "focal", "gamma": 1.0}, shared)
    ...         self.set_terms({"dice": (1.0, dice), "focal": (self.lambda_focal, focal)})
    >>> loss = DiceFocal(softmax=True, lambda_focal={"schedule": "ramp", "end": 2.0, "steps": 10})
    >>> value = loss(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4, dtype=torch.long))
    >>> loss.step_schedule(5)
    >>> loss.term_weights
    {'dice': 1.0, 'focal': 1.0}
    >>> round(loss.breakdown()["dice"].value, 3)
    0.667
"""

from medloss.compound.breakdown import TermValue, as_columns
from medloss.compound.inner_loss import adopt_any_loss, adopt_inner_loss, build_inner_loss, value_of
from medloss.compound.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    EqualGradientNorm,
    EqualValue,
    Ramp,
    Rebalance,
    Schedule,
    Weight,
    parse_weight,
)
from medloss.compound.weighted_sum import WeightedSum

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "EqualGradientNorm",
    "EqualValue",
    "Ramp",
    "Rebalance",
    "Schedule",
    "TermValue",
    "Weight",
    "WeightedSum",
    "adopt_any_loss",
    "adopt_inner_loss",
    "as_columns",
    "build_inner_loss",
    "parse_weight",
    "value_of",
]
