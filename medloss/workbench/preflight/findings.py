"""What a preflight found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["defect", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("defect", "warning", "note")
"""A defect spoils the training; a warning may; a note is to be known."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Args:
        severity: how bad it is.
        check: what looked for it.
        message: what was found.
        advice: what to do.
        terms: of the loss that it concerns; none where it is the loss as a whole, or the batch.
        evidence: the numbers that it rests on, by name.
    """

    severity: Severity
    check: str
    message: str
    advice: str
    terms: tuple[str, ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
