"""The metrics of the family: their records."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Metric, hookimpl

_ANY_OVERLAP = "by any overlap a lesion is found, however far away its outline is"
_A_COUNT = "no lesion where none should be is a count of 0, not a ratio"


@hookimpl
def medloss_metrics() -> Iterator[Metric]:
    """Yield the metrics of lesions and of centre lines."""
    yield Metric(
        name="lesion_f1",
        target="medloss_topology.metrics_detection:lesion_f1",
        family="topology",
        summary="Lesion-wise F1 score: found lesions against missed and false ones.",
        cites=("doi:10.1038/s41597-022-01875-5",),
        facts=("components",),
        better="higher",
        exempt={"worse_when_moved": _ANY_OVERLAP},
    )
    yield Metric(
        name="lesion_sensitivity",
        target="medloss_topology.metrics_detection:lesion_sensitivity",
        family="topology",
        summary="Lesion-wise sensitivity (recall): share of the lesions of the reference that were "
        "found.",
        cites=("arXiv:2206.01653",),
        facts=("components",),
        better="higher",
        exempt={"worse_when_moved": _ANY_OVERLAP},
    )
    yield Metric(
        name="lesion_precision",
        target="medloss_topology.metrics_detection:lesion_precision",
        family="topology",
        summary="Lesion-wise precision (positive predictive value): found lesions against false "
        "ones.",
        cites=("arXiv:2206.01653",),
        facts=("components",),
        better="higher",
        exempt={"worse_when_moved": _ANY_OVERLAP},
    )
    yield Metric(
        name="found_lesions",
        target="medloss_topology.metrics_detection:found_lesions",
        family="topology",
        summary="Found lesions: how many of the reference a lesion of the prediction matches.",
        cites=("arXiv:2206.01653",),
        facts=("components",),
        better="higher",
        exempt={"worse_when_moved": _ANY_OVERLAP, "in_neither_map_is_undefined": _A_COUNT},
    )
    yield Metric(
        name="missed_lesions",
        target="medloss_topology.metrics_detection:missed_lesions",
        family="topology",
        summary="Missed lesions: how many of the reference no lesion of the prediction matches.",
        cites=("arXiv:2206.01653",),
        facts=("components",),
        better="lower",
        exempt={
            "worse_when_moved": _ANY_OVERLAP,
            "in_neither_map_is_undefined": _A_COUNT,
            "missed_and_spurious_are_not_perfect": "a spurious class has no lesion to miss",
        },
    )
    yield Metric(
        name="false_lesions",
        target="medloss_topology.metrics_detection:false_lesions",
        family="topology",
        summary="False lesions: how many of the prediction match no lesion of the reference.",
        cites=("arXiv:2206.01653",),
        facts=("components",),
        better="lower",
        exempt={
            "worse_when_moved": _ANY_OVERLAP,
            "in_neither_map_is_undefined": _A_COUNT,
            "missed_and_spurious_are_not_perfect": "a missed class has no false lesion",
        },
    )
    yield Metric(
        name="lesion_dice",
        target="medloss_topology.metrics_overlap:lesion_dice",
        family="topology",
        summary="Lesion-wise Dice: mean Dice coefficient of the lesions, 0 for each missed and "
        "each false one.",
        cites=("arXiv:2306.00838",),
        facts=("components",),
        better="higher",
    )
    yield Metric(
        name="panoptic_quality",
        target="medloss_topology.metrics_overlap:panoptic_quality",
        family="topology",
        summary="Panoptic quality (PQ): overlap of the lesions found, over all found, missed and "
        "false ones.",
        cites=("arXiv:1801.00868",),
        facts=("components",),
        better="higher",
    )
    yield Metric(
        name="recognition_quality",
        target="medloss_topology.metrics_overlap:recognition_quality",
        family="topology",
        summary="Recognition quality (RQ): F1 score of the lesions by the matching of panoptic "
        "quality.",
        cites=("arXiv:1801.00868",),
        facts=("components",),
        better="higher",
    )
    yield Metric(
        name="segmentation_quality",
        target="medloss_topology.metrics_overlap:segmentation_quality",
        family="topology",
        summary="Segmentation quality (SQ): mean intersection over union of the lesions that were "
        "found.",
        cites=("arXiv:1801.00868",),
        facts=("components",),
        better="higher",
    )
    yield Metric(
        name="cl_dice",
        target="medloss_topology.metrics_overlap:cl_dice",
        family="topology",
        summary="Centre-line Dice (clDice): harmonic mean of the shares of both centre lines that "
        "were hit.",
        cites=("arXiv:2003.07311",),
        facts=("skeletons",),
        better="higher",
        exempt={
            "symmetries_change_nothing": "thinning takes voxels away from one side after the "
            "other, and where two are as good the order decides",
        },
    )
