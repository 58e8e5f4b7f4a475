from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medloss.evaluation.inputs.geometry import check_same_grid
from medloss.evaluation.reading.images import Image, make_image
from medloss.evaluation.reading.stored import CaseError, Stored


def image(shape: tuple[int, ...], affine: np.ndarray) -> Image:
    return make_image(Path("a.nii"), Stored(np.zeros(shape, np.uint8), affine, len(shape)))


GRID = np.diag([0.8, 0.9, 2.5, 1.0])


def error(prediction: Image, reference: Image) -> str:
    with pytest.raises(CaseError) as caught:
        check_same_grid(prediction, reference)
    return str(caught.value)


def test_the_same_grid_passes(oblique):
    check_same_grid(image((4, 5, 6), oblique), image((4, 5, 6), oblique.copy()))


def test_another_shape():
    assert error(image((4, 5, 6), GRID), image((4, 5, 7), GRID)) == (
        "prediction and reference differ in shape: 4 x 5 x 6 against 4 x 5 x 7 (voxels)"
    )


def test_another_number_of_axes():
    assert "4 x 5 against 4 x 5 x 1" in error(image((4, 5), GRID), image((4, 5, 1), GRID))


def test_another_spacing():
    assert error(image((4, 5, 6), np.diag([0.8, 0.9, 3, 1])), image((4, 5, 6), GRID)) == (
        "prediction and reference differ in spacing: 0.8 x 0.9 x 3 against 0.8 x 0.9 x 2.5 (mm)"
    )


def test_another_place():
    moved = GRID.copy()
    moved[:3, 3] = 3, 0, -4
    assert error(image((4, 5, 6), moved), image((4, 5, 6), GRID)) == (
        "prediction and reference differ in origin: 3, 0, -4 against 0, 0, 0 "
        "(mm; the same voxel lies up to 5 mm apart)"
    )


def test_another_direction():
    turned = GRID.copy()
    turned[:2, :2] = [[0.48, -0.72], [0.64, 0.54]]
    text = error(image((4, 5, 6), turned), image((4, 5, 6), GRID))
    assert text.startswith(
        "prediction and reference differ in direction: [0.6, -0.8, 0; 0.8, 0.6, 0; 0, 0, 1] "
        "against [1, 0, 0; 0, 1, 0; 0, 0, 1] (direction cosines; the same voxel lies up to "
    )


def test_a_mirrored_axis_is_another_place():
    mirrored = GRID.copy()
    mirrored[0] *= -1
    text = error(image((4, 5, 6), mirrored), image((4, 5, 6), GRID))
    assert "differ in direction: [-1, 0, 0; 0, 1, 0; 0, 0, 1] against [1, 0, 0;" in text
    assert "up to 4.8 mm apart" in text  # 3 steps of 0.8 mm to either side


def test_differences_of_rounding_pass_and_of_a_tenth_of_a_voxel_do_not():
    close, far = GRID.copy(), GRID.copy()
    close[0, 3], far[0, 3] = 0.079, 0.081
    check_same_grid(image((4, 5, 6), close), image((4, 5, 6), GRID))
    assert "0.081 mm" in error(image((4, 5, 6), far), image((4, 5, 6), GRID))


@pytest.mark.parametrize("origin_mm", [3.0, 100.0, 200.0, -312.7])
def test_a_tenth_of_a_voxel_is_one_far_from_the_origin_in_float32_too(origin_mm):
    reference, moved = np.eye(4), np.eye(4)
    reference[0, 3], moved[0, 3] = origin_mm, origin_mm + 0.1
    for kind in (np.float64, np.float32):
        pair = [image((4, 5, 6), affine.astype(kind)) for affine in (moved, reference)]
        check_same_grid(*pair)
    moved[0, 3] += 0.001
    assert "differ in origin" in error(image((4, 5, 6), moved), image((4, 5, 6), reference))


def test_a_small_difference_of_spacing_counts_where_it_adds_up():
    drifting = GRID @ np.diag([1.0009, 1, 1, 1])
    check_same_grid(image((50, 5, 6), drifting), image((50, 5, 6), GRID))
    assert "affine" in error(image((200, 5, 6), drifting), image((200, 5, 6), GRID))
    assert "spacing" in error(
        image((50, 5, 6), GRID @ np.diag([1.0011, 1, 1, 1])), image((50, 5, 6), GRID)
    )
