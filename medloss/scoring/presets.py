"""Named definitions: what a surface is, and how its distances become one number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Surface = Literal["cells", "faces", "voxels"]


@dataclass(frozen=True)
class Preset:
    """A definition of the surface metrics.

    Args:
        name: what a user types, and what every result says.
        surface: elements at the corners of voxels with the marching-cubes area there (``cells``),
            the faces of voxels with their area (``faces``), or the voxels of the mask that have a
            face neighbour outside of it, each counting one (``voxels``).
        interpolates: whether a percentile lies between two distances, as numpy's does, or is the
            smallest distance within which the share of the surface lies.
        pools: whether a percentile is that of both surfaces together, or the larger of the two.
        below: whether a boundary band ends before its width, or includes it.
        missed: what an infinite distance of a missed or spurious class counts, unless the user
            says so: a policy's word, or mm.
        both_empty: what a class in neither map counts, unless the user says so.
        source: what it reproduces.
    """

    name: str
    surface: Surface
    interpolates: bool = False
    pools: bool = False
    below: bool = False
    missed: Literal["diagonal"] | float = "diagonal"
    both_empty: Literal["exclude", "perfect"] = "exclude"
    source: str = ""

    @property
    def weighs(self) -> bool:
        """Whether elements count their area in mm², instead of one each."""
        return self.surface != "voxels"


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
            source="BraTS 2023's metrics.py, commit 43c9052, on whole regions",
        ),
    )
}
"""Every definition by its name."""


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
