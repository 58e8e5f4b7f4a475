"""Boundary bands on a device: the voxels of a mask that lie within a width of its border."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from medloss.objects.spacing import below, within
from medloss.scoring.counts import Counts
from medloss.scoring.tensors.elements import Spacing, border, to_sites
from medloss.scoring.tensors.maps import TensorMaps


class TensorBands:
    """As :class:`medloss.scoring.surface.bands.Bands`; each class and width is computed once.

    Args:
        maps: reference and prediction.
        spacing_mm: size of a voxel.
        below: whether the band ends before its width, or includes it.
    """

    def __init__(self, maps: TensorMaps, spacing_mm: Spacing, *, below: bool) -> None:
        self._maps, self._spacing_mm, self._below = maps, spacing_mm, below
        self._found: dict[tuple[int, float], NDArray[np.int64]] = {}

    def counts(self, code: int, width_mm: float) -> Counts:
        """Voxels of a class that lie in both bands, in the prediction's or the reference's only."""
        if (code, width_mm) not in self._found:
            self._found[code, width_mm] = self._count(code, width_mm)
        reference, prediction, both = (int(n) for n in self._found[code, width_mm])
        rest = self._maps.voxels - reference - prediction + both
        return Counts(tp=both, fp=prediction - both, fn=reference - both, tn=rest)

    def _count(self, code: int, width_mm: float) -> NDArray[np.int64]:
        masks = self._maps.masks(code)
        if masks is None:
            return np.zeros(3, dtype=np.int64)
        bands = []
        for mask in (masks.reference, masks.prediction):
            mm = to_sites(border(mask), self._spacing_mm)
            near = below(mm, width_mm) if self._below else within(mm, width_mm)
            bands.append(mask & (near | (mm == 0)))  # a border voxel is in its band
        if self._maps.ignored is not None:
            bands = [band & ~self._maps.ignored[masks.cut] for band in bands]
        each = (bands[0], bands[1], bands[0] & bands[1])
        return torch.stack([band.count_nonzero() for band in each]).cpu().numpy()
