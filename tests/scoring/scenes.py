"""Pairs of masks without chance, for values that other packages computed once."""

from __future__ import annotations

import numpy as np
from scoring.shapes import Mask, ball, box

SPACING = (0.8, 1.1, 2.5)


def _grid(shape: tuple[int, ...], *numbers: int) -> Mask:
    """A rough pattern: remainders of a linear form, the same on every machine."""
    index = np.indices(shape)
    form = np.tensordot(numbers, index, axes=1) + index[0] * index[1]
    return form % 7 < 2


def scenes() -> dict[str, tuple[Mask, Mask]]:
    """Reference and prediction by name."""
    organ = ball((30, 30, 30), 1.0, (14, 15, 15), 9)
    moved = ball((30, 30, 30), 1.0, (15, 16, 15), 8)
    speck = moved.copy()
    speck[1:3, 1:3, 1:3] = True
    cube = box((48, 30, 30), (2, 4, 4), (24, 26, 26))
    bar = cube.copy()
    bar[24:34, 12:20, 12:20] = True
    edge = box((12, 12, 12), (0, 0, 3), (6, 12, 9))
    return {
        "moved ball": (organ, moved),
        "ball with a far speck": (organ, speck),
        "cube with a bar": (cube, bar),
        "cut by the edge": (edge, box((12, 12, 12), (0, 2, 2), (8, 12, 9))),
        "rough": (_grid((11, 12, 9), 1, 3, 2), _grid((11, 12, 9), 2, 3, 1)),
        "flat": (ball((20, 24), 1.0, (9, 11), 7), ball((20, 24), 1.0, (10, 13), 6)),
    }
