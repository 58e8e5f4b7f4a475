"""Small batches whose faults are known."""

from __future__ import annotations

import torch
from torch import Tensor

from medloss.workbench.preflight import Finding, Report


def logits(classes: int = 3, *, batch: int = 2, edge: int = 12, seed: int = 0) -> Tensor:
    """Random outputs of a network without an activation."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, classes, edge, edge, edge, generator=generator)


def labels(*, batch: int = 2, edge: int = 12) -> Tensor:
    """A ball of label 2 in a ball of label 1, elsewhere in each sample."""
    axis = torch.arange(edge) - (edge - 1) / 2
    radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
    one = ((radius < 4.5).long() + (radius < 2.5))[None]
    return torch.stack([one.roll(n, -1) for n in range(batch)])


def overlapping() -> Tensor:
    """Whole, core and one more class, as in tumour segmentation: channels that overlap."""
    label = labels()
    return torch.cat([label > 0, label > 1, label == 1], 1).float()


def found(report: Report, check: str, severity: str | None = None) -> list[Finding]:
    """The findings of one check."""
    return [
        finding
        for finding in report.findings
        if finding.check == check and severity in (None, finding.severity)
    ]
