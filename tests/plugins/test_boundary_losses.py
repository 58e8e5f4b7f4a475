"""Losses on distances: worked values, formulas by hand, corners, spacing, ready maps."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from scipy import ndimage
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from worked_inputs import block, f64, one_hot

import medloss
import medloss.base.targets
from medloss.base.targets import Extras
from medloss.distance import signed_distance
from medloss_boundary.rims import rim, soft_rim, soft_rim_slopes

IN_MM = (
    "boundary",
    "hausdorff_dt",
    "log_hausdorff_dt",
    "shape_aware",
    "generalized_surface",
    "region_wise",
    "surface_dice",
)
in_mm = pytest.mark.parametrize("name", IN_MM)
ON_MAPS = tuple(name for name in IN_MM if name != "surface_dice")
FIELDS = ("boundary", "hausdorff_dt", "log_hausdorff_dt", "generalized_surface", "region_wise")
SPACING_MM = (1.0, 2.0, 0.5)


def with_background(name: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options under which class 0 counts in every loss, as in most it does by default."""
    return {"include_background": True, **options} if name.endswith("hausdorff_dt") else options


def value(name: str, input: Tensor, target: Any, **options: Any) -> float:
    return float(medloss.loss(name, **with_background(name, options))(input, target))


def gradient(name: str, input: Tensor, target: Any, **options: Any) -> Tensor:
    leaf = input.clone().requires_grad_()
    medloss.loss(name, **with_background(name, options))(leaf, target).sum().backward()
    assert leaf.grad is not None
    return leaf.grad


def solid(ndim: int, p: float = 0.95) -> tuple[Tensor, Tensor]:
    """A block of 3 per axis in an image of 9, and one probability everywhere."""
    g = torch.zeros(1, 1, *[9] * ndim, dtype=torch.float64)
    g[(..., *[slice(3, 6)] * ndim)] = 1
    return torch.full_like(g, p), g


def noisy(seed: int, classes: int = 3) -> tuple[Tensor, Tensor]:
    """Logits and labels of two small volumes, of blobs that differ."""
    generator = torch.Generator().manual_seed(seed)
    smooth = torch.nn.functional.avg_pool3d(
        torch.randn(2, classes, 6, 5, 7, generator=generator, dtype=torch.float64), 3, 1, 1
    )
    noise = torch.randn(2, classes, 6, 5, 7, generator=generator, dtype=torch.float64)
    return 6 * smooth + noise, smooth.argmax(1, keepdim=True)


@pytest.mark.parametrize(
    ("name", "ndim", "options", "expected"),
    [
        ("hausdorff_dt", 2, {}, 0.1464),
        ("hausdorff_dt", 2, {"alpha": 1}, 0.128035552688),
        ("hausdorff_dt", 2, {"one_sided": True}, 0.0836),
        ("hausdorff_dt", 3, {}, 0.06576),
        ("hausdorff_dt", 3, {"one_sided": True}, 0.03672),
        ("hausdorff_dt", 3, {"spacing_mm": (3, 1, 1)}, 0.15984),
        ("hausdorff_dt", 3, {"spacing_mm": (3, 1, 1), "one_sided": True}, 0.10136),
        ("hausdorff_dt", 3, {"spacing_mm": 0.5}, 0.01644),
        ("hausdorff_dt", 3, {"spacing_mm": 0.5, "one_sided": True}, 0.00918),
        ("log_hausdorff_dt", 2, {}, 0.136626597532),
        ("generalized_surface", 2, {}, 0.3159375),
        ("shape_aware", 2, {}, 0.271764892576),
        ("shape_aware", 2, {"empty": "zero"}, 0.271764892576),
    ],
)
def test_worked_values(name: str, ndim: int, options: dict[str, Any], expected: float) -> None:
    options = {"spacing_mm": 1.0, **options}
    assert value(name, *block(ndim), **options) == pytest.approx(expected, abs=1e-12)


def test_worked_value_of_region_wise() -> None:
    p, g = block(2)
    two = torch.cat([1 - p, p], 1), torch.cat([1 - g, g], 1)
    got = value("region_wise", *two, spacing_mm=1.0)
    assert got == pytest.approx(-0.197735064736, abs=1e-12)
    assert value("region_wise", two[0], g.long(), spacing_mm=1.0) == pytest.approx(got, abs=1e-12)


@pytest.mark.parametrize(
    ("ndim", "alpha", "expected"),
    [(2, -0.7778, 0.108523908524), (3, -0.9259, 0.068535481735)],
)
def test_worked_values_of_boundary_dou(ndim: int, alpha: float, expected: float) -> None:
    p, g = block(ndim)
    got = value("boundary_dou", p, g, lowest_alpha=-1.0)
    assert got == pytest.approx(expected, abs=1e-12)
    squares, both = float((p * p + g * g).sum()), float((p * g).sum())
    by_hand = (squares - 2 * both) / (squares - (1 + alpha) * both)
    assert got == pytest.approx(by_hand, abs=1e-5)
    jaccard = value("dice", p, g, jaccard=True, squared_pred=True, smooth_nr=0, smooth_dr=0)
    assert value("boundary_dou", p, g) == pytest.approx(jaccard, abs=1e-12)  # alpha of 0


@pytest.mark.parametrize(
    ("side", "alpha"), [(1, -1.0), (5, -0.28), (7, 0.02), (15, 0.50), (40, 0.8)]
)
def test_alpha_of_boundary_dou_grows_with_the_object(side: int, alpha: float) -> None:
    g = torch.zeros(1, 1, 44, 44, dtype=torch.float64)
    g[..., 2 : side + 2, 2 : side + 2] = 1
    p = 0.2 + 0.5 * g
    squares, both = float((p * p + g * g).sum()), float((p * g).sum())
    got = value("boundary_dou", p, g, lowest_alpha=-1.0)
    implied = 1 - (squares - (squares - 2 * both) / got) / both
    assert -implied == pytest.approx(alpha, abs=5e-3)


def test_boundary_dou_counts_the_image_border_as_boundary() -> None:
    full = torch.ones(1, 1, 6, 5, dtype=torch.float64)
    p = torch.full_like(full, 0.7)
    alpha = 1 - 2 * 18 / 30
    squares, both = 30 * 1.49, 30 * 0.7
    expected = (squares - 2 * both) / (squares - (1 + alpha) * both)
    assert value("boundary_dou", p, full, lowest_alpha=-1) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("ndim", "options", "expected"),
    [
        (2, {"erosions": 1, "normalize": False}, 0.250888888889),
        (2, {"erosions": 1}, 0.623326432022),
        (2, {"erosions": 3}, 3.862030068220),
        (2, {"erosions": 10}, 5.445033057747),
        (3, {"erosions": 3, "normalize": False}, 0.292116402116),
    ],
)
def test_worked_values_of_erosion(ndim: int, options: dict[str, Any], expected: float) -> None:
    got = value("hausdorff_erosion", *solid(ndim), **options)
    assert got == pytest.approx(expected, abs=1e-12)
    assert value("hausdorff_erosion", *block(2), **options) == 0  # errors of a single voxel


def test_erosion_keeps_a_gradient() -> None:
    p, g = solid(2)
    assert float(gradient("hausdorff_erosion", p, g, erosions=3).abs().max()) > 0
    assert torch.autograd.gradcheck(
        lambda x: medloss.loss("hausdorff_erosion", erosions=2)(x, g),
        (p * torch.linspace(0.9, 1, 81, dtype=torch.float64).view(p.shape)).requires_grad_(),
    )


def eroded_in_full(
    p: Tensor, g: Tensor, mask: Tensor | None, *, erosions: int, alpha: float, normalize: bool
) -> Tensor:
    """The formula by autograd: whole volumes, and nothing left out."""
    error = (p - g) ** 2 if mask is None else (p - g) ** 2 * mask
    axes = [axis for axis in range(2, p.ndim) if p.shape[axis] > 1]
    total = torch.zeros_like(p[:, :, 0].flatten(2)[..., 0])
    for k in range(1, erosions + 1):
        around = error
        for axis in axes:
            no = torch.zeros_like(error.narrow(axis, 0, 1))
            padded = torch.cat([no, error, no], axis)
            around = around + padded.narrow(axis, 0, p.shape[axis])
            around = around + padded.narrow(axis, 2, p.shape[axis])
        error = (around / (2 * len(axes) + 1) - 0.5).clamp_min(0)
        if mask is not None:
            error = error * mask
        if normalize:
            flat = error.flatten(2)
            there = torch.ones_like(flat) if mask is None else mask.flatten(2).expand_as(flat)
            low = flat.masked_fill(there == 0, torch.inf).amin(2, keepdim=True)
            high = flat.masked_fill(there == 0, -torch.inf).amax(2, keepdim=True)
            spread = torch.where(high > low, high - low, 1)
            low = torch.where(high > low, low, 0)
            error = ((flat - low) / spread * (there > 0)).view(p.shape)
        total = total + k**alpha * error.flatten(2).sum(2)
    number = p[0, 0].numel() if mask is None else mask.flatten(2).sum(2)
    return total / number


@given(st.integers(0, 10**6), st.sampled_from(["objects", "all wrong", "sparse"]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_erosion_in_boxes_is_erosion_of_whole_volumes(seed: int, what: str) -> None:
    """Value and gradient, with and without a mask, flat volumes, images and single classes."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    spatial = [1 + int(9 * uniform(1)) for _ in range(2 + seed % 2)]
    coarse = uniform(2, 2, *[1 + n // 3 for n in spatial])
    g = torch.nn.functional.interpolate(coarse, spatial).round()
    p = (1 - g if what != "sparse" else g) * 0.9 + 0.1 * uniform(2, 2, *spatial)
    if what == "all wrong":
        g, p = torch.zeros_like(g), 0.9 + 0.1 * uniform(2, 2, *spatial)
    mask = (uniform(2, 1, *spatial) > 0.2).double() if seed % 3 else None
    options: dict[str, Any] = {"erosions": 4, "alpha": 1.5, "normalize": seed % 5 > 1}
    if mask is not None and not bool(mask.flatten(2).any(2).all()):
        return
    leaves = [p.clone().requires_grad_() for _ in range(2)]
    other = medloss.loss("hausdorff_erosion", other_act=lambda x: x, reduction="none", **options)
    values = [eroded_in_full(leaves[0], g, mask, **options), other(leaves[1], g, mask=mask)]
    weights = uniform(2, 2)
    for each in values:
        (each * weights).sum().backward()
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(leaves[1].grad, leaves[0].grad)


def test_what_is_left_is_stretched_from_the_least_of_the_whole_image() -> None:
    """All that counts near the error is left, but a voxel far off is not: 0 is the least."""
    g = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    p, mask = g.clone(), g.clone()
    p[..., 3:6, 3:6] = mask[..., 3:6, 3:6] = mask[..., 0, 0] = 1
    options: dict[str, Any] = {"erosions": 1, "alpha": 0.0, "normalize": True}
    got = medloss.loss("hausdorff_erosion", **options)(p, g, mask=mask)
    # over 5/2 neighbours: 1/2 in the corners of the block, 3/2 at its sides, 5/2 in the middle
    assert float(got) == pytest.approx((4 * 0.2 + 4 * 0.6 + 1) / 10, abs=1e-12)
    assert float(got) == pytest.approx(float(eroded_in_full(p, g, mask, **options)), abs=1e-12)


def test_background_that_does_not_count_has_no_erosions_and_no_gradient() -> None:
    _, y = noisy(8)
    p = 0.9 * one_hot((y + 1) % 3, 3) + 0.1 / 3
    for name, options in (("hausdorff_erosion", {}), ("surface_dice", {"spacing_mm": 1.0})):
        whole = medloss.loss(name, reduction="none", **options)(p, y)
        some = medloss.loss(name, reduction="none", include_background=False, **options)(p, y)
        torch.testing.assert_close(some, whole[:, 1:])
        slope = gradient(name, p, y, include_background=False, **options)
        assert float(slope[:, 0].abs().max()) == 0 < float(slope[:, 1:].abs().max())


def test_gradient_passes_through_the_probability_alone() -> None:
    """Distances are constants: the gradient on p is 2 (p − g) φ / N, and φ / N."""
    p, g = block(2)
    inside, outside = (distance_transform_edt(m) for m in (g[0, 0] > 0, g[0, 0] == 0))
    of_target = torch.from_numpy(inside + outside)
    found = p[0, 0].numpy() > 0.5
    of_found = torch.from_numpy(distance_transform_edt(found) + distance_transform_edt(~found))
    for options, field in (
        ({}, of_target**2 + of_found**2),
        ({"one_sided": True}, of_target**2),
        ({"alpha": 1.5}, of_target**1.5 + of_found**1.5),
    ):
        got = gradient("hausdorff_dt", p, g, spacing_mm=1.0, **options)
        torch.testing.assert_close(got, 2 * (p - g) * field / 25)
    phi = signed_distance(g, 1.0, dtype=torch.float64)
    torch.testing.assert_close(gradient("boundary", p, g, spacing_mm=1.0), phi / 25)


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_formulas_by_hand_on_random_volumes(seed: int) -> None:
    z, y = noisy(seed)
    p, g = z.softmax(1), one_hot(y, 3)
    options: dict[str, Any] = {"softmax": True, "spacing_mm": SPACING_MM, "reduction": "none"}

    def field(mask: Tensor) -> Tensor:
        flat = mask.flatten(0, 1).numpy() > 0.5
        both = [
            np.zeros(m.shape)
            if m.all() or not m.any()
            else sum(distance_transform_edt(x, sampling=SPACING_MM) for x in (m, ~m))
            for m in flat
        ]
        return torch.from_numpy(np.stack(both)).view(mask.shape)

    d, of_p = field(g), field(p)
    hausdorff = ((p - g) ** 2 * (d**2 + of_p**2)).flatten(2).mean(2)
    every = {"empty": "zero", "include_background": True}
    got = medloss.loss("hausdorff_dt", **every, **options)(z, y)
    torch.testing.assert_close(got, hausdorff)
    log = medloss.loss("log_hausdorff_dt", **every, **options)(z, y)
    torch.testing.assert_close(log, hausdorff.mean(1, keepdim=True).log1p())
    total = (d**2).flatten(2).sum(2)
    surface = 1 - ((d * (1 - g - p)) ** 2).flatten(2).sum(2) / total.clamp_min(1e-30)
    got = medloss.loss("generalized_surface", empty="zero", **options)(z, y)
    torch.testing.assert_close(got, torch.where(total > 0, surface, 0))
    depth = (d * g).flatten(2).amax(2).view(2, 3, 1, 1, 1).clamp_min(1e-30)
    z_map = torch.where(g > 0.5, -d / depth, 1.0)
    got = medloss.loss("region_wise", **options)(z, y)
    there = (g.flatten(2).amax(2) > 0) & (g.flatten(2).amin(2) < 1)
    torch.testing.assert_close(got[there], (p * z_map).flatten(2).mean(2)[there])


def test_generalized_surface_of_soft_labels() -> None:
    p, g = block(2)
    soft = 0.1 + 0.8 * g
    d2 = signed_distance(g, 1.0, convention="symmetric", dtype=torch.float64) ** 2
    expected = 1 - float(((1 - soft - p) ** 2 * d2).sum() / d2.sum())
    got = value("generalized_surface", p, soft, spacing_mm=1.0)
    assert got == pytest.approx(expected, abs=1e-12)


def rims_of(mask: np.ndarray) -> np.ndarray:
    cross = ndimage.generate_binary_structure(mask.ndim, 1)
    return mask & ~ndimage.binary_erosion(mask, cross, border_value=0)


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.0, 2.0, 2.3]))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_surface_dice_of_masks_is_the_score_of_their_rims(seed: int, tolerance: float) -> None:
    z, y = noisy(seed, 2)
    masks = (z[:1, 1:] > z[:1, :1]).double(), y[:1].double()
    a, b = (rims_of(m[0, 0].numpy() > 0) for m in masks)
    near = [
        (distance_transform_edt(~other, sampling=SPACING_MM)[rim] <= tolerance + 1e-9).sum()
        for rim, other in ((a, b), (b, a))
        if other.any()
    ]
    expected = 1 - sum(near) / max(a.sum() + b.sum(), 1)
    options: dict[str, Any] = {"smooth_nr": 0, "smooth_dr": 1e-12, "spacing_mm": SPACING_MM}
    got = value("surface_dice", *masks, tolerance_mm=tolerance, **options)
    if a.any() and b.any():
        assert got == pytest.approx(expected, abs=1e-9)
    assert value("surface_dice", masks[1], masks[1], tolerance_mm=tolerance, **options) == (
        pytest.approx(0.0 if b.any() else 1.0, abs=1e-9)
    )


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.0, 2.3]))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_surface_dice_of_probabilities_by_the_formula(seed: int, tolerance: float) -> None:
    """Value and gradient of the rims by autograd, with distances by scipy."""
    z, y = noisy(seed, 2)
    mask = (torch.rand(2, 1, 6, 5, 7, generator=torch.Generator().manual_seed(seed)) > 0.1).double()
    mask = mask if seed % 2 else torch.ones_like(mask)
    leaves = [z.sigmoid()[:, 1:].clone().requires_grad_() for _ in range(2)]
    p, near, total = leaves[0] * mask, [], []
    predicted, grid = (
        soft_rim(p.where(mask > 0, 2)) * mask,  # what is ignored is never the least
        torch.stack(torch.meshgrid(*map(torch.arange, (6, 5, 7)), indexing="ij"), -1),
    )
    apart = ((grid[:, :, :, None, None, None] - grid) * torch.tensor(SPACING_MM)).norm(dim=-1)
    for b in range(2):
        true = torch.from_numpy(rims_of((y[b, 0] + 1 - mask[b, 0]).numpy() > 0))
        true = true & (mask[b, 0] > 0)
        within = (apart <= tolerance + 1e-6)[true]
        values = torch.where(within, predicted[b, 0], -1).flatten(1)
        seen = values.amax(1).sum() if len(values) else 0
        near.append((predicted[b, 0] * within.any(0)).sum() + seen)
        total.append(predicted[b, 0].sum() + true.sum())
    expected = 1 - (torch.stack(near) + 1e-5) / (torch.stack(total) + 1e-5)
    loss = medloss.loss(
        "surface_dice", spacing_mm=SPACING_MM, tolerance_mm=tolerance, reduction="none"
    )
    got = loss(leaves[1], y.double(), mask=mask)
    torch.testing.assert_close(got[:, 0], expected)
    for each in (got, expected):
        (each.flatten() * torch.tensor([1.0, 2.0])).sum().backward()
    kept = mask > 0  # among ignored voxels all rims are 0, and any of them may be the largest
    torch.testing.assert_close(leaves[1].grad[kept], leaves[0].grad[kept])


@pytest.mark.parametrize("shape", [(5, 4, 6), (5, 6), (1, 5, 6), (1, 1, 1)])
@pytest.mark.parametrize("values", [3, 10**6])
def test_slopes_of_a_soft_rim_are_those_of_autograd(shape: tuple[int, ...], values: int) -> None:
    """Equal neighbours, of which few values make many, share a slope in the same way."""
    generator = torch.Generator().manual_seed(values)
    whole = torch.randint(0, values, (2, 1, *shape), generator=generator)
    p = (whole / values).double().requires_grad_()
    slope = torch.rand(p.shape, generator=generator, dtype=torch.float64)
    (expected,) = torch.autograd.grad(soft_rim(p), p, slope)
    torch.testing.assert_close(soft_rim_slopes(p.detach(), slope), expected)


def test_surface_dice_draws_the_prediction_to_the_surface() -> None:
    _, g = solid(2)
    z = 2 * g.roll(1, 3) - 1
    options: dict[str, Any] = {"sigmoid": True, "spacing_mm": 1.0, "tolerance_mm": 1.0}
    loss = medloss.loss("surface_dice", **options)
    start = float(loss(z, g))
    slope = gradient("surface_dice", z, g, **options)
    assert float(loss(z - 0.5 * slope / slope.norm(), g)) < start
    assert torch.autograd.gradcheck(
        lambda x: loss(x, g), (z + torch.linspace(0, 1, 81).view(z.shape)).requires_grad_()
    )


@pytest.mark.parametrize(
    "name", ["boundary", "hausdorff_dt", "generalized_surface", "region_wise", "boundary_dou"]
)
@pytest.mark.parametrize("full", [False, True])
def test_an_empty_or_full_class_does_what_is_chosen(name: str, full: bool) -> None:
    """By default wrong voxels have a gradient that corrects them; ``zero`` makes it silent."""
    g = torch.full((1, 1, 5, 6), float(full), dtype=torch.float64)
    z = torch.linspace(-2, 2, 30, dtype=torch.float64).view(1, 1, 5, 6)
    options: dict[str, Any] = {"sigmoid": True}
    if name != "boundary_dou":
        options["spacing_mm"] = (1.0, 2.0)
    slope = gradient(name, z, g, **options)
    assert bool((slope * (1 - 2 * g) > 0).all())
    if name == "boundary_dou" and full:  # the formula itself
        return
    if name == "hausdorff_dt":  # the prediction has a boundary
        options["one_sided"] = True
    silent = gradient(name, z, g, empty="zero", **options)
    assert float(silent.abs().max()) == 0
    assert value(name, z, g, empty="zero", **options) == 0


def test_constant_predictions_of_an_empty_target_cost_nothing_in_monais_way_only() -> None:
    g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    p = torch.full_like(g, 0.9)
    assert value("hausdorff_dt", p, g, spacing_mm=1.0, empty="zero") == 0
    assert value("hausdorff_dt", p, g, spacing_mm=1.0) > 0


def test_shape_aware_of_empty_masks() -> None:
    g = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    p = torch.full_like(g, 0.1)
    plain = value("cross_entropy", p, g)
    assert value("shape_aware", p, g, spacing_mm=1.0) == pytest.approx(plain)  # nothing predicted
    p[..., 2, 2] = 0.9
    plain = value("cross_entropy", p, g)
    far = value("shape_aware", p, g, spacing_mm=2.0)  # 2.5 voxels from the border
    assert far == pytest.approx((1 + 5.0) * plain)
    assert value("shape_aware", p, g, spacing_mm=2.0, empty="zero") == pytest.approx(plain)


@given(st.integers(0, 10**6))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_shape_aware_scales_each_class_of_the_cross_entropy(seed: int) -> None:
    z, y = noisy(seed)
    loss = medloss.loss("shape_aware", softmax=True, spacing_mm=SPACING_MM)
    prepared = loss.prepare(z, y, medloss.base.targets.Extras(spacing_mm=SPACING_MM))
    e = loss.contour_distance(prepared)
    found, g = (z.softmax(1) > 0.5).numpy(), one_hot(y, 3).numpy() > 0
    for b in range(2):
        for c in range(3):
            rim_of_found, rim_of_true = rims_of(found[b, c]), rims_of(g[b, c])
            if rim_of_found.any() and rim_of_true.any():
                away = distance_transform_edt(~rim_of_true, sampling=SPACING_MM)
                assert float(e[b, c]) == pytest.approx(away[rim_of_found].mean())
    each = medloss.loss("cross_entropy", softmax=True, reduction="none")(z, y)
    factor = (1 + e)[:, :, None, None, None].expand(2, 3, 6, 5, 7).gather(1, y)
    torch.testing.assert_close(loss(z, y), (factor * each).mean())
    none = medloss.loss("shape_aware", softmax=True, spacing_mm=SPACING_MM, reduction="none")
    torch.testing.assert_close(none(z, y), factor * each)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("alpha", [2.0, 1.0, 0.5])
@pytest.mark.parametrize("background", [False, True])
def test_hausdorff_equals_monai_where_it_is_right(
    ndim: int, alpha: float, background: bool
) -> None:
    """Same value and gradient for a unit spacing and a sample; their log is of the batch's mean."""
    import monai.losses

    z, y = noisy(ndim)
    z, y = z[:, :, :, :, 2:5], y[:, :, :, :, 2:5]
    if ndim == 2:
        z, y = z[..., 0], y[..., 0]
    z, y = z.float(), y.float()
    shared: dict[str, Any] = {
        "softmax": True,
        "include_background": background,
        "alpha": alpha,
    }
    for name, theirs, batch in (
        ("hausdorff_dt", monai.losses.HausdorffDTLoss, 2),
        ("log_hausdorff_dt", monai.losses.LogHausdorffDTLoss, 1),
    ):
        ours = medloss.loss(name, spacing_mm="voxel", empty="zero", **shared)
        leaves = [z[:batch].clone().requires_grad_() for _ in range(2)]
        values = [
            loss(leaf, y[:batch])
            for loss, leaf in zip((ours, theirs(to_onehot_y=True, **shared)), leaves, strict=True)
        ]
        for each in values:
            each.backward()
        torch.testing.assert_close(*values)
        torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


def test_log_hausdorff_of_a_sample_does_not_depend_on_the_batch_as_monais_does() -> None:
    import monai.losses

    z, y = noisy(1, 2)
    options: dict[str, Any] = {"softmax": True, "include_background": False}
    ours = medloss.loss("log_hausdorff_dt", spacing_mm=1.0, **options)
    torch.testing.assert_close(ours(z, y), (ours(z[:1], y[:1]) + ours(z[1:], y[1:])) / 2)
    theirs = monai.losses.LogHausdorffDTLoss(to_onehot_y=True, **options)
    alone = (theirs(z[:1], y[:1].double()) + theirs(z[1:], y[1:].double())) / 2
    assert abs(float(theirs(z, y.double()) - alone)) > 1e-6


@in_mm
def test_spacing_is_refused_read_and_outranked(name: str) -> None:
    z, y = noisy(2)
    build = {"softmax": True}
    loss = medloss.loss(name, **build)
    with pytest.raises(ValueError, match="spacing_mm: expected the size of a voxel"):
        loss(z, y)
    expected = loss(z, y, spacing_mm=SPACING_MM)
    affine = torch.diag(f64([*SPACING_MM, 1.0]))
    torch.testing.assert_close(loss(z, MetaTensor(y, affine=affine)), expected)
    torch.testing.assert_close(loss(z, {"label": y, "spacing_mm": SPACING_MM}), expected)
    fixed = medloss.loss(name, spacing_mm=SPACING_MM, **build)
    torch.testing.assert_close(fixed(z, MetaTensor(y)), expected)
    assert float(abs(loss(z, y, spacing_mm=1.0) - expected)) > 1e-6
    rows = [SPACING_MM, (2.0, 1.0, 3.0)]
    each = [loss(z[b : b + 1], y[b : b + 1], spacing_mm=rows[b]) for b in range(2)]
    torch.testing.assert_close(loss(z, y, spacing_mm=rows), torch.stack(each).mean())


@pytest.mark.parametrize("name", ON_MAPS)
@pytest.mark.parametrize("background", [False, True])
def test_a_ready_map_is_the_computed_one(name: str, background: bool) -> None:
    z, y = noisy(4)
    options: dict[str, Any] = {"softmax": True, "include_background": background}
    if name == "hausdorff_dt":
        options["one_sided"] = True
    loss = medloss.loss(name, **options)
    convention = getattr(loss, "convention", "symmetric")
    ready = signed_distance(one_hot(y, 3), SPACING_MM, convention=convention, dtype=torch.float64)
    if name == "shape_aware":  # distances to the rim, which lies inside
        near = distance_transform_edt
        ready = torch.stack(
            [
                torch.from_numpy(near(~rims_of(m.numpy() > 0), sampling=SPACING_MM))
                for m in one_hot(y, 3).flatten(0, 1)
            ]
        ).view(z.shape)
    before = ready.clone()
    spacing = {"spacing_mm": SPACING_MM} if name == "log_hausdorff_dt" else {}
    got = loss(z, y, distance_map=ready, **spacing)
    torch.testing.assert_close(got, loss(z, y, spacing_mm=SPACING_MM))
    assert torch.equal(ready, before)


@pytest.mark.parametrize("name", FIELDS)
def test_maps_in_half_precision_are_squared_in_float32(name: str) -> None:
    """600 mm squared is beyond float16."""
    y = torch.zeros(1, 1, 60, 4, dtype=torch.long)
    y[..., :2, :] = 1
    z = torch.randn(1, 2, 60, 4, generator=torch.Generator().manual_seed(0))
    options: dict[str, Any] = {"softmax": True, "spacing_mm": (10.0, 1.0)}
    ready = signed_distance(one_hot(y, 2), (10.0, 1.0), convention="symmetric")
    loss = medloss.loss(name, convention="symmetric", **options)
    assert float(ready.square().max()) > 65504
    exact = loss(z.half().double(), y, distance_map=ready.half())
    half = loss(z.half(), y, distance_map=ready.half())
    torch.testing.assert_close(half.double(), exact, rtol=1e-5, atol=0)


def test_a_boundary_term_joins_the_one_pass_of_a_compound(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dice, cross entropy, boundary, Hausdorff and surface terms: one sum over the voxels."""
    z, y = noisy(5)
    asked = []
    original = medloss.base.targets.class_sums

    def counting(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments[2])
        return original(*arguments, **options)

    monkeypatch.setattr(medloss.base.targets, "class_sums", counting)
    terms = ["dice", "cross_entropy", "boundary"]
    loss = medloss.loss("compound", terms=terms, weights=[1, 1, 0.01], softmax=True)
    ready = signed_distance(one_hot(y, 3), SPACING_MM, dtype=torch.float64)
    got = loss(z, y, distance_map=ready)
    assert len(asked) == 1
    names = [getattr(term, "name", term) for term in asked[0]]
    assert names.count("map") == 1
    separate = medloss.loss("dice_ce", softmax=True)
    boundary = medloss.loss("boundary", softmax=True)
    expected = separate(z, y) + 0.01 * boundary(z, y, distance_map=ready)
    torch.testing.assert_close(got, expected)
    asked.clear()
    more = [*terms, "hausdorff_dt", "generalized_surface", "region_wise", "boundary_dou"]
    together = medloss.loss("compound", terms=more, softmax=True)
    total = together(z, y, spacing_mm=SPACING_MM)
    assert len(asked) == 1
    alone = [medloss.loss(name, softmax=True)(z, y, spacing_mm=SPACING_MM) for name in more]
    torch.testing.assert_close(total, torch.stack(alone).sum())


@pytest.mark.parametrize("name", ["boundary", "hausdorff_dt", "generalized_surface"])
def test_ignored_voxels_are_neither_inside_nor_outside(name: str) -> None:
    """What is cropped away and what is ignored have the same influence on computed maps: none."""
    z, y = noisy(6)
    loss = medloss.loss(name, softmax=True, spacing_mm=SPACING_MM)
    mask = torch.ones(2, 1, 6, 5, 7)
    mask[..., 4:] = 0
    torch.testing.assert_close(loss(z, y, mask=mask), loss(z[..., :4], y[..., :4]))


def test_pooling_over_the_batch() -> None:
    z, y = noisy(7)
    options: dict[str, Any] = {"softmax": True, "reduction": "none", "include_background": True}
    for name in ("generalized_surface", "boundary_dou", "surface_dice", "hausdorff_dt"):
        extra = {} if name == "boundary_dou" else {"spacing_mm": SPACING_MM}
        pooled = medloss.loss(name, batch=True, **extra, **options)
        twice = pooled(z[:1].repeat(2, 1, 1, 1, 1), y[:1].repeat(2, 1, 1, 1, 1))
        assert twice.shape == (1, 3)
        alone = medloss.loss(name, **extra, **options)(z[:1], y[:1])
        torch.testing.assert_close(twice, alone, rtol=1e-5, atol=1e-6)


def test_rim_of_an_image_and_of_its_slice() -> None:
    mask = torch.ones(1, 1, 4, 5, dtype=torch.bool)
    assert int(rim(mask).sum()) == 14
    assert torch.equal(rim(mask[..., None])[..., 0], rim(mask))


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("hausdorff_dt", {"alpha": 0}, "alpha: expected more than 0"),
        ("hausdorff_dt", {"empty": "none"}, "empty: expected one of"),
        ("hausdorff_dt", {"convention": "none"}, "convention: expected one of"),
        ("log_hausdorff_dt", {"weight": [1.0, 2.0]}, "weight: expected None"),
        ("hausdorff_erosion", {"alpha": -1}, "alpha: expected at least 0"),
        ("hausdorff_erosion", {"erosions": 0}, "erosions: expected a whole number"),
        ("hausdorff_erosion", {"erosions": 2.5}, "erosions: expected a whole number"),
        ("shape_aware", {"empty": "none"}, "empty: expected one of"),
        ("boundary_dou", {"empty": "none"}, "empty: expected one of"),
        ("boundary_dou", {"highest_alpha": 1.0}, "highest_alpha: expected"),
        ("boundary_dou", {"lowest_alpha": 0.9}, "lowest_alpha"),
        ("surface_dice", {"tolerance_mm": -1}, "tolerance_mm: expected at least 0"),
        ("surface_dice", {"tolerance_mm": math.nan}, "tolerance_mm: expected at least 0"),
    ],
)
def test_options_that_cannot_be_meant(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        medloss.loss(name, **options)


@pytest.mark.parametrize("name", ["boundary", "hausdorff_dt", "region_wise", "dice"])
def test_one_compiled_graph_serves_every_spacing(name: str) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    z = torch.randn(1, 2, 6, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    y = torch.zeros(1, 1, 6, 7, dtype=torch.long)
    y[..., 1:4, 2:5] = 1
    loss = medloss.loss(name, softmax=True)
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=counter)
    for step in range(6):
        spacing_mm = (1 + step / 8, 2.5 - step / 4)
        value = compiled(z, y, spacing_mm=spacing_mm)
        torch.testing.assert_close(value, loss(z, y, spacing_mm=spacing_mm))
    assert counter.frame_count <= 2
    torch.compiler.reset()


def test_an_ignored_neighbour_is_neither_inside_nor_outside() -> None:
    """One ignored voxel inside of a square makes no rim around itself."""
    g = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    g[..., 2:7, 2:7] = 1
    p, mask = 0.1 + 0.8 * g.roll(1, -1), torch.ones_like(g)
    mask[..., 4, 4] = 0
    known = mask > 0
    assert torch.equal(rim(g > 0, known), rim(g > 0))
    torch.testing.assert_close(soft_rim(p, known), soft_rim(p).where(known, 0))
    loss = medloss.loss("shape_aware", spacing_mm=1.0)
    prepared = [loss.prepare(p, g, Extras(mask=m)) for m in (None, mask)]
    assert [float(loss.contour_distance(each)) for each in prepared] == [0.5, 0.5]
    surface = medloss.loss("surface_dice", spacing_mm=1.0, tolerance_mm=0.0)
    torch.testing.assert_close(surface(p, g, mask=mask), surface(p, g))
    # 16 of 24 voxels are on the rim, not 20
    square = medloss.loss("boundary_dou", lowest_alpha=-1)(p, g, mask=mask)
    alpha, tp = 1 - 2 * 16 / 24, float((p * g * mask).sum())
    squares = float(((p * p + g * g) * mask).sum())
    assert float(square) == pytest.approx((squares - 2 * tp) / (squares - (1 + alpha) * tp))
    z = torch.rand(2, 2, 4, 3, 3, dtype=torch.float64).requires_grad_()
    known = torch.rand(2, 1, 4, 3, 3) > 0.3
    slope = torch.rand_like(z)
    (expected,) = torch.autograd.grad(soft_rim(z, known), z, slope)
    torch.testing.assert_close(soft_rim_slopes(z.detach(), slope, known), expected)
