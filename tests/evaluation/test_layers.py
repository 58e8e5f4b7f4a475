"""Classes of all kinds of files against masks that are cut out one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medloss.evaluation.inputs.layers import ClassCases, disjoint, make_layers
from medloss.evaluation.reading.images import Image, make_image
from medloss.evaluation.reading.stored import CaseError, Stored
from medloss.evaluation.reading.values import recode
from medloss.scoring import Case

GRID = np.diag([1.0, 2.0, 3.0, 1.0])
OWN = "independent"
RNG = np.random.default_rng(5)


def image(array: np.ndarray, channels=None, name: str = "a.nii") -> Image:
    return make_image(Path(name), Stored(array, GRID, 3), channels=channels)


def maps(labels: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return tuple(RNG.integers(0, labels, (6, 7, 8)).astype(np.uint8) for _ in range(2))


def counts(layers, label, ignored=None):
    case, code = ClassCases(layers, (1, 2, 3), "deepmind", ignored).find(label)
    return case.counts(code)


def test_regions_are_scored_like_their_masks():
    prediction, reference = maps()
    regions = {"whole": (1, 2, 4), "core": (1, 4), "far": (3, 900), "edge": (2, 3)}
    labels = ["whole", 3, "core", "far", "edge", 1]
    layers = make_layers(image(prediction), image(reference), labels, regions)
    cases = ClassCases(layers, (1, 2, 3), "deepmind")
    for label in labels:
        members = regions.get(label, (label,))
        one, other = np.isin(reference, members), np.isin(prediction, members)
        expected = Case(one, other, labels=[1], spacing_mm=(1, 2, 3))
        case, code = cases.find(label)
        assert case.counts(code) == expected.counts(1)
        np.testing.assert_array_equal(
            case.surfaces(code).reference_mm, expected.surfaces(1).reference_mm
        )
    # "whole" with "far", "core" with "edge" beside it, and the labels in the maps as they are.
    assert [set(layer.codes) for layer in layers] == [{3, 1}, {"whole", "far"}, {"core", "edge"}]
    assert layers[0].reference is reference


def test_without_labels_every_label_of_either_map_counts_but_the_ignored_one():
    prediction, reference = maps()
    prediction[0, 0, 0] = 9
    reference[0, 0, 0] = 7
    (layer,) = make_layers(image(prediction), image(reference), None, {}, without=7)
    assert list(layer.codes) == [1, 2, 3, 4, 9]


@st.composite
def stacks(draw):
    bits = draw(st.integers(1, 2**31))
    return np.random.default_rng(bits).integers(0, 2, (4, 5, 6, draw(st.integers(2, 4)))), bits


@given(stacks(), st.sampled_from([np.uint8, np.int16, np.float32, np.bool_]))
def test_channels_that_overlap_are_classes_of_their_own(stack, dtype):
    array, bits = stack
    other = np.random.default_rng(bits + 1).permutation(array, axis=0)
    layers = make_layers(*(image(one.astype(dtype), OWN) for one in (array, other)), None, {})
    for channel in range(array.shape[-1]):
        one, two = other[..., channel], array[..., channel]
        assert counts(layers, channel + 1) == Case(one, two, labels=[1]).counts(1)


def test_probabilities_of_their_own_count_from_one_half():
    array = np.zeros((2, 2, 2, 2), np.float32)
    array[0, 0, 0] = 0.5, 0.9
    array[1, 1, 1] = 0.49, 0.6
    with pytest.raises(CaseError, match="say --channels independent"):
        image(array)
    both = image(array, "independent")
    layers = make_layers(both, both, None, {})
    assert [counts(layers, label).tp for label in (1, 2)] == [1, 2]


def test_one_hot_channels_are_the_label_map():
    prediction, reference = maps(3)
    hot = image(np.eye(3, dtype=np.uint8)[prediction])
    assert not hot.independent
    layers = make_layers(hot, image(reference), None, {})
    plain = make_layers(image(prediction), image(reference), None, {})
    for label in (1, 2):
        assert counts(layers, label) == counts(plain, label)


def test_with_regions_the_channels_are_those_that_the_labels_list():
    _, reference = maps(4)
    regions = {"whole": (1, 2, 3), "core": (2, 3)}
    masks = [np.isin(reference, regions["whole"]), reference == 3, np.isin(reference, (2, 3))]
    stack = image(np.stack(masks, axis=-1).astype(np.uint8), OWN)
    for sides in ((stack, image(reference)), (image(reference), stack)):
        layers = make_layers(*sides, ["whole", 3, "core"], regions)
        for label in ("whole", 3, "core"):
            found = counts(layers, label)
            assert found.tp > 0
            assert found.fp == found.fn == 0
    with pytest.raises(CaseError, match="has 3 channels for 2 classes"):
        make_layers(stack, image(reference), ["whole", "core"], regions)


def test_channels_that_overlap_do_not_match_plain_labels():
    _, reference = maps(3)
    overlapping = np.ones((6, 7, 8, 2), np.uint8)
    with pytest.raises(CaseError, match=r"overlap, which the labels of b\.nii cannot"):
        make_layers(image(overlapping, OWN), image(reference, name="b.nii"), None, {})
    apart = np.stack([reference == 1, reference == 2], axis=-1).astype(np.uint8)
    layers = make_layers(image(apart, OWN), image(reference), None, {})
    assert counts(layers, 2).fp == counts(layers, 2).fn == 0


@pytest.mark.parametrize("hole", [0, 1])
def test_channels_are_not_taken_for_classes_of_their_own_unless_told(hole):
    """One-hot but for a voxel: were channel 0 label 1, every number would be wrong."""
    _, reference = maps(3)
    hot = np.eye(3, dtype=np.uint8)[reference]
    hot[0, 0, 0] = hole
    with pytest.raises(CaseError, match="say --channels independent"):
        image(hot)


def test_a_label_beyond_the_channels_is_nowhere():
    own = image(np.ones((6, 7, 8, 2), np.uint8), OWN)
    assert counts(make_layers(own, own, [1, 5], {}), 5).reference == 0


def test_regions_without_a_common_label_share_a_map():
    assert disjoint({"a": (1,), "b": (2, 3), "c": (3, 4)}) == [
        {"a": (1,), "b": (2, 3)},
        {"c": (3, 4)},
    ]


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("high", [3, 255, 300, 70000])
@pytest.mark.parametrize(
    "order",
    [
        lambda a: a,
        np.asfortranarray,
        lambda a: a.transpose(1, 0, 2),
        lambda a: np.asfortranarray(a)[::-1, :, ::-1],
        lambda a: a[:, ::2],
    ],
)
def test_recoded_labels_in_any_memory_order(order, high, keep):
    label_map = order(np.random.default_rng(1).choice([0, 1, 2, 3, high], (5, 6, 7)))
    changes = {1: 2, 2: 1, 3: 0, 999: 4, 888888: 1}
    expected = np.vectorize(lambda old: changes.get(old, old if keep else 0))(label_map)
    found = recode(label_map, changes, keep=keep)
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.min_scalar_type(max(int(expected.max()), 2))
    if order is np.asfortranarray:
        assert found.flags.f_contiguous


@pytest.mark.parametrize("packed", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha"])
def test_the_kernels_get_the_bytes_of_the_file_without_a_copy(save, packed):
    from medloss.evaluation.reading.images import read_image
    from medloss.scoring.maps import LabelMaps

    one, other = (
        read_image(save(f"{side}/{packed}", array))
        for side, array in zip("pr", maps(), strict=True)
    )
    (layer,) = make_layers(one, other, [1, 2], {})
    seen = LabelMaps(layer.reference, layer.prediction, (1, 2))
    assert np.shares_memory(seen.reference, other.array)
    assert np.shares_memory(seen.prediction, one.array)
    # Which is what the reader made of the file's bytes: nothing in between owns an array.
    assert not other.array.flags.owndata
    assert other.array.flags.f_contiguous
