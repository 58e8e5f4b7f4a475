"""The fused head equals the convolution followed by the loss."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import medloss
from medloss import FusedHead
from medloss.runtime.slabs import AtOnce

LOSSES = {
    "dice": {},
    "dice_ce": {"include_background": False},
    "dice_focal": {"batch": True},
    "tversky": {"reduction": "none"},
    "cross_entropy": {"weight": [1.0, 2.0, 0.5, 1.0]},
    "bce_dice": {},
    "generalized_dice": {},
}


def scene(
    dtype: torch.dtype = torch.float64, space: tuple[int, ...] = (5, 6, 7)
) -> tuple[nn.Module, Tensor, Tensor]:
    """A convolution from 3 features to 4 classes, features and labels."""
    generator = torch.Generator().manual_seed(0)
    convolution = (nn.Conv3d if len(space) == 3 else nn.Conv2d)(3, 4, 1, dtype=dtype)
    with torch.no_grad():
        for parameter in convolution.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    features = torch.randn(2, 3, *space, generator=generator, dtype=torch.float64).to(dtype)
    return convolution, features, torch.randint(0, 4, (2, 1, *space), generator=generator)


def both(
    loss: Any, convolution: nn.Module, features: Tensor, labels: Any, **extras: Any
) -> list[list[Tensor]]:
    """Value, and gradients by features, weight and bias, of the two ways."""
    found = []
    for fused in (False, True):
        copied, leaf = copy.deepcopy(convolution), features.clone().requires_grad_()
        head = FusedHead(copied, loss) if fused else None
        value = (
            head.loss(head(leaf), labels, **extras)
            if head
            else loss(copied(leaf), labels, **extras)
        )
        value.sum().backward()
        bias = copied.bias
        found.append([value, leaf.grad, copied.weight.grad, *([] if bias is None else [bias.grad])])
    return found


@pytest.fixture(autouse=True)
def _small_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medloss.runtime.slabs.BYTES", AtOnce(50 * 4 * 8, 0))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_value_and_gradients(name: str, activation: str) -> None:
    loss = medloss.loss(name, **{activation: True}, **LOSSES[name])
    torch.testing.assert_close(*both(loss, *scene()))


def test_two_dimensions_without_bias() -> None:
    convolution, features, labels = scene(space=(9, 8))
    convolution.bias = None
    torch.testing.assert_close(
        *both(medloss.loss("dice_ce", softmax=True), convolution, features, labels)
    )


def test_masks_maps_and_one_hot_targets() -> None:
    convolution, features, labels = scene()
    generator = torch.Generator().manual_seed(1)
    mask = torch.rand(2, 1, 5, 6, 7, generator=generator) > 0.3
    present = torch.tensor([[1, 1, 0, 1], [1, 1, 1, 1]])
    loss = medloss.loss("compound", terms=["dice_ce", "boundary"], softmax=True)
    distance = torch.randn(2, 4, 5, 6, 7, generator=generator, dtype=torch.float64)
    target = {"label": labels, "mask": mask, "present": present, "distance_map": distance}
    loss = medloss.loss("compound", terms=["dice", "boundary"], softmax=True)
    torch.testing.assert_close(*both(loss, convolution, features, target))
    dense = torch.nn.functional.one_hot(labels[:, 0], 4).movedim(-1, 1)
    loss = medloss.loss("dice_ce", softmax=True)
    torch.testing.assert_close(*both(loss, convolution, features, dense, mask=mask))


@pytest.mark.parametrize("backend", ["reference", "chunked"])
def test_other_backends(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loss = medloss.loss("dice_ce", softmax=True)
    expected = both(loss, *scene())[0]
    monkeypatch.setenv("MEDLOSS_BACKEND", backend)
    torch.testing.assert_close(both(loss, *scene())[1], expected)


def test_gradcheck() -> None:
    convolution, features, labels = scene(space=(2, 2, 2))
    head = FusedHead(convolution, medloss.loss("dice_ce", softmax=True))

    def function(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        with torch.nn.utils.stateless._reparametrize_module(head, {"weight": weight, "bias": bias}):
            return head.loss(features, labels)

    leaves = [each.detach().requires_grad_() for each in (features, *convolution.parameters())]
    assert torch.autograd.gradcheck(function, leaves)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_multiplied_in_float32(dtype: torch.dtype) -> None:
    convolution, features, labels = scene(torch.float32)
    head = FusedHead(convolution, medloss.loss("dice_ce", softmax=True))
    half = features.to(dtype).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = head.loss(head(half), labels)
    value.backward()
    torch.testing.assert_close(value, head.loss(half.detach().float(), labels))
    assert half.grad.dtype == dtype
    assert convolution.weight.grad.dtype == torch.float32


def test_it_is_the_convolution_at_inference() -> None:
    convolution, features, _ = scene(torch.float32)
    head = FusedHead(convolution, medloss.loss("dice_ce", softmax=True, weight=[1, 2, 3, 4]))
    assert list(head.state_dict()) == list(convolution.state_dict()) == ["weight", "bias"]
    torch.testing.assert_close(head.eval()(features), convolution(features))
    assert head.train()(features) is features
    other = FusedHead(scene(torch.float32)[0], medloss.loss("dice", softmax=True)).eval()
    other.load_state_dict(head.state_dict())
    for copied in (copy.deepcopy(head), pickle.loads(pickle.dumps(head)), other):
        torch.testing.assert_close(copied.eval()(features), convolution(features))


def test_in_a_network_of_monai() -> None:
    from monai.networks.nets import BasicUNet

    torch.manual_seed(0)
    network = BasicUNet(3, 1, 5, features=(8, 8, 8, 8, 8, 8))
    keys, image = list(network.state_dict()), torch.randn(1, 1, 32, 32, 16)
    labels = torch.randint(0, 5, (1, 1, 32, 32, 16))
    expected = medloss.loss("dice_ce", softmax=True)(network(image), labels)
    logits = network.eval()(image)
    head = network.final_conv = FusedHead(network.final_conv, medloss.loss("dice_ce", softmax=True))
    assert list(network.state_dict()) == keys
    torch.testing.assert_close(network.eval()(image), logits)
    value = head.loss(network.train()(image), labels)
    torch.testing.assert_close(value, expected)
    value.backward()
    assert all(p.grad is not None for p in network.parameters())


def test_what_cannot_be_meant_is_refused() -> None:
    convolution, features, labels = scene()
    dice = medloss.loss("dice", softmax=True)
    with pytest.raises(TypeError, match="convolution: expected Conv2d or Conv3d, got Linear"):
        FusedHead(nn.Linear(2, 3), dice)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="convolution: expected a kernel and stride of 1"):
        FusedHead(nn.Conv3d(3, 4, 3), dice)
    with pytest.raises(TypeError, match="loss: expected a loss of medloss, got MSELoss"):
        FusedHead(convolution, nn.MSELoss())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="loss: expected softmax=True or sigmoid=True"):
        FusedHead(convolution, medloss.loss("dice"))
    head = FusedHead(convolution, dice)
    with pytest.raises(ValueError, match=r"features: expected \(B, 3, H, W, D\), got \[2, 4,"):
        head.loss(convolution(features), labels)
    with pytest.raises(TypeError, match="features: expected a tensor of floating-point"):
        head.loss(labels, labels)
    with pytest.raises(ValueError, match="target: expected labels from 0 to 3"):
        head.loss(features, labels + 1)
    for name in ("lovasz_softmax", "topk_cross_entropy"):
        head = FusedHead(convolution, medloss.loss(name, softmax=True))
        with pytest.raises(ValueError, match="needs the logits of every voxel"):
            head.loss(features, labels)


def test_terms_of_other_libraries_are_refused_which_would_see_no_logits() -> None:
    from monai.losses import DiceLoss

    convolution, features, labels = scene(torch.float32)
    monais = DiceLoss(softmax=True, to_onehot_y=True)
    loss = medloss.loss("compound", softmax=True, terms=["dice", monais])
    with pytest.raises(ValueError, match="needs the logits of every voxel"):
        FusedHead(convolution, loss).loss(features, labels)


def test_what_the_mask_hides_may_be_anything() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(3, 2, 1)
    head = FusedHead(convolution, medloss.loss("dice_ce", softmax=True))
    features, label = torch.randn(1, 3, 4, 5), torch.randint(0, 2, (1, 1, 4, 5))
    mask = torch.rand(1, 1, 4, 5) > 0.4
    weights = []
    for hidden in (0.0, torch.nan):
        head.zero_grad()
        given = features.masked_fill(~mask, hidden)
        head.loss(given, {"label": label, "mask": mask.float()}).backward()
        weights.append(convolution.weight.grad.clone())
    torch.testing.assert_close(*weights, rtol=0, atol=0)
