"""Compound losses show their terms: values, classes, gradients; as modules in every setting."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import medloss
from medloss.base.fused_head import FusedHead

TERMS = ["dice", "cross_entropy", "focal"]


def case(classes: int = 3, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(2, classes, 4, 5, 3, generator=generator, dtype=torch.float64)
    y = torch.randint(0, classes, (2, 1, 4, 5, 3), generator=generator)
    return z.to(dtype).requires_grad_(), y


def compound(**options: Any) -> Any:
    return medloss.loss("compound", **{"terms": TERMS, "softmax": True, **options})


def test_terms_are_the_losses_alone_and_add_up() -> None:
    z, y = case()
    loss = compound(weights=[1, 0.5, 2])
    total = loss(z, y)
    parts = loss.breakdown()
    for name, weight in zip(TERMS, (1, 0.5, 2), strict=True):
        alone = float(medloss.loss(name, softmax=True)(z, y).detach())
        assert parts[name].value == pytest.approx(alone, abs=1e-12)
        assert (parts[name].weight, parts[name].weighted) == (weight, weight * parts[name].value)
    added = sum(part.weighted for part in parts.values())
    assert added == pytest.approx(float(total.detach()), abs=1e-12)


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize("batch", [True, False])
def test_classes_of_region_terms_are_means_over_the_batch(background: bool, batch: bool) -> None:
    z, y = case()
    options = {"include_background": background, "batch": batch}
    loss = compound(terms=["dice", "tversky"], **options)
    loss(z, y)
    for name, part in loss.breakdown().items():
        each = medloss.loss(name, softmax=True, reduction="none", **options)(z, y).detach().mean(0)
        assert list(part.per_class) == list(range(0 if background else 1, 3))
        assert list(part.per_class.values()) == pytest.approx(each.tolist(), abs=1e-12)
        assert part.value == pytest.approx(float(each.mean()), abs=1e-12)


def test_classes_of_cross_entropy_are_means_over_their_voxels() -> None:
    z, y = case()
    loss = compound(terms=["cross_entropy"], weight=[1.0, 5.0, 2.0])
    loss(z, y)
    of_voxels = -z.detach().log_softmax(1).gather(1, y)
    expected = [float(of_voxels[y == c].mean()) for c in range(3)]
    assert list(loss.breakdown()["cross_entropy"].per_class.values()) == pytest.approx(expected)
    independent = compound(terms=["binary_cross_entropy"], softmax=False, sigmoid=True)
    independent(z, y)
    g = torch.nn.functional.one_hot(y[:, 0], 3).movedim(-1, 1).double()
    bce = torch.nn.functional.binary_cross_entropy_with_logits(z, g, reduction="none")
    got = independent.breakdown()["binary_cross_entropy"].per_class
    assert list(got.values()) == pytest.approx(bce.detach().mean((0, 2, 3, 4)).tolist())


def test_a_class_counts_where_it_was_annotated() -> None:
    z, y = case()
    loss = compound(terms=["dice"], class_names=["nothing", "liver", "tumour"])
    each = medloss.loss("dice", softmax=True, reduction="none")(z, y).detach()
    loss(z, y, present=torch.tensor([[1, 1, 0], [1, 0, 0]]))
    got = loss.breakdown()["dice"].per_class
    assert list(got) == ["nothing", "liver", "tumour"]
    assert got["nothing"] == pytest.approx(float(each[:, 0].mean()))
    assert got["liver"] == pytest.approx(float(each[0, 1]))
    assert math.isnan(got["tumour"])


def test_terms_without_classes_have_none() -> None:
    z, _ = case()
    loss = compound(terms=["topk_cross_entropy", "generalized_dice", nn.MSELoss()])
    loss(z, torch.rand(2, 3, 4, 5, 3))
    assert [len(part.per_class) for part in loss.breakdown().values()] == [0, 0, 0]


def test_gradient_norms_are_those_of_each_term_alone() -> None:
    z, y = case()
    loss = compound(terms=[*TERMS, "lovasz_softmax"], weights=[1, 0.5, 0, 3], gradient_share=True)
    loss(z, y).backward()
    parts = loss.breakdown()
    norms = []
    for name, weight in zip(parts, (1, 0.5, 0, 3), strict=True):
        leaf = z.detach().clone().requires_grad_()
        (weight * medloss.loss(name, softmax=True)(leaf, y)).backward()
        norms.append(float(leaf.grad.norm()))  # type: ignore[union-attr]
    assert [part.gradient_norm for part in parts.values()] == pytest.approx(norms)
    shares = [part.gradient_share for part in parts.values()]
    assert shares == pytest.approx([norm / sum(norms) for norm in norms])


def test_measuring_gradients_changes_neither_value_nor_gradient() -> None:
    for dtype in (torch.float64, torch.float32, torch.float16, torch.bfloat16):
        found = []
        for share in (False, True):
            z, y = case(dtype=dtype)
            value = compound(gradient_share=share)(z, y)
            value.backward()
            found.append((value, z.grad))
        torch.testing.assert_close(*found)


def test_gradients_in_half_precision_do_not_underflow() -> None:
    """A mean over many voxels has gradients below the smallest float16."""
    sure, voxels = 7.0, 48**3
    z = torch.zeros(1, 2, 48, 48, 48, dtype=torch.float16)
    z[:, 0] = sure
    z, y = z.requires_grad_(), torch.zeros(1, 1, 48, 48, 48, dtype=torch.long)
    loss = compound(terms=["dice", "cross_entropy"], weights=[0, 1], gradient_share=True)
    loss(z, y).backward()
    expected = (2 / voxels) ** 0.5 / (1 + math.exp(sure))
    assert loss.breakdown()["cross_entropy"].gradient_norm == pytest.approx(expected, rel=1e-3)
    assert z.grad is not None
    assert not z.grad.any()


def test_gradients_are_measured_every_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    from medloss.compound import weighted_sum

    calls = []
    original = weighted_sum.gradient_norms
    monkeypatch.setattr(weighted_sum, "gradient_norms", lambda *a: calls.append(1) or original(*a))
    z, y = case()
    for share, expected in ((False, 0), (True, 7), (3, 3)):
        calls.clear()
        loss = compound(gradient_share=share)
        for step in range(7):
            loss(z, y)
            measured = loss.breakdown()["dice"].gradient_norm
            if share is False:
                assert measured is None
            else:
                assert math.isnan(measured) == bool(step % share)
            with torch.no_grad():
                loss(z, y)  # validation is neither measured nor counted
        assert len(calls) == expected


def test_a_fused_head_has_no_logits_to_measure() -> None:
    head = FusedHead(nn.Conv3d(4, 3, 1), compound(gradient_share=True))
    with pytest.raises(ValueError, match="gradient_share"):
        head.loss(torch.randn(1, 4, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4, dtype=torch.long))
    plain = FusedHead(nn.Conv3d(4, 3, 1), compound())
    plain.loss(torch.randn(1, 4, 4, 4, 4), torch.zeros(1, 1, 4, 4, 4, dtype=torch.long))
    assert len(plain.criterion.breakdown()["dice"].per_class) == 3


def test_the_last_training_pass_is_told_after_validation_too() -> None:
    z, y = case()
    loss = compound()
    loss(z, y)
    of_training = loss.breakdown()
    with torch.no_grad():
        loss(-z, y)
    assert loss.breakdown() != of_training
    assert loss.breakdown(training=True) == of_training


def test_one_pass_of_sums_serves_nested_losses_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from medloss.base import targets

    calls = []
    original = targets.class_sums
    monkeypatch.setattr(targets, "class_sums", lambda *a, **k: calls.append(1) or original(*a, **k))
    z, y = case()
    loss = compound(terms=["dice_ce", "tversky"], weights=[1, 2])
    expected = medloss.loss("dice_ce", softmax=True)(z, y)
    expected = expected + 2 * medloss.loss("tversky", softmax=True)(z, y)
    calls.clear()
    torch.testing.assert_close(loss(z, y), expected)
    assert len(calls) == 1
    assert list(loss.losses["dice_ce"].breakdown()) == ["dice", "cross_entropy"]


def test_nothing_waits_for_the_device_before_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = case()
    loss = compound(terms=["dice", "cross_entropy"], gradient_share=True)
    asked = []
    for name in ("item", "tolist", "__float__"):
        original = getattr(Tensor, name)

        def spy(self: Tensor, *a: Any, original: Any = original) -> Any:
            if self.is_floating_point():  # labels are checked by value, as in every loss
                asked.append(self)
            return original(self, *a)

        monkeypatch.setattr(Tensor, name, spy)
    loss(z, y)
    assert not asked
    loss.breakdown()
    assert 0 < len(asked) <= 4


@pytest.mark.parametrize("options", [{}, {"weights": [1, {"schedule": "ramp", "steps": 4}, 2]}])
def test_copies_pickles_and_states(options: dict[str, Any]) -> None:
    z, y = case()
    loss = compound(**options)
    loss(z, y)
    if options:
        loss.step_schedule(3)
    value = float(loss(z, y).detach())
    loaded = compound(**options)
    loaded.load_state_dict(loss.state_dict())
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss)), loaded):
        assert float(other(z, y).detach()) == value
        assert other.breakdown() == loss.breakdown()
    assert bool(loss.state_dict()) == bool(options)


@pytest.mark.filterwarnings("ignore")
def test_compiled_in_one_graph_with_a_schedule_that_moves() -> None:
    z, y = case()
    loss = compound(terms=["dice", "cross_entropy"], weights=[1, {"schedule": "ramp", "steps": 20}])
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch._dynamo.utils.counters.clear()
    for step in range(12):  # more than torch would compile again
        loss.step_schedule(step)
        got = compiled(z, y)
        parts = loss.breakdown()
        assert parts["cross_entropy"].weight == pytest.approx(step / 20)
        torch.testing.assert_close(got, loss(z, y))
        assert list(parts["dice"].per_class) == [0, 1, 2]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2
    torch.compiler.reset()


@pytest.mark.filterwarnings("ignore")
def test_gradients_cannot_be_measured_in_a_compiled_graph() -> None:
    z, y = case()
    loss = compound(gradient_share=True)
    with pytest.raises(Exception, match=r"torch\.compile"):
        torch.compile(loss, fullgraph=True, backend="aot_eager")(z, y)
    torch.compiler.reset()


def test_autocast_changes_nothing() -> None:
    z, y = case(dtype=torch.float32)
    loss = compound(gradient_share=True)
    loss(z, y)
    expected = loss.breakdown()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss(z, y)
    assert loss.breakdown() == expected


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_names": ["a", "b"]}, "class_names: expected 3 names, background included, got 2"),
        ({"gradient_share": -1}, "gradient_share: expected a whole number"),
        ({"gradient_share": 0.5}, "gradient_share: expected a whole number"),
        ({"forwards_per_step": 5}, "forwards_per_step: expected None where no weight"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compound(**options)(*case())
