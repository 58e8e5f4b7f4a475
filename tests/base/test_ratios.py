"""Losses in closed form: the same numbers as their formulas, in every case that takes it."""

import gc
import itertools
import weakref

import pytest
import torch

import medloss
from medloss.base import on_sums, options
from medloss.losses import DiceLoss

KINDS = {
    "dice": [{}, {"squared_pred": True}, {"jaccard": True}, {"soft_label": True, "jaccard": True}],
    "jaccard": [{}, {"squared_pred": True}, {"soft_label": True}],
    "tversky": [{"fp_weight": 0.3, "fn_weight": 0.8}, {"fp_weight": 0.2, "soft_label": True}],
    "focal": [{}, {"gamma": 1.5}],
    "cross_entropy": [{}],
    "dice_ce": [{}, {"lambda_dice": 0.3, "squared_pred": True}],
    "dice_focal": [{}, {"lambda_focal": 2.0}],
    "generalized_dice": [{}, {"w_type": "simple", "soft_label": True}, {"w_type": "uniform"}],
}
CASES = [(name, kind) for name, kinds in KINDS.items() for kind in kinds]
SHARED = list(itertools.product(("softmax", "sigmoid"), (True, False), (True, False), (1e-5, 0.5)))


def _both(loss, input, target, monkeypatch, **extras):
    """Value and gradient in closed form and by the formula."""
    found = []
    closed = on_sums.weighted_ratios
    took = []

    def recorded(*args, **named):
        took.append(closed(*args, **named))
        return took[-1]

    for way in (recorded, lambda *args, **named: None):
        monkeypatch.setattr(on_sums, "weighted_ratios", way)
        z = input.clone().requires_grad_()
        value = loss(z, target, **extras)
        found.append((value.detach(), torch.autograd.grad(3 * value, z)[0]))
    monkeypatch.undo()
    assert len(took) == 1
    assert took[0] is not None
    return found


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_closed_forms_equal_the_formula(name, kind, monkeypatch):
    """Over activations, background, pooling, smoothing, masks, labels and dtypes."""
    random = torch.Generator().manual_seed(3)
    for number, (activation, background, batch, smooth) in enumerate(SHARED):
        common = {activation: True, "include_background": background, "batch": batch}
        given = {} if name in ("focal", "cross_entropy") else {"smooth_dr": smooth}
        loss = medloss.loss(name, **common, **kind, **given)
        dtype, close = ((torch.float64, 1e-12), (torch.float32, 1e-6))[number % 2]
        z = 3 * torch.randn(2, 3, 4, 5, generator=random, dtype=dtype)
        y = torch.randint(0, 3, (2, 1, 4, 5), generator=random)
        y[1, :, :, :3] = 0
        y[1] %= 2  # a class is absent
        if number % 4 == 3:
            y = torch.rand(2, 3, 4, 5, generator=random)
        mask = (torch.rand(2, 1, 4, 5, generator=random) < 0.8) if number % 3 == 0 else None
        (value, slope), (true, true_slope) = _both(loss, z, y, monkeypatch, mask=mask)
        assert value.dtype == true.dtype
        assert abs(value - true) <= close * max(1, abs(true))
        assert (slope - true_slope).abs().max() <= close * true_slope.abs().max()


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("exponent", ["square", "simple", "uniform"])
def test_generalized_dice_of_an_image_without_what_counts(batch, exponent, monkeypatch):
    """Then it is the mean probability; and where a class is absent it has the largest weight."""
    z = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    y = torch.zeros(2, 1, 4, 5, dtype=torch.long)
    for background, third in ((False, False), (True, False), (False, True)):
        y[1, 0, 0] = 2 * third
        loss = medloss.loss(
            "generalized_dice",
            softmax=True,
            include_background=background,
            batch=batch,
            w_type=exponent,
        )
        (value, slope), (true, true_slope) = _both(loss, z, y, monkeypatch)
        assert abs(value - true) <= 1e-12
        assert (slope - true_slope).abs().max() <= 1e-12
        if not background and not third:
            assert value == pytest.approx(z.softmax(1)[:, 1:].mean().item(), abs=1e-12)


@pytest.mark.parametrize("name", ["dice", "cross_entropy", "dice_ce", "generalized_dice"])
@pytest.mark.parametrize("what", ["nothing counts", "a NaN", "infinite"])
def test_closed_forms_equal_the_formula_where_nothing_is_finite_or_counts(name, what, monkeypatch):
    """Nothing that counts gives 0; what is not a number stays none."""
    z, y = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 1, 4, 5))
    mask = torch.ones(2, 1, 4, 5)
    if what == "nothing counts":
        mask = mask * 0
    else:
        z[0, 1, 2, 3] = torch.nan if what == "a NaN" else torch.inf
    for background in (True, False):
        loss = medloss.loss(name, softmax=True, include_background=background)
        (value, slope), (true, true_slope) = _both(loss, z, y, monkeypatch, mask=mask)
        assert torch.allclose(value, true, equal_nan=True)
        assert torch.equal(slope.isfinite(), true_slope.isfinite())


def test_breakdown_in_closed_form(monkeypatch):
    """Terms and classes of a compound loss are told the same."""
    loss = medloss.loss("dice_ce", softmax=True, include_background=False, lambda_ce=0.5)
    z, y = torch.randn(2, 3, 4, 5, requires_grad=True), torch.randint(0, 3, (2, 1, 4, 5))
    loss(z, y)
    closed = loss.breakdown(training=True)
    monkeypatch.setattr(on_sums, "weighted_ratios", lambda *args, **named: None)
    loss(z, y)
    formula = loss.breakdown(training=True)
    for name, term in formula.items():
        assert closed[name].value == pytest.approx(term.value, abs=1e-6)
        assert closed[name].weight == term.weight
        assert dict(closed[name].per_class) == pytest.approx(dict(term.per_class), abs=1e-6)


def test_a_subclass_with_another_formula_is_not_taken_for_its_base():
    """A closed form is that of the class that says it, and of none that inherits it."""

    @options
    class Squared(DiceLoss):
        def per_class(self, s):
            return super().per_class(s) ** 2

    z, y = torch.randn(1, 2, 4, 5, requires_grad=True), torch.randint(0, 2, (1, 1, 4, 5))
    each = medloss.loss("dice", softmax=True, reduction="none")(z, y)
    assert torch.allclose(Squared(softmax=True)(z, y), (each**2).mean())


@pytest.mark.parametrize("name", ["dice", "dice_ce"])
def test_a_kept_value_does_not_keep_logits(name):
    """After the backward pass nothing holds them, without a collection of garbage."""
    z = torch.randn(1, 2, 4, 5, requires_grad=True)
    y = torch.randint(0, 2, (1, 1, 4, 5))
    loss = medloss.loss(name, softmax=True)
    logits = 2 * z
    gone = weakref.ref(logits)
    gc.disable()
    try:
        value = loss(logits, y)
        value.backward()
        del logits
        assert gone() is None
    finally:
        gc.enable()
    assert value.isfinite()
