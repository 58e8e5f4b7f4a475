"""What other batches made from this one show: without foreground, in half precision, in pairs."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping

import torch

from medloss.workbench.preflight.batch import Batch, mapped
from medloss.workbench.preflight.gradients import is_finite
from medloss.workbench.preflight.passes import Pass, TriedTerm, run
from medloss.workbench.preflight.report import BatchRow, EmptyRow, Finding, HalfRow, Over, Teaches
from medloss.workbench.preflight.trial import Trial

_NOTHING = 1e-4
"""Gradient on an empty patch by that on the batch: below, it teaches nothing."""

DTYPES: Mapping[str, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16}

_VALUE = {"float16": 0.02, "bfloat16": 0.05}
_GRADIENT = {"float16": 0.1, "bfloat16": 0.25}
"""Relative differences beyond which it is more than rounding."""

_SCALES = (65536.0, 2048.0, 64.0, 2.0, 1.0)
"""As gradient scaling tries them: the largest that does not overflow."""

_SAME = 1e-4


def empty_rows(trial: Trial) -> dict[str, EmptyRow] | str:
    """Every term, and the loss as a whole under the empty name; or why it cannot be tried."""
    seen = trial.attempt(lambda: trial.run(trial.batch.emptied()))
    if isinstance(seen, str):
        return seen
    rows = {"": _empty_row(trial, seen.total, trial.actual.total)}
    for term in seen:
        before = trial.actual.find(term.name)
        if before is not None:
            rows[term.name] = _empty_row(trial, term, before)
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


def _empty_row(trial: Trial, term: TriedTerm, before: TriedTerm) -> EmptyRow:
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
            rows[term.name] = _half_row(term, reference, name)
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
    told = ", ".join(f"{term} {row.value:.4g} ({_off(row)})" for term, row in bad.items())
    yield Finding(
        "defect" if trains_so and trial.batch.logits.is_cuda else "warning",
        "precision",
        f"{name} logits {where} change the result: {told}",
        "give the loss float32 (logits.float()), or use one that sums in float32, such as those "
        "of medloss",
        tuple(bad),
        {
            term: {name: getattr(row, name) for name in ("value", "value_error", "gradient_error")}
            for term, row in bad.items()
        },
    )


def _off(row: HalfRow) -> str:
    if not math.isfinite(row.value):
        return "value not finite"
    gradient = row.gradient_error
    told = f"by {gradient:.1%}" if math.isfinite(gradient) else "not finite"
    return f"value off by {row.value_error:.1%}, gradient {told}"


def _half_row(term: TriedTerm, reference: TriedTerm, name: str) -> HalfRow:
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


def batch_rows(trial: Trial) -> dict[str, BatchRow] | str:
    """Every term; or why it cannot be tried."""
    rows = _pair_rows(trial, trial.batch.pair())
    if isinstance(rows, str):
        return rows
    if any(row.over != "pooled" for row in rows.values()):
        # samples that differ much tell what samples that differ little hide
        contrast = _pair_rows(trial, trial.batch.contrast())
        if not isinstance(contrast, str):
            rows |= {name: row for name, row in contrast.items() if row.over != "untold"}
    return rows


def _pair_rows(trial: Trial, pair: Batch) -> dict[str, BatchRow] | str:
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
