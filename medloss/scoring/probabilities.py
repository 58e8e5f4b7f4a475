"""The predicted probability of one class, beside where the reference has that class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medloss.scoring.inputs import in_range

_PIECE = 1 << 20


@dataclass(frozen=True, eq=False)
class Probabilities:
    """A class in one case.

    Args:
        predicted: its probability in each voxel, from 0 to 1.
        reference: where the reference has it; of the same shape.
        ignored: voxels that do not count, ``None`` for none.

    Example:
        >>> here = np.array([[True, False, False]])
        >>> found = Probabilities(np.array([[0.75, 0.5, 0.0]]), here, ignored=np.array([[0, 0, 1]]))
        >>> [(p.tolist(), y.tolist()) for p, y in found.pieces()]
        [([0.75, 0.5], [True, False])]
    """

    predicted: NDArray[Any]
    reference: NDArray[np.bool_]
    ignored: NDArray[Any] | None = None

    def pieces(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        """Probability and reference of the voxels that count, some at a time.

        Rounding may lead out of the range of a probability, which is cut off; NaN stays NaN.

        Raises:
            ValueError: values that are no probabilities.
        """
        order: Literal["C", "F"] = "F" if self.predicted.flags.f_contiguous else "C"
        predicted, reference = self.predicted.ravel(order), self.reference.ravel(order)
        left_out = None if self.ignored is None else self.ignored.ravel(order) != 0
        for start in range(0, len(predicted), _PIECE):
            part = slice(start, start + _PIECE)
            keep = slice(None) if left_out is None else ~left_out[part]
            chances = in_range("probabilities", predicted[part][keep].astype(np.float64))
            yield chances, reference[part][keep]
