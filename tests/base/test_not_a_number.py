"""NaN in, NaN out, or an error; none where voxels do not count."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import medloss
from medloss.base import SegmentationLoss
from medloss.offers.host import host
from medloss.sums.numeric import power, ratio

RECORDS = {o.record.name: o.record for o in host().losses if o.plugin.distribution == "medloss"}
SHAPE = (5, 4, 6)
NAN = float("nan")
MAPPED = ("boundary", "generalized_surface", "hausdorff_dt", "region_wise", "shape_aware")
REFUSES = {
    "softmax": (),
    "sigmoid": ("exclusion", "marginal"),
    "probabilities": ("lovasz_hinge", "margin_label_smoothing", "nacl"),
}
every_loss = pytest.mark.parametrize("name", RECORDS)


def build(name: str, **options: Any) -> SegmentationLoss:
    if name == "compound":
        options["terms"] = ["mcc", "lovasz_hinge" if options.get("softmax") else "tvmf_dice"]
    loss: SegmentationLoss = medloss.loss(name, **options)
    return loss


def scene() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, *SHAPE, generator=generator)
    y = torch.randint(0, 3, (2, 1, *SHAPE), generator=generator)
    y[:, :, :2] = 0
    return z, y


def call(name: str, loss: Any, z: Tensor, target: Any, **extras: Any) -> tuple[Tensor, Tensor]:
    z = z.clone().requires_grad_()
    extras = {"spacing_mm": (1.0, 2.0, 1.5), **extras}
    if "skeleton" in RECORDS[name].needs:
        extras["skeleton"] = torch.ones_like(z)
    value = loss(z, target, **extras)
    (slope,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), slope


@every_loss
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "probabilities"])
def test_nan_in_the_input_comes_out_of_value_and_gradient(name: str, activation: str) -> None:
    z, y = scene()
    if activation == "probabilities":
        z = z.softmax(1)
    z[0, 1, 2, 2, 2] = NAN
    options: dict[str, Any] = {} if activation == "probabilities" else {activation: True}
    if name in REFUSES[activation]:
        with pytest.raises(ValueError, match=r"logits|exclusive classes"):
            call(name, build(name, **options), z, y)
        return
    value, slope = call(name, build(name, **options), z, y)
    assert value.isnan()
    assert slope.isnan().any()


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("name", ["mcc", "tvmf_dice", "lovasz_hinge", "lovasz_softmax"])
def test_nan_comes_out_of_other_reductions_and_pools(name: str, reduction: str) -> None:
    z, y = scene()
    z[0, 1, 2, 2, 2] = NAN
    for batch in (False, True):
        value, slope = call(name, build(name, softmax=True, reduction=reduction, batch=batch), z, y)
        assert value.isnan().any()
        assert slope.isnan().any()


@every_loss
def test_nan_in_what_else_is_read(name: str) -> None:
    z, y = scene()
    soft = torch.nn.functional.one_hot(y[:, 0], 3).movedim(-1, 1).float()
    soft[0, 1, 2, 2, 2] = NAN
    index = y.float()
    index[0, 0, 2, 2, 2] = NAN
    mask = torch.ones(2, 1, *SHAPE)
    mask[0, 0, 2, 2, 2] = NAN
    loss = build(name, softmax=True)
    for words, target, extras in (
        ("target: .*nan", soft, {}),
        ("target: .*nan", index, {}),
        ("mask: .*nan", y, {"mask": mask}),
        ("present: .*nan", y, {"present": torch.tensor([[1, 1, NAN], [1, 1, 1]])}),
        ("spacing_mm: .*nan", y, {"spacing_mm": (1.0, NAN, 1.0)}),
    ):
        with pytest.raises(ValueError, match=words):
            call(name, loss, z, target, **extras)
    medloss.set_value_checks("off")
    try:
        for target, extras in ((soft, {}), (index, {}), (y, {"mask": mask})):
            assert call(name, loss, z, target, **extras)[0].isnan()
    finally:
        medloss.set_value_checks(None)


@pytest.mark.parametrize("name", [*MAPPED, "distance_penalized_cross_entropy"])
def test_nan_in_a_map_that_is_read(name: str) -> None:
    z, y = scene()
    away = torch.full((2, 3, *SHAPE), NAN)
    value, _ = call(name, build(name, softmax=True), z, y, distance_map=away)
    assert value.isnan()


@every_loss
def test_nan_has_no_influence_where_voxels_do_not_count(name: str) -> None:
    z, y = scene()
    mask = torch.ones(2, 1, *SHAPE)
    mask[:, :, 0] = 0
    soft = torch.nn.functional.one_hot(y[:, 0], 3).movedim(-1, 1).float()
    away = torch.randn(2, 3, *SHAPE, generator=torch.Generator().manual_seed(2))
    loss = build(name, softmax=True)
    extras = {"distance_map": away} if name in MAPPED else {}
    for target in (y.float(), soft):
        expected = call(name, loss, z, target, mask=mask, **extras)
        hidden = [each.clone() for each in (z, target, away)]
        for each in hidden:
            each[:, :, 0] = NAN
        if extras:
            extras_hidden: dict[str, Any] = {"distance_map": hidden[2]}
        else:
            extras_hidden = {}
        found = call(name, loss, hidden[0], hidden[1], mask=mask, **extras_hidden)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])
        assert not found[1][:, :, 0].any()


def test_numeric_helpers_keep_nan() -> None:
    nan = torch.tensor([NAN])
    assert power(nan, 0.5).isnan()
    assert ratio(nan, torch.zeros(1)).isnan()
    assert ratio(torch.ones(1), nan).isnan()


@pytest.mark.parametrize("left_out_by", ["mask", "ignore_index"])
def test_other_act_sees_no_nan_of_voxels_that_are_left_out(left_out_by: str) -> None:
    """0 times the slope of a NaN is a NaN: such voxels reach no function of the user."""
    torch.manual_seed(0)
    logits, labels = torch.randn(1, 3, 4, 5, dtype=torch.float64), torch.randint(0, 3, (1, 1, 4, 5))
    counts = torch.rand(1, 1, 4, 5) > 0.3
    extras = {"mask": counts} if left_out_by == "mask" else {}
    if left_out_by == "ignore_index":
        labels = labels.where(counts, 255)
    found = []
    for spoiled in (False, True):
        z = torch.where(counts, logits, torch.nan) if spoiled else logits.clone()
        z.requires_grad_()
        loss = medloss.loss("dice_ce", other_act=lambda x: x.softmax(1), ignore_index=255)
        value = loss(z, labels, **extras)
        found.append((value, *torch.autograd.grad(value, z)))
    for clean, spoiled in zip(*found, strict=True):
        torch.testing.assert_close(spoiled, clean, rtol=0, atol=0)


@every_loss
@pytest.mark.parametrize("one_hot", [False, True])
def test_nan_where_the_label_is_a_background_that_does_not_count(name: str, one_hot: bool) -> None:
    """Softmax makes every class of the voxel NaN, whichever of them the value is made of."""
    z, y = scene()
    z[0, 2, 1, 0, 0] = NAN  # where the label is 0
    target = torch.cat([y == c for c in range(3)], 1) if one_hot else y
    value, slope = call(name, build(name, softmax=True, include_background=False), z, target)
    assert value.isnan()
    assert slope.isnan().any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_nan_far_from_every_skeleton(dtype: torch.dtype) -> None:
    """Tiles of voxels without a skeleton are passed over, but not their NaN."""
    z, y = torch.randn(1, 3, 40, 16, 16), torch.randint(0, 3, (1, 1, 40, 16, 16))
    skeleton = torch.zeros_like(z)
    skeleton[:, :, -1] = 1
    z[0, 1, 3, 4, 5] = NAN
    loss = medloss.loss("skeleton_recall", softmax=True)
    assert loss(z, y, skeleton=skeleton.to(dtype)).isnan()


@pytest.mark.parametrize("name", [*MAPPED, "distance_penalized_cross_entropy", "skeleton_recall"])
def test_nan_anywhere_in_a_ready_map(name: str) -> None:
    """Also where a loss reads no distance: outside of the object, or off the contour."""
    z, y = scene()
    extra = "skeleton" if name == "skeleton_recall" else "distance_map"
    for where in ((0, 2, 0, 0, 0), (1, 1, 1, 3, 5)):  # of label 0
        given = torch.randn_like(z)
        loss = build(name, softmax=True)
        assert loss(z, y, spacing_mm=1.0, **{extra: given}).isfinite()
        given[where] = NAN
        assert loss(z, y, spacing_mm=1.0, **{extra: given}).isnan()
        mask = torch.ones_like(y)
        mask[(where[0], 0, *where[2:])] = 0
        assert loss(z, y, spacing_mm=1.0, mask=mask, **{extra: given}).isfinite()
