"""Whether a loss is additive over the batch."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from medloss.workbench.preflight.batch import Batch
from medloss.workbench.preflight.findings import Finding
from medloss.workbench.preflight.trial import Trial

Over = Literal["mean", "sum", "pooled", "untold"]

_SAME = 1e-4


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


def batch_rows(trial: Trial) -> dict[str, BatchRow] | str:
    """Every term; or why it cannot be tried."""
    rows = _rows(trial, trial.batch.pair())
    if isinstance(rows, str):
        return rows
    if any(row.over != "pooled" for row in rows.values()):
        # samples that differ much tell what samples that differ little hide
        contrast = _rows(trial, trial.batch.contrast())
        if not isinstance(contrast, str):
            rows |= {name: row for name, row in contrast.items() if row.over != "untold"}
    return rows


def _rows(trial: Trial, pair: Batch) -> dict[str, BatchRow] | str:
    passes = []
    for part in (pair, pair.samples(slice(0, 1)), pair.samples(slice(1, 2))):
        seen = trial.attempt(functools.partial(trial.run, part))
        if isinstance(seen, str):
            return seen
        passes.append(seen)
    rows = {}
    for term in passes[0]:
        found = [each.find(term.name) for each in passes]
        values = [each.value for each in found if each is not None]
        if len(values) == 3:
            pooled, first, second = values
            rows[term.name] = BatchRow(pooled, first, second, _over(pooled, first, second))
    return rows


def check_batch(rows: dict[str, BatchRow] | str) -> Iterator[Finding]:
    """Values that depend on which samples share a batch, or on how many there are."""
    if isinstance(rows, str):
        yield Finding(
            "warning",
            "batch",
            f"the loss refuses one of the batches of 1 and 2 samples: {rows}",
            "mind the last batch of an epoch, or drop it (drop_last=True)",
        )
        return
    pooled = {name: row for name, row in rows.items() if row.over == "pooled"}
    if pooled:
        told = ", ".join(
            f"{name} {row.pair:.4g} for two samples, {(row.first + row.second) / 2:.4g} as the "
            f"mean of them"
            for name, row in pooled.items()
        )
        yield Finding(
            "note",
            "batch",
            f"pools the samples of a batch: {told}",
            "as batch=True means it; with several ranks each pools its own, unless batch='world'",
            tuple(pooled),
            {name: [row.pair, row.first, row.second] for name, row in pooled.items()},
        )
    summed = tuple(name for name, row in rows.items() if row.over == "sum")
    if summed:
        yield Finding(
            "note",
            "batch",
            "sums over the samples, so that the gradient grows with the batch",
            "use reduction='mean', or change the learning rate with the batch size",
            summed,
        )


def _over(pair: float, first: float, second: float) -> Over:
    scale = max(abs(pair), abs(first), abs(second), 1e-6)

    def same(value: float) -> bool:
        return abs(pair - value) <= _SAME * scale

    if same((first + second) / 2):
        # two samples of one value tell nothing
        return "untold" if abs(first - second) <= _SAME * scale else "mean"
    return "sum" if same(first + second) else "pooled"
