from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nibabel.orientations import apply_orientation, inv_ornt_aff

from medloss.evaluation.inputs.geometry import check_same_grid, onto, reoriented
from medloss.evaluation.reading.images import Image, make_image
from medloss.evaluation.reading.stored import CaseError, Stored

LABELS = np.random.default_rng(0).integers(0, 4, (5, 6, 7)).astype(np.uint8)


def image(array: np.ndarray, affine: np.ndarray, axes: int = 3) -> Image:
    return make_image(Path("a.nii"), Stored(array, np.asarray(affine, float), axes))


def turned(array, affine, order, signs):
    """The same voxels in space, stored along other axes, by nibabel."""
    orientation = np.array([[axis, sign] for axis, sign in zip(order, signs, strict=True)])
    return apply_orientation(array, orientation), affine @ inv_ornt_aff(orientation, array.shape)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_axes_in_another_order_or_direction_are_turned_exactly(oblique, order, signs):
    reference = image(LABELS, oblique)
    prediction = image(*turned(LABELS, oblique, order, signs))
    found, note = onto(prediction, reference)
    np.testing.assert_array_equal(found.array, LABELS)
    np.testing.assert_allclose(found.affine, oblique, atol=1e-9)
    assert found.spacing_mm == pytest.approx(reference.spacing_mm)
    check_same_grid(found, reference)
    assert "loses nothing" in note
    assert np.shares_memory(found.array, prediction.array)


def test_probabilities_are_turned_with_their_classes_last(oblique):
    hot = np.eye(4, dtype=np.float32)[LABELS]
    array, affine = turned(hot, oblique, (2, 0, 1), (-1, 1, -1))
    found, _ = onto(image(array, affine), image(LABELS, oblique))
    np.testing.assert_array_equal(found.array, hot)


def test_two_dimensions_are_turned_too():
    flat = LABELS[:, :, 0]
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    mirrored = affine.copy()
    mirrored[0] = [-1, 0, 0, 4]
    found, _ = onto(image(flat[::-1], mirrored, 2), image(flat, affine, 2))
    np.testing.assert_array_equal(found.array, flat)


def test_grids_that_differ_in_more_are_not_turned(oblique):
    reference = image(LABELS, oblique)
    moved, finer, smaller = oblique.copy(), oblique.copy(), oblique.copy()
    moved[0, 3] += 1
    finer[:3, 2] *= 0.5
    assert reoriented(image(LABELS, moved), reference) is None
    assert reoriented(image(LABELS, finer), reference) is None
    assert reoriented(image(LABELS[1:], smaller), reference) is None
    turned_a_little = np.eye(4)
    turned_a_little[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    assert reoriented(image(LABELS, turned_a_little @ oblique), reference) is None


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**31),
    st.tuples(*[st.floats(0.3, 3)] * 3),
    st.tuples(*[st.floats(-4, 4)] * 3),
    st.floats(-3, 3),
)
def test_every_voxel_has_the_value_of_the_nearest_one(seed, spacing, shift, angle):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 256, (5, 6, 7)).astype(np.uint8)
    reference = image(np.zeros((4, 5, 3), np.uint8), np.diag([1.1, 0.9, 2.1, 1.0]))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([*spacing, 1.0])
    affine[:3, 3] = shift
    prediction = image(labels, affine)
    grid = np.stack(np.meshgrid(*map(np.arange, reference.shape), indexing="ij"), axis=-1)
    world = grid @ reference.affine[:3, :3].T + reference.affine[:3, 3]
    places = (world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    nearest = np.rint(places).astype(int)
    inside = ((nearest >= 0) & (nearest < labels.shape)).all(axis=-1)
    # Half way between two voxels either is the nearest.
    clear = (np.abs(np.abs(places - np.trunc(places)) - 0.5) > 1.1e-4).all(axis=-1)
    index = tuple(np.moveaxis(np.minimum(nearest.clip(0), np.array(labels.shape) - 1), -1, 0))
    expected = np.where(inside, labels[index], 0)
    if not inside[clear].any():
        return
    found, note = onto(prediction, reference)
    np.testing.assert_array_equal(found.array[clear], expected[clear])
    check_same_grid(found, reference)
    assert found.array.flags.f_contiguous
    if clear.all():
        share = f"{100 * (1 - inside.mean()):.3g} % of the reference lies outside"
        assert (share in note) == (not inside.all())


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_half_way_the_noise_of_an_affine_does_not_decide(shift):
    """Every second point of the finer grid is as near to one voxel as to the next."""
    steps = np.array([1.0, 0.8, 2.5])
    whole = np.diag([*steps, 1.0])
    whole[:3, 3] = 120, -80, 33
    finer = whole.copy()
    finer[:3, :3] /= 2
    finer[:3, 3] += shift * steps
    index = np.stack(np.meshgrid(*map(np.arange, (9, 11, 13)), indexing="ij"), -1)
    nearest = np.floor(index / 2 + shift + 0.5).astype(int)
    inside = (nearest < LABELS.shape).all(-1)
    nearest = np.minimum(nearest, np.array(LABELS.shape) - 1)
    expected = np.where(inside, LABELS[tuple(np.moveaxis(nearest, -1, 0))], 0)
    for angle, order in itertools.product((0.0, 0.02, 0.3), ((0, 1, 2), (2, 0, 1))):
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        stored, affine = turned(LABELS, turn @ whole, order, (-1, 1, -1))
        reference = image(np.zeros((9, 11, 13), np.uint8), (turn @ finer).astype(np.float32))
        for kind in (np.float32, np.float64):
            found, _ = onto(image(np.ascontiguousarray(stored), affine.astype(kind)), reference)
            np.testing.assert_array_equal(found.array, expected)


def test_what_lies_outside_of_probabilities_is_background():
    hot = np.zeros((4, 4, 4, 3), np.float32)
    hot[..., 2] = 1
    affine = np.eye(4)
    affine[0, 3] = 2
    found, note = onto(image(hot, affine), image(np.zeros((5, 4, 4), np.uint8), np.eye(4)))
    assert found.labels()[:, 0, 0].tolist() == [0, 0, 2, 2, 2]
    assert found.array[:, 0, 0, 0].tolist() == [1, 1, 0, 0, 0]
    assert "40 % of the reference lies outside of it, as background" in note
    own = make_image(Path("a.nii"), Stored(hot, affine, 3), channels="independent")
    found, _ = onto(own, image(np.zeros((5, 4, 4), np.uint8), np.eye(4)))
    assert found.array[0, 0, 0].tolist() == [0, 0, 0]


def test_grids_apart_and_images_of_other_dimensions_are_refused():
    far = np.eye(4)
    far[0, 3] = 900
    with pytest.raises(CaseError, match="do not overlap in space"):
        onto(image(LABELS, far), image(LABELS, np.eye(4)))
    with pytest.raises(CaseError, match=r"it has 2 axes and a\.nii has 3; both need 3"):
        onto(image(LABELS[..., 0], np.eye(4), 2), image(LABELS, np.eye(4)))


@pytest.mark.parametrize("name", ["example_seg", "example_seg_fast_force_split"])
def test_a_real_prediction_of_a_part_of_the_image(data_dir, name):
    from medloss.evaluation.reading.images import read_image

    whole = read_image(data_dir / "totalsegmentator" / f"{name}.nii.gz")
    affine = whole.affine.copy()
    affine[:3, 3] += affine[:3, 0] * 3 + affine[:3, 2] * 10
    found, _ = onto(image(whole.array[3:, :, 10:], affine), whole)
    expected = whole.array.copy()
    expected[:3] = 0
    expected[:, :, :10] = 0
    np.testing.assert_array_equal(found.array, expected)
