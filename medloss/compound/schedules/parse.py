"""From what a config holds to a schedule."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from medloss.compound.schedules.checks import is_number
from medloss.compound.schedules.fixed import Constant, Cosine, Ramp, Rebalance
from medloss.compound.schedules.ratios import EqualGradientNorm, EqualValue

Weight = float | Mapping[str, Any]
"""A number, or a schedule as a mapping: ``{"schedule": "ramp", "steps": 100}``."""

Schedule = Constant | Ramp | Rebalance | EqualValue

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "ramp": Ramp,
    "cosine": Cosine,
    "rebalance": Rebalance,
    "equal_value": EqualValue,
    "equal_gradient_norm": EqualGradientNorm,
}


def parse_weight(given: Any, name: str) -> Schedule:
    """The schedule that a number or mapping stands for.

    Args:
        given: a number of at least 0, or a mapping with ``schedule`` and its options.
        name: what is weighted, for errors.

    Raises:
        ValueError: an unknown schedule (the nearest names are told) or an impossible option.
        TypeError: neither number nor mapping, or an option that the schedule lacks.

    Example:
        >>> parse_weight({"schedule": "ramp", "steps": 10}, "boundary").at(5)
        0.5
    """
    if not isinstance(given, Mapping):
        try:
            return Constant(value=given)
        except (TypeError, ValueError):
            kind = ValueError if is_number(given) else TypeError
            raise kind(
                f"{name}: expected a weight of at least 0, or a mapping with a schedule, "
                f"got {given!r}"
            ) from None
    options = dict(given)
    chosen = options.pop("schedule", None)
    if chosen not in SCHEDULES:
        near = difflib.get_close_matches(str(chosen), SCHEDULES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"expected {', '.join(SCHEDULES)}"
        said = "a mapping without the key" if "schedule" not in given else repr(chosen)
        raise ValueError(f"{name}: schedule: got {said}; {hint}")
    target = SCHEDULES[chosen]
    known = [each.name for each in fields(target)]
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(str(option), known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise TypeError(
                f"{name}: the schedule {chosen!r} takes {', '.join(known)}, got {option!r}{hint}"
            )
    try:
        return target(**options)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: the schedule {chosen!r}: {error}") from None
