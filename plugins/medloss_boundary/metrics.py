"""Surface metrics: summaries of the distances between two surfaces, and of outlines."""

from __future__ import annotations

import math
from numbers import Real

from medloss.scoring import Contours, Counts, SurfaceDistances
from medloss.scoring.contours import Axis


def hausdorff(
    surfaces: SurfaceDistances, *, percentile: float = 100.0, directed: bool = False
) -> float:
    """Hausdorff distance: the farthest that the surfaces are apart, or any percentile of it.

    Formula:
        max(max d(G → P), max d(P → G)), with d(G → P) the distances from the surface of the
        reference G to that of the prediction P. With a percentile below 100, the distance within
        which so much of the surface lies takes the place of each maximum; by the preset
        ``medpy`` it is that of both surfaces together. By the preset ``exact`` the maximum is that
        of all points of the surface: the value L is attained, and the true one lies between L and
        L + 0.001 of the shortest side of a voxel.

    Range:
        0 (best) to infinity, in mm.

    Empty:
        infinite if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: distances between the surfaces of the class.
        percentile: above 0, up to 100, the maximum. A single voxel far away decides the maximum.
        directed: whether d(P → G) counts alone, which does not see what the prediction leaves out.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import surface_distances
        >>> cube = np.zeros((20, 20, 20), dtype=bool)
        >>> cube[4:12, 4:12, 4:12] = True
        >>> far = cube.copy()
        >>> far[19, 8, 8] = True
        >>> found = surface_distances(cube, far, spacing_mm=1.0)
        >>> hausdorff(found), hausdorff(found, percentile=99)
        (8.0, 0.0)

    Source:
        Huttenlocher et al. 1993, doi:10.1109/34.232073.
    """
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile: expected above 0 and up to 100, got {percentile!r}")
    if not isinstance(directed, bool):
        raise TypeError(f"directed: expected True or False, got {directed!r}")
    if directed:
        reference, prediction = surfaces.directed_percentiles(percentile)
        # A missed class has no prediction to start from, and nothing that is near the reference.
        return math.inf if math.isinf(reference) else prediction
    return surfaces.percentile(percentile)


def hausdorff95(surfaces: SurfaceDistances) -> float:
    """95th percentile Hausdorff distance: the larger of the two directed ones.

    Formula:
        max(q95 d(G → P), q95 d(P → G)), with d(G → P) the distances from the surface of the
        reference G to that of the prediction P, and q95 their percentile by area: the distance
        within which 95 % of the surface lies. The preset ``medpy`` takes the percentile of both
        surfaces together, which is smaller.

    Range:
        0 (best) to infinity, in mm.

    Empty:
        infinite if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: distances between the surfaces of the class.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import surface_distances
        >>> cube = np.zeros((20, 20, 20), dtype=bool)
        >>> cube[4:12, 4:12, 4:12] = True
        >>> hausdorff95(surface_distances(cube, np.roll(cube, 2, axis=0), spacing_mm=(1.5, 1, 1)))
        3.0

    Source:
        Huttenlocher et al. 1993, doi:10.1109/34.232073; the definition on surface elements is that
        of Nikolov et al., arXiv:1809.04430.
    """
    return surfaces.percentile(95)


def average_surface_distance(surfaces: SurfaceDistances) -> float:
    """Average surface distance (ASD), one way: from the prediction to the reference.

    Formula:
        ∫ d(p, G) dp / |P|, the integral over the surface P of the prediction, with its area |P|
        and the surface G of the reference. What the prediction leaves out hardly shows: use a
        symmetric one unless the other way is of no interest.

    Range:
        0 (best) to infinity, in mm.

    Empty:
        infinite if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: distances between the surfaces of the class.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import surface_distances
        >>> row = np.zeros((3, 12), dtype=bool)
        >>> row[1, 1:11] = True
        >>> half = row.copy()
        >>> half[1, 6:] = False
        >>> found = surface_distances(row, half, spacing_mm=1.0, preset="monai")
        >>> average_surface_distance(found), average_surface_distance(
        ...     surface_distances(half, row, spacing_mm=1.0, preset="monai")
        ... )
        (0.0, 1.5)

    Source:
        Heimann et al. 2009, doi:10.1109/TMI.2009.2013851.
    """
    reference, prediction = surfaces.means
    # A missed class has no prediction to start from, and nothing that is near the reference.
    return math.inf if math.isinf(reference) else prediction


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
        >>> import numpy as np
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
    return surfaces.pooled_mean


def mean_average_surface_distance(surfaces: SurfaceDistances) -> float:
    """Mean average surface distance (MASD): the mean of the two directed means.

    Formula:
        (∫ d(g, P) dg / |G| + ∫ d(p, G) dp / |P|) / 2, integrals over the surfaces G of the
        reference and P of the prediction, and |·| their areas. Both surfaces count the same
        however large they are, unlike in the pooled ASSD.

    Range:
        0 (best) to infinity, in mm.

    Empty:
        infinite if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: distances between the surfaces of the class.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import surface_distances
        >>> row = np.zeros((3, 12), dtype=bool)
        >>> row[1, 1:11] = True
        >>> half = row.copy()
        >>> half[1, 6:] = False
        >>> mean_average_surface_distance(
        ...     surface_distances(row, half, spacing_mm=1.0, preset="monai")
        ... )
        0.75

    Source:
        Beneš and Zitová 2015, doi:10.1111/jmi.12186.
    """
    means = [mean for mean in surfaces.means if not math.isnan(mean)]
    return sum(means) / len(means) if means else math.nan


def normalized_surface_dice(surfaces: SurfaceDistances, *, tolerance_mm: float = 1.0) -> float:
    """Normalized surface Dice (NSD): share of both surfaces within a tolerance.

    Formula:
        (|{g: d(g, P) ≤ τ}| + |{p: d(p, G) ≤ τ}|) / (|G| + |P|), with the surfaces G of the
        reference and P of the prediction, and |·| areas; by the preset ``brats2026`` it is the mean
        of the shares of the two surfaces.

    Range:
        0 to 1 (best: no element farther than the tolerance), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: distances between the surfaces of the class.
        tolerance_mm: τ, a distance that does not matter, such as the one between two experts.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import surface_distances
        >>> cube = np.zeros((20, 20, 20), dtype=bool)
        >>> cube[4:12, 4:12, 4:12] = True
        >>> found = surface_distances(cube, np.roll(cube, 2, axis=0), spacing_mm=(1.5, 1, 1))
        >>> normalized_surface_dice(found, tolerance_mm=3.0)
        1.0
        >>> round(normalized_surface_dice(found, tolerance_mm=1.0), 3)
        0.691

    Source:
        Nikolov et al., arXiv:1809.04430.
    """
    return surfaces.share_within(_distance("tolerance_mm", tolerance_mm))


def boundary_iou(surfaces: SurfaceDistances, *, width_mm: float = 2.0) -> float:
    """Boundary intersection over union: overlap of the voxels near each mask's border.

    Formula:
        |G_w ∩ P_w| / |G_w ∪ P_w|, with G_w the voxels of the reference G within w of a border voxel
        of G, and P_w likewise of the prediction P. A border voxel has a face neighbour outside of
        its mask. Distances are between the centres of voxels. By the preset ``metricsreloaded``
        they are below w instead of up to w.

    Range:
        0 to 1 (best), no unit. For a large w it is the Jaccard index.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: what is known of the surfaces of the class.
        width_mm: w, how thick the band is; 0 leaves the border voxels.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import surface_distances
        >>> square = np.zeros((9, 9), dtype=bool)
        >>> square[1:7, 1:7] = True
        >>> larger = square.copy()
        >>> larger[7, 1:7] = True
        >>> found = surface_distances(square, larger, spacing_mm=1.0)
        >>> boundary_iou(found, width_mm=0), boundary_iou(found, width_mm=9)
        (0.6153846153846154, 0.8571428571428571)

    Source:
        Cheng et al. 2021, arXiv:2103.16562.
    """
    counts = _band(surfaces, width_mm)
    union = counts.tp + counts.fp + counts.fn
    return counts.tp / union if union else math.nan


def boundary_dice(surfaces: SurfaceDistances, *, width_mm: float = 2.0) -> float:
    """Boundary Dice: Dice coefficient of the voxels near each mask's border.

    Formula:
        2 |G_w ∩ P_w| / (|G_w| + |P_w|), with G_w the voxels of the reference G within w of a border
        voxel of G, and P_w likewise of the prediction P; with J the boundary intersection over
        union it is 2 J / (1 + J).

    Range:
        0 to 1 (best), no unit. For a large w it is the Dice coefficient.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map.

    Args:
        surfaces: what is known of the surfaces of the class.
        width_mm: w, how thick the band is; 0 leaves the border voxels.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import surface_distances
        >>> square = np.zeros((9, 9), dtype=bool)
        >>> square[1:7, 1:7] = True
        >>> larger = square.copy()
        >>> larger[7, 1:7] = True
        >>> found = surface_distances(square, larger, spacing_mm=1.0)
        >>> round(boundary_dice(found, width_mm=0), 4)
        0.7619

    Source:
        Cheng et al. 2021, arXiv:2103.16562, whose index is the intersection over union.
    """
    counts = _band(surfaces, width_mm)
    both = counts.reference + counts.prediction
    return 2 * counts.tp / both if both else math.nan


def added_path_length(
    contours: Contours,
    *,
    tolerance_mm: float = 3.0,
    axis: Axis = "axial",
    per_slice: bool = False,
) -> float:
    """Added path length (APL): how much of the reference's outline has to be drawn by hand.

    Formula:
        m Σ_s |{p ∈ G_s: no q ∈ P_s within r + 1/2 pixels of p}|, over the slices s along an axis,
        with the outlines G_s of the reference and P_s of the prediction: pixels with one of four
        neighbours outside of the mask; the edge of the image is no outline. m is the mean size of a
        pixel in the slice, and r = ⌈τ / m⌉; with τ = 0 pixels must coincide. Every pixel counts m,
        diagonal steps too. Outline that the prediction has too much costs nothing.

    Range:
        0 (best) to infinity, in mm.

    Empty:
        the whole outline of a missed class, 0 for a spurious one and for one in neither map; of the
        mean per slice NaN for one in neither.

    Args:
        contours: of the class, in the slices along any axis.
        tolerance_mm: τ, how far off an outline needs no correction.
        axis: the slices that are drawn in: "axial", "coronal" or "sagittal", found from the
            orientation of the image, or the number 0, 1 or 2 of the axis that they lie along. Axes
            of an unknown orientation are taken to be those of RAS, so that axial slices lie along
            the last one. A 2D image is one slice.
        per_slice: the mean over the slices that hold the class in either map, instead of the sum.

    Example:
        >>> import numpy as np
        >>> from medloss.scoring import Case
        >>> square = np.zeros((20, 20), dtype=bool)
        >>> square[4:12, 4:12] = True
        >>> case = Case(square, np.roll(square, 2, axis=0), labels=[1], spacing_mm=1.0)
        >>> found = case.contours(1)
        >>> added_path_length(found, tolerance_mm=0), added_path_length(found, tolerance_mm=2)
        (16.0, 0.0)

    Source:
        Vaassen et al. 2020, doi:10.1016/j.phro.2019.12.001; with this tolerance in platipy 0.7.2.
    """
    found = contours.added(tolerance_mm=tolerance_mm, axis=axis)
    length = float(found.pixels.sum()) * found.pixel_mm
    if not per_slice:
        return length
    slices = int(found.shown.sum())
    return length / slices if slices else math.nan


def _band(surfaces: SurfaceDistances, width_mm: float) -> Counts:
    return surfaces.band(_distance("width_mm", width_mm))


def _distance(name: str, given: float) -> float:
    number = isinstance(given, Real) and not isinstance(given, bool)
    if not number or not 0 <= given < math.inf:
        raise ValueError(f"{name}: expected a distance of at least 0, got {given!r}")
    return float(given)
