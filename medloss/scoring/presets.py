"""Named definitions: what a surface is, how distances become one number, and what a miss counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

Surface = Literal["cells", "faces", "voxels", "outlines"]
MissedWord = Literal["diagonal", "inf", "exclude"]
Missed = MissedWord | float
BothEmpty = Literal["exclude", "perfect"]


@dataclass(frozen=True)
class Preset:
    """A definition of the surface metrics.

    Args:
        name: what a user types, and what every result says.
        surface: elements at the corners of voxels with the marching-cubes area there (``cells``),
            the faces of voxels with their area (``faces``), or the voxels of the mask that have a
            face neighbour outside of it, each counting one (``voxels``), or likewise with any
            neighbour outside, across edges and corners too (``outlines``).
        interpolates: whether a percentile lies between two distances, as numpy's does, or is the
            smallest distance within which the share of the surface lies.
        pools: whether a percentile is that of both surfaces together, or the larger of the two.
        halves: whether the share of two surfaces is the mean of their shares, instead of that of
            both together.
        misreads: whether voxel sizes are taken as the official program takes them: in the reverse
            order for distances between lesions, and as 1 for those between whole classes.
        below: whether a boundary band ends before its width, or includes it.
        missed: what an infinite distance of a missed or spurious class counts, unless the user
            says so: a policy's word, or mm.
        both_empty: what a class in neither map counts, unless the user says so.
        source: what it reproduces.
        parts: of the shortest side of a voxel, and the most of any side, whose middles stand for a
            face (``faces``); the others are cut in parts that are about as long.
        supremum: whether the Hausdorff distance is that of all points of the surface (``faces``),
            or the largest of its elements.
        approximates: the preset with the same definition, to another precision.
    """

    name: str
    surface: Surface
    interpolates: bool = False
    pools: bool = False
    halves: bool = False
    misreads: bool = False
    below: bool = False
    missed: Literal["diagonal"] | float = "diagonal"
    both_empty: Literal["exclude", "perfect"] = "exclude"
    source: str = ""
    parts: tuple[int, int] = (4, 8)
    supremum: bool = True
    approximates: str = ""

    @property
    def weighs(self) -> bool:
        """Whether elements count their area in mm², instead of one each."""
        return self.surface not in ("voxels", "outlines")

    @property
    def precision(self) -> str:
        """How near its numbers are to those of the surfaces themselves; empty where they are."""
        if self.surface != "faces":
            return ""
        largest = (
            "A Hausdorff distance L is attained, and the true one lies between L and L + 0.001 of "
            "the shortest side of a voxel. Percentiles"
            if self.supremum
            else "Hausdorff distances, percentiles"
        )
        return (
            f"{largest}, means and surface Dice are those of the middles of equal parts of faces, "
            f"{self.parts[0]} to the shortest side of a voxel and at most {self.parts[1]} to any. "
            f"With h half the diagonal of a part, distances are within h of the true ones, and a "
            f"surface Dice lies between the true ones at tolerances h less and h more."
        )

    @property
    def note(self) -> str:
        """What is wrong with its numbers, for every case; empty where nothing is."""
        if not self.misreads:
            return ""
        return (
            f"{self.name}: distances between lesions are by voxel sizes in the reverse order, and "
            f"those between whole classes are in voxels, as the official program has them; only "
            f"where voxels measure 1 mm along every axis are they in mm"
        )


PRESETS = {
    preset.name: preset
    for preset in (
        Preset("deepmind", "cells", source="surface-distance 0.1"),
        Preset("exact", "faces", source="the boundary of the mask itself, a polyhedron"),
        Preset("monai", "voxels", interpolates=True, source="MONAI 1.6"),
        Preset("medpy", "voxels", interpolates=True, pools=True, source="MedPy 0.5"),
        Preset(
            "metricsreloaded",
            "voxels",
            interpolates=True,
            below=True,
            source="MetricsReloaded, commit cb38dfc",
        ),
        Preset(
            "brats2023",
            "cells",
            missed=374.0,
            both_empty="perfect",
            source="BraTS 2023's metrics.py, commit 43c9052",
        ),
        Preset(
            "brats2026",
            "voxels",
            interpolates=True,
            pools=True,
            halves=True,
            missed=373.0,
            source="brats-evaluation 0.0.10 of 2026 (panoptica 2.1), with the voxel sizes of files",
        ),
        Preset(
            "brats2026_official",
            "voxels",
            interpolates=True,
            pools=True,
            halves=True,
            misreads=True,
            missed=373.0,
            source="brats-evaluation 0.0.10 of 2026, with the voxel sizes as it takes them",
        ),
        Preset(
            "topcow",
            "outlines",
            interpolates=True,
            missed=90.0,
            source="TopCoW 2024's TopCoW_Eval_Metrics",
        ),
        Preset(
            "exact_fine",
            "faces",
            source="the boundary of the mask itself, at four times as many points",
            parts=(8, 8),
            approximates="exact",
        ),
        Preset(
            "midpoints",
            "faces",
            source="the preset exact of medloss 0.1.0: middles of faces",
            parts=(1, 4),
            supremum=False,
            approximates="exact",
        ),
    )
}
"""Every definition by its name."""

DEFAULT_PRESET = "deepmind"


def find_preset(name: str) -> Preset:
    """A definition by its name.

    Raises:
        ValueError: there is none of that name.

    Example:
        >>> find_preset("monai").surface
        'voxels'
    """
    if not isinstance(name, str) or name not in PRESETS:
        raise ValueError(f"preset: expected one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]


class Status(StrEnum):
    """Where a class of a case occurs."""

    OK = "ok"
    """In the reference and in the prediction."""

    BOTH_EMPTY = "both_empty"
    """In neither."""

    MISSED = "missed"
    """In the reference only."""

    SPURIOUS = "spurious"
    """In the prediction only."""

    NOT_ANNOTATED = "not_annotated"
    """Unknown: the class was not annotated in this case."""


@dataclass(frozen=True)
class EmptyPolicy:
    """What a class counts that is missing from the reference, the prediction or both.

    Args:
        missed: an infinite distance of a missed or spurious class counts as the diagonal of the
            image in mm (``"diagonal"``), as so many mm (a number), as infinity (``"inf"``), or not
            at all (``"exclude"``).
        both_empty: a class in neither map does not count (``"exclude"``), or counts as a perfect
            result (``"perfect"``).

    Raises:
        ValueError: any other word, or a number that is no distance.

    Example:
        >>> EmptyPolicy(missed="inf").describe()
        'missed or spurious: infinite distance; in neither: excluded'
    """

    missed: Missed = "diagonal"
    both_empty: BothEmpty = "exclude"

    def __post_init__(self) -> None:
        for name, words, rest in (
            ("missed", MissedWord, " or a number of mm"),
            ("both_empty", BothEmpty, ""),
        ):
            value = getattr(self, name)
            if rest and isinstance(value, int | float) and 0 <= value < math.inf:
                continue
            if not isinstance(value, str) or value not in get_args(words):
                expected = " or ".join(repr(word) for word in get_args(words))
                raise ValueError(f"{name}: expected {expected}{rest}, got {value!r}")

    @classmethod
    def of(
        cls, preset: str, missed: Missed | None = None, both_empty: BothEmpty | None = None
    ) -> EmptyPolicy:
        """The policy that a preset has of its own, unless told otherwise.

        Example:
            >>> EmptyPolicy.of("brats2023")
            EmptyPolicy(missed=374.0, both_empty='perfect')
        """
        own = find_preset(preset)
        return cls(
            own.missed if missed is None else missed,
            own.both_empty if both_empty is None else both_empty,
        )

    def describe(self) -> str:
        """One line to print beside the results."""
        words = {
            "diagonal": "distance counts as the image diagonal",
            "inf": "infinite distance",
            "exclude": "infinite distance excluded",
        }
        both_empty = {"exclude": "excluded", "perfect": "counts as perfect"}
        missed = (
            words[self.missed]
            if isinstance(self.missed, str)
            else f"distance counts as {self.missed:g} mm"
        )
        return f"missed or spurious: {missed}; in neither: {both_empty[self.both_empty]}"


@dataclass(frozen=True)
class Score:
    """Value of a metric for one class of one case, and the status of the class there."""

    value: float
    status: Status
