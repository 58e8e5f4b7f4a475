"""Metrics of each object of the reference in its cell, and their mean: small ones count like large.

What is predicted anywhere counts for the object that is nearest to it, which shares the image with
no other: a whole-image metric is then that of one object.
"""

from __future__ import annotations

from medloss.scoring import Cells
from medloss.scoring.cells import Unit
from medloss.scoring.lesions import Connectivity
from medloss_boundary import metrics as boundary
from medloss_region import metrics as region


def per_component_dice(
    cells: Cells, *, connectivity: Connectivity = "corners", cells_in: Unit = "mm"
) -> float:
    """Dice coefficient per component (CC-Dice): of each object in its cell, averaged.

    Formula:
        mean_k 2 |G_k ∩ P_k| / (|G_k| + |P_k|), over the objects G_k of the reference. P_k is what
        is predicted in the cell of G_k, the voxels that are nearer to it, by distances in mm
        between centres of voxels, than to any other object; the first one has those that are as
        near to two. A false positive counts for the nearest object, however far away it is.

    Range:
        0 (no object found) to 1 (all identical), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map. A missed object has 0.

    Args:
        cells: of the class.
        connectivity: across what the voxels of an object are joined: "faces" (6 neighbours, in 2D
            4), "edges" too (18, 8) or "corners" too (26, 8).
        cells_in: distances that decide on the cells, in "mm" or in "voxels" as CC-Metrics and MONAI
            have them.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 0, 0, 1]], [[1, 1, 0, 0, 0, 0]]]) > 0
        >>> per_component_dice(Cells(reference, prediction, spacing_mm=(1.0, 1.0)))
        0.5

    Source:
        Jaus et al. 2024, arXiv:2410.18684 (CC-Metrics).
    """
    counts = cells.counts(connectivity=connectivity, cells_in=cells_in)
    return cells.mean(map(region.dice, counts))


def per_component_jaccard(
    cells: Cells, *, connectivity: Connectivity = "corners", cells_in: Unit = "mm"
) -> float:
    """Jaccard index (IoU) per component: of each object in its cell, averaged.

    Formula:
        mean_k |G_k ∩ P_k| / |G_k ∪ P_k|, with objects G_k of the reference and what is predicted in
        their cells, P_k, as of ``per_component_dice``.

    Range:
        0 (no object found) to 1 (all identical), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map. A missed object has 0.

    Args:
        cells: of the class.
        connectivity: across what the voxels of an object are joined, as of ``per_component_dice``.
        cells_in: distances that decide on the cells, in "mm" or in "voxels".

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 0, 0, 1]], [[0, 1, 0, 0, 0, 1]]]) > 0
        >>> per_component_jaccard(Cells(reference, prediction, spacing_mm=(1.0, 1.0)))
        0.75

    Source:
        Jaus et al. 2024, arXiv:2410.18684 (CC-Metrics).
    """
    counts = cells.counts(connectivity=connectivity, cells_in=cells_in)
    return cells.mean(map(region.jaccard, counts))


def per_component_hausdorff95(
    cells: Cells, *, connectivity: Connectivity = "corners", cells_in: Unit = "mm"
) -> float:
    """95th percentile Hausdorff distance per component: of each object in its cell, averaged.

    Formula:
        mean_k HD95(G_k, P_k), with objects G_k of the reference and what is predicted in their
        cells, P_k, as of ``per_component_dice``. Where the border of a cell cuts a prediction, the
        cut is surface. HD95 is that of ``hausdorff95``, by the same preset.

    Range:
        0 (best) to infinity, in mm.

    Empty:
        infinite if the class is missed or spurious, NaN if it is in neither map. A missed object
        counts as much as a missed class: as the policy says, the diagonal of the image by default.

    Args:
        cells: of the class.
        connectivity: across what the voxels of an object are joined, as of ``per_component_dice``.
        cells_in: distances that decide on the cells, in "mm" or in "voxels"; HD95 is in mm.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 0, 0, 1]], [[1, 0, 0, 0, 0, 1]]]) > 0
        >>> found = Cells(reference, prediction, spacing_mm=(1.0, 1.0), preset="monai")
        >>> round(per_component_hausdorff95(found), 6)
        0.475

    Source:
        Jaus et al. 2024, arXiv:2410.18684 (CC-Metrics).
    """
    surfaces = cells.surfaces(connectivity=connectivity, cells_in=cells_in)
    return cells.mean(map(boundary.hausdorff95, surfaces))


def per_component_average_symmetric_surface_distance(
    cells: Cells, *, connectivity: Connectivity = "corners", cells_in: Unit = "mm"
) -> float:
    """Average symmetric surface distance per component: of each object in its cell, averaged.

    Formula:
        mean_k ASSD(G_k, P_k), with objects G_k of the reference and what is predicted in their
        cells, P_k, as of ``per_component_dice``. Where the border of a cell cuts a prediction, the
        cut is surface. ASSD is ``average_symmetric_surface_distance``, by the same preset.

    Range:
        0 (best) to infinity, in mm.

    Empty:
        infinite if the class is missed or spurious, NaN if it is in neither map. A missed object
        counts as much as a missed class: as the policy says, the diagonal of the image by default.

    Args:
        cells: of the class.
        connectivity: across what the voxels of an object are joined, as of ``per_component_dice``.
        cells_in: distances that decide on the cells, in "mm" or in "voxels"; ASSD is in mm.

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 0, 0, 1]], [[1, 0, 0, 0, 0, 1]]]) > 0
        >>> found = Cells(reference, prediction, spacing_mm=(1.0, 1.0), preset="monai")
        >>> round(per_component_average_symmetric_surface_distance(found), 6)
        0.166667

    Source:
        Jaus et al. 2024, arXiv:2410.18684 (CC-Metrics).
    """
    surfaces = cells.surfaces(connectivity=connectivity, cells_in=cells_in)
    return cells.mean(map(boundary.average_symmetric_surface_distance, surfaces))


def per_component_normalized_surface_dice(
    cells: Cells,
    *,
    tolerance_mm: float = 1.0,
    connectivity: Connectivity = "corners",
    cells_in: Unit = "mm",
) -> float:
    """Normalized surface Dice (NSD) per component: of each object in its cell, averaged.

    Formula:
        mean_k NSD(G_k, P_k), with objects G_k of the reference and what is predicted in their
        cells, P_k, as of ``per_component_dice``. Where the border of a cell cuts a prediction, the
        cut is surface. NSD is ``normalized_surface_dice``, by the same preset.

    Range:
        0 to 1 (best: no element farther than the tolerance), no unit.

    Empty:
        0 if the class is missed or spurious, NaN if it is in neither map. A missed object has 0.

    Args:
        cells: of the class.
        tolerance_mm: a distance that does not matter.
        connectivity: across what the voxels of an object are joined, as of ``per_component_dice``.
        cells_in: distances that decide on the cells, in "mm" or in "voxels".

    Example:
        >>> import numpy as np
        >>> reference, prediction = np.array([[[1, 1, 0, 0, 0, 1]], [[1, 0, 0, 0, 0, 0]]]) > 0
        >>> found = Cells(reference, prediction, spacing_mm=(1.0, 1.0), preset="monai")
        >>> per_component_normalized_surface_dice(found)
        0.5

    Source:
        Jaus et al. 2024, arXiv:2410.18684 (CC-Metrics).
    """
    surfaces = cells.surfaces(connectivity=connectivity, cells_in=cells_in)
    metric = boundary.normalized_surface_dice
    return cells.mean(metric(each, tolerance_mm=tolerance_mm) for each in surfaces)
