"""What every registered loss must do, whatever its mathematics."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from monai.data import MetaTensor
from torch import Tensor
from worked_inputs import one_hot

import medloss
from medloss.base import SegmentationLoss
from medloss.host import Offer, host

SPACING_MM = (1.0, 2.0, 0.5)
NEEDED: dict[str, dict[str, Any]] = {
    "boundary": {"spacing_mm": SPACING_MM},
    "compound": {"terms": ["dice", "focal", {"name": "boundary", "spacing_mm": SPACING_MM}]},
}
NAMES = [offer.record.name for offer in host().losses() if offer.plugin.distribution == "medloss"]
every_loss = pytest.mark.parametrize("name", NAMES)
SHAPE = (6, 5, 7)


def build(name: str, **options: Any) -> SegmentationLoss:
    built: SegmentationLoss = medloss.loss(name, **NEEDED.get(name, {}), **options)
    return built


def logits(batch: int = 2, classes: int = 3, seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(batch, classes, *SHAPE, generator=generator)


def labels(batch: int = 2, classes: int = 3, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, classes, (batch, 1, *SHAPE), generator=generator)


def value_and_gradient(loss: Any, input: Tensor, target: Any, **extras: Any) -> tuple[Any, Tensor]:
    leaf = input.detach().clone().requires_grad_()
    value = loss(leaf, target, **extras)
    value.sum().backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


@every_loss
def test_summary_is_the_docstring(name: str) -> None:
    offer = host().loss(name)
    doc = inspect.getdoc(offer.load()) or ""
    assert doc.splitlines()[0] == offer.record.summary
    for section in ("Formula:", "Range:", "Empty target:", "Example:", "Source:"):
        assert section in doc


@every_loss
def test_integer_and_one_hot_targets_agree(name: str) -> None:
    loss, z, y = build(name, softmax=True), logits(), labels()
    expected = value_and_gradient(loss, z, y)
    for other in (y.float(), y.to(torch.uint8), one_hot(y, 3), one_hot(y, 3).to(torch.int16)):
        torch.testing.assert_close(value_and_gradient(loss, z, other), expected)
    declared = build(name, softmax=True, to_onehot_y=True)
    torch.testing.assert_close(value_and_gradient(declared, z, y), expected)


@every_loss
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_gradcheck(name: str, activation: str) -> None:
    loss = build(name, **{activation: True})
    z = logits(1, 3, scale=1.0)[..., :2, :2, :3].double().requires_grad_()
    y = labels(1, 3)[..., :2, :2, :3]
    target = y if activation == "softmax" else one_hot(y, 3)
    extras = {"spacing_mm": 1.0} if name in NEEDED else {}
    assert torch.autograd.gradcheck(lambda x: loss(x, target, **extras), (z,))


@every_loss
def test_perfect_is_no_worse_than_perturbed(name: str) -> None:
    loss, y = build(name, softmax=True), labels()
    perfect = 24 * (one_hot(y, 3) - 0.5)
    best = float(loss(perfect, y))
    assert best <= float(loss(-perfect, y))
    for seed in range(5):
        assert best <= float(loss(perfect + 10 * logits(seed=seed), y)) + 1e-6


@every_loss
@pytest.mark.parametrize("kind", ["empty", "full", "absent class", "one voxel"])
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_finite_everywhere(name: str, kind: str, scale: float) -> None:
    y = {
        "empty": torch.zeros(2, 1, *SHAPE),
        "full": torch.full((2, 1, *SHAPE), 2),
        "absent class": labels(2, 2),
        "one voxel": torch.nn.functional.one_hot(torch.tensor(77), 210).view(1, 1, *SHAPE),
    }[kind].long()
    y = y.expand(2, -1, -1, -1, -1)
    for options in ({}, {"include_background": False}):
        value, gradient = value_and_gradient(
            build(name, softmax=True, **options), scale * logits(), y
        )
        assert value.isfinite()
        assert gradient.isfinite().all()


@every_loss
def test_saturated_perfect_prediction_has_a_finite_gradient(name: str) -> None:
    y = labels()
    value, gradient = value_and_gradient(
        build(name, softmax=True), 1e4 * (one_hot(y, 3).float() - 0.5), y
    )
    assert value.isfinite()
    assert gradient.isfinite().all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_beyond_its_largest_sum(name: str, dtype: torch.dtype) -> None:
    """64³ voxels: more than the 65504 that a float16 sum can hold."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 2, 64, 64, 64, generator=generator).to(dtype)
    y = (z[:, 1:] > 0.5).long()
    loss = build(name, softmax=True)
    value, gradient = value_and_gradient(loss, z, y)
    expected, expected_gradient = value_and_gradient(loss, z.double(), y)
    assert value.dtype == torch.float32
    assert gradient.dtype == dtype
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    # the gradient is stored in half precision: compare it on its own scale
    scale = expected_gradient.abs().max()
    error = (gradient.double() - expected_gradient).abs().max() / scale
    assert error < 4 * torch.finfo(dtype).eps + (6e-8 / float(scale) if dtype.itemsize == 2 else 0)


@every_loss
def test_autocast_changes_nothing(name: str) -> None:
    loss, z, y = build(name, softmax=True), logits(), labels()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(z, y)
    assert float(inside) == float(loss(z, y))


@every_loss
def test_masked_voxels_have_no_influence(name: str) -> None:
    z, y = logits(), labels()
    mask = torch.ones(2, 1, *SHAPE, dtype=torch.bool)
    mask[..., 4:] = False
    other = z.clone()
    other[..., 4:] = torch.nan
    other_y = y.clone()
    other_y[..., 4:] = 0
    loss = build(name, softmax=True)
    ready = {"distance_map": logits(seed=7)} if name in NEEDED else {}
    value, gradient = value_and_gradient(loss, z, y, mask=mask, **ready)
    torch.testing.assert_close(
        value_and_gradient(loss, other, other_y, mask=mask, **ready), (value, gradient)
    )
    assert (gradient[..., 4:] == 0).all()
    cropped = {k: v[..., :4] for k, v in ready.items()}
    small, small_gradient = value_and_gradient(loss, z[..., :4], y[..., :4], **cropped)
    torch.testing.assert_close(value, small)
    torch.testing.assert_close(gradient[..., :4], small_gradient)


@every_loss
def test_ignore_index_equals_a_mask(name: str) -> None:
    z, y = logits(), labels()
    marked = y.clone()
    marked[:, :, 3:] = 255
    extras: dict[str, Any] = {"distance_map": logits(seed=7)} if name in NEEDED else {}
    by_index = build(name, softmax=True, ignore_index=255)(z, marked, **extras)
    by_mask = build(name, softmax=True)(z, y, mask=marked != 255, **extras)
    torch.testing.assert_close(by_index, by_mask)


@every_loss
def test_everything_ignored_gives_zero(name: str) -> None:
    mask = torch.zeros(2, 1, *SHAPE)
    value, gradient = value_and_gradient(build(name, softmax=True), logits(), labels(), mask=mask)
    assert value == 0
    assert (gradient == 0).all()


@every_loss
def test_classes_not_annotated_have_no_influence(name: str) -> None:
    z, y = logits(), labels(classes=2)  # class 2 is not annotated, and its voxels hold 0
    present = torch.tensor([[True, True, False]] * 2)
    loss = build(name, sigmoid=True)
    value, gradient = value_and_gradient(loss, z, one_hot(y, 3), present=present)
    assert (gradient[:, 2] == 0).all()
    other = z.clone()
    other[:, 2] += 5
    assert loss(other, one_hot(y, 3), present=present) == value
    two = build(name, sigmoid=True)(z[:, :2], one_hot(y, 2))
    torch.testing.assert_close(value, two)


@every_loss
def test_samples_are_independent(name: str) -> None:
    z, y = logits(), labels()
    loss = build(name, softmax=True)
    each = torch.stack([loss(z[i : i + 1], y[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(loss(z, y), each.mean())


@every_loss
def test_reductions(name: str) -> None:
    z, y = logits(), labels()
    each = build(name, softmax=True, reduction="none")(z, y)
    assert each.shape[0] == 2
    assert each.shape[1] in (1, 3)
    assert each.shape[2:] in (torch.Size(), torch.Size(SHAPE))
    torch.testing.assert_close(each.mean(), build(name, softmax=True)(z, y))


@every_loss
@pytest.mark.parametrize("axes", [(2,), (3, 4)])
def test_flips_change_nothing(name: str, axes: tuple[int, ...]) -> None:
    z, y = logits(), labels()
    loss = build(name, softmax=True)
    torch.testing.assert_close(loss(z.flip(axes), y.flip(axes)), loss(z, y))


@every_loss
def test_axis_order_changes_nothing(name: str) -> None:
    z, y = logits(), labels()
    loss = build(name, softmax=True)
    spacing = (1.0, 2.0, 0.5)
    turned = loss(z.permute(0, 1, 4, 2, 3), y.permute(0, 1, 4, 2, 3), spacing_mm=(0.5, 1.0, 2.0))
    torch.testing.assert_close(turned, loss(z, y, spacing_mm=spacing))


@every_loss
def test_memory_layout_changes_nothing(name: str) -> None:
    z, y = logits(), labels()
    loss = build(name, softmax=True)
    last = z.to(memory_format=torch.channels_last_3d)
    strided = torch.empty(2, 3, *SHAPE[:-1], 2 * SHAPE[-1])[..., ::2].copy_(z)
    for other in (last, strided):
        assert not other.is_contiguous()
        torch.testing.assert_close(
            value_and_gradient(loss, other, y), value_and_gradient(loss, z, y)
        )


@every_loss
def test_two_dimensions_equal_one_flat_slice(name: str) -> None:
    z, y = logits()[..., :1], labels()[..., :1]
    loss = build(name, softmax=True)
    flat = {"distance_map": logits(seed=7)[..., :1]} if name in NEEDED else {}
    squeezed = {k: v[..., 0] for k, v in flat.items()}
    torch.testing.assert_close(loss(z[..., 0], y[..., 0], **squeezed), loss(z, y, **flat))


@pytest.mark.parametrize(
    "name", ["dice", "generalized_dice", "tversky", "focal_tversky", "boundary"]
)
def test_two_softmax_channels_equal_one_sigmoid_channel(name: str) -> None:
    z, y = logits(classes=2), labels(classes=2)
    softmax = build(name, softmax=True, include_background=False)
    one_channel = z[:, 1:] - z[:, :1]
    torch.testing.assert_close(softmax(z, y), build(name, sigmoid=True)(one_channel, y))


@every_loss
@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: dict(reversed(list(d.items())))])
def test_targets_may_be_mappings(name: str, wrap: Callable[[Any], Mapping[str, Any]]) -> None:
    z, y = logits(), labels()
    mask = labels(classes=2, seed=9) > 0
    loss = build(name, softmax=True)
    target = wrap({"label": y, "mask": mask, "spacing_mm": (1.0, 2.0, 0.5)})
    expected = loss(z, y, mask=mask, spacing_mm=(1.0, 2.0, 0.5))
    torch.testing.assert_close(loss(z, target), expected)


@every_loss
def test_metatensors_come_out_plain(name: str) -> None:
    z, y = logits(), labels()
    loss = build(name, softmax=True)
    affine = torch.diag(torch.tensor([1.0, 2.0, 0.5, 1.0], dtype=torch.float64))
    value = loss(MetaTensor(z, affine=affine), MetaTensor(y, affine=affine))
    assert type(value) is Tensor
    torch.testing.assert_close(value, loss(z, y, spacing_mm=(1.0, 2.0, 0.5)))


@every_loss
def test_copies_and_pickles(name: str) -> None:
    z, y = logits(), labels()
    loss = build(name, softmax=True)
    expected = loss(z, y)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert repr(other) == repr(loss)
        assert other(z, y) == expected
    loss.load_state_dict(build(name, softmax=True).state_dict())


@every_loss
def test_repr_tells_every_option(name: str) -> None:
    loss = build(name, softmax=True)
    for option in inspect.signature(type(loss)).parameters:
        assert f"{option}=" in repr(loss)


@every_loss
def test_is_a_torch_module_without_parameters(name: str) -> None:
    loss = build(name, softmax=True)
    assert isinstance(loss, torch.nn.modules.loss._Loss)
    assert not list(loss.parameters())


@every_loss
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda z, y: (z.argmax(1, keepdim=True), y), TypeError, "input: .*floating"),
        (lambda z, y: (z[:, :, 0, 0], y), ValueError, r"input: expected \(B, C, H, W\)"),
        (lambda z, y: (z, y[:, 0]), ValueError, r"target: expected .*got \[2, 6, 5, 7\]"),
        (lambda z, y: (z, y[..., 1:]), ValueError, "target: expected .* to match input"),
        (lambda z, y: (z, y + 1), ValueError, "target: expected labels from 0 to 2"),
        (lambda z, y: (z, y - 1), ValueError, "target: expected labels from 0 to 2"),
        (lambda z, y: (z, y.float() + 0.5), ValueError, "target: "),
        (lambda z, y: (z, y.numpy()), TypeError, "target: expected a torch.Tensor"),
        (lambda z, y: (z, {"lable": y}), ValueError, "did you mean 'label'"),
        (lambda z, y: (z, {"mask": y}), ValueError, "key 'label'"),
        (lambda z, y: (z, {"label": y, "mask": y[..., 1:] > 0}), ValueError, "mask: expected"),
        (lambda z, y: (z, {"label": y, "mask": y}), ValueError, r"mask: .*\[0, 1\]"),
        (lambda z, y: (z, {"label": y, "present": [[1, 1]]}), ValueError, "present: expected"),
        (lambda z, y: (z, {"label": y, "spacing_mm": (1, 2)}), ValueError, "spacing_mm: expected"),
        (lambda z, y: (z, {"label": y, "distance_map": z[..., 1:]}), ValueError, "distance_map:"),
        (lambda z, y: (z[:, :1], y.clamp_max(1)), ValueError, "softmax: .*single channel"),
    ],
)
def test_wrong_input_is_refused_by_name(
    name: str, change: Callable[[Tensor, Tensor], Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        build(name, softmax=True)(*change(logits(), labels()))


@every_loss
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"softmax": True, "sigmoid": True}, "at most one activation"),
        ({"reduction": "avg"}, "reduction: expected one of"),
        ({"batch": "galaxy"}, "batch: expected"),
        ({"other_act": 3}, "other_act: expected a callable"),
        ({"weight": [-1.0, 1.0, 1.0]}, "weight: expected"),
    ],
)
def test_wrong_options_are_refused_by_name(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        build(name, **options)


@every_loss
def test_logits_without_an_activation_are_refused(name: str) -> None:
    if name == "focal":  # takes logits, as in MONAI
        return
    with pytest.raises(ValueError, match="softmax=True"):
        build(name)(logits(), labels())


def test_every_offered_loss_is_reachable_as_an_attribute() -> None:
    offers: list[Offer[Any]] = list(host().losses())
    for offer in offers:
        assert getattr(medloss.losses, offer.record.attribute) is offer.load()
