"""Whether half precision changes value or gradient."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from medloss.workbench.preflight.batch import Batch, mapped
from medloss.workbench.preflight.findings import Finding
from medloss.workbench.preflight.gradients import is_finite
from medloss.workbench.preflight.passes import Pass, Term, run
from medloss.workbench.preflight.trial import Trial

DTYPES: Mapping[str, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}

_VALUE = {"float16": 0.02, "bfloat16": 0.05}
_GRADIENT = {"float16": 0.1, "bfloat16": 0.25}
"""Relative differences beyond which it is more than rounding."""

_SCALES = (65536.0, 2048.0, 64.0, 2.0, 1.0)
"""As gradient scaling tries them: the largest that does not overflow."""


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


def half_rows(trial: Trial, name: str) -> dict[str, HalfRow] | str:
    """Every term; or why it cannot be tried."""
    dtype = DTYPES[name]
    batch = trial.batch
    low = Batch(mapped(batch.input, lambda one: one.to(dtype)), batch.target)
    wide = Batch(mapped(low.input, lambda one: one.float()), batch.target)
    autocast = dtype if batch.logits.is_cuda else None
    expected = trial.attempt(lambda: trial.run(wide))
    seen: Pass | str = ""
    for scale in _SCALES if name == "float16" else (1.0,):
        seen = trial.attempt(
            functools.partial(run, trial.loss, low, scale=scale, autocast=autocast)
        )
        if isinstance(seen, str) or all(is_finite(term) for term in seen):
            break
    if isinstance(seen, str) or isinstance(expected, str):
        return next(each for each in (seen, expected) if isinstance(each, str))
    rows = {}
    for term in seen:
        reference = expected.find(term.name)
        if reference is not None:
            rows[term.name] = _row(term, reference, name)
    return rows


def check_precision(trial: Trial, name: str, rows: dict[str, HalfRow] | str) -> Iterator[Finding]:
    """Terms that break or drift in half precision."""
    trains_so = trial.around.amp and trial.around.amp_dtype == DTYPES[name]
    if isinstance(rows, str):
        yield Finding(
            "note",
            "precision",
            f"{name} could not be tried: {rows}",
            "check on the device that trains",
        )
        return
    bad = {term: row for term, row in rows.items() if not row.good}
    if not bad:
        return
    where = "under autocast" if trial.batch.logits.is_cuda else "outside autocast"
    told = ", ".join(
        f"{term} {row.value:.4g} (value off by {row.value_error:.1%}, gradient "
        + ("not finite)" if math.isnan(row.gradient_error) else f"by {row.gradient_error:.1%})")
        for term, row in bad.items()
    )
    yield Finding(
        "defect" if trains_so and trial.batch.logits.is_cuda else "warning",
        "precision",
        f"{name} logits {where} change the result: {told}",
        "give the loss float32 (logits.float()), or use one that sums in float32, such as those "
        "of medloss",
        tuple(bad),
        {term: _evidence(row) for term, row in bad.items()},
    )


def _evidence(row: HalfRow) -> dict[str, Any]:
    return {
        "value": row.value,
        "value_error": row.value_error,
        "gradient_error": row.gradient_error,
    }


def _row(term: Term, reference: Term, name: str) -> HalfRow:
    value_error = abs(term.value - reference.value) / max(abs(reference.value), 1e-6)
    difference = float((term.gradient - reference.gradient).double().norm())
    length = float(reference.gradient.double().norm())
    gradient_error = difference / length if length else difference
    good = (not is_finite(reference)) or (
        (is_finite(term) and value_error <= _VALUE[name]) and gradient_error <= _GRADIENT[name]
    )
    if not is_finite(term):
        gradient_error = math.nan
    return HalfRow(term.value, value_error, gradient_error, good)
