"""Distribution (per-voxel) losses, and metrics of probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from medloss import Loss, Metric, hookimpl

_OF_LOGITS = "its penalty is of the logits themselves, and infinite for infinite ones"


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the distribution losses."""
    loss = partial(Loss, family="distribution", example={"softmax": True})
    yield loss(name="cross_entropy", target="medloss_distribution.cross_entropy:CrossEntropyLoss")
    yield loss(name="focal", target="medloss_distribution.focal:FocalLoss")
    yield loss(
        name="binary_cross_entropy",
        target="medloss_distribution.weighted_cross_entropy:BinaryCrossEntropyLoss",
    )
    yield loss(
        name="weighted_cross_entropy",
        target="medloss_distribution.weighted_cross_entropy:WeightedCrossEntropyLoss",
        example={"softmax": True, "beta": 2.0, "normalise": "voxels"},
    )
    yield loss(
        name="balanced_cross_entropy",
        target="medloss_distribution.weighted_cross_entropy:BalancedCrossEntropyLoss",
    )
    yield loss(
        name="topk_cross_entropy",
        target="medloss_distribution.voxelwise_cross_entropy:TopKCrossEntropyLoss",
        example={"softmax": True, "k": 0.1},
    )
    yield loss(name="poly", target="medloss_distribution.cross_entropy:PolyLoss")
    yield loss(
        name="distance_penalized_cross_entropy",
        target="medloss_distribution.distance_weighted_cross_entropy:DistancePenalizedCrossEntropyLoss",
    )
    yield loss(
        name="border_weighted_cross_entropy",
        target="medloss_distribution.distance_weighted_cross_entropy:BorderWeightedCrossEntropyLoss",
        breaks_graph="objects are looked for on the host",
    )
    yield loss(
        name="svls_cross_entropy",
        target="medloss_distribution.svls_cross_entropy:SVLSCrossEntropyLoss",
    )
    yield loss(
        name="nacl",
        target="medloss_distribution.logit_penalty:NACLLoss",
        exempt={"forbidden_classes_cost_nothing": _OF_LOGITS},
    )
    yield loss(
        name="margin_label_smoothing",
        target="medloss_distribution.logit_penalty:MarginLabelSmoothingLoss",
        exempt={"forbidden_classes_cost_nothing": _OF_LOGITS},
    )
    yield loss(
        name="l1_ace",
        target="medloss_distribution.calibration:L1ACELoss",
        also=(
            "medloss_distribution.calibration:HardL1ACELoss",
            "medloss_distribution.calibration:SoftL1ACELoss",
        ),
        alone=False,
    )


@hookimpl
def medloss_metrics() -> Iterator[Metric]:
    """Yield the metrics of probabilities."""
    metric = partial(Metric, family="distribution", facts=("probabilities",))
    for name, alias in (
        ("expected_calibration_error", "ece"),
        ("average_calibration_error", "ace"),
        ("maximum_calibration_error", "mce"),
        ("brier_score", "brier"),
        ("negative_log_likelihood", "nll"),
    ):
        yield metric(
            name=name,
            aliases=(alias,),
            target=f"medloss_distribution.metrics:{name}",
            better="lower",
            exempt={
                "in_neither_map_is_undefined": "probabilities of a class that is not there are "
                "right or not like others",
            },
        )
    for name, alias in (("auroc", "auc"), ("average_precision", "ap")):
        target = f"medloss_distribution.metrics_ranking:{name}"
        yield metric(name=name, aliases=(alias,), target=target, better="higher")
    yield metric(
        name="lesion_froc",
        aliases=("froc",),
        target="medloss_distribution.metrics_ranking:lesion_froc",
        facts=("candidates",),
        better="higher",
        exempt={"worse_when_moved": "a lesion is found as soon as one voxel of it is"},
    )
