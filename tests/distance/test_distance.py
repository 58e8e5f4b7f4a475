"""Distance transforms against brute force and scipy, by every backend."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from distance.brute_force import blobs, brute_force
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from medloss.distance import (
    Convention,
    Empty,
    chosen_distance_backend,
    distance_backends,
    distances,
    edt,
    signed_distance,
)
from medloss.distance.separable import Measurement
from medloss.distance.transform import CANDIDATES, VARIABLE

SPACINGS = st.sampled_from([0.3, 0.5, 0.78, 1.0, 2.5, 6.5, 10.0])
BACKENDS = [  # of masks on the CPU
    name
    for name in distance_backends()
    if not CANDIDATES[name].refuses(torch.zeros(1, 1, 2, 2, dtype=torch.bool), False)
]
SHAPES = [(7, 5), (4, 5, 6), (1, 9, 2), (6, 1), (1, 1, 1), (3, 40, 17), (70, 3)]
Case = tuple[Tensor, tuple[float, ...]]


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(VARIABLE, request.param)
    return str(request.param)


@st.composite
def masks(draw: Any) -> Case:
    """From empty to full, one voxel anywhere and noise of any density."""
    shape = draw(st.sampled_from(SHAPES))
    density = draw(st.sampled_from([0.0, 0.02, 0.2, 0.9, 1.0]))
    mask = np.random.default_rng(draw(st.integers(0, 10**6))).random(shape) < density
    if draw(st.booleans()):
        mask.flat[draw(st.integers(0, mask.size - 1))] ^= True
    return torch.from_numpy(mask), tuple(draw(SPACINGS) for _ in shape)


@given(masks(), st.sampled_from([0.0, 0.5]))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_every_backend_equals_brute_force(case: Case, radius: float) -> None:
    mask, spacing_mm = case
    inside = brute_force(mask.numpy(), spacing_mm, radius)
    outside = brute_force(~mask.numpy(), spacing_mm, radius)
    for name in BACKENDS:
        backend = CANDIDATES[name].load()

        def measure(*given: Any, backend: Any = backend, **options: Any) -> Tensor:
            found: Tensor = backend.distances(Measurement(*given, **options))
            return found

        for dtype, rtol in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
            options: dict[str, Any] = {"radius": radius, "skip": 0, "dtype": dtype}
            both = measure(mask[None, None], [spacing_mm], inside=-1, outside=1, **options)
            np.testing.assert_allclose(both[0, 0], outside - inside, rtol=rtol, atol=0)
            one = measure(mask[None, None], [spacing_mm], inside=1, outside=0, **options)
            np.testing.assert_allclose(one[0, 0], inside, rtol=rtol, atol=0)
            other = measure(mask[None, None], [spacing_mm], inside=0, outside=1, **options)
            np.testing.assert_allclose(other[0, 0], outside, rtol=rtol, atol=0)


@given(masks())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_edt_equals_scipy(case: Case) -> None:
    mask, spacing_mm = case
    if mask.all():
        assert edt(mask[None, None], spacing_mm).isinf().all()
        return
    expected = distance_transform_edt(mask.numpy(), sampling=spacing_mm)
    got = edt(mask[None, None], spacing_mm, dtype=torch.float64)[0, 0]
    np.testing.assert_allclose(got, expected, atol=1e-9)


@given(masks())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_symmetric_map_equals_scipy(case: Case) -> None:
    mask, spacing_mm = case
    got = signed_distance(
        mask[None, None], spacing_mm, convention="symmetric", empty="zero", dtype=torch.float64
    )
    if mask.all() or not mask.any():
        assert (got == 0).all()
        return
    inside = distance_transform_edt(mask.numpy(), sampling=spacing_mm)
    outside = distance_transform_edt(~mask.numpy(), sampling=spacing_mm)
    np.testing.assert_allclose(got[0, 0], outside - inside, atol=1e-9)


@pytest.mark.parametrize("share", [0.001, 0.3])
def test_large_volumes_equal_scipy(backend: str, share: float) -> None:
    """Beyond one block of columns; large objects and small ones."""
    mask = blobs((1, 2, 48, 61, 53), share)
    spacing_mm = (2.5, 0.7, 1.1)
    got = edt(~mask, spacing_mm)
    for c in range(2):
        expected = distance_transform_edt(~mask[0, c].numpy(), sampling=spacing_mm)
        np.testing.assert_allclose(got[0, c], expected, rtol=1e-6, atol=0)


def test_distances_of_hundreds_of_millimetres_in_half_precision_units() -> None:
    """Squares beyond 65504 are no concern: what is squared is float32."""
    mask = torch.ones(1, 1, 300, 2)
    mask[..., 0, 0] = 0
    expected = distance_transform_edt(mask[0, 0].numpy(), sampling=(5.0, 1.0))
    got = edt(mask.half(), (5.0, 1.0))
    assert got.dtype == torch.float32
    np.testing.assert_allclose(got[0, 0], expected, rtol=1e-6, atol=0)


def test_float32_is_as_good_as_its_rounding(backend: str) -> None:
    mask = torch.zeros(1, 1, 200, 3, 200, dtype=torch.bool)
    mask[..., 0, 0, 0] = True
    exact = signed_distance(mask, (3.0, 1.0, 0.7), dtype=torch.float64)
    single = signed_distance(mask, (3.0, 1.0, 0.7))
    torch.testing.assert_close(single.double(), exact, rtol=3e-7, atol=0)


def test_distances_from_elsewhere_in_the_voxel() -> None:
    """From any point of the box of a voxel to the box of the nearest one of the other kind."""
    mask, spacing_mm, shift = blobs((1, 1, 6, 5, 7), 0.3), (0.7, 2.5, 1.0), (0.5, -0.25, 0.0)
    options: dict[str, Any] = {"radius": 0.5, "dtype": torch.float64}
    got = distances(mask, (spacing_mm,), shift=shift, **options)[0, 0]
    inside = brute_force(mask[0, 0].numpy(), spacing_mm, 0.5, shift)
    outside = brute_force(~mask[0, 0].numpy(), spacing_mm, 0.5, shift)
    np.testing.assert_allclose(got, inside + outside, rtol=1e-12, atol=1e-12)
    asked = Measurement(mask, [spacing_mm], shift=shift, **options)
    with pytest.raises(ValueError, match="shift: expected 0 along every axis"):
        CANDIDATES["numba"].load().distances(asked)


def test_zero_lies_on_the_voxel_faces(backend: str) -> None:
    mask = torch.zeros(1, 1, 8, 6, dtype=torch.bool)
    mask[..., 3:5, 2:4] = True
    phi = signed_distance(mask, (2.0, 0.5))[0, 0]
    torch.testing.assert_close(phi[:, 2], torch.tensor([5.0, 3, 1, -0.25, -0.25, 1, 3, 5]))
    torch.testing.assert_close(phi[3], torch.tensor([0.75, 0.25, -0.25, -0.25, 0.25, 0.75]))
    assert float(phi[2, 1]) == pytest.approx(math.hypot(1.0, 0.25))  # to the corner of the block


def test_surface_map_never_jumps_by_more_than_a_voxel() -> None:
    """Continuous across the surface: |φ(a) − φ(b)| is at most the distance of two neighbours."""
    spacing_mm = (1.0, 2.0, 0.5)
    phi = signed_distance(blobs((1, 1, 20, 17, 23), 0.3), spacing_mm, dtype=torch.float64)
    for axis, step in enumerate(spacing_mm, start=2):
        assert float(phi.diff(dim=axis).abs().max()) <= step + 1e-12


def test_kervadec_map_of_the_papers_code() -> None:
    row = torch.tensor([[[[0, 0, 0, 1, 1, 1, 0, 0, 0]]]])
    phi = signed_distance(row, 1.0, convention="kervadec")[0, 0, 0]
    assert phi.tolist() == [3, 2, 1, 0, -1, 0, 1, 2, 3]


def test_kervadec_map_keeps_the_rim_at_zero_in_millimetres() -> None:
    """The paper's code subtracts 1 from millimetres: +0.5 on the rim of 0.5 mm voxels."""
    row = torch.tensor([[[[0, 0, 1, 1, 1, 0, 0]]]])
    phi = signed_distance(row, 0.5, convention="kervadec")[0, 0, 0]
    assert phi.tolist() == [1.0, 0.5, 0, -0.5, 0, 0.5, 1.0]


@pytest.mark.parametrize("convention", ["surface", "kervadec", "symmetric"])
def test_empty_and_full_masks(convention: Convention) -> None:
    mask = torch.stack([torch.zeros(3, 4), torch.ones(3, 4)]).bool()[None]
    silent = signed_distance(mask, (1.0, 2.0), convention=convention, empty="zero")
    assert (silent == 0).all()
    border = signed_distance(mask, (1.0, 2.0), convention=convention)[0]
    expected = torch.tensor([[0.5, 0.5, 0.5, 0.5], [1.0, 1.5, 1.5, 1.0], [0.5, 0.5, 0.5, 0.5]])
    torch.testing.assert_close(border[0], expected)
    torch.testing.assert_close(border[1], -expected)
    volume = signed_distance(mask[..., None], (1.0, 2.0, 0.1), convention=convention)
    torch.testing.assert_close(volume[0, ..., 0], border)  # a slice is an image


@pytest.mark.parametrize("name", BACKENDS)
def test_each_sample_has_its_own_spacing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, name)
    mask = torch.zeros(2, 2, 5, 5, dtype=torch.bool)
    mask[..., 2, 2] = True
    mask[:, 1, 0] = True
    rows = ((1.0, 1.0), (3.0, 0.5))
    both = signed_distance(mask, rows, skip=1)
    assert (both[:, 0] == 0).all()
    for index, row in enumerate(rows):
        torch.testing.assert_close(both[index : index + 1, 1:], signed_distance(mask[:1], row))


TURNS: list[Callable[[Tensor], Tensor]] = [
    *(
        (lambda t, axes=axes: t.flip(axes))
        for axes in ([2], [3, 4], [2, 3, 4])
    ),
    lambda t: t.transpose(2, 3).flip(2),
    lambda t: t.transpose(3, 4),
]  # fmt: skip


@pytest.mark.parametrize("turn", TURNS)
def test_flips_and_turns_commute(turn: Callable[[Tensor], Tensor]) -> None:
    mask = blobs((1, 2, 6, 5, 4), 0.4)
    torch.testing.assert_close(signed_distance(turn(mask), 2.0), turn(signed_distance(mask, 2.0)))


def test_an_axis_in_another_place_takes_its_spacing_along() -> None:
    mask, spacing_mm = blobs((1, 1, 6, 5, 9), 0.4), (1.0, 2.0, 0.5)
    whole = signed_distance(mask, spacing_mm)
    for order in ((0, 2, 1), (2, 0, 1), (2, 1, 0)):
        axes = (0, 1, *(2 + axis for axis in order))
        turned = signed_distance(mask.permute(axes), [spacing_mm[axis] for axis in order])
        torch.testing.assert_close(turned, whole.permute(axes), rtol=1e-6, atol=0)


@given(masks(), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_unknown_voxels_are_neither_inside_nor_outside(case: Case, seed: int) -> None:
    """The known voxels have the distances that they have among themselves."""
    mask, spacing_mm = case
    known = torch.from_numpy(np.random.default_rng(seed).random(mask.shape) < 0.6)
    options: dict[str, Any] = {"convention": "symmetric", "empty": "zero", "dtype": torch.float64}
    got = signed_distance(mask[None, None], spacing_mm, known=known[None, None], **options)[0, 0]
    places = np.argwhere(known.numpy()) * np.asarray(spacing_mm)
    kinds = mask[known].numpy()
    expected = np.zeros(len(places))
    if kinds.any() and not kinds.all():
        away = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
        away[kinds[:, None] == kinds[None]] = np.inf
        expected = np.where(kinds, -1, 1) * away.min(1)
    np.testing.assert_allclose(got[known], expected, atol=1e-9)
    assert (got[~known] == 0).all()


def test_unknown_voxels_beside_an_empty_or_full_class() -> None:
    mask = torch.zeros(1, 2, 3, 4, dtype=torch.bool)
    mask[:, 1] = True
    mask[..., 0] = ~mask[..., 0]
    known = torch.ones(1, 1, 3, 4, dtype=torch.bool)
    known[..., 0] = False
    plain = signed_distance(torch.zeros(1, 1, 3, 4), 1.0)
    got = signed_distance(mask, 1.0, known=known)
    torch.testing.assert_close(got[0, 0, :, 1:], plain[0, 0, :, 1:])
    torch.testing.assert_close(got[0, 1, :, 1:], -plain[0, 0, :, 1:])
    nothing = signed_distance(mask, 1.0, known=torch.zeros_like(known))
    assert (nothing == 0).all()


@pytest.mark.parametrize("batch", [(0, 2, 3, 4), (1, 0, 3, 4), (1, 2, 0, 4)])
def test_nothing_to_measure(batch: tuple[int, ...]) -> None:
    assert edt(torch.zeros(batch), 1.0).shape == batch
    assert signed_distance(torch.zeros(batch), 1.0).shape == batch


def test_any_memory_layout() -> None:
    mask = blobs((2, 3, 6, 5, 7), 0.4)
    expected = signed_distance(mask, 1.5)
    last = mask.to(memory_format=torch.channels_last_3d)
    wide = torch.zeros(2, 3, 6, 5, 14, dtype=torch.bool)
    wide[..., ::2] = mask
    for other in (last, wide[..., ::2]):
        assert not other.is_contiguous()
        assert torch.equal(signed_distance(other, 1.5), expected)


def test_many_threads_and_many_callers_measure_the_same() -> None:
    mask = blobs((2, 2, 20, 33, 65), 0.2)
    expected = signed_distance(mask, 1.0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        assert torch.equal(signed_distance(mask, 1.0), expected)
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: signed_distance(mask, 1.0), range(8)))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(each, expected) for each in found)


def test_compiled_without_a_break() -> None:
    mask = blobs((1, 1, 6, 5, 7), 0.4)
    spacing = ((1.0, 2.0, 0.5),)
    compiled = torch.compile(
        lambda m: 2 * distances(m, spacing), fullgraph=True, backend="aot_eager"
    )
    torch.testing.assert_close(compiled(mask), 2 * distances(mask, spacing))
    torch.compiler.reset()


@pytest.mark.parametrize("empty", ["distance_to_border", "zero"])
def test_signed_maps_compile_whatever_the_masks_hold(empty: Empty) -> None:
    mask = torch.cat([blobs((2, 1, 6, 5, 7), 0.4), torch.zeros(2, 2, 6, 5, 7).bool()], 1)
    mask[:, 2] = True
    spacing = ((1.0, 2.0, 0.5), (3.0, 1.0, 1.0))

    def measure(masks: Tensor) -> Tensor:
        return signed_distance(masks, spacing, empty=empty)

    compiled = torch.compile(measure, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(mask), measure(mask))
    torch.compiler.reset()


def test_choice_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = torch.zeros(1, 1, 2, 2, dtype=torch.bool)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert chosen_distance_backend(mask).name == "numba"
    assert chosen_distance_backend(mask.to("meta")).name == "torch"
    assert chosen_distance_backend(mask, shifted=True).name == "torch"
    monkeypatch.setenv(VARIABLE, "torch")
    assert chosen_distance_backend(mask) == ("torch", f"{VARIABLE} says so")
    monkeypatch.setenv(VARIABLE, "numba")
    with pytest.raises(ValueError, match="numba cannot measure here: it runs on the CPU"):
        chosen_distance_backend(mask.to("meta"))
    monkeypatch.setenv(VARIABLE, "magic")
    with pytest.raises(ValueError, match="expected one of numba, triton, torch, got 'magic'"):
        chosen_distance_backend(mask)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: edt(m[0], 1.0), ValueError, "mask: expected"),
        (lambda m: edt(m.numpy(), 1.0), TypeError, "mask: expected a torch.Tensor"),
        (lambda m: edt(m, 0.0), ValueError, "spacing_mm: expected"),
        (lambda m: edt(m, (1.0, 2.0, 3.0)), ValueError, "spacing_mm: expected"),
        (lambda m: signed_distance(m, 1.0, convention="mine"), ValueError, "convention: expected"),
        (lambda m: signed_distance(m, 1.0, empty="some"), ValueError, "empty: expected"),
    ],
)
def test_refusals(call: Callable[[Tensor], Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        call(torch.zeros(1, 1, 3, 4))
