"""The preflight itself: every check on one loss and one batch."""

from __future__ import annotations

import copy
import math
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from medloss.base import SegmentationLoss
from medloss.workbench.bench.devices import Device, find_device
from medloss.workbench.bench.measure import Entrant, memory, rounds
from medloss.workbench.preflight.activation import applied_by, check_activation
from medloss.workbench.preflight.batch import Batch, mapped, tensors
from medloss.workbench.preflight.gradients import check_gradients, direction, shares
from medloss.workbench.preflight.labels import check_labels, class_rows
from medloss.workbench.preflight.passes import Pass
from medloss.workbench.preflight.report import (
    SEVERITIES,
    ClassRow,
    Cost,
    Finding,
    Report,
    TermRow,
)
from medloss.workbench.preflight.trial import Surroundings, Trial
from medloss.workbench.preflight.variations import (
    DTYPES,
    batch_rows,
    check_batch,
    check_empty,
    check_precision,
    empty_rows,
    half_rows,
)

_DESCRIPTION = 400

_ROUNDS = 3
_DEAR = 0.5
"""Share of a training step from which on the loss is worth a word."""


def preflight(
    loss: nn.Module,
    input: Any,
    target: Any,
    *,
    around: Surroundings | None = None,
    source: Mapping[str, str] | None = None,
) -> Report:
    r"""Try a loss on a real batch, and tell what would spoil a training.

    Nothing is trained and the loss is left as it is. The loss is called some ten times.

    Args:
        loss: any module that is called with input and target and returns one tensor.
        input: (B, C, \*spatial), what the network gives; several of them under deep supervision.
        target: (B, 1, \*spatial) class indices or (B, C, \*spatial); or a mapping with ``label``,
            where the loss takes that.
        around: the network's output with its history, its step, mixed precision; where known.
        source: what to write into the report.

    Raises:
        TypeError: ``loss`` is no module, or there is no tensor in input or label.
        ValueError: label and input do not belong together.

    Example:
        >>> import torch, monai
        >>> generator = torch.Generator().manual_seed(0)
        >>> logits = torch.randn(2, 3, 8, 8, generator=generator)
        >>> overlapping = torch.rand(2, 3, 8, 8, generator=generator).round()
        >>> loss = monai.losses.DiceCELoss(sigmoid=True)
        >>> for finding in preflight(loss, logits, overlapping).findings:
        ...     print(finding.severity, finding.check, *finding.terms)
        defect activation cross_entropy
        warning empty_patch
    """
    if not isinstance(loss, nn.Module):
        raise TypeError(f"loss: expected a torch module, got {type(loss).__name__}")
    batch = Batch(input, target)
    rows = class_rows(batch)
    around = around or Surroundings()
    findings = list(check_labels(loss, batch, rows, around.fractions))
    trial = Trial(_independent(loss), batch, around)
    report = _described(loss, trial, rows, source)
    spoiled = any(finding.severity == "defect" for finding in findings)
    # on CUDA a label that is no class ends the process's use of the device
    if not (spoiled and batch.logits.is_cuda):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            seen = trial.attempt(lambda: trial.actual)
        findings += _warned(caught)
        if isinstance(seen, str):
            findings.append(
                Finding(
                    "defect",
                    "refusal",
                    f"the loss cannot be called with this batch: {seen}",
                    "cast the label: CastToTyped(keys='label', dtype=torch.float32)"
                    if batch.label.dtype == torch.bool
                    else "read the message; the findings on the labels may tell the cause",
                )
            )
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                report = _inspected(report, trial, seen, findings)
    findings.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    return replace(report, findings=findings)


def _inspected(report: Report, trial: Trial, seen: Pass, findings: list[Finding]) -> Report:
    """The report with what every check found out; their findings are added."""
    applied = applied_by(trial)
    findings += check_activation(trial, applied)
    findings += check_gradients(trial)
    empty, halves = empty_rows(trial), {name: half_rows(trial, name) for name in DTYPES}
    pairs, cost = batch_rows(trial), _cost(trial)
    findings += check_empty(trial, empty)
    for name, half in halves.items():
        findings += check_precision(trial, name, half)
    findings += check_batch(pairs)
    findings += _check_cost(cost)
    share = shares(seen)
    terms = [
        TermRow(
            name=term.name,
            applied=applied[term.name],
            value=term.value,
            weight=term.weight,
            gradient_norm=term.weighted_norm,
            gradient_share=share[term.name],
            direction=direction(trial, term),
            backward_s=term.backward_s,
            empty=None if isinstance(empty, str) else empty.get(term.name),
            halves={
                name: half[term.name]
                for name, half in halves.items()
                if not isinstance(half, str) and term.name in half
            },
            batch=None if isinstance(pairs, str) else pairs.get(term.name),
        )
        for term in seen
    ]
    total = seen.total
    return replace(report, value=total.value, gradient_norm=total.norm, terms=terms, cost=cost)


def _described(
    loss: nn.Module, trial: Trial, rows: Sequence[ClassRow], source: Mapping[str, str] | None
) -> Report:
    """What is known before the loss is called."""
    logits, output = trial.batch.logits, trial.output
    text = " ".join(repr(loss).split())
    return Report(
        loss=text if len(text) <= _DESCRIPTION else text[:_DESCRIPTION] + "...",
        value=math.nan,
        gradient_norm=math.nan,
        input={
            "shape": list(logits.shape),
            "dtype": str(logits.dtype).removeprefix("torch."),
            "device": str(logits.device),
            "lowest": output.low,
            "highest": output.high,
            "kind": "logits" if output.kind == "logits" else f"{output.kind} probabilities",
            "label_shape": list(trial.batch.label.shape),
            "label_dtype": str(trial.batch.label.dtype).removeprefix("torch."),
        },
        classes=rows,
        terms=(),
        cost=None,
        findings=(),
        source=dict(source or {}),
    )


def _cost(trial: Trial) -> Cost | None:
    """Time and memory of a step, None on a device that cannot be measured."""
    device: Device
    try:
        device = find_device(trial.batch.logits.device.type)
    except ValueError:
        return None

    def step() -> None:
        leaves = mapped(trial.batch.input, lambda one: one.detach().requires_grad_())
        value = trial.loss(leaves, trial.batch.target)
        (value.mean() if value.ndim else value).backward()

    entrants = [Entrant("loss", step)]
    if trial.around.network_step is not None:
        entrants.append(Entrant("network", trial.around.network_step))
    timed = {
        name: statistics.median(m.wall_s) for name, m in rounds(entrants, _ROUNDS, device).items()
    }
    extra = None if device.no_memory else memory(entrants[:1], device)["loss"]
    size = sum(one.numel() * one.element_size() for one in tensors(trial.batch.input))
    return Cost(timed["loss"], extra, size, timed.get("network"))


def _check_cost(cost: Cost | None) -> Iterator[Finding]:
    """A loss that takes most of a training step."""
    if cost is None or cost.network_seconds is None:
        return
    share = cost.seconds / (cost.seconds + cost.network_seconds)
    if share > _DEAR:
        yield Finding(
            "note",
            "cost",
            f"the loss takes {share:.0%} of a training step: {1e3 * cost.seconds:.0f} ms beside "
            f"{1e3 * cost.network_seconds:.0f} ms of the network",
            "make distance maps and skeletons once, with the data (DistanceMapd, SkeletonMapd), or "
            "use a cheaper loss",
            evidence={"share": share},
        )


def _independent(loss: nn.Module) -> nn.Module:
    """A copy, where calls leave traces: schedules count the passes of training."""
    if not any(isinstance(module, SegmentationLoss) for module in loss.modules()):
        return loss
    return copy.deepcopy(loss).eval()


def _warned(caught: Sequence[warnings.WarningMessage]) -> list[Finding]:
    told = {
        " ".join(str(one.message).split())
        for one in caught
        if issubclass(one.category, UserWarning)
    }
    return [
        Finding("warning", "warned", f"the loss warns: {text}", "mind it: an option is ignored")
        for text in sorted(told)
    ]
