"""Compound losses: weighted sums of terms that share one activation and one pass."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, hookimpl


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the compound losses."""
    yield Loss(
        name="compound",
        target="medloss_compound.compound:CompoundLoss",
        family="compound",
        summary="Weighted sum of any losses, with every term visible.",
        example={"softmax": True, "terms": ["dice", "cross_entropy"], "weights": [1.0, 0.5]},
    )
    yield Loss(
        name="dice_ce",
        target="medloss_compound.dice_ce:DiceCELoss",
        family="compound",
        summary="Dice loss plus cross entropy, under one activation.",
        cites=("arXiv:1809.10486",),
        example={"softmax": True},
    )
    yield Loss(
        name="dice_focal",
        target="medloss_compound.dice_focal:DiceFocalLoss",
        family="compound",
        summary="Dice loss plus focal loss, under one activation.",
        cites=("arXiv:1808.05238",),
        example={"softmax": True},
    )
