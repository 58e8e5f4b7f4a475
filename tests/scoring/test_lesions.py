"""Components of a class: volumes and overlaps of lesions, whatever joins and ignores voxels."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scoring.lesion_scenes import lesion_scenes

from medloss.objects.components import connected_components, label_components
from medloss.scoring import Case, Components
from medloss.scoring import lesions as module

STEPS = {"faces": 1, "edges": 2, "corners": 3}


def noise(seed, shape):
    rng = np.random.default_rng(seed)
    return rng.random(shape) < 0.25, rng.random(shape) < 0.25, rng.random(shape) < 0.2


def brute_force(reference, prediction, ignored, steps, dilation=0):
    """Volumes on both sides and the overlap of all pairs that meet, as sets of voxels."""
    axes = reference.ndim
    grown = reference
    for _ in range(dilation):
        grown = ndimage.binary_dilation(grown, ndimage.generate_binary_structure(axes, 2))
    sides = []
    for mask in (grown, prediction):
        numbers, many = ndimage.label(
            mask, ndimage.generate_binary_structure(axes, min(steps, axes))
        )
        sides.append(
            [set(map(tuple, np.argwhere((numbers == n + 1) & ~ignored))) for n in range(many)]
        )
    inside = set(map(tuple, np.argwhere(reference & ~ignored)))
    whole = [lesion for lesion in sides[0] if lesion & inside]
    predicted = [lesion for lesion in sides[1] if lesion]
    pairs = {
        (len(g & inside), len(p)): len(g & p & inside)
        for g, p in itertools.product(whole, predicted)
        if g & p
    }
    return (
        sorted(len(g & inside) for g in whole),
        sorted(map(len, predicted)),
        sorted(pairs.items()),
    )


@given(
    seed=st.integers(0, 10_000),
    shape=st.sampled_from([(6, 5, 7), (3, 4, 40), (9, 8), (30,), (1, 6, 6), (4, 0, 3), (5, 1, 9)]),
    steps=st.integers(1, 3),
    share=st.floats(0.02, 0.98),
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_numbers_are_those_of_scipy(seed, shape, steps, share):
    """To the order in which objects are numbered."""
    mask = np.random.default_rng(seed).random(shape) < share
    steps = min(steps, mask.ndim)
    numbers, count = label_components(mask, steps)
    theirs, many = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, steps))
    assert count == many
    assert numbers.dtype == np.int32
    np.testing.assert_array_equal(numbers, theirs)
    turned = label_components(mask.T, steps)[0]
    assert turned.max(initial=0) == many
    np.testing.assert_array_equal(connected_components([mask], steps), theirs)


def test_one_long_object_and_many_small_ones():
    comb = np.zeros((2, 50, 51), dtype=bool)
    comb[0, :, ::2] = True  # joined only by the last row
    comb[0, -1] = True
    assert label_components(comb, 1)[1] == 1
    checks = np.indices((20, 20, 20)).sum(0) % 2 == 0
    assert [label_components(checks, steps)[1] for steps in (1, 2, 3)] == [4000, 1, 1]


@pytest.mark.parametrize(("axes", "connectivity"), [(2, 3), (2, 0), (3, 26), (2, 1.0)])
def test_a_connectivity_beyond_the_axes_is_refused(axes, connectivity):
    with pytest.raises(ValueError, match=f"connectivity: expected None or 1 to {axes}, got"):
        label_components(np.ones((2,) * axes, dtype=bool), connectivity)
    with pytest.raises(ValueError, match="mask: expected 1 to 3 axes"):
        label_components(np.ones((1,) * 4, dtype=bool))


@given(
    seed=st.integers(0, 10_000),
    shape=st.sampled_from([(6, 5, 7), (9, 8), (1, 8, 7)]),
    connectivity=st.sampled_from(sorted(STEPS)),
    ignores=st.booleans(),
    dilation=st.integers(0, 2),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_sets_of_voxels_say_the_same(seed, shape, connectivity, ignores, dilation):
    reference, prediction, ignored = noise(seed, shape)
    if dilation:  # fewer, so that not everything grows together
        reference &= noise(seed + 1, shape)[0]
    ignored &= ignores
    found = Components(reference, prediction, ignored if ignores else None).lesions(
        connectivity=connectivity, dilation_voxels=dilation
    )
    own, met, pairs = brute_force(reference, prediction, ignored, STEPS[connectivity], dilation)
    assert sorted(found.reference_voxels.tolist()) == own
    assert sorted(found.prediction_voxels.tolist()) == met
    g, p = found.pairs.T
    mine = {
        (int(a), int(b)): int(n)
        for a, b, n in zip(
            found.reference_voxels[g], found.prediction_voxels[p], found.shared_voxels, strict=True
        )
    }
    assert mine.keys() == dict(pairs).keys()
    if len(mine) == len(found.pairs):  # volumes alone tell the pairs apart
        assert mine == dict(pairs)
    assert found.shared_voxels.sum() == (reference & prediction & ~ignored).sum()


def test_connectivity_worked_by_hand():
    reference, prediction = lesion_scenes()["corner"]
    found = Components(reference, prediction)
    sizes = {name: found.lesions(connectivity=name).prediction_voxels.tolist() for name in STEPS}
    # A ball of 33 voxels, a cube of 27 beside it, and a voxel at the corner of the cube.
    assert sizes == {"faces": [60, 1], "edges": [60, 1], "corners": [61]}


def test_a_slice_is_a_slice_with_two_axes_or_three():
    plane = np.zeros((4, 4), dtype=bool)
    plane[0, 0] = plane[1, 1] = True
    for name, many in (("faces", 2), ("edges", 1), ("corners", 1)):
        for mask in (plane, plane[None]):
            assert len(Components(mask, mask).lesions(connectivity=name).pairs) == many


def test_a_case_finds_the_lesions_of_each_class_in_its_box(monkeypatch):
    reference = np.zeros((9, 8, 7), dtype=np.uint8)
    prediction = np.zeros_like(reference)
    reference[1:3, 1:3, 1:3], reference[6:8, 6:8, 5:7], reference[4, 4, 4] = 1, 1, 2
    prediction[2:4, 1:3, 1:3], prediction[4, 4, 4], prediction[8, 0, 0] = 1, 2, 2
    calls = []

    def counted(mask, steps):
        calls.append(mask.shape)
        return inner(mask, steps)

    inner = module.component_runs
    monkeypatch.setattr(module, "component_runs", counted)
    for maps in (
        (reference, prediction),
        (np.asfortranarray(reference), np.asfortranarray(prediction)),
    ):
        calls.clear()
        case = Case(*maps, labels=[1, 2, 3], spacing_mm=(1, 2, 3))
        found = [case.components(label).lesions() for label in (1, 2, 3)]
        assert [sorted(x.reference_voxels.tolist()) for x in found] == [[8, 8], [1], []]
        assert [sorted(x.prediction_voxels.tolist()) for x in found] == [[8], [1, 1], []]
        assert [x.shared_voxels.tolist() for x in found] == [[4], [1], []]
        assert found[0].voxel_mm3 == 6
        case.components(1).lesions()  # each map is labelled once, for all metrics
        assert [math.prod(shape) for shape in calls] == [7 * 7 * 6] * 2 + [5 * 5 * 5] * 2 + [0] * 2


def test_dilation_reaches_beyond_the_box_as_in_the_whole_image():
    reference, prediction = lesion_scenes()["near each other"]
    whole = Components(reference, prediction).lesions(dilation_voxels=3)
    case = Case(reference.astype(int), prediction.astype(int), labels=[1])
    cut = case.components(1).lesions(dilation_voxels=3)
    assert cut.reference_voxels.tolist() == whole.reference_voxels.tolist() == [246, 33]
    assert cut.pairs.tolist() == whole.pairs.tolist()
    assert cut.shared_voxels.tolist() == whole.shared_voxels.tolist()


def test_an_ignored_lesion_is_none_and_others_keep_their_numbers():
    reference = np.array([[1, 0, 1, 0, 1, 1, 0]], dtype=bool)
    prediction = np.array([[1, 0, 0, 0, 1, 1, 1]], dtype=bool)
    ignored = np.array([[1, 0, 0, 0, 1, 0, 0]], dtype=bool)
    found = Components(reference, prediction, ignored).lesions()
    assert found.reference_voxels.tolist() == [1, 1]
    assert found.prediction_voxels.tolist() == [2]
    assert (found.pairs.tolist(), found.shared_voxels.tolist()) == ([[1, 0]], [1])
    assert found.centred.tolist() == [[1, 0]]


def test_the_centre_of_a_ring_is_in_the_ring_and_ties_count():
    ring = np.ones((5, 5), dtype=bool)
    ring[1:4, 1:4] = False
    assert Components(ring, ring).lesions().centred.tolist() == [[0, 0]]
    inner = np.zeros_like(ring)
    inner[2, 2] = True
    assert Components(inner, ring).lesions().centred.tolist() == []
    even = np.zeros((4, 6), dtype=bool)
    even[1:3, 2:4] = True
    for part in np.argwhere(even):  # each of the four voxels is as near to the centre
        one = np.zeros_like(even)
        one[tuple(part)] = True
        assert Components(one, even).lesions().centred.tolist() == [[0, 0]]


def test_many_pairs_do_not_run_out_of_room():
    stripes = np.zeros((60, 60), dtype=bool)
    stripes[::2] = True
    found = Components(stripes, stripes.T.copy()).lesions(connectivity="faces")
    assert len(found.pairs) == 900
    assert found.shared_voxels.tolist() == [1] * 900
    dots = np.zeros((60, 60), dtype=bool)
    dots[::2, ::2] = True
    alone = Components(dots, dots).lesions()
    assert alone.centred.tolist() == alone.pairs.tolist() == [[n, n] for n in range(900)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connectivity": 26}, r"connectivity: expected faces \(6 .*got 26"),
        ({"dilation_voxels": -1}, "dilation_voxels: expected 0 or more, got -1"),
        ({"dilation_voxels": 1.5}, "dilation_voxels: expected a whole number, got 1.5"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, message):
    mask = np.ones((2, 2), dtype=bool)
    with pytest.raises(ValueError, match=message):
        Components(mask, mask).lesions(**options)


def test_an_empty_class_and_an_image_without_voxels_have_no_lesions():
    for shape in ((0, 4, 0), (2, 3, 4), (2, 3)):
        nothing = np.zeros(shape, dtype=np.uint8)
        for ignored in (None, np.ones(shape, dtype=bool)):
            case = Case(nothing, nothing, labels=[1], ignored=ignored)
            found = case.components(1).lesions(dilation_voxels=1)
            assert (len(found.reference_voxels), len(found.pairs)) == (0, 0)
            assert case.components(1).lesions().centred.shape == (0, 2)
