"""Which voxels contours hold, against a slow reading of the rule: centre by centre."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloss.evaluation.reading.contours import ON_A_LINE, fill, overlap_partly

SHAPE = (9, 8)


def slow(contours: list[np.ndarray], rule: str) -> np.ndarray:
    """Even-odd by the winding of angles, and the distance to every line, point by point."""
    found = np.zeros(SHAPE, dtype=bool)
    for centre in np.ndindex(*SHAPE):
        inside, near = False, False
        for points in contours:
            turned = 0.0
            for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
                a, b = start - centre, end - centre
                way = b - a
                share = np.clip(-(a @ way) / (way @ way), 0, 1) if way.any() else 0.0
                near |= bool(np.linalg.norm(a + share * way) <= ON_A_LINE)
                turned += np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)
            inside ^= bool(round(turned / (2 * np.pi)) % 2)
        found[centre] = (inside or near) if rule == "inclusive" else (inside and not near)
    return found


coordinate = st.one_of(
    st.integers(-2, 10).map(float),
    st.integers(-4, 20).map(lambda n: n / 2),
    st.floats(-2, 10, allow_nan=False).map(lambda x: round(x, 2)),
)
contour = st.lists(st.tuples(coordinate, coordinate), min_size=1, max_size=7, unique=True)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(contour, min_size=1, max_size=3), st.sampled_from(["inclusive", "strict"]))
def test_every_centre_is_where_the_slow_reading_has_it(drawn, rule):
    contours = [np.array(points, dtype=float) for points in drawn]
    np.testing.assert_array_equal(fill(contours, SHAPE, rule), slow(contours, rule))


def square(low: float, high: float) -> np.ndarray:
    return np.array([[low, low], [high, low], [high, high], [low, high]])


@pytest.mark.parametrize("low", [1.0, 0.5])
def test_lines_through_centres_and_between_them_give_one_mask(low):
    """The outline of voxels 1 to 5 with a hole of 3, drawn in both ways."""
    outer = square(1, 5) if low == 1 else square(0.5, 5.5)
    # Through centres a hole's line runs through the voxels around it.
    hole = square(2, 4) if low == 1 else square(2.5, 3.5)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[1:6, 1:6] = True
    expected[3, 3] = False
    np.testing.assert_array_equal(fill([outer, hole], SHAPE, "inclusive"), expected)


def test_a_keyhole_is_the_hole_and_its_line_is_none():
    nested = fill([square(0.5, 6.5), square(2.5, 4.5)], SHAPE, "inclusive")
    outer, inner = square(0.5, 6.5), square(2.5, 4.5)
    keyhole = np.concatenate([outer, outer[:1], inner[[0, 3, 2, 1, 0]]])
    np.testing.assert_array_equal(fill([keyhole], SHAPE, "inclusive"), nested)
    # Two islands on a line that leads from one to the other and back.
    one, other = square(0.5, 2.5), square(0.5, 2.5) + np.array([5, 0])
    bridge = np.array([[2.5, 2.0], [5.5, 2.0]])
    both = np.array([*one[:2], *bridge, *other[[3, 2, 1, 0]], *bridge[::-1], *one[2:]])
    line = fill([bridge], SHAPE, "inclusive")
    islands = fill([one, other], SHAPE, "inclusive")
    assert (line & ~islands).any()
    np.testing.assert_array_equal(fill([both], SHAPE, "inclusive"), islands)


def test_voxels_in_a_row_are_outlined_there_and_back():
    """As programs do that walk along a mask: a tail, and a bridge of single voxels."""
    tail = np.array([[1, 1], [3, 1], [4, 1], [5, 1], [4, 1], [3, 1], [3, 3], [1, 3]], dtype=float)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[1:4, 1:4] = True
    expected[4:6, 1] = True
    np.testing.assert_array_equal(fill([tail], SHAPE, "inclusive"), expected)
    bridge = np.array(
        [[0, 0], [1, 0], [1, 1], [2, 2], [3, 3], [4, 3], [4, 4], [3, 4], [3, 3], [2, 2], [1, 1]],
        dtype=float,
    )
    bridge = np.concatenate([bridge, [[0, 1]]])
    expected = np.zeros(SHAPE, dtype=bool)
    expected[0:2, 0:2] = expected[3:5, 3:5] = expected[2, 2] = True
    np.testing.assert_array_equal(fill([bridge], SHAPE, "inclusive"), expected)


def test_lone_points_and_short_lines():
    point, line = np.array([[2.0, 3.0005]]), np.array([[5.0, 5.0], [7.0, 7.0]])
    found = fill([point, line], SHAPE, "inclusive")
    assert {*map(tuple, np.argwhere(found).tolist())} == {(2, 3), (5, 5), (6, 6), (7, 7)}
    assert not fill([point, line], SHAPE, "strict").any()
    assert not fill([np.array([[2.0, 3.002]])], SHAPE, "inclusive").any()


def test_what_lies_outside_of_the_plane_is_cut_off():
    assert fill([square(-30, 30)], SHAPE, "strict").all()
    assert not fill([square(20, 30), square(-30, -20)], SHAPE, "inclusive").any()


def test_contours_that_overlap_partly():
    assert overlap_partly([square(0.5, 3.5), square(2.5, 5.5)], SHAPE)
    assert not overlap_partly([square(0.5, 5.5), square(1.5, 3.5)], SHAPE)
    assert not overlap_partly([square(0.5, 2.5), square(3.5, 5.5)], SHAPE)
