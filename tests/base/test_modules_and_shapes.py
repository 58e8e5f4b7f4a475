"""Buffers of weights in modules, and any number of spatial axes."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import medloss

NEIGHBOURS = {
    "boundary",
    "boundary_dou",
    "generalized_surface",
    "hausdorff_dt",
    "hausdorff_erosion",
    "log_hausdorff_dt",
    "region_wise",
    "shape_aware",
    "surface_dice",
    "structural_similarity",
    "border_weighted_cross_entropy",
    "distance_penalized_cross_entropy",
    "nacl",
    "svls_cross_entropy",
    "blob",
    "cb_dice",
    "cc_dice_ce",
    "cl_dice",
    "dice_cl_dice",
}
OTHERS = sorted({r.name for r in medloss.list_losses()} - NEIGHBOURS - {"deep_supervision", "scnp"})


def scene(*spatial: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 3, *spatial, generator=generator)
    return z, torch.randint(0, 3, (2, 1, *spatial), generator=generator)


@pytest.mark.parametrize("name", OTHERS)
def test_losses_without_geometry_take_any_number_of_axes(name: str) -> None:
    named: dict[str, Any] = {"terms": ["dice", "focal"]} if name == "compound" else {}
    loss = medloss.loss(name, softmax=True, **named)
    for spatial in ((), (7,), (2, 3, 2, 2)):
        z, y = scene(*spatial)
        mask = torch.ones_like(y)
        for target in (y, torch.nn.functional.one_hot(y[:, 0], 3).movedim(-1, 1)):
            as_2d = [each.reshape(2, each.shape[1], -1, 1) for each in (z, target, mask)]
            extras = [{"skeleton": torch.ones_like(each)} for each in (z, as_2d[0])]
            found = loss(z, target, mask=mask, **extras[0])
            torch.testing.assert_close(found, loss(as_2d[0], as_2d[1], mask=as_2d[2], **extras[1]))


def test_unreduced_shapes_have_the_axes_of_the_input() -> None:
    for spatial in ((), (7,), (2, 3, 2, 2)):
        z, y = scene(*spatial)
        assert medloss.loss("dice", softmax=True, reduction="none")(z, y).shape == (2, 3)
        voxels = medloss.loss("focal", softmax=True, reduction="none")(z, y)
        assert voxels.shape == z.shape
        ce = medloss.loss("cross_entropy", softmax=True, reduction="none")(z, y)
        assert ce.shape == y.shape


@pytest.mark.parametrize("name", sorted(NEIGHBOURS))
def test_losses_with_geometry_refuse_other_axes_in_words(name: str) -> None:
    for spatial in ((), (7,), (2, 3, 2, 2)):
        z, y = scene(*spatial)
        with pytest.raises(ValueError, match="input: expected 2 or 3 spatial axes"):
            medloss.loss(name, softmax=True)(z, y, spacing_mm=1.0)
    with pytest.raises(ValueError, match="input: expected 2 or 3 spatial axes"):
        medloss.loss("compound", terms=["dice", name], softmax=True)(z, y, spacing_mm=1.0)


def test_neighbours_along_one_axis_are_neighbours() -> None:
    loss = medloss.loss("scnp", softmax=True)
    z, y = scene(7)
    row = loss(z, y)
    torch.testing.assert_close(row, loss(z[..., None], y[..., None]))
    assert row > loss.inside(z, y)
    z, y = scene()  # of a voxel alone there are none
    torch.testing.assert_close(loss(z, y), loss.inside(z, y))
    z, y = scene(2, 3, 2, 2)
    with pytest.raises(ValueError, match="input: expected 1 or 2 or 3 spatial axes"):
        loss(z, y)


WITH_BUFFERS: dict[str, dict[str, Any]] = {
    "dice": {"weight": [1e5, 1.0, 2.0]},
    "focal": {"alpha": [1e5, 1.0, 2.0]},
    "binary_cross_entropy": {"pos_weight": [1e5, 1.0, 2.0]},
    "weighted_cross_entropy": {"beta": [1e5, 1.0, 2.0]},
}


@pytest.mark.parametrize("name", WITH_BUFFERS)
def test_weights_keep_their_precision(name: str) -> None:
    z, y = scene(4, 5)
    loss = medloss.loss(name, softmax=True, **WITH_BUFFERS[name])
    expected = loss(z, y)
    saved = {k: v.clone() for k, v in loss.state_dict().items()}
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), loss).half()
    assert model[0].weight.dtype == torch.float16
    assert torch.equal(loss(z, y), expected)
    assert all(torch.equal(v, saved[k]) for k, v in loss.state_dict().items())


@pytest.mark.parametrize("name", WITH_BUFFERS)
def test_the_meta_device(name: str) -> None:
    z, y = scene(4, 5)
    expected = medloss.loss(name, softmax=True, **WITH_BUFFERS[name])(z, y)
    with torch.device("meta"):
        loss = medloss.loss(name, softmax=True, **WITH_BUFFERS[name])
    assert torch.equal(loss(z, y), expected)
    moved = loss.to("meta")
    assert all(each.is_meta for each in moved.buffers())
    option, numbers = next(iter(WITH_BUFFERS[name].items()))
    medloss.loss(name, **{option: torch.tensor(numbers, device="meta")})


def test_a_device_without_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medloss.base.buffers.NO_FLOAT64", ("meta",))
    loss = medloss.loss("dice", weight=[1.0, 2.0])
    buffer = loss._buffers["class_weight"]
    seen: list[torch.dtype] = []
    monkeypatch.setattr(
        torch.Tensor, "to", lambda self, *a: seen.append(a[1]) or torch.empty(2, device="meta")
    )
    loss._apply(lambda each: torch.empty_like(each, device="meta"))
    assert buffer.dtype == torch.float64
    assert seen == [torch.float32]


@pytest.mark.parametrize("name", WITH_BUFFERS)
def test_a_checkpoint_with_other_weights_is_refused(name: str) -> None:
    options = WITH_BUFFERS[name]
    (option, numbers), *_ = options.items()
    loss = medloss.loss(name, softmax=True, **options)
    same = medloss.loss(name, softmax=True, **options)
    same.load_state_dict(loss.state_dict())
    rounded = {k: v.float() for k, v in loss.state_dict().items()}
    same.load_state_dict(rounded)
    assert all(each.dtype == torch.float64 for each in same.buffers())
    other = medloss.loss(name, softmax=True, **{option: [3.0, *numbers[1:]]})
    for strict in (True, False):
        with pytest.raises(RuntimeError, match=r"the checkpoint has .*built with"):
            torch.nn.Sequential(other).load_state_dict(
                torch.nn.Sequential(loss).state_dict(), strict=strict
            )
    before = [each.clone() for each in other.buffers()]
    other.load_state_dict({}, strict=False)
    assert all(map(torch.equal, before, other.buffers()))


def test_weights_of_terms_keep_their_precision_too() -> None:
    ramp = {"schedule": "ramp", "start": 0.1, "end": 1.0, "steps": 7}
    loss = medloss.loss("compound", terms=["dice", "focal"], weights=[1, ramp], softmax=True)
    loss.step_schedule()
    z, y = scene(4, 5)
    expected = loss(z, y)
    assert torch.equal(loss.half()(z, y), expected)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("exponential_logarithmic", {"frequencies": [0.5, 0.3, 0.2]}),
        ("generalized_wasserstein_dice", {"distances": [[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]}),
    ],
)
def test_other_numbers_are_made_on_the_host(name: str, options: dict[str, Any]) -> None:
    z, y = scene(4, 5)
    with torch.device("meta"):
        loss = medloss.loss(name, softmax=True, **options)
    assert torch.equal(loss(z, y), medloss.loss(name, softmax=True, **options)(z, y))
