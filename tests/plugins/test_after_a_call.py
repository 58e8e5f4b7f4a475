"""What a loss keeps of a call: numbers for its breakdown, and no graph."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref

import pytest
import torch
from every_loss import NAMES, built, scene

import medloss
from medloss.sums import ClassSums, Term


@pytest.mark.parametrize("name", NAMES)
def test_the_graph_goes_with_the_value(name: str) -> None:
    loss, (z, y, extras) = built(name), scene()
    loss(z.requires_grad_(), y, **extras)  # what the first call imports and compiles is no matter
    gc.disable()
    try:
        logits = z * 1
        seen, value = weakref.ref(logits), loss(logits, y, **extras)
        del logits, value
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("name", NAMES)
def test_copies_after_a_call_are_equal(name: str) -> None:
    loss, (z, y, extras) = built(name), scene()
    expected = loss(z.requires_grad_(), y, **extras)
    copies = [copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))]
    for each in copies:
        assert torch.equal(each(z, y, **extras), expected)
        if hasattr(loss, "breakdown"):
            told = {term: value.value for term, value in each.breakdown().items()}
            assert told == {term: value.value for term, value in loss.breakdown().items()}


def test_sums_are_copied() -> None:
    s = ClassSums((torch.ones(1, 2), torch.zeros(1, 2)), (Term("p"), Term("focal", 2.0)))
    for each in (copy.copy(s), copy.deepcopy(s), pickle.loads(pickle.dumps(s))):
        assert each.terms == s.terms
        assert torch.equal(each.values, s.values)
        assert torch.equal(each["focal", 2.0], s.focal)
    with pytest.raises(AttributeError, match="not among"):
        s.tp  # noqa: B018


def test_nothing_is_kept_of_a_transform() -> None:
    z, y, _ = scene()
    loss = medloss.loss("dice_ce", softmax=True)
    loss(z, y)
    before = loss.breakdown()
    torch.func.vmap(torch.func.grad(lambda z: loss(z, y)))(torch.stack([2 * z, 3 * z]))
    assert loss.breakdown() == before
