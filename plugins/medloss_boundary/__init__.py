"""Boundary losses and surface metrics, in millimetres."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, Metric, hookimpl


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the boundary losses."""
    yield Loss(
        name="boundary",
        target="medloss_boundary.distance_losses:BoundaryLoss",
        family="boundary",
        summary="Boundary loss: probability times signed distance to the true boundary, in mm.",
        cites=("arXiv:1812.07032",),
        alone=False,
        example={"softmax": True, "include_background": False},
    )
    yield Loss(
        name="hausdorff_dt",
        target="medloss_boundary.hausdorff_dt:HausdorffDTLoss",
        family="boundary",
        summary="Hausdorff distance loss: squared error times distances to both boundaries, in "
        "mm^alpha.",
        cites=("arXiv:1904.10030",),
        alone=False,
        example={"softmax": True, "include_background": False},
    )
    yield Loss(
        name="log_hausdorff_dt",
        target="medloss_boundary.hausdorff_dt:LogHausdorffDTLoss",
        family="boundary",
        summary="Logarithm of one plus the Hausdorff distance loss, to tame its scale.",
        cites=("arXiv:1904.10030",),
        alone=False,
        example={"softmax": True, "include_background": False},
    )
    yield Loss(
        name="hausdorff_erosion",
        target="medloss_boundary.hausdorff_erosion:HausdorffErosionLoss",
        family="boundary",
        summary="Hausdorff distance loss by erosion: thick errors cost more the more erosions they "
        "survive.",
        cites=("arXiv:1904.10030",),
        alone=False,
        example={"softmax": True, "include_background": False},
    )
    yield Loss(
        name="shape_aware",
        target="medloss_boundary.shape_aware:ShapeAwareLoss",
        family="boundary",
        summary="Shape-aware loss: cross entropy, more of it the farther the predicted contour is "
        "off, in mm.",
        cites=("arXiv:2006.14822",),
        example={"softmax": True},
    )
    yield Loss(
        name="generalized_surface",
        target="medloss_boundary.distance_losses:GeneralizedSurfaceLoss",
        family="boundary",
        summary="Generalised surface loss: share of the squared distances that lies in wrong "
        "voxels.",
        cites=("arXiv:2302.03868",),
        alone=False,
        example={"softmax": True, "include_background": False},
    )
    yield Loss(
        name="region_wise",
        target="medloss_boundary.distance_losses:RegionWiseLoss",
        family="boundary",
        summary="Rectified region-wise loss: probability times a map of minus depth inside, 1 "
        "outside.",
        cites=("arXiv:2108.01405",),
        example={"softmax": True},
    )
    yield Loss(
        name="boundary_dou",
        target="medloss_boundary.boundary_dou:BoundaryDoULoss",
        family="boundary",
        summary="Boundary difference over union: overlap whose inside counts less the larger the "
        "object.",
        cites=("arXiv:2308.00220",),
        example={"softmax": True, "include_background": False},
    )
    yield Loss(
        name="surface_dice",
        target="medloss_boundary.surface_dice:SurfaceDiceLoss",
        family="boundary",
        summary="Surface Dice: share of both boundaries that is not within a tolerance in mm of "
        "the other.",
        cites=("arXiv:1809.04430", "arXiv:2407.21343"),
        alone=False,
        example={"softmax": True, "include_background": False, "tolerance_mm": 2.0},
        exempt={
            "mask_equals_cropping": "a masked neighbour is neither inside nor outside, and beyond "
            "the edge of an image is outside",
        },
    )


@hookimpl
def medloss_metrics() -> Iterator[Metric]:
    """Yield the surface metrics."""
    yield Metric(
        name="hausdorff",
        target="medloss_boundary.metrics:hausdorff",
        family="boundary",
        summary="Hausdorff distance: the farthest that the surfaces are apart, or any percentile "
        "of it.",
        cites=("doi:10.1109/34.232073",),
        facts=("surfaces",),
        unit="mm",
        better="lower",
    )
    yield Metric(
        name="hausdorff95",
        target="medloss_boundary.metrics:hausdorff95",
        family="boundary",
        summary="95th percentile Hausdorff distance: the larger of the two directed ones.",
        cites=("doi:10.1109/34.232073",),
        facts=("surfaces",),
        unit="mm",
        better="lower",
    )
    yield Metric(
        name="average_surface_distance",
        target="medloss_boundary.metrics:average_surface_distance",
        family="boundary",
        summary="Average surface distance (ASD), one way: from the prediction to the reference.",
        cites=("doi:10.1109/TMI.2009.2013851",),
        facts=("surfaces",),
        unit="mm",
        better="lower",
    )
    yield Metric(
        name="average_symmetric_surface_distance",
        target="medloss_boundary.metrics:average_symmetric_surface_distance",
        family="boundary",
        summary="Average symmetric surface distance (ASSD), over both surfaces pooled.",
        cites=("doi:10.1109/TMI.2009.2013851",),
        facts=("surfaces",),
        unit="mm",
        better="lower",
    )
    yield Metric(
        name="mean_average_surface_distance",
        target="medloss_boundary.metrics:mean_average_surface_distance",
        family="boundary",
        summary="Mean average surface distance (MASD): the mean of the two directed means.",
        cites=("doi:10.1111/jmi.12186",),
        facts=("surfaces",),
        unit="mm",
        better="lower",
    )
    yield Metric(
        name="normalized_surface_dice",
        target="medloss_boundary.metrics:normalized_surface_dice",
        family="boundary",
        summary="Normalized surface Dice (NSD): share of both surfaces within a tolerance.",
        cites=("arXiv:1809.04430",),
        facts=("surfaces",),
        better="higher",
        example={"tolerance_mm": 1.0},
    )
    yield Metric(
        name="boundary_iou",
        target="medloss_boundary.metrics:boundary_iou",
        family="boundary",
        summary="Boundary intersection over union: overlap of the voxels near each mask's border.",
        cites=("arXiv:2103.16562",),
        facts=("surfaces",),
        better="higher",
        example={"width_mm": 2.0},
    )
    yield Metric(
        name="boundary_dice",
        target="medloss_boundary.metrics:boundary_dice",
        family="boundary",
        summary="Boundary Dice: Dice coefficient of the voxels near each mask's border.",
        cites=("arXiv:2103.16562",),
        facts=("surfaces",),
        better="higher",
        example={"width_mm": 2.0},
    )
