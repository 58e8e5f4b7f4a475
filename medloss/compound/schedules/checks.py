"""What options of a schedule must be."""

from __future__ import annotations

import math
import numbers
from typing import Any


def is_number(given: Any) -> bool:
    """Whether it is a real number, which True and False are not."""
    return isinstance(given, numbers.Real) and not isinstance(given, bool)


def check_weights(schedule: Any, *names: str) -> None:
    """Make these attributes floats.

    Raises:
        ValueError: one is no finite number of at least 0.
    """
    for name in names:
        given = getattr(schedule, name)
        if not is_number(given) or not 0 <= given < math.inf:
            raise ValueError(f"{name}: expected a finite number of at least 0, got {given!r}")
        object.__setattr__(schedule, name, float(given))


def check_count(schedule: Any, name: str, lowest: int) -> None:
    """Refuse an attribute that counts nothing.

    Raises:
        ValueError: it is no whole number, or less than the lowest.
    """
    given = getattr(schedule, name)
    if not isinstance(given, int) or isinstance(given, bool) or given < lowest:
        raise ValueError(f"{name}: expected a whole number from {lowest} on, got {given!r}")
