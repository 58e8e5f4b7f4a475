"""Partial labels: voxels and classes without annotation, marginal and exclusion losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from worked_inputs import f64, one_hot

import medloss
from medloss.base import LossInParts, NotAdditiveError
from medloss.testing.scenes import Scene, make_scene, ready_maps

EXACT: dict[str, Any] = {"smooth_nr": 0, "smooth_dr": 0}
P = f64([[[[0.5, 0.1]], [[0.2, 0.7]], [[0.3, 0.2]]]])
"""Three classes in two voxels, (1, 3, 1, 2)."""
Y = torch.tensor([[[[0, 1]]]])
WITHOUT_2 = [[True, True, False]]
NAMES = [record.name for record in medloss.list_losses()]
ON_PRESENT = [name for name in NAMES if name not in ("marginal", "exclusion", "deep_supervision")]

ON_PAIRS = ("generalized_wasserstein_dice",)
"""Every true class has a distance to every other: a label is one of all classes."""


def options_of(name: str) -> dict[str, Any]:
    (record,) = (record for record in medloss.list_losses() if record.name == name)
    return {k: v for k, v in record.example.items() if k not in ("softmax", "sigmoid")}


def needed(name: str, scene: Scene) -> dict[str, Any]:
    (record,) = (record for record in medloss.list_losses() if record.name == name)
    maps = ready_maps(scene) if record.needs else {}
    return {**scene.extras, **{need: maps[need] for need in record.needs}}


def gradient(loss: Any, input: Tensor, target: Any, **extras: Any) -> Tensor:
    leaf = input.detach().clone().requires_grad_()
    (found,) = torch.autograd.grad(loss(leaf, target, **extras).sum(), leaf)
    return found


@pytest.mark.parametrize("name", ON_PRESENT)
def test_present_is_a_matter_of_each_case(name: str) -> None:
    """A class that one case lacks has no influence there, and keeps it in the other case."""
    scene = make_scene(3, dtype=torch.float64)
    labels = torch.where(scene.target == 2, 0, scene.target)
    labels[1] = scene.target[1]
    y = one_hot(labels, 3)
    extras = needed(name, Scene(scene.logits, labels, scene.extras))
    input, loss = scene.logits, medloss.loss(name, sigmoid=True, **options_of(name))
    try:
        loss(input, y, **extras)
    except ValueError:  # a loss for exclusive classes
        input, loss = scene.logits.softmax(1), medloss.loss(name, **options_of(name))
    known = torch.tensor([[True, True, False], [True, True, True]])
    expected = loss(input, y, present=known, **extras)
    slope = gradient(loss, input, y, present=known, **extras)
    assert (slope[0, 2] == 0).all()
    assert (slope[1, 2] != 0).any()
    other_input, other_y = input.clone(), y.clone()
    other_input[0, 2] = input[0, 2].flip(0)
    torch.testing.assert_close(loss(other_input, y, present=known, **extras), expected)
    everything = loss(input, y, present=torch.ones(2, 3), **extras)
    torch.testing.assert_close(everything, loss(input, y, **extras))
    if name not in ON_PAIRS:
        other_y[0, 2] = y[0, 1]
        torch.testing.assert_close(loss(input, other_y, present=known, **extras), expected)


@pytest.mark.parametrize("name", ON_PRESENT)
def test_marginal_equals_the_loss_of_the_classes_that_are_left(name: str) -> None:
    """Whatever loss is inside: merging by hand, and forgetting the class, gives the same."""
    scene = make_scene(4, dtype=torch.float64)
    labels = torch.where(scene.target == 2, 0, scene.target)
    inside = {**options_of(name), "softmax": True}
    extras = needed(name, Scene(scene.logits, labels, scene.extras))
    loss = medloss.loss("marginal", loss={"name": name, **inside})
    present = torch.tensor([[True, True, False, True]] * 2)
    z = scene.logits
    merged = torch.stack([z[:, [0, 2]].logsumexp(1), z[:, 1], z[:, 3]], 1)
    of_three = {
        k: v[:, [0, 1, 3]] if isinstance(v, Tensor) and v.shape[1] == 4 else v
        for k, v in extras.items()
    }
    expected = medloss.loss(name, **inside)(merged, labels.clamp_max(2), **of_three)
    for target in (labels, one_hot(labels, 4)):
        found = loss(z, target, present=present, **extras)
        # a class less is smoothed less, that is the difference
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
    assert gradient(loss, z, labels, present=present, **extras).isfinite().all()


@pytest.mark.parametrize("softmax", [True, False])
@pytest.mark.parametrize(
    ("inside", "expected"),
    [
        ({"name": "cross_entropy"}, 0.289909247620),  # -(ln .8 + ln .7) / 2
        ({"name": "dice", **EXACT}, 0.250626566416),  # 1 - (1.6 / 2.1 + 1.4 / 1.9) / 2
        ({"name": "dice", "include_background": False, **EXACT}, 0.263157894737),
    ],
)
def test_marginal_by_hand(inside: dict[str, Any], expected: float, *, softmax: bool) -> None:
    loss = medloss.losses.MarginalLoss(loss=inside, softmax=softmax)
    input = P.log() + 3 if softmax else P
    for target in (Y, one_hot(Y, 3), one_hot(Y, 3).bool(), Y.to(torch.uint8)):
        found = loss(input, target, present=WITHOUT_2)
        assert float(found) == pytest.approx(expected, abs=1e-11)
    assert float(loss(input, {"label": Y, "present": WITHOUT_2})) == pytest.approx(expected)


def test_marginal_background_teaches_only_the_sum() -> None:
    """In a background voxel the gradient is that of −log(p_0 + p_2): the share does not matter."""
    z = f64([0.3, -0.2, 1.0]).view(1, 3, 1, 1)
    loss = medloss.loss("marginal", loss="cross_entropy", softmax=True)
    background = torch.zeros(1, 1, 1, 1, dtype=torch.long)
    slope = gradient(loss, z, background, present=WITHOUT_2).flatten()
    p = z.flatten().softmax(0)
    share = p / (p[0] + p[2])
    expected = p - f64([1, 0, 1]) * share
    torch.testing.assert_close(slope, expected)
    assert float(slope[2]) < 0  # it may well be class 2, where the plain loss would push it down
    assert float(gradient(medloss.loss("cross_entropy", softmax=True), z, background)[0, 2]) > 0


def test_marginal_merges_each_case_for_itself() -> None:
    scene = make_scene(3, dtype=torch.float64)
    labels = scene.target.clone()
    labels[0][labels[0] == 2] = 0
    loss = medloss.loss("marginal", loss="dice_ce", softmax=True)
    present = torch.tensor([[True, True, False], [True, True, True]])
    expected = [
        medloss.loss("dice", softmax=True, reduction="none")(scene.logits[1:], labels[1:]),
        medloss.loss("marginal", loss="dice", softmax=True, reduction="none")(
            scene.logits[:1], labels[:1], present=present[:1]
        ),
    ]
    dice = medloss.loss("marginal", loss="dice", softmax=True)
    found = dice(scene.logits, labels, present=present)
    torch.testing.assert_close(found, sum(each.sum() for each in expected) / 5)
    torch.testing.assert_close(
        loss(scene.logits, labels), medloss.loss("dice_ce", softmax=True)(scene.logits, labels)
    )


@pytest.mark.parametrize("inside", ["dice_ce", "generalized_dice", "focal"])
def test_marginal_corners(inside: str) -> None:
    """Nothing annotated: no influence. Labels of such a class mean background. Huge logits."""
    options = {"use_softmax": True} if inside == "focal" else {"softmax": True}
    loss = medloss.losses.MarginalLoss(loss={"name": inside, **options})
    scene = make_scene(3, dtype=torch.float64)
    nothing = {"present": torch.zeros(2, 3, dtype=torch.bool)}
    assert float(loss(scene.logits, scene.target, **nothing)) == 0
    assert (gradient(loss, scene.logits, scene.target, **nothing) == 0).all()
    known = {"present": torch.tensor([[True, True, False]] * 2)}
    without = torch.where(scene.target == 2, 0, scene.target)
    assert loss(scene.logits, scene.target, **known) == loss(scene.logits, without, **known)
    for labels in (torch.zeros_like(without), torch.ones_like(without)):
        for scale in (1, 1e4):
            for dtype in (torch.float64, torch.float32, torch.bfloat16):
                z = (scale * scene.logits).to(dtype)
                assert loss(z, labels, **known).isfinite()
                assert gradient(loss, z, labels, **known).isfinite().all()
    # the merged background is known, whether or not present says so of class 0
    sloppy = {"present": torch.tensor([[False, True, False]] * 2)}
    assert loss(scene.logits, without, **sloppy) == loss(scene.logits, without, **known)


def test_a_sum_that_rounding_puts_beyond_1_is_1() -> None:
    p = torch.tensor([0.5, 0.0, 0.5 + 1e-6]).view(1, 3, 1, 1)
    background = torch.zeros(1, 1, 1, 1, dtype=torch.long)
    for name in ("cross_entropy", "binary_cross_entropy", "focal", "dice"):
        inside = {"name": name, "other_act": torch.nn.Identity()}
        found = medloss.losses.MarginalLoss(loss=inside)(p, background, present=WITHOUT_2)
        assert 0 <= float(found) < 1e-4, name


def test_masked_voxels_may_hold_anything_under_marginal() -> None:
    scene = make_scene(3, dtype=torch.float64)
    mask = torch.ones(2, 1, 6, 5, 7)
    mask[..., 4:] = 0
    known = {"present": [[True, True, False]] * 2, "mask": mask}
    for name in ("marginal", "exclusion"):
        loss = medloss.loss(name, softmax=True)
        expected = loss(scene.logits, scene.target, **known)
        z = torch.where(mask > 0, scene.logits, torch.nan)
        assert loss(z, scene.target, **known) == expected
        assert gradient(loss, z, scene.target, **known).isfinite().all()
        marked = torch.where(mask > 0, scene.target, 255)
        ignoring = medloss.loss(name, softmax=True, ignore_index=255)
        torch.testing.assert_close(ignoring(z, marked, present=known["present"]), expected)


def test_exclusion_by_hand() -> None:
    p, y = f64([[[[0.1, 0.7]], [[0.6, 0.1]], [[0.3, 0.2]]]]), torch.tensor([[[[1, 0]]]])
    each = medloss.loss("exclusion", reduction="none", **EXACT)
    # e = (1, 0) for the background and for class 2, (0, 1) for class 1
    expected = f64([[0.2 / 1.8, 0.2 / 1.7, 0.6 / 1.5]])
    for target in (y, one_hot(y, 3)):
        torch.testing.assert_close(each(p, target, present=WITHOUT_2), expected)
        # annotated, class 2 is nowhere in this image: e = (1, 1)
        torch.testing.assert_close(each(p, target)[0, 2], f64(1.0 / 2.5))
    only = medloss.loss("exclusion", unannotated_only=True, **EXACT)
    assert float(only(p, y, present=WITHOUT_2)) == pytest.approx(0.4)
    assert float(only(p, y)) == 0
    assert (gradient(only, p, y) == 0).all()
    batch = torch.cat([p, p]), torch.cat([y, 1 - y])
    known = [[True, True, False], [True, True, True]]
    assert float(only(*batch, present=known)) == pytest.approx(0.4)
    pooled = medloss.loss("exclusion", batch=True, **EXACT)
    torch.testing.assert_close(pooled(p, y), medloss.loss("exclusion", **EXACT)(p, y))
    torch.testing.assert_close(pooled(*batch), f64(_pooled(*batch)))


def _pooled(p: Tensor, y: Tensor) -> float:
    e = 1 - one_hot(y, 3)
    axes = (0, 2, 3)
    return float((2 * (e * p).sum(axes) / (e.sum(axes) + p.sum(axes))).mean())


def test_exclusion_corners() -> None:
    """Nothing annotated but background: no organ to keep out of; a perfect prediction has 0."""
    scene = make_scene(3, dtype=torch.float64)
    loss = medloss.loss("exclusion", softmax=True, unannotated_only=True)
    known = {"present": [[True, True, False]] * 2}
    empty = torch.zeros_like(scene.target)
    assert float(loss(scene.logits, empty, **known)) == 0
    assert (gradient(loss, scene.logits, empty, **known) == 0).all()
    full = torch.ones_like(empty)
    assert float(loss(scene.logits, full, **known)) > 0.1
    perfect = 50 * one_hot(full, 3).double()
    assert float(loss(perfect, full, **known)) == pytest.approx(0, abs=1e-12)
    slope = gradient(loss, scene.logits, full, **known)
    assert (slope[:, 2] > 0).all()


@pytest.mark.parametrize("name", ["marginal", "exclusion"])
@pytest.mark.parametrize("labels", ["index", "one_hot"])
def test_gradcheck_with_present(name: str, labels: str) -> None:
    scene = make_scene(3, shape=(2, 2, 2), dtype=torch.float64)
    target = scene.target if labels == "index" else one_hot(scene.target, 3)
    known = torch.tensor([[True, True, False], [True, False, True]])
    loss = medloss.loss(name, softmax=True)
    z = scene.logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, target, present=known), (z,))
    assert torch.autograd.gradgradcheck(lambda x: loss(x, target, present=known), (z,))


def test_both_are_terms_of_one_compound_loss() -> None:
    scene = make_scene(3, dtype=torch.float64)
    known = {"present": [[True, True, False], [True, False, True]]}
    terms = [
        {"name": "marginal", "loss": "dice_ce"},
        {"name": "exclusion", "unannotated_only": True},
    ]
    loss = medloss.loss("compound", terms=terms, weights=[1, 2], softmax=True)
    marginal = medloss.losses.MarginalLoss(loss=medloss.losses.DiceCELoss(softmax=True))
    exclusion = medloss.loss("exclusion", softmax=True, unannotated_only=True)
    expected = marginal(scene.logits, scene.target, **known)
    expected = expected + 2 * exclusion(scene.logits, scene.target, **known)
    torch.testing.assert_close(loss(scene.logits, {"label": scene.target, **known}), expected)
    assert list(loss.breakdown()) == ["marginal", "exclusion"]
    assert marginal.softmax
    assert marginal.inside.breakdown()["dice"].value > 0


def test_a_loss_in_parts_refuses_what_its_sums_do_not_tell() -> None:
    scene = make_scene(3, dtype=torch.float64)
    parts = LossInParts(medloss.loss("marginal", softmax=True))
    with pytest.raises(NotAdditiveError):
        parts.add(scene.logits, scene.target, present=[[True, True, False]] * 2)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("marginal", {"sigmoid": True}, "sigmoid: expected exclusive classes"),
        ("marginal", {"loss": 3}, "loss: expected a name"),
        ("marginal", {"loss": {"softmax": True}}, "loss: expected a name"),
        ("marginal", {"loss": torch.nn.MSELoss()}, "loss: expected a loss of medloss"),
        ("exclusion", {"sigmoid": True}, "sigmoid: expected exclusive classes"),
    ],
)
def test_options_that_cannot_be_meant(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        medloss.loss(name, **options)


def test_calls_that_cannot_be_meant() -> None:
    built = medloss.losses.DiceLoss()
    with pytest.raises(ValueError, match="softmax: expected none beside a loss that is built"):
        medloss.losses.MarginalLoss(loss=built, softmax=True)
    loss = medloss.losses.MarginalLoss(loss=built)
    with pytest.raises(ValueError, match=r"add up to 1, got a sum of 1\.6"):
        loss(torch.full((1, 3, 1, 2), 0.8, dtype=torch.float64), Y, present=WITHOUT_2)
    with pytest.raises(ValueError, match="got a single channel"):
        loss(P[:, :1], Y, present=[[True]])
    with pytest.raises(ValueError, match="sigmoid: expected exclusive classes, whose"):
        medloss.loss("compound", terms=["dice", loss], sigmoid=True)(
            P[:, :2], one_hot(Y, 2), present=[[True, False]]
        )
