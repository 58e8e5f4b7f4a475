"""Slabs that come one by one give what the whole volume gives on another grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from medloss.integrations.bundle import regrid
from medloss.integrations.bundle.regrid import OntoGrid


def regridded(
    volume: NDArray[Any], matrix: NDArray[Any], target: tuple[int, ...], cuts: Any, **options: Any
) -> Tensor:
    """The target from slabs between the cuts; fails where voxels come twice or never."""
    options = {"outside": (0.0,) * len(volume), **options}
    onto = OntoGrid(matrix, volume.shape[1:], target, **options)
    made = torch.full((len(volume), *target), torch.nan, dtype=torch.float64)
    for start, stop in zip([0, *cuts], [*cuts, volume.shape[1]], strict=True):
        slab = torch.from_numpy(volume[:, start:stop].copy())
        for piece in onto.add(slab):
            where = (slice(None), *piece.where)
            assert made[where].isnan().all()
            made[where] = piece.values
        slab.fill_(-1e9)  # the memory of a slab is used again
    assert not made.isnan().any()
    return made


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_it_is_linear_interpolation_of_the_whole_volume(data: st.DataObject) -> None:
    axes = data.draw(st.sampled_from([2, 3]))
    source = data.draw(st.tuples(*[st.integers(1, 7)] * axes))
    target = data.draw(st.tuples(*[st.integers(1, 9)] * axes))
    order = data.draw(st.permutations(range(axes)))
    matrix = np.eye(axes + 1)
    matrix[:axes, :axes] = 0
    for row, column in enumerate(order):
        step = data.draw(st.floats(0.3, 2.5)) * data.draw(st.sampled_from([-1, 1]))
        matrix[row, column] = step
        middle = (source[row] - 1) / 2 - step * (target[column] - 1) / 2
        matrix[row, -1] = middle + data.draw(st.floats(-2, 2))
    cuts = sorted(data.draw(st.sets(st.integers(1, source[0] - 1))) if source[0] > 1 else ())
    volume = np.random.default_rng(0).random((2, *source))
    made = regridded(volume, matrix, target, cuts, outside=(7.0, 8.0))
    places = np.tensordot(matrix[:axes, :axes], np.indices(target), 1)
    places += matrix[:axes, -1].reshape(-1, *[1] * axes)
    sizes = np.array(source).reshape(-1, *[1] * axes)
    inside = ((places >= -0.5) & (places <= sizes - 0.5)).all(0)
    near_border = (np.abs(np.abs(places - (sizes - 1) / 2) - sizes / 2) < 2e-4).any(0)
    for channel, outside in enumerate((7.0, 8.0)):
        expected = ndimage.map_coordinates(volume[channel], places, order=1, mode="nearest")
        expected = np.where(inside, expected, outside)
        different = np.abs(made[channel].numpy() - expected) > 1e-3
        assert not (different & ~near_border).any()


@pytest.mark.parametrize("cuts", [[], [1], [2, 3], [1, 2, 3, 4]])
def test_flips_and_turns_copy_voxels(cuts: list[int]) -> None:
    volume = np.random.default_rng(0).random((3, 5, 4, 6)).astype(np.float32)
    # target axes (a, b, c) run along source axes (2 backwards, 0 backwards, 1)
    matrix = np.array([[0, -1, 0, 4], [0, 0, 1, 0], [-1, 0, 0, 5], [0, 0, 0, 1.0]])
    made = regridded(volume, matrix, (6, 5, 4), cuts)
    expected = volume[:, ::-1, :, ::-1].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(made.float().numpy(), expected)


def test_rounding_of_affines_makes_no_mixture() -> None:
    volume = np.random.default_rng(0).random((1, 4, 4))
    matrix = np.array([[1 + 1e-7, 1e-9, 1e-8], [1e-9, -1 + 1e-7, 3.0], [0, 0, 1]])
    made = regridded(volume, matrix, (4, 4), [2])
    np.testing.assert_array_equal(made.numpy(), volume[:, :, ::-1])


def test_probabilities_still_sum_to_one_and_beyond_is_background() -> None:
    volume = torch.rand(3, 6, 5, generator=torch.Generator().manual_seed(0)).softmax(0).numpy()
    matrix = np.array([[0.7, 0, -2.0], [0, 0.4, 0.1], [0, 0, 1]])
    made = regridded(volume, matrix, (12, 9), [2, 4], outside=(1.0, 0.0, 0.0))
    torch.testing.assert_close(made.sum(0), torch.ones(12, 9, dtype=torch.float64))
    assert (made[0, :2] == 1).all()


def test_nearest_takes_a_voxel() -> None:
    volume = np.arange(5.0)[None, :, None].repeat(2, 2)
    matrix = np.array([[0.4, 0, 0.0], [0, 1, 0], [0, 0, 1]])
    made = regridded(volume, matrix, (11, 2), [1, 3], nearest=True)
    assert made[0, :, 0].tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4]


def test_much_finer_grids_come_in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = np.random.default_rng(0).random((2, 4, 3))
    matrix = np.array([[0.1, 0, 0.0], [0, 1, 0], [0, 0, 1]])
    whole = regridded(volume, matrix, (31, 3), [2])
    monkeypatch.setattr(regrid, "_PIECE_BYTES", 2 * 3 * 8 * 4)
    onto = OntoGrid(matrix, (4, 3), (31, 3), outside=(0.0, 0.0))
    pieces = [*onto.add(torch.from_numpy(volume))]
    assert max(piece.values.shape[1] for piece in pieces) == 4
    torch.testing.assert_close(torch.cat([piece.values for piece in pieces], 1), whole)


def test_a_turn_that_is_none_of_90_degrees_is_refused() -> None:
    c, s = np.cos(0.1), np.sin(0.1)
    matrix = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    with pytest.raises(ValueError, match="expected grids with parallel axes"):
        OntoGrid(matrix, (9, 9), (9, 9), outside=(0.0,))
