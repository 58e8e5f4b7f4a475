from __future__ import annotations

import numpy as np
import pytest

from medloss.scoring import Counts, count_classes
from medloss.scoring import maps as module


def count_by_masks(reference, prediction, label):
    r, p = reference == label, prediction == label
    return Counts(
        tp=int((r & p).sum()),
        fp=int((~r & p).sum()),
        fn=int((r & ~p).sum()),
        tn=int((~r & ~p).sum()),
    )


@pytest.mark.parametrize("dtypes", ["uint8 uint8", "int64 uint8", "int16 int32", "uint16 int8"])
@pytest.mark.parametrize("shape", [(7, 11), (6, 5, 4), (1, 1, 30)])
@pytest.mark.parametrize("piece", [1, 13, 1 << 20])
@pytest.mark.parametrize("top", [4, 120])
def test_equal_to_one_mask_for_each_label(dtypes, shape, piece, top, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", piece)
    rng = np.random.default_rng(0)
    maps = [rng.integers(0, top, shape).astype(dtype) for dtype in dtypes.split()]
    labels = [3, 0, 1, 119, 200, 70000]
    found = count_classes(*maps, labels)
    assert list(found) == labels
    for label in labels:
        assert found[label] == count_by_masks(*maps, label)


@pytest.mark.parametrize("values", [(-5, 0, 7), (0, 300, 70000), (-1, 255, 256)])
@pytest.mark.parametrize("side", ["reference", "prediction", "both"])
def test_labels_that_do_not_fit_in_a_byte(values, side):
    rng = np.random.default_rng(1)
    wide = rng.choice(np.array(values, dtype=np.int32), (2, 8, 9))
    maps = [wide[0], wide[1]]
    if side != "both":
        maps[side == "reference"] = rng.integers(0, 8, (8, 9), dtype=np.uint8)
    for labels in (values, (*values, 3, 44)):
        for label, found in count_classes(*maps, labels).items():
            assert found == count_by_masks(*maps, label)


def test_bool_maps_and_views_in_any_order():
    rng = np.random.default_rng(2)
    reference, prediction = rng.random((2, 6, 7, 5)) < 0.4
    expected = count_by_masks(reference, prediction, 1)
    assert count_classes(reference, prediction, [1]) == {1: expected}
    turned = count_classes(np.asfortranarray(reference).T, prediction.T, [1])
    assert turned == {1: expected}
    part = count_classes(reference[::2, 1:], prediction[::2, 1:], [1])[1]
    assert part == count_by_masks(reference[::2, 1:], prediction[::2, 1:], 1)


def test_no_labels_and_no_voxels():
    one = np.ones((2, 2), dtype=np.int16)
    assert count_classes(one, one, []) == {}
    assert count_classes(one * 999, one, []) == {}
    none = np.ones((0, 2), dtype=np.uint8)
    assert count_classes(none, none, [1]) == {1: Counts(0, 0, 0, 0)}


def test_sums_of_counts():
    counts = Counts(tp=5, fp=3, fn=2, tn=90)
    assert (counts.reference, counts.prediction, counts.voxels) == (7, 8, 100)
    assert counts == Counts(
        tp=5, fp=3, fn=2, tn=90, voxel_mm3=2.5
    )  # the size of a voxel is no count
