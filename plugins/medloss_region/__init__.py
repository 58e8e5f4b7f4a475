"""Region (overlap) losses and metrics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from medloss import Loss, Metric, hookimpl

_VOLUME_ONLY = "it compares volumes, wherever they lie"
_LEFT_ALONE = "it measures what was left alone, and a missed class leaves all of it alone"


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the region losses."""
    loss = partial(Loss, family="region", example={"softmax": True})
    yield loss(
        name="dice",
        target="medloss_region.dice:DiceLoss",
        also=("medloss_region.dice:MaskedDiceLoss", "medloss_region.dice:Dice"),
    )
    yield loss(
        name="generalized_dice",
        target="medloss_region.generalized_dice:GeneralizedDiceLoss",
        also=("medloss_region.generalized_dice:generalized_dice",),
    )
    yield loss(name="tversky", target="medloss_region.tversky:TverskyLoss")
    yield loss(name="focal_tversky", target="medloss_region.tversky:FocalTverskyLoss")
    yield loss(name="jaccard", target="medloss_region.dice:JaccardLoss")
    yield loss(name="log_cosh_dice", target="medloss_region.dice:LogCoshDiceLoss")
    yield loss(
        name="penalty_generalized_dice",
        target="medloss_region.generalized_dice:PenaltyGeneralizedDiceLoss",
    )
    yield loss(
        name="generalized_wasserstein_dice",
        target="medloss_region.generalized_wasserstein_dice:GeneralizedWassersteinDiceLoss",
        also=("medloss_region.generalized_wasserstein_dice:generalized_wasserstein_dice",),
    )
    yield loss(
        name="asymmetric_similarity",
        target="medloss_region.tversky:AsymmetricSimilarityLoss",
    )
    yield loss(
        name="sensitivity_specificity",
        target="medloss_region.powered_errors:SensitivitySpecificityLoss",
    )
    yield loss(name="noise_robust_dice", target="medloss_region.powered_errors:NoiseRobustDiceLoss")
    yield loss(name="dice_semimetric", target="medloss_region.dice_semimetric:DiceSemimetricLoss")
    yield loss(name="jaccard_metric", target="medloss_region.dice_semimetric:JaccardMetricLoss")
    yield loss(name="mcc", target="medloss_region.correlation:MCCLoss", alone=False)
    yield loss(name="tvmf_dice", target="medloss_region.correlation:TvMFDiceLoss", alone=False)
    yield loss(name="region_size", target="medloss_region.region_size:RegionSizeLoss", alone=False)
    yield loss(name="lovasz_softmax", target="medloss_region.lovasz:LovaszSoftmaxLoss")
    yield loss(name="lovasz_hinge", target="medloss_region.lovasz:LovaszHingeLoss")


@hookimpl
def medloss_metrics() -> Iterator[Metric]:
    """Yield the overlap metrics."""
    metric = partial(Metric, family="region", facts=("counts",), better="higher")
    yield metric(name="dice", aliases=("dsc",), target="medloss_region.metrics:dice")
    yield metric(
        name="sensitivity",
        aliases=("recall", "tpr"),
        target="medloss_region.metrics:sensitivity",
    )
    yield metric(
        name="specificity",
        aliases=("tnr",),
        target="medloss_region.metrics:specificity",
        exempt={
            "in_neither_map_is_undefined": _LEFT_ALONE,
            "missed_and_spurious_are_not_perfect": _LEFT_ALONE,
        },
    )
    yield metric(name="jaccard", aliases=("iou",), target="medloss_region.metrics:jaccard")
    yield metric(name="precision", aliases=("ppv",), target="medloss_region.metrics:precision")
    yield metric(
        name="accuracy",
        target="medloss_region.metrics:accuracy",
        exempt={
            "in_neither_map_is_undefined": "a class left out by both maps is agreed on everywhere",
        },
    )
    yield metric(name="mcc", target="medloss_region.metrics:mcc")
    yield metric(
        name="volume_difference",
        target="medloss_region.metrics:volume_difference",
        unit="mm3",
        better="lower",
        exempt={
            "worse_when_moved": _VOLUME_ONLY,
            "in_neither_map_is_undefined": "two empty volumes are equally large, which is no ratio",
        },
    )
    yield metric(
        name="relative_volume_error",
        aliases=("ravd",),
        target="medloss_region.metrics:relative_volume_error",
        better="lower",
        exempt={"worse_when_moved": _VOLUME_ONLY},
    )
    yield metric(
        name="volume_similarity",
        target="medloss_region.metrics:volume_similarity",
        exempt={
            "worse_when_moved": _VOLUME_ONLY,
        },
    )
