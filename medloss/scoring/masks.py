"""Both masks of one class, cut out of the label maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medloss.runtime.compiling import Loops
from medloss.scoring.maps import LabelMaps

_loops = Loops("metrics")

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ClassMasks:
    """A class within the smallest box that holds it in both maps.

    Args:
        reference: mask, with as many axes as the given maps.
        prediction: mask of the same shape.
        ignored: voxels that do not count, ``None`` for none.
    """

    reference: Mask
    prediction: Mask
    ignored: Mask | None

    @property
    def T(self) -> ClassMasks:  # noqa: N802 - as numpy calls it
        """The same with the axes in reverse."""
        ignored = None if self.ignored is None else self.ignored.T
        return ClassMasks(self.reference.T, self.prediction.T, ignored)


class MaskCutter:
    """Cuts classes out of label maps, each once; their boxes are found for all classes at once."""

    def __init__(self, maps: LabelMaps) -> None:
        self._maps = maps
        self._cut: dict[int, ClassMasks] = {}

    def cut(self, label: int) -> ClassMasks:
        """The masks of a label that the maps were made for; of no voxel if it is in neither."""
        if label not in self._cut:
            maps, code = self._maps, self._maps.codes[label]
            (a, b, c), (d, e, f) = self._boxes[code].tolist()
            box = (0 if maps.flat else slice(a, d), slice(b, e), slice(c, f))
            ignored = maps.ignored[box] != 0 if maps.ignored.size else None
            masks = maps.reference[box] == code, maps.prediction[box] == code
            self._cut[label] = ClassMasks(*masks, ignored)
        return self._cut[label]

    @cached_property
    def _boxes(self) -> NDArray[np.int64]:
        """Where each code begins along each axis, and the place after it; (codes, 2, 3)."""
        boxes = np.zeros((self._maps.many, 2, 3), np.int64)
        boxes[:, 0] = self._maps.reference.shape
        for codes in (self._maps.reference, self._maps.prediction):
            if codes.size:
                _widen(codes, boxes)
        boxes[boxes[:, 1, 0] == 0] = 0
        return boxes


@_loops.kernel
def _widen(codes, boxes):  # type: ignore[no-untyped-def]
    """Let the box of each code hold its voxels too."""
    for x in range(codes.shape[0]):
        for y in range(codes.shape[1]):
            row = codes[x, y]
            some = row[0]
            for z in range(len(row)):  # most rows hold nothing, which a vector of voxels tells
                some |= row[z]
            if some == 0:
                continue
            start = 0
            for z in range(1, len(row) + 1):  # by runs of equal codes
                if z == len(row) or row[z] != row[start]:
                    box = boxes[row[start]]
                    box[0, 0], box[1, 0] = min(box[0, 0], x), max(box[1, 0], x + 1)
                    box[0, 1], box[1, 1] = min(box[0, 1], y), max(box[1, 1], y + 1)
                    box[0, 2], box[1, 2] = min(box[0, 2], start), max(box[1, 2], z)
                    start = z
