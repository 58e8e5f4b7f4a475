"""Region (overlap) losses and metrics."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, Metric, hookimpl


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the region losses."""
    yield Loss(
        name="dice",
        target="medloss_region.dice:DiceLoss",
        family="region",
        summary="Soft Dice loss, linear or squared, or its Jaccard form.",
        cites=("arXiv:1606.04797", "arXiv:1608.04117"),
        example={"softmax": True},
    )
    yield Loss(
        name="generalized_dice",
        target="medloss_region.generalized_dice:GeneralizedDiceLoss",
        family="region",
        summary="Dice loss over all classes together, each weighted by its inverse volume.",
        cites=("arXiv:1707.03237",),
        example={"softmax": True},
    )
    yield Loss(
        name="tversky",
        target="medloss_region.tversky:TverskyLoss",
        family="region",
        summary="Tversky loss: Dice with separate weights for false positives and negatives.",
        cites=("arXiv:1706.05721",),
        example={"softmax": True},
    )
    yield Loss(
        name="focal_tversky",
        target="medloss_region.focal_tversky:FocalTverskyLoss",
        family="region",
        summary="Tversky loss raised to a power, so that badly segmented classes weigh more.",
        cites=("arXiv:1810.07842",),
        example={"softmax": True},
    )


@hookimpl
def medloss_metrics() -> Iterator[Metric]:
    """Yield the overlap metrics."""
    yield Metric(
        name="dice",
        target="medloss_region.metrics:dice",
        family="region",
        summary="Dice coefficient: twice the overlap over the sum of both volumes.",
        cites=("doi:10.2307/1932409",),
        facts=("counts",),
        better="higher",
    )
    yield Metric(
        name="sensitivity",
        target="medloss_region.metrics:sensitivity",
        family="region",
        summary="Sensitivity (recall): share of the reference that was found.",
        cites=("arXiv:2206.01653",),
        facts=("counts",),
        better="higher",
    )
    yield Metric(
        name="specificity",
        target="medloss_region.metrics:specificity",
        family="region",
        summary="Specificity: share of the background that was left alone.",
        cites=("arXiv:2206.01653",),
        facts=("counts",),
        better="higher",
    )
