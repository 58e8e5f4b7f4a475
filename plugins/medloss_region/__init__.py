"""Region (overlap) losses and metrics."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, Metric, hookimpl

_VOLUME_ONLY = "it compares volumes, wherever they lie"
_LEFT_ALONE = "it measures what was left alone, and a missed class leaves all of it alone"


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the region losses."""
    yield Loss(
        name="dice",
        target="medloss_region.dice:DiceLoss",
        also=("medloss_region.monai_names:MaskedDiceLoss",),
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
    yield Loss(
        name="jaccard",
        target="medloss_region.jaccard:JaccardLoss",
        family="region",
        summary="Soft Jaccard (IoU) loss, linear or squared.",
        cites=("doi:10.1007/978-3-319-50835-1_22", "arXiv:2302.05666"),
        example={"softmax": True},
    )
    yield Loss(
        name="log_cosh_dice",
        target="medloss_region.log_cosh_dice:LogCoshDiceLoss",
        family="region",
        summary="Logarithm of the hyperbolic cosine of the Dice loss: Dice with a flat minimum.",
        cites=("arXiv:2006.14822",),
        example={"softmax": True},
    )
    yield Loss(
        name="penalty_generalized_dice",
        target="medloss_region.penalty_generalized_dice:PenaltyGeneralizedDiceLoss",
        family="region",
        summary="Generalized Dice loss, bent so that its slope grows with the loss.",
        cites=("doi:10.1016/j.media.2021.102035",),
        example={"softmax": True},
    )
    yield Loss(
        name="generalized_wasserstein_dice",
        target="medloss_region.generalized_wasserstein_dice:GeneralizedWassersteinDiceLoss",
        family="region",
        summary="Dice loss in which confusing two classes costs the distance between them.",
        cites=("arXiv:1707.00478",),
        example={"softmax": True},
    )
    yield Loss(
        name="asymmetric_similarity",
        target="medloss_region.asymmetric_similarity:AsymmetricSimilarityLoss",
        family="region",
        summary="One minus the F_β score: Dice where a missed voxel costs β² false ones.",
        cites=("arXiv:1803.11078",),
        example={"softmax": True},
    )
    yield Loss(
        name="sensitivity_specificity",
        target="medloss_region.sensitivity_specificity:SensitivitySpecificityLoss",
        family="region",
        summary="Mean squared error on object and background, each divided by its own volume.",
        cites=("doi:10.1007/978-3-319-24574-4_1",),
        example={"softmax": True},
    )
    yield Loss(
        name="noise_robust_dice",
        target="medloss_region.noise_robust_dice:NoiseRobustDiceLoss",
        family="region",
        summary="Squared Dice loss with a lower power of the error, against wrong labels.",
        cites=("doi:10.1109/TMI.2020.3000314",),
        example={"softmax": True},
    )
    yield Loss(
        name="dice_semimetric",
        target="medloss_region.dice_semimetric:DiceSemimetricLoss",
        family="region",
        summary="Dice loss that is least at p = g for soft labels too.",
        cites=("arXiv:2303.16296",),
        example={"softmax": True},
    )
    yield Loss(
        name="jaccard_metric",
        target="medloss_region.jaccard_metric:JaccardMetricLoss",
        family="region",
        summary="Jaccard loss that is least at p = g for soft labels too.",
        cites=("arXiv:2302.05666",),
        example={"softmax": True},
    )
    yield Loss(
        name="mcc",
        target="medloss_region.mcc:MCCLoss",
        family="region",
        summary="One minus Matthews' correlation coefficient, which counts true negatives too.",
        cites=("doi:10.1109/ISBI48211.2021.9433782",),
        example={"softmax": True},
        alone=False,
    )
    yield Loss(
        name="tvmf_dice",
        target="medloss_region.tvmf_dice:TvMFDiceLoss",
        family="region",
        summary="Dice loss on the sharpened angle between prediction and label.",
        cites=("arXiv:2207.07842",),
        example={"softmax": True},
        alone=False,
    )
    yield Loss(
        name="lovasz_softmax",
        target="medloss_region.lovasz_softmax:LovaszSoftmaxLoss",
        family="region",
        summary="Lovász softmax: the Jaccard loss of hard labels, extended to probabilities.",
        cites=("arXiv:1705.08790",),
        example={"softmax": True},
    )
    yield Loss(
        name="lovasz_hinge",
        target="medloss_region.lovasz_hinge:LovaszHingeLoss",
        family="region",
        summary="Lovász hinge: convex stand-in for the Jaccard loss on the margins of the logits.",
        cites=("arXiv:1512.07797", "arXiv:1705.08790"),
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
        exempt={
            "in_neither_map_is_undefined": _LEFT_ALONE,
            "missed_and_spurious_are_not_perfect": _LEFT_ALONE,
        },
    )
    yield Metric(
        name="jaccard",
        target="medloss_region.metrics:jaccard",
        family="region",
        summary="Jaccard index (intersection over union): the overlap over what either map has.",
        cites=("doi:10.1111/j.1469-8137.1912.tb05611.x",),
        facts=("counts",),
        better="higher",
    )
    yield Metric(
        name="precision",
        target="medloss_region.metrics:precision",
        family="region",
        summary="Precision (positive predictive value): share of the prediction that is right.",
        cites=("arXiv:2206.01653",),
        facts=("counts",),
        better="higher",
    )
    yield Metric(
        name="accuracy",
        target="medloss_region.metrics:accuracy",
        family="region",
        summary="Accuracy: share of all voxels on which the two maps agree about the class.",
        cites=("arXiv:2206.01653",),
        facts=("counts",),
        better="higher",
        exempt={
            "in_neither_map_is_undefined": "a class left out by both maps is agreed on everywhere",
        },
    )
    yield Metric(
        name="mcc",
        target="medloss_region.metrics:mcc",
        family="region",
        summary="Matthews' correlation coefficient: the correlation of the two masks.",
        cites=("doi:10.1016/0005-2795(75)90109-9",),
        facts=("counts",),
        better="higher",
    )
    yield Metric(
        name="volume_difference",
        target="medloss_region.metrics_volume:volume_difference",
        family="region",
        summary="Absolute volume difference: how much larger or smaller the prediction is, in mm³.",
        cites=("doi:10.1109/TMI.2009.2013851",),
        facts=("counts",),
        unit="mm3",
        better="lower",
        exempt={
            "worse_when_moved": _VOLUME_ONLY,
            "in_neither_map_is_undefined": "two empty volumes are equally large, which is no ratio",
        },
    )
    yield Metric(
        name="volume_similarity",
        target="medloss_region.metrics_volume:volume_similarity",
        family="region",
        summary="Volume similarity: one minus the difference of the volumes over their sum.",
        cites=("doi:10.1186/s12880-015-0068-x",),
        facts=("counts",),
        better="higher",
        exempt={
            "worse_when_moved": _VOLUME_ONLY,
        },
    )
