"""Distance transforms against brute force and scipy."""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from medloss.distance import signed_distance, squared_distance
from medloss.distance.signed import Convention

SPACINGS = st.sampled_from([0.3, 0.5, 0.78, 1.0, 2.5, 6.5, 10.0])


def brute_force(sites: np.ndarray, spacing_mm: tuple[float, ...], radius: float) -> np.ndarray:
    """Every voxel against every site, the site being a box of half-width ``radius`` voxels."""
    grid = np.stack(np.meshgrid(*map(np.arange, sites.shape), indexing="ij"), -1).reshape(
        -1, sites.ndim
    )
    away = np.abs(grid[:, None] - grid[sites.ravel()][None])
    outside_box = np.maximum(away - radius, 0) * np.asarray(spacing_mm)
    return (outside_box**2).sum(-1).min(1).reshape(sites.shape)


@st.composite
def masks(draw: Any) -> tuple[torch.Tensor, tuple[float, ...]]:
    shape = draw(st.sampled_from([(7, 5), (4, 5, 6), (1, 9, 2), (6, 1)]))
    density = draw(st.sampled_from([0.02, 0.2, 0.9]))
    seed = draw(st.integers(0, 10**6))
    mask = np.random.default_rng(seed).random(shape) < density
    mask.flat[draw(st.integers(0, mask.size - 1))] = True
    return torch.from_numpy(mask), tuple(draw(SPACINGS) for _ in shape)


@given(masks())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_squared_distance_equals_brute_force(case: tuple[torch.Tensor, tuple[float, ...]]) -> None:
    mask, spacing_mm = case
    for to, radius in (("centre", 0.0), ("voxel", 0.5)):
        got = squared_distance(mask[None], spacing_mm, to=to, dtype=torch.float64)[0]  # type: ignore[arg-type]
        np.testing.assert_allclose(got, brute_force(mask.numpy(), spacing_mm, radius), atol=1e-9)


@given(masks())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_symmetric_map_equals_scipy(case: tuple[torch.Tensor, tuple[float, ...]]) -> None:
    mask, spacing_mm = case
    got = signed_distance(
        mask[None, None], (spacing_mm,), convention="symmetric", empty="zero", dtype=torch.float64
    )
    if mask.all():
        assert (got == 0).all()
        return
    inside = distance_transform_edt(mask.numpy(), sampling=spacing_mm)
    outside = distance_transform_edt(~mask.numpy(), sampling=spacing_mm)
    np.testing.assert_allclose(got[0, 0], outside - inside, atol=1e-9)


def test_float32_is_as_good_as_its_rounding() -> None:
    mask = torch.zeros(1, 1, 200, 3, 200, dtype=torch.bool)
    mask[..., 0, 0, 0] = True
    exact = signed_distance(mask, ((3.0, 1.0, 0.7),), dtype=torch.float64)
    single = signed_distance(mask, ((3.0, 1.0, 0.7),))
    torch.testing.assert_close(single.double(), exact, rtol=3e-7, atol=0)


def test_zero_lies_on_the_voxel_faces() -> None:
    mask = torch.zeros(1, 1, 8, 6, dtype=torch.bool)
    mask[..., 3:5, 2:4] = True
    phi = signed_distance(mask, ((2.0, 0.5),))[0, 0]
    torch.testing.assert_close(phi[:, 2], torch.tensor([5.0, 3, 1, -0.25, -0.25, 1, 3, 5]))
    torch.testing.assert_close(phi[3], torch.tensor([0.75, 0.25, -0.25, -0.25, 0.25, 0.75]))
    assert float(phi[2, 1]) == pytest.approx(math.hypot(1.0, 0.25))  # to the corner of the block


def test_kervadec_map_of_the_papers_code() -> None:
    row = torch.tensor([[[[0, 0, 0, 1, 1, 1, 0, 0, 0]]]]).bool()
    phi = signed_distance(row, ((1.0, 1.0),), convention="kervadec")[0, 0, 0]
    assert phi.tolist() == [3, 2, 1, 0, -1, 0, 1, 2, 3]


def test_kervadec_map_keeps_the_rim_at_zero_in_millimetres() -> None:
    """The paper's code subtracts 1 from millimetres: +0.5 on the rim of 0.5 mm voxels."""
    row = torch.tensor([[[[0, 0, 1, 1, 1, 0, 0]]]]).bool()
    phi = signed_distance(row, ((0.5, 0.5),), convention="kervadec")[0, 0, 0]
    assert phi.tolist() == [1.0, 0.5, 0, -0.5, 0, 0.5, 1.0]


@pytest.mark.parametrize("convention", ["surface", "kervadec", "symmetric"])
def test_empty_and_full_masks(convention: Convention) -> None:
    mask = torch.stack([torch.zeros(3, 4), torch.ones(3, 4)]).bool()[None]
    silent = signed_distance(mask, ((1.0, 2.0),), convention=convention, empty="zero")
    assert (silent == 0).all()
    border = signed_distance(mask, ((1.0, 2.0),), convention=convention)[0]
    expected = torch.tensor([[0.5, 0.5, 0.5, 0.5], [1.0, 1.5, 1.5, 1.0], [0.5, 0.5, 0.5, 0.5]])
    torch.testing.assert_close(border[0], expected)
    torch.testing.assert_close(border[1], -expected)


def test_each_sample_has_its_own_spacing() -> None:
    mask = torch.zeros(2, 1, 5, 5, dtype=torch.bool)
    mask[..., 2, 2] = True
    both = signed_distance(mask, ((1.0, 1.0), (3.0, 0.5)))
    for index, row in enumerate(((1.0, 1.0), (3.0, 0.5))):
        torch.testing.assert_close(both[index : index + 1], signed_distance(mask[:1], (row,)))


@pytest.mark.parametrize("flip", list(product([False, True], repeat=3))[1:])
def test_flips_commute(flip: tuple[bool, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    mask = torch.rand(1, 2, 6, 5, 4, generator=generator) > 0.7
    axes = [axis + 2 for axis, turned in enumerate(flip) if turned]
    spacing = ((1.0, 2.0, 0.5),)
    torch.testing.assert_close(
        signed_distance(mask.flip(axes), spacing), signed_distance(mask, spacing).flip(axes)
    )
