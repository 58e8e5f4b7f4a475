"""Distances between the surfaces of one class, and the statistics that metrics are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medloss.objects.spacing import reach
from medloss.scoring.facts import Counts
from medloss.scoring.presets import PRESETS, Preset

Floats = NDArray[np.float64]

SHARE_ROUNDING = 1e-10
"""Rounding allowed in a share of the area, so that it does not decide which distance is taken."""


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between the surfaces of one class, both ways; each pair of arrays sorted by mm.

    An entry stands for all elements with the same way to the other surface.

    Args:
        reference_mm: from elements of the reference's surface to the prediction's surface;
            infinite if the prediction has none.
        reference_area: how much of the reference's surface has this distance: area in mm² (in 2D
            length in mm), or number of voxels where the preset counts voxels.
        prediction_mm: from elements of the prediction's surface to the reference's surface.
        prediction_area: how much of the prediction's surface has this distance.
        preset: definition by which they were made.
        band: counts of the voxels within a distance in mm of their own mask's border.
        farthest: largest distance from the reference's surface, and from the prediction's, where
            the elements are points of a surface whose maximum lies between them.
    """

    reference_mm: Floats
    reference_area: Floats
    prediction_mm: Floats
    prediction_area: Floats
    preset: str
    band: Callable[[float], Counts] = field(repr=False)
    farthest: Callable[[], tuple[float, float]] | None = field(default=None, repr=False)

    @cached_property
    def areas(self) -> tuple[float, float]:
        """Size of the whole surface: reference's, prediction's."""
        return float(self.reference_area.sum()), float(self.prediction_area.sum())

    @cached_property
    def means(self) -> tuple[float, float]:
        """Mean distance by area: reference's, prediction's. NaN for a surface without elements."""
        sums = (
            float((self.reference_mm * self.reference_area).sum()),
            float((self.prediction_mm * self.prediction_area).sum()),
        )
        reference, prediction = (
            total / area if area else math.nan for total, area in zip(sums, self.areas, strict=True)
        )
        return reference, prediction

    @property
    def pooled_mean(self) -> float:
        """Mean distance of both surfaces together, by area; NaN if both have no elements."""
        sides = [(mean, area) for mean, area in zip(self.means, self.areas, strict=True) if area]
        whole = sum(area for _, area in sides)
        return sum(mean * area for mean, area in sides) / whole if whole else math.nan

    def directed_percentiles(self, percent: float) -> tuple[float, float]:
        """Distance within which ``percent`` of a surface lies: reference's, prediction's.

        The smallest distance at which the cumulated share of area reaches ``percent``; with a
        preset that interpolates, numpy's default. NaN for a surface without elements.
        """
        preset = PRESETS[self.preset]
        if percent == 100:
            return self._maxima
        return (
            _percentile(self.reference_mm, self.reference_area, percent, preset),
            _percentile(self.prediction_mm, self.prediction_area, percent, preset),
        )

    @cached_property
    def _maxima(self) -> tuple[float, float]:
        ends = [
            float(mm[-1]) if len(mm) else math.nan for mm in (self.reference_mm, self.prediction_mm)
        ]
        if self.farthest is not None and any(map(math.isfinite, ends)):
            # an end that is infinite or NaN, where nothing is measured to or counts, stays
            pairs = zip(ends, self.farthest(), strict=True)
            ends = [max(end, far) if math.isfinite(end) else end for end, far in pairs]
        return ends[0], ends[1]

    def percentile(self, percent: float) -> float:
        """Larger of the two directed percentiles; with a preset that pools, that of both together.

        100 is the maximum by any preset. A surface without elements has no say; NaN if both have
        none.
        """
        preset = PRESETS[self.preset]
        if preset.pools and percent < 100:
            mm = np.concatenate([self.reference_mm, self.prediction_mm])
            order = np.argsort(mm, kind="stable")
            area = np.concatenate([self.reference_area, self.prediction_area])
            return _percentile(mm[order], area[order], percent, preset)
        directed = self.directed_percentiles(percent)
        return max((mm for mm in directed if not math.isnan(mm)), default=math.nan)

    def within(self, tolerance_mm: float) -> tuple[float, float]:
        """Size of the part of each surface that lies within a tolerance of the other one."""
        sides = (
            (self.reference_mm, self.reference_area),
            (self.prediction_mm, self.prediction_area),
        )
        reference, prediction = (
            float(area[: mm.searchsorted(reach(tolerance_mm), side="right")].sum())
            for mm, area in sides
        )
        return reference, prediction

    def share_within(self, tolerance_mm: float) -> float:
        """Share of both surfaces within a tolerance of each other; NaN if both have no elements.

        With a preset that halves, the mean of the shares of the surfaces that have elements.
        """
        within, areas = self.within(tolerance_mm), self.areas
        if not sum(areas):
            return math.nan
        if not PRESETS[self.preset].halves:
            return sum(within) / sum(areas)
        shares = [part / area for part, area in zip(within, areas, strict=True) if area]
        return sum(shares) / len(shares)


def _percentile(mm: Floats, area: Floats, percent: float, preset: Preset) -> float:
    if not len(mm):
        return math.nan
    share = percent / 100
    reached = area.cumsum()
    if not preset.interpolates:
        entry = int(reached.searchsorted((share - SHARE_ROUNDING) * reached[-1]))
        return float(mm[min(entry, len(mm) - 1)])
    rank = (float(reached[-1]) - 1) * share
    lower = math.floor(rank + SHARE_ROUNDING * max(rank, 1))
    one, other = (
        float(mm[min(int(reached.searchsorted(n, side="right")), len(mm) - 1)])
        for n in (lower, lower + 1)
    )
    # Not `one + (other - one) * 0`: the two may be infinite.
    part = max(rank - lower, 0.0)
    return one if one == other or not part else one + (other - one) * part
