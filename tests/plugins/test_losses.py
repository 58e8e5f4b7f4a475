"""What single losses do beyond the contract and the worked values."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from torch import Tensor
from worked_inputs import Y_MULTI, Z_MULTI, G, P, block, f64, one_hot, random_case

import medloss
from medloss.distance import signed_distance

EXACT: dict[str, Any] = {"smooth_nr": 0, "smooth_dr": 0}


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_identities(seed: int) -> None:
    z, y = random_case(seed)

    def value(name: str, **options: Any) -> Tensor:
        result: Tensor = medloss.loss(name, softmax=True, **options)(z, y)
        return result

    close = torch.testing.assert_close
    each = {**EXACT, "reduction": "none"}
    dice, jaccard = value("dice", **each), value("dice", jaccard=True, **each)
    close(value("tversky", **each), dice)
    close(value("tversky", fp_weight=1, fn_weight=1, **each), jaccard)
    close(jaccard, 2 * dice / (1 + dice))
    close(value("focal_tversky", fp_weight=0.5, fn_weight=0.5, exponent=1, **each), dice)
    ce = value("cross_entropy")
    close(value("focal", gamma=0) * 3, ce)
    close(value("dice_ce", lambda_ce=0), value("dice"))
    close(value("compound", terms=["dice", "cross_entropy"]), value("dice_ce"))
    p_true = z.softmax(1).gather(1, y).mean((2, 3, 4))
    uniform = value("generalized_dice", w_type="uniform", **each)
    close(uniform, 1 - p_true)
    permuted = torch.randperm(60, generator=torch.Generator().manual_seed(seed))
    shuffled = z.flatten(2)[..., permuted].view_as(z), y.flatten(2)[..., permuted].view_as(y)
    for name in ("dice", "generalized_dice", "focal_tversky", "dice_focal"):
        close(medloss.loss(name, softmax=True)(*shuffled), value(name))


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_soft_labels_are_best_met_exactly(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    g = torch.rand(1, 2, 3, 4, generator=generator, dtype=torch.float64)
    other = torch.rand(1, 2, 3, 4, generator=generator, dtype=torch.float64)
    for name in ("dice", "tversky", "generalized_dice"):
        loss = medloss.loss(name, soft_label=True, **EXACT)
        assert float(loss(g, g)) == pytest.approx(0, abs=1e-12)
        assert float(loss(other, g)) >= 0
    assert float(medloss.loss("dice", **EXACT)(g, g)) > 0.05  # the plain form is not


def test_soft_labels_by_hand() -> None:
    g = f64([[[[0.8, 0.6, 0.1], [0, 0, 0.3]]]])
    soft = medloss.loss("dice", soft_label=True, **EXACT)(P, g)
    assert float(soft) == pytest.approx(0.247058823529, abs=1e-12)
    jaccard = medloss.loss("dice", soft_label=True, jaccard=True, **EXACT)(P, g)
    assert float(jaccard) == pytest.approx(0.396226415094, abs=1e-12)
    assert float(medloss.loss("dice", **EXACT)(g, g)) == pytest.approx(0.388888888889, abs=1e-12)


@pytest.mark.parametrize("name", ["dice", "tversky", "focal_tversky", "dice_ce", "dice_focal"])
def test_gradcheck_of_second_order(name: str) -> None:
    z, y = random_case(0)
    z = z[:1, :, :2, :2, :2].requires_grad_()
    loss = medloss.loss(name, softmax=True)
    assert torch.autograd.gradgradcheck(lambda x: loss(x, y[:1, :, :2, :2, :2]), (z,))


def test_empty_target_teaches_generalized_dice_and_boundary_something() -> None:
    """Without background and without object, a false positive must cost something."""
    y = torch.zeros(1, 1, 5, 5, dtype=torch.long)
    for name, options in (("generalized_dice", {}), ("boundary", {"spacing_mm": 1.0})):
        z = torch.zeros(1, 2, 5, 5, requires_grad=True)
        medloss.loss(name, softmax=True, include_background=False, **options)(z, y).backward()
        assert z.grad is not None
        assert float(z.grad[:, 1].min()) > 1e-4, name


def test_empty_zero_makes_boundary_silent_as_in_the_paper() -> None:
    y = torch.zeros(1, 1, 5, 5, dtype=torch.long)
    z = torch.zeros(1, 2, 5, 5, requires_grad=True)
    loss = medloss.loss(
        "boundary", softmax=True, include_background=False, spacing_mm=1.0, empty="zero"
    )
    value = loss(z, y)
    value.backward()
    assert z.grad is not None
    assert (float(value.detach()), float(z.grad.abs().max())) == (0, 0)


def test_boundary_wants_to_know_the_spacing() -> None:
    p, g = block(3)
    loss = medloss.loss("boundary")
    with pytest.raises(ValueError, match="spacing_mm: expected the size of a voxel"):
        loss(p, g)
    in_voxels = medloss.loss("boundary", spacing_mm="voxel")(p, g)
    assert in_voxels == loss(p, g, spacing_mm=1.0) == loss(p, {"label": g, "spacing_mm": "voxel"})
    with pytest.raises(ValueError, match="spacing_mm: given twice"):
        loss(p, {"label": g, "spacing_mm": 1.0}, spacing_mm=2.0)


def test_boundary_reads_the_spacing_of_each_sample_of_a_batch() -> None:
    p, g = block(3)
    p, g = torch.cat([p, p]), torch.cat([g, g])
    rows = ((1.0, 1.0, 1.0), (3.0, 1.0, 0.5))
    affine = torch.stack([torch.diag(f64([*row, 1.0])) for row in rows])
    label = MetaTensor(g, meta={"affine": affine})
    label.is_batch = True
    loss = medloss.loss("boundary", reduction="none")
    expected = torch.cat([loss(p[:1], g[:1], spacing_mm=row) for row in rows])
    torch.testing.assert_close(loss(p, label), expected)
    torch.testing.assert_close(loss(p, g, spacing_mm=rows), expected)
    assert float(expected[0]) != float(expected[1])
    # the option outranks the image, the call outranks both
    fixed = medloss.loss("boundary", reduction="none", spacing_mm=2.0)
    torch.testing.assert_close(fixed(p, label), 2 * loss(p, g, spacing_mm=1.0))
    torch.testing.assert_close(fixed(p, label, spacing_mm=1.0), loss(p, g, spacing_mm=1.0))


def test_boundary_takes_a_ready_map() -> None:
    p, g = block(3)
    ready = signed_distance(g > 0, ((1.0, 2.0, 3.0),), dtype=torch.float64)
    loss = medloss.loss("boundary")
    expected = loss(p, g, spacing_mm=(1.0, 2.0, 3.0))
    torch.testing.assert_close(loss(p, g, distance_map=ready), expected)
    torch.testing.assert_close(loss(p, {"label": g, "distance_map": ready}), expected)


def test_errors_cost_more_on_thick_slices() -> None:
    """Two voxels wrong along a 5 mm axis are farther off than along a 0.5 mm axis."""
    g = torch.zeros(1, 1, 12, 12, dtype=torch.float64)
    g[..., 4:8, 4:8] = 1
    loss = medloss.loss("boundary", spacing_mm=(5.0, 0.5))
    along_thick, along_thin = loss(g.roll(2, 2), g), loss(g.roll(2, 3), g)
    assert float(along_thick - loss(g, g)) > 5 * float(along_thin - loss(g, g))


def test_tversky_takes_monais_names() -> None:
    loss = medloss.losses.TverskyLoss(alpha=0.3, beta=0.7)
    assert (loss.fp_weight, loss.fn_weight) == (0.3, 0.7)
    assert medloss.losses.TverskyLoss(fp_weight=0.3, alpha=0.3).fp_weight == 0.3
    with pytest.raises(ValueError, match="alpha: it is MONAI's name of fp_weight"):
        medloss.losses.TverskyLoss(alpha=0.3, fp_weight=0.4)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("tversky", {"fp_weight": -1}, "fp_weight: expected at least 0"),
        ("focal_tversky", {"exponent": 0}, "exponent: expected more than 0"),
        ("focal", {"gamma": -1}, "gamma: expected at least 0"),
        ("focal", {"alpha": 1.5}, r"alpha: expected a number in \[0, 1\]"),
        ("cross_entropy", {"label_smoothing": 1}, "label_smoothing: expected"),
        ("cross_entropy", {"label_smoothing": 0.1, "sigmoid": True}, "label_smoothing: .*softmax"),
        ("generalized_dice", {"w_type": "cube"}, "w_type: expected one of"),
        ("generalized_dice", {"weight": [1.0, 2.0]}, "weight: expected None"),
        ("boundary", {"convention": "mine"}, "convention: expected one of"),
        ("boundary", {"empty": "ignore"}, "empty: expected one of"),
        ("dice_ce", {"lambda_ce": -1}, "cross_entropy: expected a weight of at least 0"),
        ("dice_ce", {"weight": 2.0}, "weight: expected one number for each class"),
        ("compound", {}, "terms: expected at least one loss"),
        ("compound", {"terms": "dice"}, "terms: expected a list"),
        ("compound", {"terms": ["dice"], "weights": [1, 2]}, "weights: expected 1 numbers, got 2"),
        ("compound", {"terms": [3]}, "terms: expected names"),
    ],
)
def test_options_that_cannot_be_meant(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        medloss.loss(name, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weight": [1.0, 2.0]}, "weight: expected 3 values, one for each class, got 2"),
        ({"weight": [1.0] * 3, "include_background": False}, r"expected 2 .*\(class 0 is excluded"),
    ],
)
def test_weights_must_fit_the_classes(options: dict[str, Any], words: str) -> None:
    for name in ("dice", "cross_entropy", "focal"):
        with pytest.raises(ValueError, match=words):
            medloss.loss(name, softmax=True, **options)(Z_MULTI, Y_MULTI)


def test_a_weight_for_the_only_class_is_refused() -> None:
    with pytest.raises(ValueError, match="weight: expected None where a single class counts"):
        medloss.loss("dice", weight=[2.0])(P, G)


def test_compound_shows_each_term() -> None:
    loss = medloss.loss(
        "compound", terms=["dice", "focal", "dice"], weights=[1, 2, 3], softmax=True
    )
    with pytest.raises(RuntimeError, match="there was none"):
        loss.breakdown()
    total = loss(Z_MULTI, Y_MULTI)
    parts = loss.breakdown()
    assert list(parts) == ["dice", "focal", "dice_2"]
    assert sum(part.weighted for part in parts.values()) == pytest.approx(float(total))
    assert parts["dice"].value == parts["dice_2"].value


def test_compound_sums_once_for_all_its_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    from medloss.base import targets

    calls = []
    original = targets.class_sums
    monkeypatch.setattr(
        targets, "class_sums", lambda *a, **k: calls.append(a[2]) or original(*a, **k)
    )
    terms = ["dice", "cross_entropy", "focal", {"name": "boundary", "spacing_mm": 1.0}]
    medloss.loss("compound", terms=terms, softmax=True)(Z_MULTI, Y_MULTI)
    assert len(calls) == 1


def test_one_activation_serves_every_term() -> None:
    with pytest.raises(ValueError, match="DiceLoss: softmax belongs to the compound loss"):
        medloss.loss("compound", terms=[medloss.losses.DiceLoss(softmax=True)])
    with pytest.raises(ValueError, match="ignore_index belongs to the compound"):
        medloss.loss("compound", terms=[medloss.losses.DiceLoss(ignore_index=3)], softmax=True)
    inherited = medloss.loss("compound", terms=[medloss.losses.DiceLoss()], softmax=True)
    expected = medloss.loss("dice", softmax=True)(Z_MULTI, Y_MULTI)
    torch.testing.assert_close(inherited(Z_MULTI, Y_MULTI), expected)


def test_terms_of_other_libraries_know_no_mask() -> None:
    loss = medloss.loss("compound", terms=["dice", torch.nn.MSELoss()], softmax=True)
    dense = one_hot(Y_MULTI, 3)
    expected = medloss.loss("dice", softmax=True)(Z_MULTI, dense)
    expected = expected + torch.nn.functional.mse_loss(Z_MULTI, dense)
    torch.testing.assert_close(loss(Z_MULTI, dense), expected)
    with pytest.raises(ValueError, match="MSELoss of another library knows no mask"):
        loss(Z_MULTI, dense, mask=torch.ones_like(dense[:, :1]))


def test_region_and_voxel_terms_unreduced_broadcast() -> None:
    loss = medloss.loss("dice_focal", softmax=True, reduction="none")
    assert loss(Z_MULTI, Y_MULTI).shape == Z_MULTI.shape
