"""``loss(target, input)``, the order of other libraries, is noticed where it can be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

import medloss

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 3, 4, 5, 6, generator=GENERATOR)
INDEX = torch.randint(0, 3, (2, 1, 4, 5, 6), generator=GENERATOR)
ONE_HOT = torch.nn.functional.one_hot(INDEX[:, 0], 3).movedim(-1, 1).float()
FOREGROUND = (INDEX > 0).float()
SMOOTHED = 0.9 * ONE_HOT + 0.1 / 3


@pytest.fixture(autouse=True)
def _plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops of these types would have to be compiled first."""
    monkeypatch.setenv("MEDLOSS_BACKEND", "reference")


EXCHANGED: dict[str, tuple[Tensor, Tensor, str]] = {
    "a training": (ONE_HOT, LOGITS.clone().requires_grad_(), "the target has a gradient"),
    "indices in a training": (INDEX.float(), LOGITS.clone().requires_grad_(), "has a gradient"),
    "integers": (INDEX, LOGITS, "torch.int64; input comes first and target second"),
    "logits": (ONE_HOT, LOGITS, "nothing but 0 and 1 where logits belong"),
    "probabilities": (ONE_HOT, LOGITS.softmax(1), "nothing but 0 and 1 where logits belong"),
    "one channel": (FOREGROUND, LOGITS[:, :1].sigmoid(), "nothing but 0 and 1"),
    "float indices": (INDEX.float(), LOGITS, "input comes first and target second"),
}


@pytest.mark.parametrize(("input", "target", "words"), EXCHANGED.values(), ids=EXCHANGED)
@pytest.mark.parametrize("name", ["dice_ce", "focal", "boundary"])
def test_exchanged_arguments_are_refused(
    name: str, input: Tensor, target: Tensor, words: str
) -> None:
    activation = "sigmoid" if input.shape == target.shape and input.shape[1] == 1 else "softmax"
    options = {"spacing_mm": 1.0} if name == "boundary" else {}
    with pytest.raises((TypeError, ValueError), match=words) as refused:
        medloss.loss(name, **{activation: True}, **options)(input, target)
    assert "input" in str(refused.value)
    assert "target" in str(refused.value)


MEANT: dict[str, tuple[Tensor, Tensor, str]] = {
    "a training": (LOGITS.clone().requires_grad_(), INDEX, "softmax"),
    "a student of a teacher that learns too": (
        LOGITS.clone().requires_grad_(),
        LOGITS.clone().requires_grad_().softmax(1),
        "softmax",
    ),
    "soft labels of a network that says 0": (
        torch.zeros_like(LOGITS),
        LOGITS.softmax(1),
        "softmax",
    ),
    "hard logits and hard labels": (ONE_HOT, ONE_HOT.roll(1, -1), "softmax"),
    "a mask beside probabilities": (ONE_HOT, LOGITS.softmax(1), ""),
    "logits of 0 and 1 that learn": (ONE_HOT.clone().requires_grad_(), SMOOTHED, "softmax"),
    "constant logits of one channel": (
        torch.ones_like(FOREGROUND),
        LOGITS[:, :1].sigmoid(),
        "sigmoid",
    ),
}


@pytest.mark.parametrize(("input", "target", "activation"), MEANT.values(), ids=MEANT)
def test_what_may_be_meant_is_computed(input: Tensor, target: Tensor, activation: str) -> None:
    options = {activation: True} if activation else {}
    assert medloss.loss("dice", **options)(input, target).isfinite()


def test_a_gradient_of_the_label_is_no_matter_where_none_is_taken() -> None:
    with torch.no_grad():
        target = LOGITS.softmax(1).requires_grad_()
        assert medloss.loss("dice", softmax=True)(LOGITS, target).isfinite()


def test_values_that_no_host_may_read_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = medloss.loss("dice", softmax=True, reduction="sum")
    soft = LOGITS.roll(1, 0).softmax(1)
    mapped = torch.func.vmap(lambda z, y: loss(z[None], y[None]))(LOGITS, soft)
    torch.testing.assert_close(mapped.sum(), loss(LOGITS, soft))
    with FakeTensorMode() as mode:
        assert loss(mode.from_tensor(LOGITS), mode.from_tensor(soft)).shape == ()
    monkeypatch.setenv("MEDLOSS_CHECKS", "off")
    assert loss(ONE_HOT, soft).isfinite()
