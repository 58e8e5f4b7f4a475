"""Topology losses and lesion metrics: thin, small and many structures."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from medloss import Loss, Metric, hookimpl

_ANY_OVERLAP = "by any overlap a lesion is found, however far away its outline is"
_A_COUNT = "no lesion where none should be is a count of 0, not a ratio"
_NO_PLACE = "an object that is moved, but still touches where it was, is as many objects"
_OBJECTS = "objects are looked for on the host, and each has its value"
_FIRST = (
    "a voxel that is equally near to two objects belongs to one of them, the first in the order "
    "of the voxels"
)


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the topology losses."""
    loss = partial(Loss, family="topology")
    yield loss(
        name="cl_dice",
        target="medloss_topology.cl_dice:ClDiceLoss",
        also=("medloss_topology.cl_dice:SoftclDiceLoss",),
        alone=False,
        example={"softmax": True, "include_background": False, "iterations": 3},
    )
    yield loss(
        name="dice_cl_dice",
        target="medloss_topology.cl_dice:DiceClDiceLoss",
        also=("medloss_topology.cl_dice:SoftDiceclDiceLoss",),
        example={"softmax": True, "include_background": False, "iterations": 3},
    )
    yield loss(
        name="cb_dice",
        target="medloss_topology.cb_dice:CbDiceLoss",
        alone=False,
        example={"softmax": True, "include_background": False},
    )
    yield loss(
        name="skeleton_recall",
        target="medloss_topology.skeleton_recall:SkeletonRecallLoss",
        needs=("skeleton",),
        alone=False,
        example={"softmax": True, "include_background": False},
    )
    yield loss(
        name="blob",
        target="medloss_topology.blob:BlobLoss",
        breaks_graph=_OBJECTS,
        example={"softmax": True, "loss": "dice_ce"},
    )
    yield loss(
        name="cc_dice_ce",
        target="medloss_topology.blob:CCDiceCELoss",
        breaks_graph=_OBJECTS,
        example={"softmax": True},
        exempt={
            "flips_change_nothing": _FIRST,
            "axis_order_changes_nothing": _FIRST,
        },
    )


@hookimpl
def medloss_metrics() -> Iterator[Metric]:
    """Yield the metrics of lesions and of centre lines."""
    metric = partial(Metric, family="topology", facts=("components",), better="higher")
    for name in ("lesion_f1", "lesion_sensitivity", "lesion_precision"):
        yield metric(
            name=name,
            target=f"medloss_topology.metrics_detection:{name}",
            exempt={"worse_when_moved": _ANY_OVERLAP},
        )
    yield metric(
        name="found_lesions",
        target="medloss_topology.metrics_detection:found_lesions",
        exempt={"worse_when_moved": _ANY_OVERLAP, "in_neither_map_is_undefined": _A_COUNT},
    )
    yield metric(
        name="missed_lesions",
        target="medloss_topology.metrics_detection:missed_lesions",
        better="lower",
        exempt={
            "worse_when_moved": _ANY_OVERLAP,
            "in_neither_map_is_undefined": _A_COUNT,
            "missed_and_spurious_are_not_perfect": "a spurious class has no lesion to miss",
        },
    )
    yield metric(
        name="false_lesions",
        target="medloss_topology.metrics_detection:false_lesions",
        better="lower",
        exempt={
            "worse_when_moved": _ANY_OVERLAP,
            "in_neither_map_is_undefined": _A_COUNT,
            "missed_and_spurious_are_not_perfect": "a missed class has no false lesion",
        },
    )
    of_lesions = "medloss_topology.metrics_lesions"
    yield metric(name="lesion_dice", target=f"{of_lesions}:lesion_dice")
    yield metric(
        name="lesion_normalized_surface_dice",
        target=f"{of_lesions}:lesion_normalized_surface_dice",
        example={"tolerance_mm": 1.0},
    )
    yield metric(
        name="lesion_hausdorff95",
        target=f"{of_lesions}:lesion_hausdorff95",
        unit="mm",
        better="lower",
    )
    for name, missing in (
        ("false_positive_volume", "a missed class has no false lesion"),
        ("false_negative_volume", "a spurious class has no lesion to miss"),
    ):
        yield metric(
            name=name,
            target=f"{of_lesions}:{name}",
            unit="mm3",
            better="lower",
            exempt={
                "worse_when_moved": _ANY_OVERLAP,
                "in_neither_map_is_undefined": _A_COUNT,
                "missed_and_spurious_are_not_perfect": missing,
            },
        )
    for name, alias in (
        ("panoptic_quality", "pq"),
        ("recognition_quality", "rq"),
        ("segmentation_quality", "sq"),
        ("part_panoptic_quality", "part_pq"),
    ):
        target = f"medloss_topology.metrics_overlap:{name}"
        yield metric(name=name, aliases=(alias,), target=target)
    cells = partial(Metric, family="topology", facts=("cells",))
    target = "medloss_topology.metrics_cells:per_component_"
    for of in ("dice", "jaccard"):
        yield cells(name=f"per_component_{of}", target=target + of, better="higher")
    for of in ("hausdorff95", "average_symmetric_surface_distance"):
        yield cells(name=f"per_component_{of}", target=target + of, unit="mm", better="lower")
    yield cells(
        name="per_component_normalized_surface_dice",
        target=f"{target}normalized_surface_dice",
        better="higher",
        example={"tolerance_mm": 2.0},
    )
    for name in ("betti_error", "euler_error", "component_match_error"):
        yield metric(
            name=name,
            target=f"medloss_topology.metrics_topology:{name}",
            facts=("topology",),
            better="lower",
            exempt={
                "worse_when_moved": _NO_PLACE,
                "in_neither_map_is_undefined": _A_COUNT,
            },
        )
    yield metric(
        name="cl_dice",
        aliases=("cldice",),
        target="medloss_topology.metrics_overlap:cl_dice",
        facts=("skeletons",),
        exempt={
            "symmetries_change_nothing": "thinning takes voxels away from one side after the "
            "other, and where two are as good the order decides",
        },
    )
