"""The lesions of a case as rows of a table: where each lies, what it is matched with, how well."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import PATIENT
from medloss.evaluation.records import LesionRow, LesionSide, LesionSpace, LesionStatus
from medloss.objects.spacing import at_least
from medloss.scoring import Components, match
from medloss.scoring.lesion_maps import Together
from medloss.scoring.lesions import Connectivity, Lesions


@dataclass(frozen=True)
class LesionTable:
    """How the lesions of the table are told apart and matched.

    Args:
        matching: who matches whom, as of the metric ``lesion_f1``.
        connectivity: across what the voxels of a lesion are joined, likewise.
        sizes_mm3: edges between the sizes that the summary tells apart, ascending.

    Raises:
        ValueError: edges that do not ascend.
    """

    matching: str = "overlap"
    connectivity: Connectivity = "corners"
    sizes_mm3: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        edges = (0.0, *self.sizes_mm3)
        if not (np.diff(edges) > 0).all() or not np.isfinite(edges).all():
            raise ValueError(
                f"sizes_mm3: expected volumes above 0, each larger than the last, got "
                f"{', '.join(f'{edge:g}' for edge in self.sizes_mm3)}"
            )


def lesion_rows(
    components: Components, label: Label, table: LesionTable, image: Image
) -> Iterator[LesionRow]:
    """The lesions of a label, those of the reference first.

    Args:
        components: of the label, with the size of a voxel.
        label: what it is called.
        table: what was asked for.
        image: of the reference.
    """
    lesions = components.lesions(connectivity=table.connectivity)
    maps, pairs = lesions.maps, match(lesions, table.matching)
    if maps is None or lesions.voxel_mm3 is None:
        raise ValueError("components: expected those of a case with the size of its voxels")
    partners, words = _partners(lesions, pairs), _statuses(lesions, pairs)
    places = [
        (side, n, found) for side, of_side in enumerate(partners) for n, found in of_side.items()
    ]
    sets: list[Together] = [
        ((n,), found) if not side else (found, (n,)) for side, n, found in places
    ]
    measured = dict(zip([place[:2] for place in places], lesions.surfaces(sets), strict=True))
    overlaps = _overlaps(lesions, pairs)
    sides: tuple[LesionSide, LesionSide] = ("reference", "prediction")
    for side, word in enumerate(sides):
        voxels = (lesions.reference_voxels, lesions.prediction_voxels)[side]
        centres, space = _places(maps.centres(side), image)
        own, other = maps.sides[side].ids, maps.sides[1 - side].ids
        for n, (size, centre) in enumerate(zip(voxels.tolist(), centres.tolist(), strict=True)):
            row = LesionRow(
                *(label, word, int(own[n]), words[side][n]),
                *(size, size * lesions.voxel_mm3, tuple(centre), space),
            )
            if (side, n) not in measured:
                yield row
                continue
            surfaces, dice = measured[side, n], float(overlaps[side][n])
            yield LesionRow(
                *(row.label, row.side, row.number, row.status),
                *(row.voxels, row.volume_mm3, row.centroid_mm, row.space),
                tuple(int(other[m]) for m in partners[side][n]),
                *(dice, dice / (2 - dice)),
                *(surfaces.percentile(95), surfaces.pooled_mean),
            )


def _partners(
    lesions: Lesions, pairs: NDArray[np.int64]
) -> tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]]:
    """The partners of each lesion that has any, of both sides."""
    found: tuple[dict[int, tuple[int, ...]], dict[int, tuple[int, ...]]] = {}, {}
    for pair in pairs.tolist():
        for side, of_side in enumerate(found):
            of_side[pair[side]] = (*of_side.get(pair[side], ()), pair[1 - side])
    return found


def _statuses(
    lesions: Lesions, pairs: NDArray[np.int64]
) -> tuple[list[LesionStatus], list[LesionStatus]]:
    """What became of each lesion; those that hang together by partners have one status."""
    many = len(lesions.reference_voxels)
    total = many + len(lesions.prediction_voxels)
    group = np.arange(total)
    ends = pairs + np.array([0, many])
    while True:  # the smallest number spreads along the pairs
        least = group[ends].min(axis=1)
        new = group.copy()
        for side in (0, 1):
            np.minimum.at(new, ends[:, side], least)
        if (new == group).all():
            break
        group = new
    members = [np.bincount(part, minlength=total) for part in (group[:many], group[many:])]

    def word(place: int) -> LesionStatus:
        reference, prediction = (int(each[group[place]]) for each in members)
        if not reference or not prediction:
            return "missed" if place < many else "false"
        if reference == 1:
            return "found" if prediction == 1 else "split"
        return "merged" if prediction == 1 else "merged_split"

    words = [word(place) for place in range(total)]
    return words[:many], words[many:]


def _overlaps(lesions: Lesions, pairs: NDArray[np.int64]) -> list[NDArray[np.float64]]:
    """Dice coefficient of each lesion and all its partners, of both sides."""
    sizes = lesions.reference_voxels, lesions.prediction_voxels
    shared = lesions.shared(pairs)
    found = []
    for side in (0, 1):
        own, other = pairs[:, side], pairs[:, 1 - side]
        together, partners = (
            np.bincount(own, each, len(sizes[side])) for each in (shared, sizes[1 - side][other])
        )
        found.append(2 * together / (sizes[side] + partners))
    return found


def _places(centres: NDArray[np.float64], image: Image) -> tuple[NDArray[np.float64], LesionSpace]:
    """Centres in mm: in the space of the patient where the image says where it lies."""
    if image.space != PATIENT:
        return centres * image.spacing_mm, "grid"
    axes = centres.shape[1]
    return centres @ image.affine[:3, :axes].T + image.affine[:3, 3], "RAS"


@dataclass(frozen=True)
class LesionsOfSize:
    """How many lesions of a label and of some size there are, in all cases together.

    Args:
        label: that they are of.
        low_mm3: smallest volume.
        high_mm3: volumes are below; infinite for the largest.
        reference: lesions of the reference.
        found: of these, that have a partner.
        prediction: lesions of the prediction.
        right: of these, that have a partner.
    """

    label: Label
    low_mm3: float
    high_mm3: float
    reference: int = 0
    found: int = 0
    prediction: int = 0
    right: int = 0

    @property
    def recall(self) -> float:
        """Share of the lesions of the reference that were found; NaN where there are none."""
        return self.found / self.reference if self.reference else float("nan")

    @property
    def precision(self) -> float:
        """Share of the lesions of the prediction that have a partner; NaN where there are none."""
        return self.right / self.prediction if self.prediction else float("nan")


def by_size(
    rows: Sequence[LesionRow], labels: Sequence[Label], sizes_mm3: Sequence[float]
) -> list[LesionsOfSize]:
    """Recall and precision of lesions of each size, which is the lesion's own.

    Args:
        rows: of any cases.
        labels: in the order of the result.
        sizes_mm3: edges between the sizes; a lesion on an edge is of the larger size.

    Example:
        >>> centre, space = (0.0, 0.0, 0.0), "RAS"
        >>> rows = [
        ...     LesionRow(1, "reference", 1, "found", 8, 20.0, centre, space, (1,)),
        ...     LesionRow(1, "reference", 2, "missed", 2, 5.0, centre, space),
        ...     LesionRow(1, "prediction", 1, "found", 6, 15.0, centre, space, (1,)),
        ... ]
        >>> [(each.recall, each.precision) for each in by_size(rows, [1], [20])]
        [(0.0, 1.0), (1.0, nan)]
    """
    counts: dict[tuple[Label, int], dict[str, int]] = {}
    for row in rows:
        place = sum(bool(at_least(row.volume_mm3, edge)) for edge in sizes_mm3)
        own = counts.setdefault((row.label, place), {})
        hit = "found" if row.side == "reference" else "right"
        for name, one in ((row.side, 1), (hit, int(bool(row.partners)))):
            own[name] = own.get(name, 0) + one
    ends = [0.0, *sizes_mm3, float("inf")]
    return [
        LesionsOfSize(label, ends[place], ends[place + 1], **counts.get((label, place), {}))
        for label in labels
        for place in range(len(ends) - 1)
    ]
