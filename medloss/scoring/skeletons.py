"""How much of the centre lines of each mask lies in the other mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from medloss.scoring.masks import ClassMasks, Mask


@dataclass(frozen=True)
class Skeletons:
    """Voxels of the centre lines of a class in one case.

    Args:
        reference: of the centre lines of the reference.
        reference_found: of these, in the mask of the prediction.
        prediction: of the centre lines of the prediction.
        prediction_right: of these, in the mask of the reference.
    """

    reference: int
    reference_found: int
    prediction: int
    prediction_right: int


def skeleton_overlap(masks: ClassMasks) -> Skeletons:
    """Thin both masks of a class and count.

    Centre lines are those of the whole masks; voxels of them that are ignored do not count.

    Raises:
        ImportError: scikit-image is not installed.
    """
    return Skeletons(
        *_count(masks.reference, masks.prediction, masks.ignored),
        *_count(masks.prediction, masks.reference, masks.ignored),
    )


def _count(thinned: Mask, other: Mask, ignored: Mask | None) -> tuple[int, int]:
    if not thinned.any():
        return 0, 0
    from medloss.objects.skeletons import centre_lines  # loads scipy's images

    line = centre_lines(thinned)
    if ignored is not None:
        line &= ~ignored
    return int(np.count_nonzero(line)), int(np.count_nonzero(line & other))
