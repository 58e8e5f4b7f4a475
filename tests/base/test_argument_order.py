"""``loss(target, input)``, the order of other libraries, is noticed where it can be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import medloss

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(2, 3, 4, 5, 6, generator=GENERATOR)
INDEX = torch.randint(0, 3, (2, 1, 4, 5, 6), generator=GENERATOR)
ONE_HOT = torch.nn.functional.one_hot(INDEX[:, 0], 3).movedim(-1, 1).float()
FOREGROUND = (INDEX > 0).float()


@pytest.fixture(autouse=True)
def _plain_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops of these types would have to be compiled first."""
    monkeypatch.setenv("MEDLOSS_BACKEND", "reference")


EXCHANGED: dict[str, tuple[Tensor, Tensor, str]] = {
    "a training": (ONE_HOT, LOGITS.clone().requires_grad_(), "the target has a gradient"),
    "indices in a training": (INDEX.float(), LOGITS.clone().requires_grad_(), "has a gradient"),
    "integers": (INDEX, LOGITS, "the input holds torch.int64, as labels do"),
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
    with pytest.raises(ValueError, match=words) as refused:
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
}


@pytest.mark.parametrize(("input", "target", "activation"), MEANT.values(), ids=MEANT)
def test_what_may_be_meant_is_computed(input: Tensor, target: Tensor, activation: str) -> None:
    options = {activation: True} if activation else {}
    assert medloss.loss("dice", **options)(input, target).isfinite()


def test_a_gradient_of_the_label_is_no_matter_where_none_is_taken() -> None:
    with torch.no_grad():
        target = LOGITS.softmax(1).requires_grad_()
        assert medloss.loss("dice", softmax=True)(LOGITS, target).isfinite()
