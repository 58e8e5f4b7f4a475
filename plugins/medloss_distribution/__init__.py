"""Distribution (per-voxel) losses, and a metric of calibration."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, Metric, hookimpl

_OF_LOGITS = "its penalty is of the logits themselves, and infinite for infinite ones"


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
    yield Loss(
        name="binary_cross_entropy",
        target="medloss_distribution.binary_cross_entropy:BinaryCrossEntropyLoss",
        family="distribution",
        summary="Binary cross entropy: each class against the rest, whatever the other classes do.",
        cites=("arXiv:2006.14822",),
        example={"softmax": True},
    )
    yield Loss(
        name="weighted_cross_entropy",
        target="medloss_distribution.weighted_cross_entropy:WeightedCrossEntropyLoss",
        family="distribution",
        summary="Cross entropy with fixed weights for positives and for classes.",
        cites=("arXiv:2006.14822", "arXiv:1505.04597"),
        example={"softmax": True, "beta": 2.0, "normalise": "voxels"},
    )
    yield Loss(
        name="balanced_cross_entropy",
        target="medloss_distribution.balanced_cross_entropy:BalancedCrossEntropyLoss",
        family="distribution",
        summary="Cross entropy with each class weighted by the share of voxels outside it.",
        cites=("arXiv:1504.06375", "arXiv:2006.14822"),
        example={"softmax": True},
    )
    yield Loss(
        name="topk_cross_entropy",
        target="medloss_distribution.topk_cross_entropy:TopKCrossEntropyLoss",
        family="distribution",
        summary="Cross entropy over the hardest fraction of the voxels.",
        cites=("arXiv:1605.06885",),
        example={"softmax": True, "k": 0.1},
    )
    yield Loss(
        name="poly",
        target="medloss_distribution.poly:PolyLoss",
        family="distribution",
        summary="Poly-1: cross entropy with its first polynomial term, 1 - p, reweighted.",
        cites=("arXiv:2204.12511",),
        example={"softmax": True},
    )
    yield Loss(
        name="distance_penalized_cross_entropy",
        target="medloss_distribution.distance_penalized_cross_entropy:DistancePenalizedCrossEntropyLoss",
        family="distribution",
        summary="Cross entropy that counts up to twice as much near the true border.",
        cites=("arXiv:1908.03679", "doi:10.1016/j.media.2021.102035"),
        example={"softmax": True},
    )
    yield Loss(
        name="border_weighted_cross_entropy",
        target="medloss_distribution.border_weighted_cross_entropy:BorderWeightedCrossEntropyLoss",
        family="distribution",
        summary="Cross entropy that weighs narrow gaps between objects, as U-Net does.",
        cites=("arXiv:1505.04597",),
        example={"softmax": True},
    )
    yield Loss(
        name="svls_cross_entropy",
        target="medloss_distribution.svls_cross_entropy:SVLSCrossEntropyLoss",
        family="distribution",
        summary="Cross entropy with labels smoothed over neighbours, so only along borders.",
        cites=("arXiv:2104.05788",),
        example={"softmax": True},
    )
    yield Loss(
        name="nacl",
        target="medloss_distribution.nacl:NACLLoss",
        family="distribution",
        summary="Cross entropy that keeps logits near the class shares among the neighbours.",
        cites=("arXiv:2303.06268", "arXiv:2401.14487"),
        example={"softmax": True},
        exempt={"forbidden_classes_cost_nothing": _OF_LOGITS},
    )
    yield Loss(
        name="margin_label_smoothing",
        target="medloss_distribution.margin_label_smoothing:MarginLabelSmoothingLoss",
        family="distribution",
        summary="Cross entropy that lets the largest logit lead by a margin and no more.",
        cites=("arXiv:2111.15430", "arXiv:2401.14487"),
        example={"softmax": True},
        exempt={"forbidden_classes_cost_nothing": _OF_LOGITS},
    )


@hookimpl
def medloss_metrics() -> Iterator[Metric]:
    """Yield the metric of calibration."""
    yield Metric(
        name="expected_calibration_error",
        target="medloss_distribution.metrics:expected_calibration_error",
        family="distribution",
        summary="Expected calibration error (ECE) of a class: how far its probability is from its "
        "frequency.",
        cites=("doi:10.1609/aaai.v29i1.9602", "arXiv:1910.12656", "arXiv:1904.01685"),
        facts=("probabilities",),
        better="lower",
        exempt={
            "in_neither_map_is_undefined": "probabilities of a class that is not there are "
            "calibrated or not like others",
        },
    )
