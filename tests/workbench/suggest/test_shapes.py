"""What is measured of a mask, on objects whose measures are known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from medloss.workbench.suggest.shapes import measure_shape

ONE = (1.0, 1.0, 1.0)
GRID = np.mgrid[-24:25, -24:25, -24:25].astype(float)


def ball(radius: float) -> NDArray[np.bool_]:
    return (GRID**2).sum(0) <= radius**2


def cylinder(direction: tuple[float, ...], radius: float) -> NDArray[np.bool_]:
    along = np.tensordot(np.array(direction) / math.hypot(*direction), GRID, 1)
    return (GRID**2).sum(0) - along**2 <= radius**2


@pytest.mark.parametrize("voxels", range(1, 8))
def test_a_rod_is_as_thick_as_it_is(voxels: int) -> None:
    shape = measure_shape(np.ones((voxels, voxels, 80), bool), ONE)
    assert shape.thickness_mm == voxels
    assert shape.thickness_voxels == voxels
    assert shape.tube_share == 1
    assert shape.volume_mm3 == shape.voxels == 80 * voxels**2
    assert shape.surface_mm2 == 4 * 80 * voxels + 2 * voxels**2
    assert shape.part_mm3 == (shape.volume_mm3,)


@pytest.mark.parametrize("voxels", range(1, 8))
def test_a_sheet_is_no_tube(voxels: int) -> None:
    shape = measure_shape(np.ones((voxels, 80, 80), bool), ONE)
    assert shape.thickness_mm == voxels
    assert shape.elongation > 10
    assert shape.tube_share == 0


def test_lengths_are_in_millimetres() -> None:
    # 3 x 3 voxels across, of 0.5 x 2 mm: the thin side is 1.5 mm, the step there 0.5 mm.
    shape = measure_shape(np.ones((3, 3, 40), bool), (0.5, 2.0, 1.0))
    assert shape.thickness_mm == 1.5
    assert shape.thickness_voxels == 3
    assert shape.volume_mm3 == 360
    assert shape.surface_mm2 == 2 * (1.5 * 40 + 6 * 40 + 1.5 * 6)


@pytest.mark.parametrize("radius", [3, 6, 12, 20])
def test_a_ball_is_as_thick_as_wide_and_no_tube(radius: int) -> None:
    shape = measure_shape(ball(radius), ONE)
    assert shape.thickness_mm == pytest.approx(2 * radius + 1, abs=2)
    assert shape.thickest_mm >= shape.thickness_mm
    assert shape.elongation == pytest.approx(2 / 3, abs=0.5)  # π/6 D³ over π/4 D² and D
    assert shape.tube_share == 0


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 1, 1), (1, 0.4, 0.2), (0, 1, 1)])
@pytest.mark.parametrize("radius", [1.5, 2, 3])
def test_a_tube_is_one_in_any_direction(direction: tuple[float, ...], radius: float) -> None:
    shape = measure_shape(cylinder(direction, radius), ONE)
    assert shape.thickness_mm == pytest.approx(2 * radius, abs=1.1)
    assert shape.tube_share == 1


@pytest.mark.parametrize("direction", [(0, 0, 1), (1, 1, 1), (1, 0.5, 0.3)])
def test_an_oblique_sheet_is_no_tube(direction: tuple[float, ...]) -> None:
    across = np.tensordot(np.array(direction) / math.hypot(*direction), GRID, 1)
    assert measure_shape(abs(across) <= 1.5, ONE).tube_share == 0


def test_many_balls_are_no_tubes_and_a_tube_beside_them_is_told_apart() -> None:
    mask = np.zeros((60, 60, 60), bool)
    for place in np.ndindex(4, 4, 4):
        corner = 14 * np.array(place) + 3
        mask[tuple(slice(c, c + 5) for c in corner)] = True
    balls = measure_shape(mask, ONE)
    assert (len(balls.part_mm3), balls.tube_share) == (64, 0)
    mask[0, 0, :] = True
    both = measure_shape(mask, ONE)
    assert len(both.part_mm3) == 65
    assert both.part_mm3[0] == 125
    assert both.tube_share == pytest.approx(60 / (64 * 125 + 60))


def test_images_of_two_axes() -> None:
    line = np.zeros((40, 40), bool)
    line[10:13] = True
    shape = measure_shape(line, (1.0, 1.0))
    assert (shape.thickness_mm, shape.tube_share) == (3, 1)
    assert measure_shape(ball(10)[24], (1.0, 1.0)).tube_share == 0


def test_bumps_count_little() -> None:
    mask = ball(12)
    mask[24 + 12 : 24 + 14, 24, 24] = True  # two voxels that stick out
    assert measure_shape(mask, ONE).thickness_mm > 20


@pytest.mark.parametrize("piece", [1, 100 * 900])
def test_pieces_change_nothing(piece: int) -> None:
    mask = np.zeros((120, 28, 28), bool)
    mask[:100, 3:7, 3:6] = True
    mask[60:76, 10:26, 10:26] = ball(8)[16:32, 16:32, 16:32]
    assert measure_shape(mask, ONE, piece=piece) == measure_shape(mask, ONE)


@settings(max_examples=50, deadline=None)
@given(arrays(bool, st.tuples(*[st.integers(1, 6)] * 3)).filter(lambda mask: mask.any()))
def test_what_holds_for_every_mask(mask: NDArray[np.bool_]) -> None:
    shape = measure_shape(mask, (1.0, 2.0, 3.0))
    turned: Any = measure_shape(mask.transpose(2, 0, 1)[::-1], (3.0, 1.0, 2.0))
    assert shape.voxels == turned.voxels == mask.sum()
    assert shape.volume_mm3 == pytest.approx(6 * mask.sum())
    assert sum(shape.part_mm3) == pytest.approx(shape.volume_mm3)
    assert shape.part_mm3 == turned.part_mm3
    assert shape.surface_mm2 == turned.surface_mm2
    assert 0 < shape.thickness_mm <= shape.thickest_mm
    assert 0 <= shape.tube_share <= 1
    assert shape.elongation > 0


def test_refusals() -> None:
    with pytest.raises(ValueError, match="not empty"):
        measure_shape(np.zeros((3, 3, 3), bool), ONE)
    with pytest.raises(ValueError, match="3 axes"):
        measure_shape(np.ones((3, 3), bool), ONE)
