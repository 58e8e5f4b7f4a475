"""Files that keep only what is drawn, beside others on the same lattice: placed, not resampled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medloss.evaluation.inputs.case_pair import CaseOptions, make_case_pair
from medloss.evaluation.inputs.geometry import reoriented, united
from medloss.evaluation.reading.images import Image, make_image
from medloss.evaluation.reading.stored import CaseError, Stored


def image(array: np.ndarray, affine: np.ndarray, **more) -> Image:
    return make_image(Path("a.dcm"), Stored(array, affine, 3, **more))


def where(found: Image) -> set[tuple[float, ...]]:
    """Places in mm of all voxels that are not background."""
    voxels = np.argwhere(found.array)[:, :3]
    return {tuple(np.round((found.affine @ (*voxel, 1))[:3], 3) + 0.0) for voxel in voxels.tolist()}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_every_voxel_keeps_its_place(data):
    draw = data.draw
    turn = draw(st.floats(0, 1))
    base = np.eye(4)
    base[:2, :2] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    base[:3, :3] *= [0.7, 1.5, 3.0]
    base[:3, 3] = draw(st.tuples(*[st.floats(-50, 50)] * 3))
    order = draw(st.permutations([0, 1, 2]))
    signs = draw(st.tuples(*[st.sampled_from([-1, 1])] * 3))
    shift = draw(st.tuples(*[st.integers(-6, 6)] * 3))
    steps = np.zeros((4, 4))
    steps[3, 3] = 1
    steps[:3, 3] = shift
    for axis in range(3):
        steps[order[axis], axis] = signs[axis]
    chance = np.random.default_rng(draw(st.integers(0, 99)))
    shapes = [draw(st.tuples(*[st.integers(1, 6)] * 3)) for _ in range(2)]
    one, other = ((chance.random(shape) < 0.3).astype(np.uint8) for shape in shapes)
    one[0, 0, 0] = other[0, 0, 0] = 1
    prediction = image(one, base @ steps, cropped=draw(st.booleans()))
    reference = image(other, base, cropped=not prediction.cropped)
    found = united(prediction, reference)
    assert found is not None
    placed, against, _ = found
    assert placed.shape == against.shape
    np.testing.assert_allclose(placed.affine, against.affine)
    assert where(placed) == where(prediction)
    assert where(against) == where(reference)


def test_what_is_no_file_of_drawn_shapes_is_not_placed():
    array = np.ones((3, 3, 3), np.uint8)
    moved = np.eye(4)
    moved[0, 3] = 1
    assert united(image(array, moved), image(array, np.eye(4))) is None
    with pytest.raises(CaseError, match="differ in origin"):
        make_case_pair(image(array, moved), image(array, np.eye(4)), CaseOptions())


@pytest.mark.parametrize("change", ["half", "spacing", "turn", "space"])
def test_another_lattice_is_refused_or_resampled_when_asked(change):
    array = np.ones((4, 4, 4), np.uint8)
    affine, space = np.eye(4), "patient"
    if change == "half":
        affine[0, 3] = 0.5
    elif change == "spacing":
        affine[0, 0] = 1.01
        affine[0, 3] = 2
    elif change == "turn":
        affine[:2, :2] = [[np.cos(0.1), -np.sin(0.1)], [np.sin(0.1), np.cos(0.1)]]
    else:
        affine[0, 3], space = 1, "another space"
    prediction = image(array, affine, space=space)
    reference = image(array[:3], np.eye(4), cropped=True)
    assert united(prediction, reference) is None
    with pytest.raises(CaseError, match="differ in"):
        make_case_pair(prediction, reference, CaseOptions())
    if change != "space":
        pair = make_case_pair(prediction, reference, CaseOptions(resample=True))
        assert int(pair.reference.array.sum()) == 3 * 16
        assert int(pair.prediction.array.sum()) >= 60  # also outside of what the reference keeps


def test_an_empty_file_fits_every_grid():
    nothing = image(np.zeros((1, 1, 1), np.uint8), np.diag([9.0, 9, 9, 1]), cropped=True)
    full = image(np.ones((3, 4, 5), np.uint8), np.eye(4))
    for pair in ((nothing, full), (full, nothing)):
        found = make_case_pair(*pair, CaseOptions())
        assert found.prediction.shape == found.reference.shape == (3, 4, 5)
        assert "is empty, on whatever grid" in found.notes[0]


def test_probabilities_are_background_outside():
    chances = np.zeros((2, 2, 2, 2), np.float32)
    chances[..., 1] = 1
    prediction = image(chances, np.eye(4), channels="exclusive")
    affine = np.eye(4)
    affine[0, 3] = -1
    reference = image(np.ones((4, 2, 2), np.uint8), affine, cropped=True)
    found = make_case_pair(prediction, reference, CaseOptions()).prediction
    assert found.labels().sum() == 8
    np.testing.assert_allclose(found.array.sum(axis=-1), 1)


def test_reorienting_still_needs_the_same_place():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    turned = np.diag([-1.0, 1, 1, 1])
    assert reoriented(image(array, turned), image(array, np.eye(4))) is None
    turned[0, 3] = 1
    found = reoriented(image(array, turned), image(array, np.eye(4)))
    np.testing.assert_array_equal(found.array, array[::-1])
