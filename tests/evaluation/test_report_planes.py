from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from medloss.evaluation.outputs.report.orientation import display_of
from medloss.evaluation.outputs.report.paths import area_path, outline_path
from medloss.evaluation.outputs.report.planes import planes

MASKS = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


def filled(path: str, shape: tuple[int, int]) -> np.ndarray:
    found = np.zeros(shape, dtype=int)
    for x, y, n, back in re.findall(r"M(\d+) (\d+)h(\d+)v1h-(\d+)z", path):
        assert n == back
        found[int(y), int(x) : int(x) + int(n)] += 1
    return found


@settings(max_examples=100, deadline=None, derandomize=True)
@given(MASKS)
def test_areas_cover_the_mask_once(mask):
    assert (filled(area_path(mask), mask.shape) == mask).all()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(MASKS)
def test_outlines_are_all_sides_between_in_and_out(mask):
    sides = set()
    for x, y, steps in re.findall(r"M(\d+) (\d+)((?:[hv]-?\d+)+)z", outline_path(mask)):
        start = at = int(x), int(y)
        moves = [(way, int(n)) for way, n in re.findall(r"([hv])(-?\d+)", steps)]
        assert all(one[0] != other[0] for one, other in itertools.pairwise(moves))
        across, down = (sum(n for way, n in moves if way == axis) for axis in "hv")
        last = ("v" if moves[-1][0] == "h" else "h", -across or -down)
        assert not (across and down)  # one side closes it
        for way, n in [*moves, last]:
            for _ in range(abs(n)):
                x, y = at[0], at[1]
                place = (x - (n < 0), y) if way == "h" else (x, y - (n < 0))
                assert (way, *place) not in sides
                sides.add((way, *place))
                at = (x + np.sign(n), y) if way == "h" else (x, y + np.sign(n))
        assert at == start
    padded = np.pad(mask, 1)
    wanted = set()
    for y in range(mask.shape[0] + 1):
        for x in range(mask.shape[1] + 1):
            if padded[y, x + 1] != padded[y + 1, x + 1]:
                wanted.add(("h", x, y))
            if padded[y + 1, x] != padded[y + 1, x + 1]:
                wanted.add(("v", x, y))
    assert sides == {side for side in wanted if within(side, mask.shape)}


def test_pixels_that_touch_by_a_corner_have_lines_of_their_own():
    assert outline_path(np.eye(2, dtype=bool)) == "M0 0h1v1h-1zM1 1h1v1h-1z"


def within(side: tuple[str, int, int], shape: tuple[int, ...]) -> bool:
    way, x, y = side
    return x < shape[1] if way == "h" else y < shape[0]


def cut(reference, prediction, affine, **how):
    return planes(reference, prediction, display_of(reference.shape, affine), **how)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A block of which the prediction lacks the corner at the end of all axes."""
    reference = np.zeros((20, 24, 16), dtype=bool)
    reference[5:15, 6:18, 4:12] = True
    prediction = reference.copy()
    prediction[12:15, 15:18, 10:12] = False
    return reference, prediction


def find(found, name):
    (plane,) = [plane for plane in found if plane.name == name]
    return plane


def center(path: str) -> tuple[float, float]:
    runs = re.findall(r"M(\d+) (\d+)h(\d+)v1", path)
    points = [(int(x) + int(n) / 2, int(y) + 0.5) for x, y, n in runs]
    return tuple(np.mean(points, axis=0))


def test_slices_go_through_the_error():
    found = cut(*scene(), np.diag([1.0, 1.0, 1.0, 1.0]))
    assert [plane.name for plane in found] == ["axial", "coronal", "sagittal"]
    assert (find(found, "sagittal").index, find(found, "sagittal").count) == (14, 20)  # of 13 to 15
    assert find(found, "coronal").index == 17
    assert find(found, "axial").index == 11
    assert find(found, "axial").error_mm2 == 9.0


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 0, 2)])
def test_every_storage_order_gives_the_same_picture(signs, order):
    """The missing corner is to the right (R), in front and on top of the patient."""
    spacing = np.array([1.0, 2.0, 3.0])
    maps = [np.flip(m, [i for i in range(3) if signs[i] < 0]) for m in scene()]
    maps = [m.transpose(order) for m in maps]
    affine = np.eye(4)
    affine[:3, :3] = np.diag(spacing * signs)[:, order]
    found = cut(maps[0], maps[1], affine)
    axial, coronal, sagittal = found
    assert axial.letters == ("R", "L", "A", "P")
    assert coronal.letters == ("R", "L", "S", "I")
    assert sagittal.letters == ("A", "P", "S", "I")
    assert axial.voxel_mm == (1.0, 2.0)
    assert coronal.voxel_mm == (1.0, 3.0)
    assert sagittal.voxel_mm == (2.0, 3.0)
    for plane in found:
        lacking, overlap = center(plane.lacking), center(plane.overlap)
        assert lacking[0] < overlap[0], plane.name  # R or A is on the left
        assert lacking[1] < overlap[1], plane.name  # A or S is up
        assert plane.extra == ""


def test_without_error_the_largest_slice_is_shown():
    reference = np.zeros((9, 9, 9), dtype=bool)
    reference[4, 4, :] = True
    reference[2:7, 2:7, 6] = True
    found = cut(reference, reference, np.eye(4))
    assert find(found, "axial").index == 7
    assert find(found, "axial").error_mm2 == 0.0


def test_the_crop_is_around_both_maps_and_inside_the_image():
    reference = np.zeros((40, 40, 40), dtype=bool)
    prediction = reference.copy()
    reference[10:12, 10:12, 0:2] = True
    prediction[20:22, 10:12, 0:2] = True
    axial = cut(reference, prediction, np.diag([1.0, 1.0, 2.0, 1.0]))[0]
    assert axial.size == (12 + 8, 2 + 8)
    coronal = cut(reference, prediction, np.diag([1.0, 1.0, 2.0, 1.0]))[1]
    assert coronal.size == (20, 2 + 2)  # 4 mm are two slices, on one side only
    assert coronal.size_mm == (20.0, 8.0)


def test_two_dimensions_are_one_plane():
    reference = np.zeros((12, 12), dtype=bool)
    reference[3:6, 3:6] = True
    (plane,) = cut(reference, reference, np.diag([2.0, 1.0, 1.0, 1.0]))
    assert (plane.name, plane.index, plane.count) == ("axial", 1, 1)
    assert plane.voxel_mm == (2.0, 1.0)


def test_an_oblique_direction_has_two_letters():
    turn = np.pi / 6
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    mask = np.ones((4, 4, 4), dtype=bool)
    axial = cut(mask, mask, affine)[0]
    assert axial.letters == ("RA", "LP", "AL", "PR")
