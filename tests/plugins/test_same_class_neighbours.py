"""The loss on each voxel's worst neighbour in its class: worked values, a slow reading, guards."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from monai.losses import DiceCELoss, DiceLoss
from torch import Tensor, nn
from worked_inputs import Y_MULTI, Z_MULTI, f64, gradient

import medloss
from medloss import FusedHead
from medloss_compound.worst_neighbours import WorstNeighbours, worst_neighbours

Z_Q = f64([[[[2, 1, -0.5, -3], [1.5, -0.2, 0.4, -2], [-1, -2.5, -1.5, 0.3]]]])
Y_Q = torch.tensor([[[[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]]])
WORST_Q = f64([[[[-0.2, -0.5, -0.5, 0.4], [-0.2, -0.5, 0.4, 0.4], [-1, 0.4, 0.4, 0.4]]]])
EXACT: dict[str, Any] = {"smooth_nr": 0, "smooth_dr": 0}
DICE: dict[str, Any] = {"name": "dice", **EXACT}
BCE = "binary_cross_entropy"


def scnp(loss: Any = "dice_ce", **options: Any) -> Any:
    return medloss.loss("scnp", loss=loss, **options)


def slowly(z: Tensor, y: Tensor, counts: Tensor, window: tuple[int, ...]) -> Tensor:
    """The definition, voxel by voxel, for (C, *spatial) and a target of that shape."""
    values, of_class, known = (each.numpy() for each in (z, y > 0, counts))
    out = values.copy()
    shape = values.shape[1:]
    for c, i in itertools.product(range(len(values)), np.ndindex(*shape)):
        if not known[i]:
            continue
        at = tuple(
            slice(max(0, k - w // 2), k + w // 2 + 1) for k, w in zip(i, window, strict=True)
        )
        alike = (of_class[c][at] == of_class[c][i]) & known[at]
        around = values[c][at][alike]
        out[(c, *i)] = around.min() if of_class[c][i] else around.max()
    return torch.from_numpy(out)


def case(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Logits, integer labels and a mask."""
    generator = torch.Generator().manual_seed(seed)
    z = 3 * torch.randn(2, 3, *shape, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (2, 1, *shape), generator=generator)
    return z, y, torch.rand(2, 1, *shape, generator=generator) > 0.3


def of_channels(y: Tensor) -> Tensor:
    return torch.cat([y == c for c in range(3)], 1)


class TestWorkedValues:
    def test_of_a_binary_image(self) -> None:
        assert torch.equal(worst_neighbours(Z_Q, Y_Q, None, [3, 3]), WORST_Q)
        for loss, plain, worst in (
            (BCE, 0.412522449115, 0.859155157768),
            (DICE, 0.356559085783, 0.62677620352),
        ):
            options = {"sigmoid": True}
            assert float(scnp(loss, **options)(Z_Q, Y_Q)) == pytest.approx(worst, abs=1e-11)
            one = scnp(loss, window=1, **options)(Z_Q, Y_Q)
            assert float(one) == pytest.approx(plain, abs=1e-11)

    def test_gradient_of_a_binary_image(self) -> None:
        expected = torch.zeros(3, 4, dtype=torch.float64)
        expected[0, 2], expected[1, 1] = -0.1556148328, -0.09163899955
        expected[1, 2], expected[2, 0] = 0.2993438301, 0.02241178511
        found = gradient("scnp", Z_Q, Y_Q, loss=BCE, sigmoid=True)[0, 0]
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)
        assert (found[expected == 0] == 0).all()
        of_dice = gradient("scnp", Z_Q, Y_Q, loss=DICE, sigmoid=True)[0, 0]
        assert float(of_dice[0, 2]) == pytest.approx(-0.1052775003, abs=1e-10)
        assert float(of_dice[1, 2]) == pytest.approx(0.04938728745, abs=1e-10)

    @pytest.mark.parametrize("line", [False, True])
    def test_of_three_classes(self, line: bool) -> None:
        z, y = (each[:, :, 0] if line else each for each in (Z_MULTI, Y_MULTI))
        worst = worst_neighbours(z, y, None, [3] * (z.ndim - 2)).view(3, 4)
        expected = f64([[2, 0, 0, 0.5], [0, 1, 0.5, 0.5], [0.5, 0.5, 2, 1]])
        assert torch.equal(worst, expected)
        loss = scnp("cross_entropy", softmax=True)(z, y)
        assert float(loss) == pytest.approx(0.646839466129, abs=1e-11)
        slope = gradient("scnp", z, y, loss="cross_entropy", softmax=True).view(3, 4)
        assert float(slope[0, 3]) == pytest.approx(-0.18148284523, abs=1e-10)
        assert float(slope[1, 1]) == pytest.approx(-0.12337990224, abs=1e-10)

    def test_two_channels_of_half_the_logits_are_one(self) -> None:
        two = torch.cat([-Z_Q / 2, Z_Q / 2], 1)
        found = scnp("cross_entropy", softmax=True)(two, Y_Q)
        assert float(found) == pytest.approx(0.859155157768, abs=1e-11)


@pytest.mark.parametrize(
    ("shape", "window"),
    [((9,), (3,)), ((4, 5), (3, 3)), ((2, 4, 5), (1, 5, 3)), ((1, 2, 7), (3, 3, 7))],
)
@pytest.mark.parametrize("masked", [False, True])
def test_equals_the_definition(
    shape: tuple[int, ...], window: tuple[int, ...], masked: bool
) -> None:
    z, y, mask = case(shape)
    mask = mask if masked else torch.ones_like(mask)
    given = mask.double() if masked else None
    for target in (y, of_channels(y).double()):
        found = worst_neighbours(z, target, given, window)
        for b in range(2):
            one = slowly(z[b], of_channels(y)[b], mask[b, 0], window)
            assert torch.equal(found[b], one)
    leaf = z.requires_grad_()
    fast = WorstNeighbours(window)
    weight = torch.rand(z.shape, generator=torch.Generator().manual_seed(1), dtype=z.dtype)
    (slow,) = torch.autograd.grad((fast.plain(leaf, y, given) * weight).sum(), leaf)
    torch.testing.assert_close(fast.slopes(weight, z.detach(), y, given)[0], slow)
    if len(shape) == 2:
        assert torch.autograd.gradcheck(lambda z: worst_neighbours(z, y, given, window), leaf)


def test_what_is_ignored_is_as_if_cut_away() -> None:
    """Not the worst neighbour of anything, whichever way it is said, and not in the loss."""
    z, y, _ = case((4, 6))
    z[..., 3:] = 1e4 * (1 - 2 * (y[..., 3:] == 1).double())
    expected = scnp(softmax=True)(z[..., :3], y[..., :3])
    mask = torch.ones_like(y)
    mask[..., 3:] = 0
    ignored = torch.where(mask > 0, y, 255)
    rows = of_channels(y) * mask
    found = [
        scnp(softmax=True)(z, y, mask=mask),
        scnp(softmax=True, ignore_index=255)(z, ignored),
        scnp(softmax=True, ignore_index=255)(z, rows),
    ]
    for each in found:
        torch.testing.assert_close(each, expected)
    assert not torch.isclose(scnp(softmax=True)(z, y), expected)


def test_no_number_stands_for_the_other_side() -> None:
    """Of a sentinel of 9999 these logits would be beyond, and lose their gradient."""
    y = torch.tensor([[[[0, 0, 1, 1]]]])
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        z = torch.tensor([[[[-6e4, -3e4, 2e4, 6e4]]]], dtype=dtype, requires_grad=True)
        worst = worst_neighbours(z, y, None, [3, 3])
        assert worst.flatten().tolist() == z.detach().flatten()[[1, 1, 2, 2]].tolist()
        worst.sum().backward()
        assert z.grad is not None
        assert z.grad.flatten().tolist() == [0, 2, 2, 0]
    # Up to where float16 ends a loss has a finite value, and its gradient reaches the voxel.
    z = torch.tensor([[[[-65504.0, -1, 1, 65504]]]], dtype=torch.float16, requires_grad=True)
    value = scnp("cross_entropy", sigmoid=True)(z, 1 - y)
    value.backward()
    assert value.isfinite()
    assert z.grad is not None
    assert z.grad[0, 0, 0, 0] < 0 < z.grad[0, 0, 0, 3]


def test_classes_that_are_nowhere_or_everywhere_train() -> None:
    z = case((4, 5))[0][:, :1]
    for y, worst in ((torch.zeros_like(z), z.amax), (torch.ones_like(z), z.amin)):
        whole = worst_neighbours(z, y, None, [11, 11])
        assert (whole == worst(dim=(2, 3), keepdim=True)).all()
        assert gradient("scnp", z, y, loss="dice_ce", sigmoid=True).any()


def test_never_below_the_loss_itself_and_worse_each_time() -> None:
    z, y, _ = case((5, 6))
    for name in ("cross_entropy", "focal", "dice"):
        options = {"sigmoid": True}
        plain = medloss.loss(name, **options)(z, of_channels(y))
        assert scnp(name, **options)(z, of_channels(y)) > plain
    once = worst_neighbours(z, y, None, [3, 3])
    assert not torch.equal(worst_neighbours(once, y, None, [3, 3]), once)


def test_neighbours_that_are_equally_bad_share_the_gradient() -> None:
    """So a constant image has a gradient as even as the image, wherever pooling would begin."""
    z, y = torch.zeros(1, 1, 4, 4, dtype=torch.float64), torch.ones(1, 1, 4, 4)
    slope = gradient("scnp", z, y, loss=BCE, sigmoid=True)
    assert torch.equal(slope, slope.flip(2))
    assert torch.equal(slope, slope.flip(3))
    assert float(slope.sum()) == pytest.approx(-0.5)
    assert (slope < 0).all()


def test_in_evaluation_it_is_the_loss_inside_unless_asked() -> None:
    plain = float(medloss.loss("dice_ce", sigmoid=True)(Z_Q, Y_Q))
    loss, always = scnp(sigmoid=True), scnp(sigmoid=True, training_only=False)
    worse = float(loss(Z_Q, Y_Q))
    assert worse > plain
    assert float(loss.eval()(Z_Q, Y_Q)) == plain
    assert float(always.eval()(Z_Q, Y_Q)) == worse
    assert float(loss.train()(Z_Q, Y_Q)) == worse


class TestAroundOthers:
    def test_a_loss_of_monai_has_its_activation_and_its_label(self) -> None:
        worst = WORST_Q
        inside = DiceCELoss(sigmoid=True)
        assert torch.equal(scnp(inside)(Z_Q, Y_Q), inside(worst, Y_Q))
        z, y, _ = case((4, 5))
        inside = DiceLoss(softmax=True, to_onehot_y=True)
        assert torch.equal(scnp(inside)(z, y), inside(worst_neighbours(z, y, None, [3, 3]), y))

    def test_losses_of_torch(self) -> None:
        z, y, _ = case((4, 5))
        worst = worst_neighbours(z, y, None, [3, 3])
        inside = nn.CrossEntropyLoss()
        assert torch.equal(scnp(inside)(z, y), inside(worst, y[:, 0]))
        many = of_channels(y).double()
        bce = nn.BCEWithLogitsLoss()
        assert torch.equal(scnp(bce)(z, many), bce(worst, many))

    def test_beside_terms_of_others_in_a_compound_inside(self) -> None:
        inside = medloss.loss("compound", terms=["dice", DiceLoss(sigmoid=True)], sigmoid=True)
        loss = scnp(inside)
        assert torch.equal(loss(Z_Q, Y_Q), inside(WORST_Q, Y_Q))

    def test_what_they_do_not_know_is_refused(self) -> None:
        with pytest.raises(ValueError, match="DiceLoss of another library knows no mask"):
            scnp(DiceLoss(sigmoid=True))(Z_Q, Y_Q, mask=torch.ones_like(Y_Q))
        with pytest.raises(ValueError, match="softmax: expected none beside a loss that is built"):
            scnp(DiceLoss(), softmax=True)


def test_as_a_term_it_is_added_to_the_plain_loss() -> None:
    terms = ["dice_ce", {"name": "scnp", "loss": "dice_ce", "window": 5}]
    loss = medloss.loss("compound", terms=terms, weights=[1, 0.5], sigmoid=True)
    value = loss(Z_Q, Y_Q)
    parts = loss.breakdown()
    assert list(parts) == ["dice_ce", "scnp"]
    alone = scnp(window=5, sigmoid=True)(Z_Q, Y_Q)
    assert parts["scnp"].value == pytest.approx(float(alone))
    assert float(value) == pytest.approx(parts["dice_ce"].value + 0.5 * float(alone))


def test_in_deep_supervision_every_level_is_penalised_and_told() -> None:
    z, y, _ = case((8, 8))
    outputs = [z, z[..., ::2, ::2]]
    loss = medloss.loss("deep_supervision", loss="scnp", softmax=True)
    value = loss(outputs, y)
    alone = scnp(softmax=True)
    levels = [alone(outputs[0], y), alone(outputs[1], y[..., 1::2, 1::2])]
    torch.testing.assert_close(value, (2 * levels[0] + levels[1]) / 3)
    parts = loss.breakdown()
    assert list(parts) == [
        f"level_{k}/{term}" for k in (0, 1) for term in ("dice", "cross_entropy")
    ]
    assert sum(part.weighted for part in parts.values()) == pytest.approx(float(value))
    plain = medloss.loss("deep_supervision", softmax=True)(outputs, y)
    torch.testing.assert_close(loss.eval()(outputs, y), plain)


class TestRefusals:
    @pytest.mark.parametrize("window", [0, 2, -1, True, 3.0, (3, 4), "3"])
    def test_windows_that_have_no_middle(self, window: Any) -> None:
        with pytest.raises((ValueError, TypeError), match="window"):
            scnp(window=window)

    def test_windows_of_other_axes(self) -> None:
        with pytest.raises(ValueError, match="window: expected 2 numbers, one for each axis"):
            scnp(window=(3, 3, 1), sigmoid=True)(Z_Q, Y_Q)

    def test_soft_labels(self) -> None:
        soft = Y_Q.double().clone()
        soft[..., 0, 0] = 0.5
        for loss in (scnp(sigmoid=True), scnp(DiceLoss(sigmoid=True))):
            with pytest.raises(ValueError, match="target: expected hard labels"):
                loss(Z_Q, soft)

    def test_a_fused_head_which_has_no_logits_of_neighbours(self) -> None:
        head = FusedHead(nn.Conv2d(4, 3, kernel_size=1), scnp(softmax=True))
        with pytest.raises(ValueError, match="SCNPLoss with these options needs the logits of"):
            head.loss(torch.randn(1, 4, 3, 3), torch.zeros(1, 1, 3, 3, dtype=torch.long))
