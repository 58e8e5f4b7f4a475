"""Metrics of each object in its cell: worked values, ties, empties, what counts, one function."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

import medloss
from medloss.objects.cells import nearest_objects
from medloss.offers.host import host
from medloss.scoring import Case, Cells, EmptyPolicy, score
from medloss_topology.instances import cells as cells_of_the_losses

DICE, IOU = "per_component_dice", "per_component_jaccard"
HD95, ASSD = "per_component_hausdorff95", "per_component_average_symmetric_surface_distance"
NSD = "per_component_normalized_surface_dice"
Map = NDArray[np.uint8]


def toy() -> tuple[Map, Map]:
    """A large object that is found but for a layer, a small one beside which something is found."""
    reference, prediction = np.zeros((2, 24, 12, 12), dtype=np.uint8)
    reference[2:6, 2:6, 2:6] = reference[14:16, 4:6, 4:6] = 1
    prediction[3:7, 2:6, 2:6] = prediction[11:13, 4:6, 4:6] = 1
    return reference, prediction


def value(name: str, case: Case, policy: EmptyPolicy | None = None, **options: object) -> float:
    metric = host().metrics.find(name)
    return score(metric.load(), metric.record, case, 1, policy, **options).value


@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize(
    ("spacing", "expected"),
    [
        (1.0, {DICE: 0.375, IOU: 0.3, HD95: 2.0, ASSD: 1.4285714286, NSD: 0.5}),
        ((3, 1, 1), {DICE: 0.375, HD95: 6.0, ASSD: 4.2142857143}),
    ],
)
def test_worked_values(order: str, spacing: object, expected: dict[str, float]) -> None:
    maps = [np.array(each, order=order) for each in toy()]
    case = Case(*maps, labels=[1], spacing_mm=spacing, preset="monai")
    assert {name: value(name, case) for name in expected} == pytest.approx(expected)
    assert value(DICE, case, cells_in="voxels") == expected[DICE]


def _by_distance(numbers: NDArray[np.int32], spacing: tuple[float, ...]) -> NDArray[np.intp]:
    """The first of the nearest objects, from one distance transform of each."""
    each = [distance_transform_edt(numbers != n, spacing) for n in range(1, numbers.max() + 1)]
    return np.round(each, 9).argmin(0) + 1


def test_cells_are_those_of_distances_and_ties_go_to_the_first() -> None:
    draw = np.random.default_rng(3)
    spacings = ((1, 1, 1), (3, 1, 1), (0.7, 0.7, 2.1), (0.8, 0.5, 1.25))
    for n in range(60):
        axes = 2 + n % 2
        places = draw.random(draw.integers(2, 10, size=axes)) < draw.choice([0.03, 0.1, 0.3])
        places.flat[draw.integers(places.size)] = True
        numbers = np.zeros(places.shape, np.int32)
        numbers[places] = draw.permutation(np.count_nonzero(places)) + 1
        spacing = spacings[n % 4][:axes]
        expected = _by_distance(numbers, spacing)
        np.testing.assert_array_equal(nearest_objects(numbers, spacing), expected)
        wanted = draw.random(places.shape) < 0.4
        found = nearest_objects(numbers, spacing, wanted)
        np.testing.assert_array_equal(found[wanted], expected[wanted])
        by_loss = cells_of_the_losses(torch.from_numpy(numbers), spacing)
        np.testing.assert_array_equal(by_loss.numpy(), expected)


def test_the_first_object_is_the_first_in_the_order_of_the_image_whatever_the_memory() -> None:
    """The middle column is as near to both: it belongs to the upper object, or to the left one."""
    reference = np.array([[0, 0, 0, 0, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]], dtype=np.uint8)
    prediction = np.array([[0, 0, 0, 0, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=np.uint8)
    for order in "CF":
        maps = [np.array(each, order=order) for each in (reference, prediction)]
        case = Case(*maps, labels=[1], spacing_mm=1.0)
        assert value(DICE, case) == (2 / 3 + 0) / 2  # the first row's
        turned = Case(*(each.T for each in maps), labels=[1], spacing_mm=1.0)
        assert value(DICE, turned) == (1 + 0) / 2  # the first column's


def test_cells_in_mm_are_not_those_in_voxels() -> None:
    reference, prediction = np.zeros((2, 9, 9), dtype=np.uint8)
    reference[0, 0] = reference[8, 3] = prediction[0, 0] = prediction[8, 3] = prediction[3, 3] = 1
    case = Case(reference, prediction, labels=[1], spacing_mm=(1.0, 4.0))
    # In mm from (3, 3): √(9 + 144) and 5. In voxels: √18 and 5.
    counts = [[c.prediction for c in case.cells(1).counts(cells_in=u)] for u in ("mm", "voxels")]
    assert counts == [[1, 2], [2, 1]]
    unknown = Case(reference, prediction, labels=[1])
    assert value(DICE, unknown, cells_in="voxels") == (2 / 3 + 1) / 2
    with pytest.raises(ValueError, match="cells_in=voxels"):
        value(DICE, unknown)
    with pytest.raises(ValueError, match="expected mm or voxels"):
        value(DICE, case, cells_in="cm")
    with pytest.raises(ValueError, match="connectivity"):
        value(DICE, case, connectivity="none")


def test_missed_objects_and_empty_classes_count_as_the_policy_says() -> None:
    reference, prediction = toy()
    prediction[11:13] = 0  # the small one has nothing
    nothing = np.zeros_like(reference)
    one = Case(reference, prediction, labels=[1], spacing_mm=1.0, preset="monai")
    missed, spurious, absent = (
        Case(*maps, labels=[1], spacing_mm=1.0, preset="monai")
        for maps in ((reference, nothing), (nothing, prediction), (nothing, nothing))
    )
    diagonal = math.sqrt(24**2 + 2 * 12**2)
    for policy, lost in (
        (EmptyPolicy(), diagonal),
        (EmptyPolicy(missed=90.0), 90.0),
        (EmptyPolicy(missed="inf"), math.inf),
    ):
        assert value(HD95, one, policy) == pytest.approx((1 + lost) / 2)
        assert value(HD95, missed, policy) == pytest.approx(lost)
        assert value(HD95, spurious, policy) == pytest.approx(lost)
    assert value(HD95, one, EmptyPolicy(missed="exclude")) == 1
    assert math.isnan(value(HD95, missed, EmptyPolicy(missed="exclude")))
    assert [value(name, case) for case in (missed, spurious) for name in (DICE, NSD)] == [0] * 4
    assert math.isnan(value(DICE, absent))
    perfect = EmptyPolicy(both_empty="perfect")
    assert [value(name, absent, perfect) for name in (DICE, HD95)] == [1, 0]


def test_an_ignored_object_has_no_cell_and_ignored_voxels_do_not_count() -> None:
    reference, prediction = toy()
    ignored = np.zeros(reference.shape, dtype=bool)
    ignored[13:] = True
    case = Case(reference, prediction, labels=[1], spacing_mm=1.0, ignored=ignored)
    assert value(DICE, case) == 2 * 48 / (64 + 64 + 8)  # what is false is all the large one's
    ignored[11:] = True
    case = Case(reference, prediction, labels=[1], spacing_mm=1.0, ignored=ignored)
    assert value(DICE, case) == 0.75


def test_given_objects_are_the_objects_and_their_numbers_decide_ties() -> None:
    row, touching = np.array([[1, 1, 1, 1, 0, 0]]), np.array([[9, 9, 4, 4, 0, 0]])
    found = np.array([[1, 1, 1, 0, 0, 1]])
    for order in "CF":
        arrays = (np.array(each, dtype=np.int32, order=order) for each in (row, found))
        objects = tuple(np.array(each, order=order) for each in (touching, found))
        case = Case(*arrays, labels=[1], spacing_mm=1.0, objects=objects)
        counts = case.cells(1).counts()
        assert [(c.tp, c.fp, c.fn) for c in counts] == [(1, 1, 1), (2, 0, 0)]
    tie = Cells(np.array([[9, 0, 4]]), np.array([[False, True, False]]), spacing_mm=(1.0, 1.0))
    assert [c.prediction for c in tie.counts()] == [1, 0]  # 4 is the lower number


def test_monai_form_scores_a_batch_and_asks_for_spacing() -> None:
    y, p = (torch.from_numpy(each)[None, None].repeat(2, 1, 1, 1, 1) for each in toy())
    metric = medloss.metric(HD95, preset="monai", missed=50.0)
    assert metric(p, y, spacing=1.0).tolist() == [[2.0], [2.0]]
    p[1, :, 11:13] = 0
    assert metric(p, y, spacing=1.0).tolist() == [[2.0], [25.5]]
    assert float(metric.aggregate()) == pytest.approx((2 + 2 + 2 + 25.5) / 4)
    with pytest.raises(ValueError, match="spacing"):
        medloss.metric(DICE)(p, y)
    by_voxels = medloss.metric(DICE, cells_in="voxels")
    assert by_voxels(p[:, :, :, 4], y[:, :, :, 4]).shape == (2, 1)
