"""The image below the labels of a case, as it is shown."""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.outputs.report.grey import Backdrop, Window, window_of
from medloss.evaluation.outputs.report.orientation import Box, Display
from medloss.evaluation.outputs.report.planes import Shown

_MOST_SAMPLES = 1 << 22
"""Voxels that are looked at below labels, so many that their median is stable."""


class Underlay:
    """An image on the grid of a reference, turned as it is shown.

    Args:
        backdrop: the image.
        display: how it is turned.
        window: through which the user wants to see it, empty for what fits.
        modality: what a file says that it is, else empty.
    """

    def __init__(self, backdrop: Backdrop, display: Display, window: str, modality: str) -> None:
        self._backdrop, self._display = backdrop, display
        self._asked, self._modality = window, modality

    @cached_property
    def sample(self) -> NDArray[np.float64]:
        """Values from all over the image."""
        return self._backdrop.sample()

    def values(self, box: Box) -> NDArray[np.float32]:
        """Of a part, as (x, y, z)."""
        return self._display.turned(self._backdrop.values(self._display.in_file(box)))

    def window(self, labelled: NDArray[np.bool_], box: Box) -> Window:
        """Through which the image is shown, by its values where labels are.

        Args:
            labelled: where that is, as the file has it.
            box: around it.
        """
        inside, below = self._display.turned(labelled)[box], self.values(box)
        step = math.ceil((inside.size / _MOST_SAMPLES) ** (1 / 3))
        thin = (slice(None, None, step),) * 3
        if inside[thin].any():
            inside, below = inside[thin], below[thin]
        return window_of(self.sample, below[inside], self._asked, self._modality)

    def shown(self, window: Window) -> Shown:
        """The image through a window, as pictures take it."""
        return lambda box: window.grey(self.values(box))

    def caption(self, window: Window) -> str:
        """Which image it is, how it is shown, and what was done to it."""
        note = f"; {self._backdrop.note}" if self._backdrop.note else ""
        return (
            f"Image: {self._backdrop.path.name}, {window.name} "
            f"({window.low:.4g} to {window.high:.4g}){note}"
        )
