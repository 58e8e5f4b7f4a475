"""Distribution (per-voxel) losses."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, hookimpl


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the distribution losses."""
    yield Loss(
        name="cross_entropy",
        target="medloss_distribution.cross_entropy:CrossEntropyLoss",
        family="distribution",
        summary="Cross entropy: softmax over exclusive classes or sigmoid over independent ones.",
        example={"softmax": True},
    )
    yield Loss(
        name="focal",
        target="medloss_distribution.focal:FocalLoss",
        family="distribution",
        summary="Focal loss: cross entropy that fades out voxels already classified well.",
        cites=("arXiv:1708.02002",),
        example={"softmax": True},
    )
