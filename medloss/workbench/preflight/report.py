"""What a preflight finds: findings, the numbers that they rest on, and all of it as one record."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["defect", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("defect", "warning", "note")
"""A defect spoils the training; a warning may; a note is to be known."""

Applied = Literal["softmax", "sigmoid", "none", "other", "unknown"]
Teaches = Literal["less foreground", "more foreground", "nothing", "not finite"]
Over = Literal["mean", "sum", "pooled", "untold"]


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


@dataclass(frozen=True)
class ClassRow:
    """One channel of the label.

    Args:
        index: of the class.
        share: of the voxels of the batch.
        samples: how many of the samples have it.
    """

    index: int
    share: float
    samples: int


@dataclass(frozen=True)
class EmptyRow:
    """A term on the batch's input with background as label.

    Args:
        value: of the term.
        gradient: its norm by the norm on the batch.
        teaches: where a step of descent leads.
    """

    value: float
    gradient: float
    teaches: Teaches


@dataclass(frozen=True)
class HalfRow:
    """A term on logits in half precision, beside the same numbers in float32.

    Args:
        value: in half precision.
        value_error: relative.
        gradient_error: norm of the difference by the norm of the gradient.
        good: both are rounding.
    """

    value: float
    value_error: float
    gradient_error: float
    good: bool


@dataclass(frozen=True)
class BatchRow:
    """A term on two samples together and one by one.

    Args:
        pair: value of both together.
        first: value of the first alone.
        second: value of the second alone.
        over: how the two become one.
    """

    pair: float
    first: float
    second: float
    over: Over


@dataclass(frozen=True)
class TermRow:
    """A term on the batch, and in what was tried besides.

    Args:
        name: of the term.
        applied: the activation that it applies to the input.
        value: without its weight.
        weight: what it is multiplied by.
        gradient_norm: of the weighted term by the input.
        gradient_share: that over the sum of all terms.
        direction: cosine between its gradient and the way to the label; negative is right.
        backward_s: what its gradient took.
        empty: on an empty patch, where that could be tried.
        halves: in half precision, by dtype.
        batch: on two samples, together and one by one.
    """

    name: str
    applied: Applied
    value: float
    weight: float
    gradient_norm: float
    gradient_share: float
    direction: float
    backward_s: float
    empty: EmptyRow | None = None
    halves: Mapping[str, HalfRow] = field(default_factory=dict)
    batch: BatchRow | None = None


@dataclass(frozen=True)
class Cost:
    """Forward and backward of a loss as far as the input.

    Args:
        seconds: median.
        extra_bytes: the most memory it held, None where it cannot be measured.
        input_bytes: size of the input, to compare.
        network_seconds: the same of the network, None where there is none.
    """

    seconds: float
    extra_bytes: int | None
    input_bytes: int
    network_seconds: float | None = None


@dataclass(frozen=True)
class Report:
    """What a preflight found.

    Args:
        loss: the loss as it describes itself.
        value: of the loss on the batch, NaN where it refuses it.
        gradient_norm: by the input, likewise.
        input: shape, type, device and kind of the input.
        classes: in the label.
        terms: of the loss.
        cost: of a step.
        findings: the worst first.
        source: what was checked, as names and values.
    """

    loss: str
    value: float
    gradient_norm: float
    input: Mapping[str, Any]
    classes: Sequence[ClassRow]
    terms: Sequence[TermRow]
    cost: Cost | None
    findings: Sequence[Finding]
    source: Mapping[str, str] = field(default_factory=dict)

    @property
    def defects(self) -> int:
        """How many findings are defects."""
        return self.counts()["defect"]

    def counts(self) -> dict[str, int]:
        """Number of findings of each severity."""
        found = [finding.severity for finding in self.findings]
        return {severity: found.count(severity) for severity in SEVERITIES}

    def as_json(self) -> dict[str, Any]:
        """Everything, of types that JSON knows; a number that is none becomes null."""
        content: dict[str, Any] = _plain({**dataclasses.asdict(self), "counts": self.counts()})
        return {"format": 1, **content}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
