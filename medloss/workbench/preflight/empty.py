"""What a patch without foreground teaches."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from medloss.workbench.preflight.findings import Finding
from medloss.workbench.preflight.gradients import is_finite
from medloss.workbench.preflight.passes import Term
from medloss.workbench.preflight.trial import Trial

Teaches = Literal["less foreground", "more foreground", "nothing", "not finite"]

_NOTHING = 1e-4
"""Gradient on an empty patch by that on the batch: below, it teaches nothing."""


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


def empty_rows(trial: Trial) -> dict[str, EmptyRow] | str:
    """Every term, and the loss as a whole under the empty name; or why it cannot be tried."""
    seen = trial.attempt(lambda: trial.run(trial.batch.emptied()))
    if isinstance(seen, str):
        return seen
    rows = {"": _row(trial, seen.total, trial.actual.total)}
    for term in seen:
        before = trial.actual.find(term.name)
        if before is not None:
            rows[term.name] = _row(trial, term, before)
    return rows


def check_empty(trial: Trial, rows: dict[str, EmptyRow] | str) -> Iterator[Finding]:
    """Empty patches that break the loss, teach nothing, or teach the wrong thing."""
    count = trial.batch.label.shape[0]
    foreground = trial.batch.truth[:, trial.batch.foreground] > 0.5
    empty = int((~foreground.flatten(1).any(1)).sum())
    seldom = f" ({empty} of the {count} samples here have no foreground)"
    if isinstance(rows, str):
        yield Finding(
            "defect" if empty else "warning",
            "empty_patch",
            f"the loss refuses a batch without foreground: {rows}{seldom}",
            "sample patches around foreground, or use a loss that takes them",
        )
        return
    broken = tuple(name for name, row in rows.items() if name and row.teaches == "not finite")
    if broken or rows[""].teaches == "not finite":
        yield Finding(
            "defect",
            "empty_patch",
            f"is not finite without foreground{seldom}",
            "use a loss with a smoothing constant, or sample patches around foreground",
            broken,
        )
    elif rows[""].teaches == "nothing" and trial.actual.total.norm:
        yield Finding(
            "warning",
            "empty_patch",
            f"an empty patch teaches nothing: its gradient is {rows[''].gradient:.2g} times that "
            f"of the batch, so false positives in it cost nothing{seldom}",
            "add a term that sees empty patches, such as cross entropy, or count the background "
            "(include_background=True)",
            evidence={"gradient_ratio": rows[""].gradient, "empty_samples": empty},
        )
    elif rows[""].teaches == "more foreground":
        yield Finding(
            "warning",
            "empty_patch",
            f"an empty patch pulls towards more foreground{seldom}",
            "look at the term that does so; leave empty patches out for it",
            tuple(name for name, row in rows.items() if name and row.teaches == "more foreground"),
        )
    blind = tuple(name for name, row in rows.items() if name and row.teaches == "nothing")
    if blind and rows[""].teaches not in ("nothing", "not finite"):
        yield Finding(
            "note",
            "empty_patch",
            f"learns nothing from an empty patch; other terms do{seldom}",
            "nothing, unless most patches are empty",
            blind,
        )


def _row(trial: Trial, term: Term, before: Term) -> EmptyRow:
    ratio = term.norm / before.norm if before.norm else math.nan
    foreground = term.gradient[:, trial.batch.foreground].double()
    push = float(foreground.sum())
    teaches: Teaches
    if not is_finite(term):
        teaches = "not finite"
    elif not term.norm or ratio < _NOTHING:
        teaches = "nothing"
    else:  # descent goes against the gradient
        teaches = "more foreground" if push < 0 else "less foreground"
    return EmptyRow(term.value, ratio, teaches)
