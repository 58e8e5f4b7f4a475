"""Whether the labels are what a loss can learn from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from medloss.workbench.preflight.batch import Batch, plain
from medloss.workbench.preflight.report import ClassRow, Finding

MANY = 10
"""Of more classes than this a report names the first."""


def class_rows(batch: Batch) -> list[ClassRow]:
    """Every class in the batch."""
    inside = (batch.truth > 0.5).flatten(2)
    shares = inside.double().mean((0, 2)).tolist()
    samples = inside.any(2).sum(0).tolist()
    return [ClassRow(n, *row) for n, row in enumerate(zip(shares, samples, strict=True))]


def check_labels(
    loss: nn.Module,
    batch: Batch,
    rows: list[ClassRow],
    made_by: Callable[[], Sequence[str]] | None = None,
) -> Iterator[Finding]:
    """Labels that are no classes, that were interpolated, or that lack a class.

    Args:
        loss: that is given them.
        batch: with the labels.
        rows: of :func:`class_rows`.
        made_by: names what makes fractions of them, where that can be found out.
    """
    label = plain(batch.label).detach()
    yield from _check_size(batch)
    counted = _counted(label, batch, _ignored(loss))
    if counted.is_floating_point() and not bool(counted.isfinite().all()):
        yield Finding(
            "defect",
            "labels",
            f"{int((~counted.isfinite()).sum())} labels are NaN or infinite",
            "look at the files and at the transforms of the label",
        )
        return
    highest = batch.classes - 1 if batch.is_index else 1
    wrong = [*_check_range(counted, highest, batch), *_check_fractions(counted, batch, made_by)]
    yield from wrong
    if wrong:
        return
    if batch.is_index and label.is_floating_point():
        yield Finding(
            "note",
            "labels",
            f"the labels are whole numbers of type {_name(label.dtype)}",
            f"nothing is wrong; as uint8 they would take 1 byte a voxel instead of "
            f"{label.element_size()}",
        )
    yield from _check_absent(batch, rows)


def _check_size(batch: Batch) -> Iterator[Finding]:
    if batch.label.shape[2:] != batch.logits.shape[2:]:
        yield Finding(
            "defect",
            "labels",
            f"no output has the size of the label: {list(batch.logits.shape[2:])} beside "
            f"{list(batch.label.shape[2:])}",
            "pad or crop so that the network gives as many voxels as it is given",
        )
    if batch.label.shape[1] not in (1, batch.classes):
        yield Finding(
            "defect",
            "labels",
            f"the label has {batch.label.shape[1]} channels, the input {batch.classes}",
            "give the label one channel of class indices, or one for each class",
        )


def _ignored(loss: nn.Module) -> set[int]:
    found = [getattr(module, "ignore_index", None) for module in loss.modules()]
    return {index for index in found if isinstance(index, int)}


def _counted(label: Tensor, batch: Batch, ignored: set[int]) -> Tensor:
    """The labels that count, flat."""
    keep = torch.ones_like(label, dtype=torch.bool)
    if batch.label.shape[1] == 1:
        for index in ignored:
            keep &= label != index
    if isinstance(batch.target, Mapping) and isinstance(batch.target.get("mask"), Tensor):
        keep &= plain(batch.target["mask"]).to(label.device) > 0
    return label[keep]


def _check_range(counted: Tensor, highest: int, batch: Batch) -> Iterator[Finding]:
    outside = counted[(counted < 0) | (counted > highest)]
    if not outside.numel():
        return
    values = [float(one) for one in torch.unique(outside)[:MANY].tolist()]
    shown = ", ".join(f"{value:g}" for value in values)
    channels = f"the input has {batch.classes} channel{'s' * (batch.classes > 1)}"
    evidence: dict[str, Any] = {"voxels": outside.numel(), "values": values, "highest": highest}
    yield Finding(
        "defect",
        "labels",
        f"{outside.numel()} labels are outside 0 to {highest} ({channels}): {shown}",
        "map the labels to 0, 1, 2, ... (MapLabelValued), give the network more channels, or name "
        "what is to be ignored with ignore_index",
        evidence=evidence,
    )


def _check_fractions(
    counted: Tensor, batch: Batch, made_by: Callable[[], Sequence[str]] | None
) -> Iterator[Finding]:
    fractions = counted[counted != counted.round()] if counted.is_floating_point() else counted[:0]
    if not fractions.numel():
        return
    share = fractions.numel() / counted.numel()
    by = [*made_by()] if made_by else []
    yield Finding(
        "defect" if batch.is_index else "warning",
        "labels",
        f"{share:.2%} of the labels are fractions, such as {float(fractions[0]):.3g}"
        + (": " + "; ".join(by) if by else "")
        + ("" if by or batch.is_index else ": soft labels, or interpolated ones"),
        "change labels by the nearest voxel alone"
        + ("" if by else ": mode='nearest' (Spacingd, RandZoomd, RandAffined, Rand3DElasticd)")
        + ("" if batch.is_index else ", unless they are meant to be soft"),
        evidence={"share": share, "example": float(fractions[0]), "made_by": by},
    )


def _check_absent(batch: Batch, rows: list[ClassRow]) -> Iterator[Finding]:
    absent = [row.index for row in rows if not row.samples]
    count = batch.label.shape[0]
    foreground = rows[batch.foreground]
    if foreground and all(row.index in absent for row in foreground):
        yield Finding(
            "warning",
            "classes",
            f"the batch holds background only ({count} samples), so that little can be said of "
            f"the loss",
            "check with another batch (--seed); if it is not chance, look at the cropping and at "
            "the labels",
        )
    elif absent:
        yield Finding(
            "warning",
            "classes",
            f"class {shortened(map(str, absent))} is in none of the {count} samples",
            "check with another batch (--seed); if it stays absent, the network has a channel "
            "without a label, or cropping misses the class (RandCropByLabelClassesd)",
            evidence={"absent": absent},
        )
    partly = {row.index: row.samples for row in foreground if 0 < row.samples < count}
    if partly:
        shown = shortened(f"class {index} in {n} of {count}" for index, n in partly.items())
        yield Finding(
            "note",
            "classes",
            f"some samples lack a class: {shown}",
            "a mean over the classes of each sample counts absent ones too; see batch=True",
            evidence={"samples": partly},
        )


def shortened(words: Iterable[str]) -> str:
    """The first of many, and how many more there are.

    Example:
        >>> shortened(map(str, range(3))), shortened(map(str, range(105)))
        ('0, 1, 2', '0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 95 more')
    """
    found = [*words]
    more = f" and {len(found) - MANY} more" if len(found) > MANY else ""
    return ", ".join(found[:MANY]) + more


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
