"""Topology losses and lesion metrics: thin, small and many structures."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, hookimpl
from medloss_topology.offered_metrics import medloss_metrics as medloss_metrics


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the topology losses."""
    yield Loss(
        name="cl_dice",
        target="medloss_topology.cl_dice:ClDiceLoss",
        also=("medloss_topology.cl_dice:SoftclDiceLoss",),
        family="topology",
        summary="clDice: overlap of each centre line with the other mask, so that tubes stay "
        "connected.",
        cites=("arXiv:2003.07311",),
        alone=False,
        example={"softmax": True, "include_background": False, "iterations": 3},
    )
    yield Loss(
        name="dice_cl_dice",
        target="medloss_topology.cl_dice:DiceClDiceLoss",
        also=("medloss_topology.cl_dice:SoftDiceclDiceLoss",),
        family="topology",
        summary="Dice loss mixed with clDice, under one activation.",
        cites=("arXiv:2003.07311",),
        example={"softmax": True, "include_background": False, "iterations": 3},
    )
    yield Loss(
        name="skeleton_recall",
        target="medloss_topology.skeleton_recall:SkeletonRecallLoss",
        family="topology",
        summary="Skeleton recall: share of the true tubed skeleton that the prediction misses.",
        cites=("arXiv:2404.03010",),
        needs=("skeleton",),
        alone=False,
        example={"softmax": True, "include_background": False},
    )
    yield Loss(
        name="blob",
        target="medloss_topology.blob:BlobLoss",
        family="topology",
        summary="Any loss on the image plus its mean over objects, so that small ones count like "
        "large ones.",
        cites=("arXiv:2205.08209",),
        example={"softmax": True, "loss": "dice_ce"},
    )
    yield Loss(
        name="cc_dice_ce",
        target="medloss_topology.blob:CCDiceCELoss",
        family="topology",
        summary="Dice plus cross entropy, on the image and in the cell around each object.",
        cites=("arXiv:2511.17146", "arXiv:2410.18684"),
        example={"softmax": True},
        exempt={
            "flips_change_nothing": "a voxel that is equally near to two objects belongs to one of "
            "them, the first in the order of the voxels",
            "axis_order_changes_nothing": "a voxel that is equally near to two objects belongs to "
            "one of them, the first in the order of the voxels",
        },
    )
