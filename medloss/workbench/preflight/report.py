"""Everything that a preflight found out, as one record."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from medloss.workbench.preflight.activation import Applied
from medloss.workbench.preflight.cost import Cost
from medloss.workbench.preflight.empty import EmptyRow
from medloss.workbench.preflight.findings import SEVERITIES, Finding
from medloss.workbench.preflight.labels import ClassRow
from medloss.workbench.preflight.pooling import BatchRow
from medloss.workbench.preflight.precision import HalfRow


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
