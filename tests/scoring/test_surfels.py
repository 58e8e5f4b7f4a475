from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from medloss.scoring.surfels import corners, element_areas

SX, SY, SZ = SPACING = (0.8, 1.3, 2.5)


def area_of(inside: list[tuple[int, ...]], spacing: tuple[float, ...] = SPACING) -> float:
    code = sum(1 << bit for bit, c in enumerate(corners(len(spacing))) if c in inside)
    return float(element_areas(spacing)[code])


# Half the sides of the triangle that cuts one corner off are (SX, SY, SZ) / 2.
TRIANGLE = math.hypot(SY * SZ, SX * SZ, SX * SY) / 8


def test_nothing_and_everything_have_no_surface():
    assert area_of([]) == 0
    assert area_of(list(corners(3))) == 0


@pytest.mark.parametrize("corner", corners(3))
def test_one_corner_is_cut_off_by_a_triangle(corner):
    assert area_of([corner]) == pytest.approx(TRIANGLE, abs=1e-15)


@pytest.mark.parametrize(("axis", "area"), [(0, SY * SZ), (1, SX * SZ), (2, SX * SY)])
@pytest.mark.parametrize("side", [0, 1])
def test_a_face_is_cut_off_by_a_rectangle(axis, area, side):
    assert area_of([c for c in corners(3) if c[axis] == side]) == pytest.approx(area, abs=1e-15)


@pytest.mark.parametrize(
    ("axis", "area"),
    [
        (0, SX * math.hypot(SY, SZ) / 2),
        (1, SY * math.hypot(SX, SZ) / 2),
        (2, SZ * math.hypot(SX, SY) / 2),
    ],
)
def test_an_edge_is_cut_off_by_a_rectangle(axis, area):
    pair = [(0, 0, 0), tuple(int(axis == n) for n in range(3))]
    assert area_of(pair) == pytest.approx(area, abs=1e-15)


def test_corners_opposite_in_the_cell_or_in_a_face_are_cut_off_one_by_one():
    assert area_of([(0, 0, 0), (1, 1, 1)]) == pytest.approx(2 * TRIANGLE, abs=1e-15)
    assert area_of([(0, 0, 0), (0, 1, 1)]) == pytest.approx(2 * TRIANGLE, abs=1e-15)
    checkerboard = [c for c in corners(3) if sum(c) % 2]
    assert area_of(checkerboard) == pytest.approx(4 * TRIANGLE, abs=1e-15)


def test_a_corner_with_its_three_neighbours_is_cut_off_by_a_hexagon():
    # The plane x/SX + y/SY + z/SZ = 3/2 through the middle: 6 of the triangles above.
    tripod = [c for c in corners(3) if sum(c) <= 1]
    assert area_of(tripod) == pytest.approx(6 * TRIANGLE, abs=1e-15)


def test_three_corners_are_cut_off_by_a_rectangle_and_a_triangle_as_seen_by_hand():
    # Corners (0,0,0), (1,0,0), (0,1,0). Five points; (0,½,1)... the plane x/SX + y/SY + z/SZ = 3/2
    # holds four of them (½ of the hexagon: 3 triangles), and the fifth closes it by one triangle.
    a, b, c = (np.multiply(p, SPACING) / 2 for p in ((0, 0, 1), (0, 2, 1), (2, 0, 1)))
    cap = float(np.linalg.norm(np.cross(b - a, c - a))) / 2
    assert area_of([(0, 0, 0), (1, 0, 0), (0, 1, 0)]) == pytest.approx(
        3 * TRIANGLE + cap, abs=1e-15
    )


@pytest.mark.parametrize("spacing", [SPACING, (1.0, 1.0, 1.0), (0.78, 6.5)])
def test_a_mask_and_its_complement_have_the_same_surface(spacing):
    areas = element_areas(spacing)
    np.testing.assert_array_equal(areas, areas[::-1])
    assert (areas[1:-1] > 0).all()


@pytest.mark.parametrize("axes", [2, 3])
def test_turned_and_mirrored_cells_have_the_turned_spacing_s_area(axes):
    spacing = SPACING[:axes]
    for order in itertools.permutations(range(axes)):
        for flip in itertools.product((0, 1), repeat=axes):
            turned = tuple(spacing[n] for n in order)
            for size in range(1, 2 ** (axes - 1) + 1):
                for inside in itertools.combinations(corners(axes), size):
                    moved = [tuple(c[n] ^ flip[n] for n in order) for c in inside]
                    assert area_of(moved, turned) == pytest.approx(
                        area_of(list(inside), spacing), rel=1e-13
                    )


def test_in_2d_the_surface_is_a_line():
    diagonal = math.hypot(SX, SY) / 2
    spacing = (SX, SY)
    assert area_of([(0, 0)], spacing) == pytest.approx(diagonal, abs=1e-15)
    assert area_of([(0, 0), (1, 0)], spacing) == pytest.approx(SX, abs=1e-15)
    assert area_of([(0, 0), (0, 1)], spacing) == pytest.approx(SY, abs=1e-15)
    assert area_of([(0, 0), (1, 1)], spacing) == pytest.approx(2 * diagonal, abs=1e-15)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5), (0.78, 0.78, 6.5), SPACING])
def test_areas_are_those_of_the_surface_distance_package(spacing):
    tables = pytest.importorskip(
        "surface_distance.lookup_tables", reason="the package surface-distance is not installed"
    )
    theirs = tables.create_table_neighbour_code_to_surface_area(spacing)
    weights = np.ravel(tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL)
    codes = [sum(int(w) for n, w in enumerate(weights) if code >> n & 1) for code in range(256)]
    np.testing.assert_allclose(element_areas(spacing), np.array(theirs)[codes], rtol=0, atol=1e-12)
