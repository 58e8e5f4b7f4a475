"""Several cases summed up: what the rules look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from medloss.evaluation.inputs.labels import Label
from medloss.workbench.suggest.cases import CaseFacts
from medloss.workbench.suggest.shapes import Shape


@dataclass(frozen=True)
class ClassFacts:
    """One class over all cases; what is measured of a case is of those that have the class.

    Args:
        label: of the maps, or the name of a region.
        name: empty where it has none.
        cases: how many have it.
        presence: share of the cases that have it.
        share_of_image: of the voxels, median over the cases.
        share_of_foreground: of the voxels of all classes, median.
        voxels: median.
        volume_mm3: median (2D: mm²).
        parts: connected parts, median over the cases.
        most_parts: largest number of parts in a case.
        part_mm3: volume of a part, median over the parts of all cases.
        smallest_part_mm3: what 1/10 of all parts stay below.
        largest_part_mm3: of all.
        main_part: share of the volume that the largest part of a case has, median.
        thickness_mm: median over the cases of the median on the ridge.
        thickness_voxels: likewise, in voxels.
        thickest_mm: largest in any case.
        elongation: length over thickness of the parts, median over the cases.
        tube_share: of the volume that lies in tubes, median.
        surface_per_volume: of the voxels' faces, 1/mm, median.
    """

    label: Label
    name: str
    cases: int
    presence: float
    share_of_image: float
    share_of_foreground: float
    voxels: float
    volume_mm3: float
    parts: float
    most_parts: int
    part_mm3: float
    smallest_part_mm3: float
    largest_part_mm3: float
    main_part: float
    thickness_mm: float
    thickness_voxels: float
    thickest_mm: float
    elongation: float
    tube_share: float
    surface_per_volume: float

    @property
    def title(self) -> str:
        """The name with its label, or what there is of the two."""
        return f"{self.name} ({self.label})" if self.name else str(self.label)


@dataclass(frozen=True)
class Facts:
    """Everything that was measured.

    Args:
        cases: how many were measured.
        available: how many there are.
        axes: spatial axes, 2 or 3.
        shape: median size of the image along each axis, in voxels.
        spacing_mm: median size of a voxel along each axis.
        anisotropy: largest over smallest voxel size, median over the cases.
        empty: share of the cases without any class.
        patch: what a training step sees, at most the median image.
        exclusive: whether a voxel has one class; regions and stacks of channels may overlap.
        classes: that are in any case.
        absent: named classes that are in none.
    """

    cases: int
    available: int
    axes: int
    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    anisotropy: float
    empty: float
    patch: tuple[int, ...]
    exclusive: bool
    classes: tuple[ClassFacts, ...]
    absent: tuple[str, ...]

    @property
    def patch_share(self) -> float:
        """Share of the median image that a patch holds."""
        return float(np.prod(self.patch) / np.prod(self.shape))


def summarize(
    cases: Sequence[CaseFacts],
    names: Mapping[Label, str] | None = None,
    *,
    available: int | None = None,
    patch: Sequence[int] = (96, 96, 96),
    exclusive: bool = True,
) -> Facts:
    """Sum cases up.

    Args:
        cases: at least one, all with as many axes.
        names: by label; by default every label that was found, without names.
        available: how many cases there are, if not all were measured.
        patch: size of a training patch in voxels; what is too long is cut to the image.
        exclusive: whether a voxel has one class.

    Raises:
        ValueError: there is no case, some are 2D and some 3D, or no case has a class.
    """
    if not cases:
        raise ValueError("cases: expected at least one")
    axes = {len(case.shape) for case in cases}
    if len(axes) != 1:
        raise ValueError("some cases are 2D and some 3D; give one kind")
    found = sorted({label for case in cases for label in case.shapes}, key=str)
    labels = sorted(found, key=_order) if names is None else [*names]
    present = [label for label in labels if label in set(found)]
    if not present:
        raise ValueError(f"none of the {len(cases)} cases has a class")
    (count,) = axes
    shape = tuple(int(n) for n in np.median([case.shape for case in cases], axis=0))
    spacing = [case.spacing_mm for case in cases]
    return Facts(
        cases=len(cases),
        available=len(cases) if available is None else available,
        axes=count,
        shape=shape,
        spacing_mm=tuple(float(s) for s in np.median(spacing, axis=0)),
        anisotropy=float(np.median([max(row) / min(row) for row in spacing])),
        empty=float(np.mean([case.foreground == 0 for case in cases])),
        patch=tuple(min(n, p) for n, p in zip(shape, (*patch, *shape)[:count], strict=True)),
        exclusive=exclusive,
        classes=tuple(_class(label, (names or {}).get(label, ""), cases) for label in present),
        absent=tuple(str(label) for label in labels if label not in present),
    )


def _order(label: Label) -> tuple[bool, int, str]:
    """Labels by number, then regions by name."""
    return isinstance(label, str), label if isinstance(label, int) else 0, str(label)


def _class(label: Label, name: str, cases: Sequence[CaseFacts]) -> ClassFacts:
    having = [case for case in cases if label in case.shapes]

    def median(of: Callable[[CaseFacts, Shape], float]) -> float:
        return float(np.median([of(case, case.shapes[label]) for case in having]))

    parts = [part for case in having for part in case.shapes[label].part_mm3]
    return ClassFacts(
        label=label,
        name=name,
        cases=len(having),
        presence=len(having) / len(cases),
        share_of_image=median(lambda case, shape: shape.voxels / float(np.prod(case.shape))),
        share_of_foreground=median(lambda case, shape: shape.voxels / case.foreground),
        voxels=median(lambda case, shape: shape.voxels),
        volume_mm3=median(lambda case, shape: shape.volume_mm3),
        parts=median(lambda case, shape: len(shape.part_mm3)),
        most_parts=max(len(case.shapes[label].part_mm3) for case in having),
        part_mm3=float(np.median(parts)),
        smallest_part_mm3=float(np.quantile(parts, 0.1)),
        largest_part_mm3=max(parts),
        main_part=median(lambda case, shape: shape.part_mm3[0] / shape.volume_mm3),
        thickness_mm=median(lambda case, shape: shape.thickness_mm),
        thickness_voxels=median(lambda case, shape: shape.thickness_voxels),
        thickest_mm=max(case.shapes[label].thickest_mm for case in having),
        elongation=median(lambda case, shape: shape.elongation),
        tube_share=median(lambda case, shape: shape.tube_share),
        surface_per_volume=median(lambda case, shape: shape.surface_mm2 / shape.volume_mm3),
    )
