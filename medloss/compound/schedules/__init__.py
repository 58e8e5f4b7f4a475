"""Schedules: weights of loss terms that change from step to step, as a config writes them.

    "weights": [1.0, {"schedule": "ramp", "start": 0.0, "end": 1.0, "steps": 100}]

A step is an epoch or an iteration, whatever the training loop makes it.
"""

from __future__ import annotations

from medloss.compound.schedules.fixed import Constant, Cosine, Ramp, Rebalance
from medloss.compound.schedules.parse import SCHEDULES, Schedule, Weight, parse_weight
from medloss.compound.schedules.ratios import EqualGradientNorm, EqualValue, Measured

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "EqualGradientNorm",
    "EqualValue",
    "Measured",
    "Ramp",
    "Rebalance",
    "Schedule",
    "Weight",
    "parse_weight",
]
