"""The kernel of ratios equals the formulas of the losses.

Run by ``test_ratio_kernel.py``: on a GPU, or in Triton's interpreter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from interpreted import DEVICE
from sums.ratio_cases import by_formula, cases, errors_of_ratios, inputs, value_and_slope
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import medloss
from medloss.base import on_sums
from medloss.sums.choice import VARIABLE
from medloss.sums.engine import form_of
from medloss.sums.gpu import backend, ratios, tiles
from medloss.sums.ratios import Ratio, RatiosOnDevice
from medloss.sums.terms import as_terms

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")
SHAPE = (2, 3, 4, 5)
DICE = Ratio((("tp", 2.0),), (("p", 1.0), ("t", 1.0)), (1e-5, 1e-5))
MEAN = Ratio((("ce", 1.0),), (("t", 1.0),))
TERMS = ("tp", "p", "t", "ce")


@pytest.fixture(autouse=True)
def _force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "triton")
    if DEVICE == "cpu":
        monkeypatch.setenv(tiles.VARIABLE, "sums=4,32,1,1 slopes=4,32,1,0")


@pytest.mark.parametrize(("name", "options", "masked"), list(cases()))
def test_equals_the_formula(name: str, options: dict[str, Any], masked: bool) -> None:
    for dtype in (torch.float64, torch.float32):
        errors_of_ratios(name, options, SHAPE, dtype, masked=masked, device=DEVICE)


@pytest.mark.parametrize("name", ["dice", "cross_entropy", "dice_ce"])
@pytest.mark.parametrize("what", ["nothing counts", "a NaN", "infinite"])
def test_where_nothing_is_finite_or_counts(name: str, what: str) -> None:
    z, y, _ = inputs(SHAPE, masked=False)
    mask = torch.full_like(y, what != "nothing counts", dtype=torch.float64)
    if what != "nothing counts":
        z[0, 1, 2, 3] = torch.nan if what == "a NaN" else torch.inf
    for background in (True, False):
        loss = medloss.loss(name, softmax=True, include_background=background)
        true, true_slope = by_formula(loss, z, y, mask)
        given = (each.to(DEVICE) for each in (z, y, mask))
        value, slope = (each.cpu() for each in value_and_slope(loss, *given))
        torch.testing.assert_close(value, true, equal_nan=True)
        assert torch.equal(slope.isfinite(), true_slope.isfinite())


# by the kernel, a part of a row or two rows at once, or by torch before it
@pytest.mark.parametrize(("reads", "elements"), [(100, 16), (100, 64), (0, 16)])
def test_parts_are_added_up(reads: int, elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numpy as the other reading."""
    monkeypatch.setattr(ratios, "MOST_READS", reads)
    monkeypatch.setattr(ratios, "ELEMENTS", elements)
    partial = np.random.default_rng(0).random((2, 3, 4, 5))
    parts = ((1.0, DICE), (0.25, MEAN))
    found = ratios.of_partial(
        torch.from_numpy(partial).to(DEVICE), torch.float64, as_terms(TERMS), parts
    )
    tp, p, t, ce = partial.sum(1).transpose(1, 0, 2)
    dice = 1 - (2 * tp + 1e-5) / (p + t + 1e-5)
    assert found.value.item() == pytest.approx(dice.mean() + ce.sum() / t.sum() / 4, rel=1e-14)
    np.testing.assert_allclose(found.sums.cpu(), partial.sum(1), rtol=1e-14)
    by_tp, by_p, by_t, by_ce = found.by_sums.cpu().numpy().transpose(1, 0, 2)
    np.testing.assert_allclose(by_tp, -2 / (p + t + 1e-5) / 10, rtol=1e-14)
    np.testing.assert_allclose(by_p, (1 - dice) / (p + t + 1e-5) / 10, rtol=1e-13)
    np.testing.assert_array_equal(by_t, by_p)
    np.testing.assert_allclose(by_ce, np.full((2, 5), 0.25 / t.sum()), rtol=1e-14)


def test_breakdown(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = medloss.loss("dice_ce", softmax=True, include_background=False, batch=True)
    z, y, _ = inputs(SHAPE, masked=False)
    given = z.to(DEVICE).requires_grad_(), y.to(DEVICE)
    loss(*given)
    kernel = loss.breakdown(training=True)
    monkeypatch.setattr(on_sums, "weighted_ratios", lambda *given, **named: None)
    loss(*given)
    for name, term in loss.breakdown(training=True).items():
        assert kernel[name].value == pytest.approx(term.value, abs=1e-12)
        assert dict(kernel[name].per_class) == pytest.approx(dict(term.per_class), abs=1e-12)


def test_more_than_a_program_holds_is_by_the_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y, _ = (each if each is None else each.to(DEVICE) for each in inputs(SHAPE, masked=False))
    parts = ((1.0, DICE), (0.5, MEAN))
    assert ratios.serves(z.new_empty(1024, 4, 1), parts)
    assert not ratios.serves(z.new_empty(1025, 4, 1), parts)
    assert not ratios.serves(z, ((1e-40, DICE),))
    assert not ratios.serves(z, ((1.0, DICE._replace(volume_exponent=2)),))
    assert not ratios.serves(z, ((1.0, DICE._replace(smooth=(0.0, 1e-50))),))
    expected = value_and_slope(medloss.loss("dice_ce", softmax=True), z, y, None)
    monkeypatch.setattr(ratios, "MOST_CELLS", 4)
    monkeypatch.setattr(ratios, "of_partial", None)
    found = value_and_slope(medloss.loss("dice_ce", softmax=True), z, y, None)
    torch.testing.assert_close(found, expected)


class Operations(TorchDispatchMode):
    """What torch computes; memory and views, which launch nothing, are left out."""

    FREE = frozenset(
        ("empty", "new_empty", "empty_like", "detach", "view", "slice", "select", "_unsafe_view",
         "as_strided", "set_", "unbind", "alias", "_reshape_alias")
    )  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name not in self.FREE:
            self.names.append(name)
        return func(*args, **(kwargs or {}))


class Counted:
    """Stands for a kernel and counts its launches."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.launches = kernel, 0

    def __getitem__(self, grid: Any) -> Any:
        def launch(*given: Any, **choices: Any) -> Any:
            self.launches += 1
            with torch.utils._python_dispatch._disable_current_modes():  # the interpreter's own
                return self.kernel[grid](*given, **choices)

        return launch


def test_two_launches_forward_and_two_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of kernels and of torch together: sums, ratios; the slopes times the gradient, slopes."""
    kernels = []
    for module, name in (
        (backend, "class_sums_kernel"),
        (ratios, "ratios_kernel"),
        (backend, "class_sums_slopes_kernel"),
    ):
        kernels.append(Counted(getattr(module, name)))
        monkeypatch.setattr(module, name, kernels[-1])
    z, y, _ = inputs(SHAPE, masked=False)
    tensors: tuple[Tensor | None, ...] = (z.to(DEVICE), y.to(DEVICE), None)
    form, named = form_of(z, y, TERMS, "softmax", None, {})
    parts = ((1.0, DICE), (1.0, MEAN))
    whole = RatiosOnDevice(form, named, parts, lambda *given: torch.nan, is_index=True)
    with Operations() as forward:
        found = whole.of(*tensors)
        value = found.value(*tensors)
    assert ([each.launches for each in kernels], forward.names) == ([1, 1, 0], [])
    one = torch.ones_like(value)
    with Operations() as backward:
        found.slopes(one, *tensors)
    assert ([each.launches for each in kernels], backward.names) == ([1, 1, 1], ["mul"])
