"""The kernels of the distance transform against brute force, scipy and the other backends.

Run by ``test_gpu.py``: on a GPU, or in Triton's interpreter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from distance.brute_force import blobs, brute_force
from interpreted import DEVICE
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from medloss.distance import chosen_distance_backend, distances, edt, gpu, signed_distance
from medloss.distance.transform import CANDIDATES, VARIABLE

SPACING_MM = (0.7, 2.5, 1.0)
SHAPES = [(7, 5), (6, 1), (1, 1, 1), (1, 9, 2), (5, 3, 4), (9, 1, 3)]


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that small masks have several tiles, and lines that end within one."""
    monkeypatch.setenv(VARIABLE, "triton")
    monkeypatch.setattr(gpu, "TALL", 4)
    monkeypatch.setattr(gpu, "WIDE", 8)
    monkeypatch.setattr(gpu, "STEP", 1)
    monkeypatch.setattr(gpu, "SCANNED", 16)


def masks(shape: tuple[int, ...]) -> Tensor:
    """Noise, one voxel, an empty mask and a full one, two of each; (2, 4, *shape)."""
    noise = np.random.default_rng(0).random((2, 4, *shape)) < 0.3
    noise[:, 1:] = False
    noise.reshape(2, 4, -1)[:, 1, np.prod(shape) // 3] = True
    noise[:, 3] = True
    return torch.from_numpy(noise)


def measure(mask: Tensor, rows: Any, **options: Any) -> np.ndarray:
    given = {"radius": 0.0, "inside": 1, "outside": 1, "dtype": torch.float64, **options}
    found: np.ndarray = distances(mask.to(DEVICE), rows, **given).cpu().numpy()
    return found


@pytest.mark.parametrize("shape", SHAPES)
def test_equals_brute_force(shape: tuple[int, ...]) -> None:
    whole = masks(shape)
    rows = (SPACING_MM[: len(shape)], (1.0, 1.0, 3.0)[: len(shape)])
    both = measure(whole, rows, radius=0.5, inside=-1, skip=2)
    single = measure(whole, rows, outside=0, dtype=torch.float32)
    assert single.dtype == np.float32
    assert not both[:, :2].any()
    for b, c in np.ndindex(2, 4):
        mask = whole[b, c].numpy()
        inside, outside = (brute_force(m, rows[b], 0.5) for m in (mask, ~mask))
        np.testing.assert_allclose(both[b, 2 + c], outside - inside, rtol=1e-14)
        expected = brute_force(mask, rows[b], 0.0)
        np.testing.assert_allclose(single[b, c], expected, rtol=2e-7)


@pytest.mark.parametrize("shape", [(9, 3, 8), (6, 5, 5)])  # four lines at a time, or one
def test_equals_scipy(shape: tuple[int, ...]) -> None:
    mask = blobs((1, 1, *shape), 0.1)
    found = edt((~mask).to(DEVICE), SPACING_MM).cpu()[0, 0]
    expected = distance_transform_edt(~mask[0, 0].numpy(), sampling=SPACING_MM)
    np.testing.assert_allclose(found, expected, rtol=2e-7)


def test_whole_squares_have_the_bits_of_the_other_backends(monkeypatch: Any) -> None:
    mask = blobs((1, 1, 7, 3, 8), 0.2)
    found = signed_distance(mask.to(DEVICE), "voxel", convention="symmetric").cpu()
    monkeypatch.setenv(VARIABLE, "numba")
    assert torch.equal(found, signed_distance(mask, "voxel", convention="symmetric"))


def test_objects_at_both_ends_of_a_line() -> None:
    """The rest is empty after the first pass; the way there is longer than a tile."""
    mask = torch.zeros(1, 2, 37, 2, 4, dtype=torch.bool)
    mask[0, 0, 0, 0, 0] = mask[0, 0, 36, 1, 3] = mask[0, 1, 20, 1, 1] = True
    found = measure(mask, (SPACING_MM,), inside=0)
    for c in range(2):
        expected = distance_transform_edt(~mask[0, c].numpy(), sampling=SPACING_MM)
        np.testing.assert_allclose(found[0, c], expected, rtol=1e-14)


@pytest.mark.parametrize("shift", [(0.5, 0.0, -0.25), (0.0, 0.0, 0.5)])
def test_measured_from_elsewhere_in_the_voxel(shift: tuple[float, ...]) -> None:
    """A point on a face between two kinds has a way of 0, which is neither side's."""
    mask = blobs((1, 1, 5, 3, 4), 0.3)
    found = measure(mask, (SPACING_MM,), radius=0.5, shift=shift)
    inside = brute_force(mask[0, 0].numpy(), SPACING_MM, 0.5, shift)
    outside = brute_force(~mask[0, 0].numpy(), SPACING_MM, 0.5, shift)
    np.testing.assert_allclose(found[0, 0], inside + outside, rtol=1e-14, atol=1e-14)


def test_any_memory_layout_and_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = blobs((1, 2, 5, 3, 4), 0.4)
    expected = measure(mask, (SPACING_MM,))
    monkeypatch.setattr(gpu, "TALL", 16)
    monkeypatch.setattr(gpu, "WIDE", 64)
    monkeypatch.setattr(gpu, "STEP", 4)
    np.testing.assert_array_equal(
        measure(mask.to(memory_format=torch.channels_last_3d), (SPACING_MM,)), expected
    )


def test_what_it_refuses() -> None:
    for mask, words in (
        (torch.zeros(1, 1, 1, 20000, dtype=torch.bool), "longer than 16384 voxels"),
        (torch.zeros(0, 1, 2, 2, dtype=torch.bool), "the mask is empty"),
    ):
        with pytest.raises(ValueError, match=f"triton cannot measure here: .*{words}"):
            chosen_distance_backend(mask.to(DEVICE))


@pytest.mark.skipif(DEVICE == "cpu", reason="no CUDA device to wait for")
def test_nothing_waits_for_the_device() -> None:
    mask = masks((8, 6, 4)).to(DEVICE)
    assert CANDIDATES["triton"].load() is gpu
    signed_distance(mask, 1.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        signed_distance(mask, SPACING_MM)
        signed_distance(mask, (SPACING_MM, (1.0, 1.0, 1.0)), known=mask[:, :1])
    finally:
        torch.cuda.set_sync_debug_mode("default")
