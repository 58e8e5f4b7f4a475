"""Boundary losses and surface metrics, in millimetres."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Loss, Metric, hookimpl


@hookimpl
def medloss_losses() -> Iterator[Loss]:
    """Yield the boundary losses."""
    yield Loss(
        name="boundary",
        target="medloss_boundary.boundary:BoundaryLoss",
        family="boundary",
        summary="Boundary loss: probability times signed distance to the true boundary, in mm.",
        cites=("arXiv:1812.07032",),
        alone=False,
        example={"softmax": True, "include_background": False},
    )


@hookimpl
def medloss_metrics() -> Iterator[Metric]:
    """Yield the surface metrics."""
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
        name="normalized_surface_dice",
        target="medloss_boundary.metrics:normalized_surface_dice",
        family="boundary",
        summary="Normalized surface Dice (NSD): share of both surfaces within a tolerance.",
        cites=("arXiv:1809.04430",),
        facts=("surfaces",),
        better="higher",
        example={"tolerance_mm": 1.0},
    )
