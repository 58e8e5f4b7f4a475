"""Boundary losses and surface metrics, in millimetres."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from medloss import Loss, Metric, hookimpl


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the boundary losses."""
    loss = partial(Loss, family="boundary", example={"softmax": True, "include_background": False})
    yield loss(name="boundary", target="medloss_boundary.distance_losses:BoundaryLoss", alone=False)
    yield loss(
        name="hausdorff_dt", target="medloss_boundary.hausdorff_dt:HausdorffDTLoss", alone=False
    )
    yield loss(
        name="log_hausdorff_dt",
        target="medloss_boundary.hausdorff_dt:LogHausdorffDTLoss",
        alone=False,
    )
    yield loss(
        name="hausdorff_erosion",
        target="medloss_boundary.hausdorff_erosion:HausdorffErosionLoss",
        alone=False,
    )
    yield loss(
        name="shape_aware",
        target="medloss_boundary.shape_aware:ShapeAwareLoss",
        example={"softmax": True},
    )
    yield loss(
        name="generalized_surface",
        target="medloss_boundary.distance_losses:GeneralizedSurfaceLoss",
        alone=False,
    )
    yield loss(
        name="region_wise",
        target="medloss_boundary.distance_losses:RegionWiseLoss",
        example={"softmax": True},
    )
    yield loss(name="boundary_dou", target="medloss_boundary.boundary_dou:BoundaryDoULoss")
    yield loss(
        name="surface_dice",
        target="medloss_boundary.surface_dice:SurfaceDiceLoss",
        alone=False,
        breaks_graph="how many voxels lie on the rims depends on the data",
        example={"softmax": True, "include_background": False, "tolerance_mm": 2.0},
        exempt={
            "mask_equals_cropping": "a masked neighbour is neither inside nor outside, and beyond "
            "the edge of an image is outside",
        },
    )


@hookimpl
def medloss_metrics() -> Iterator[Metric]:
    """Yield the surface metrics."""
    metric = partial(Metric, family="boundary", facts=("surfaces",), better="lower")
    for name, alias in (
        ("hausdorff", "hd"),
        ("hausdorff95", "hd95"),
        ("average_surface_distance", "asd"),
        ("average_symmetric_surface_distance", "assd"),
        ("mean_average_surface_distance", "masd"),
    ):
        target = f"medloss_boundary.metrics:{name}"
        yield metric(name=name, aliases=(alias,), target=target, unit="mm")
    yield metric(
        name="normalized_surface_dice",
        aliases=("nsd", "surface_dice"),
        target="medloss_boundary.metrics:normalized_surface_dice",
        better="higher",
        example={"tolerance_mm": 1.0},
    )
    yield metric(
        name="boundary_iou",
        target="medloss_boundary.metrics:boundary_iou",
        better="higher",
        example={"width_mm": 2.0},
    )
    yield metric(
        name="boundary_dice",
        target="medloss_boundary.metrics:boundary_dice",
        better="higher",
        example={"width_mm": 2.0},
    )
    yield Metric(
        name="added_path_length",
        aliases=("apl",),
        target="medloss_boundary.metrics:added_path_length",
        family="boundary",
        facts=("contours",),
        unit="mm",
        better="lower",
        example={"tolerance_mm": 3.0, "axis": 2},
        exempt={
            "symmetries_change_nothing": "outlines are drawn in the slices along one axis",
            "in_neither_map_is_undefined": "nothing has to be drawn",
            "missed_and_spurious_are_not_perfect": "a missed class is drawn whole, and outline too "
            "much costs nothing",
        },
    )
