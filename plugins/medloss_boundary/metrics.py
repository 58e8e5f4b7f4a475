"""Surface metrics: summaries of the distances between two surfaces, weighted by area."""

from __future__ import annotations

import math

import numpy as np

from medloss.scoring import SurfaceDistances

ROUNDING_MM = 1e-9
"""A distance of exactly the tolerance is within it, whatever the rounding of its square root."""


def hausdorff95(surfaces: SurfaceDistances) -> float:
    """95th percentile Hausdorff distance: the larger of the two directed ones.

    Formula:
        max(q95 d(G → P), q95 d(P → G)), with d(G → P) the distances from the surface of the
        reference G to that of the prediction P, and q95 their percentile by area: the distance
        within which 95 % of the surface lies.

    Range:
        0 (best) to infinity, in mm.

    Empty:
        infinite if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: distances between the surfaces of the class.

    Example:
        >>> from medloss.scoring import surface_distances
        >>> cube = np.zeros((20, 20, 20), dtype=bool)
        >>> cube[4:12, 4:12, 4:12] = True
        >>> hausdorff95(surface_distances(cube, np.roll(cube, 2, axis=0), spacing_mm=(1.5, 1, 1)))
        3.0

    Source:
        Huttenlocher et al. 1993, doi:10.1109/34.232073; the definition on surface elements is that
        of Nikolov et al., arXiv:1809.04430.
    """
    return _hausdorff(surfaces, percent=95)


def average_symmetric_surface_distance(surfaces: SurfaceDistances) -> float:
    """Average symmetric surface distance (ASSD), over both surfaces pooled.

    Formula:
        (∫ d(g, P) dg + ∫ d(p, G) dp) / (|G| + |P|), integrals over the surfaces G of the reference
        and P of the prediction, and |·| their areas. The larger surface counts more; the mean of
        the two directed means is another metric (MASD).

    Range:
        0 (best) to infinity, in mm.

    Empty:
        infinite if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: distances between the surfaces of the class.

    Example:
        >>> from medloss.scoring import surface_distances
        >>> square = np.zeros((8, 8), dtype=bool)
        >>> square[2:5, 2:5] = True
        >>> assd = average_symmetric_surface_distance(
        ...     surface_distances(square, np.roll(square, 1, axis=0), spacing_mm=1.0)
        ... )
        >>> round(assd, 6)
        0.5

    Source:
        Heimann et al. 2009, doi:10.1109/TMI.2009.2013851.
    """
    area = float(surfaces.reference_area.sum() + surfaces.prediction_area.sum())
    if not area:
        return math.nan
    reference = float((surfaces.reference_mm * surfaces.reference_area).sum())
    prediction = float((surfaces.prediction_mm * surfaces.prediction_area).sum())
    return (reference + prediction) / area


def normalized_surface_dice(surfaces: SurfaceDistances, *, tolerance_mm: float = 1.0) -> float:
    """Normalized surface Dice (NSD): share of both surfaces within a tolerance.

    Formula:
        (|{g: d(g, P) ≤ τ}| + |{p: d(p, G) ≤ τ}|) / (|G| + |P|), with the surfaces G of the
        reference and P of the prediction, and |·| areas.

    Range:
        0 to 1 (best: no element farther than the tolerance), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: distances between the surfaces of the class.
        tolerance_mm: τ, a distance that does not matter, such as the one between two experts.

    Example:
        >>> from medloss.scoring import surface_distances
        >>> cube = np.zeros((20, 20, 20), dtype=bool)
        >>> cube[4:12, 4:12, 4:12] = True
        >>> found = surface_distances(cube, np.roll(cube, 3, axis=0), spacing_mm=1.0)
        >>> normalized_surface_dice(found, tolerance_mm=3.0)
        1.0
        >>> round(normalized_surface_dice(found, tolerance_mm=1.0), 3)
        0.647

    Source:
        Nikolov et al., arXiv:1809.04430.
    """
    if not 0 <= tolerance_mm < math.inf:
        raise ValueError(f"tolerance_mm: expected a distance of at least 0, got {tolerance_mm!r}")
    area = float(surfaces.reference_area.sum() + surfaces.prediction_area.sum())
    if not area:
        return math.nan
    within = 0.0
    for mm, element_area in (
        (surfaces.reference_mm, surfaces.reference_area),
        (surfaces.prediction_mm, surfaces.prediction_area),
    ):
        end = np.searchsorted(mm, tolerance_mm + ROUNDING_MM, side="right")
        within += float(element_area[:end].sum())
    return within / area


def _hausdorff(surfaces: SurfaceDistances, percent: float) -> float:
    """Larger of the two directed percentiles; a surface without elements has none."""
    directed = surfaces.directed_percentiles(percent)
    return max((mm for mm in directed if not math.isnan(mm)), default=math.nan)
