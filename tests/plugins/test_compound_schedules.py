"""Schedules of term weights: values, ratios, state, and loops that forget to step them."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, multiprocessing, nn
from torch.utils.checkpoint import checkpoint

import medloss

RAMP = {"schedule": "ramp", "start": 0.0, "end": 1.0, "steps": 10}


def case(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(2, 3, 4, 5, 3, generator=generator, dtype=torch.float64)
    y = torch.randint(0, 3, (2, 1, 4, 5, 3), generator=generator)
    return z.requires_grad_(), y


def compound(second: Any, **options: Any) -> Any:
    named = {"terms": ["dice", "cross_entropy"], "weights": [1, second], "softmax": True}
    return medloss.loss("compound", **{**named, **options})


def weights(loss: Any, steps: int) -> list[tuple[float, ...]]:
    seen = [tuple(loss.term_weights.values())]
    for _ in range(steps):
        loss.step_schedule()
        seen.append(tuple(loss.term_weights.values()))
    return seen


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"schedule": "constant", "value": 0.5}, [0.5, 0.5, 0.5, 0.5]),
        ({"schedule": "ramp", "steps": 2}, [0, 0.5, 1, 1]),
        ({"schedule": "ramp", "steps": 2, "start": 1, "end": 0.5, "begin": 1}, [1, 1, 0.75, 0.5]),
        ({"schedule": "cosine", "steps": 3}, [0, 0.25, 0.75, 1]),
    ],
)
def test_weight_of_each_step(schedule: dict[str, Any], expected: list[float]) -> None:
    got = weights(compound(schedule), 3)
    assert [first for first, _ in got] == [1, 1, 1, 1]
    assert [second for _, second in got] == pytest.approx(expected)


def test_the_loss_and_its_breakdown_have_the_weight_of_the_step() -> None:
    z, y = case()
    loss = compound(RAMP)
    dice, ce = (medloss.loss(n, softmax=True)(z, y) for n in ("dice", "cross_entropy"))
    for step in range(3):
        total = loss(z, y)
        torch.testing.assert_close(total, dice + step / 10 * ce)
        part = loss.breakdown()["cross_entropy"]
        loss.step_schedule()
        assert loss.breakdown()["cross_entropy"] == part  # of that pass, not of the next
        assert part.weight == pytest.approx(step / 10)


def test_rebalance_takes_from_the_others_what_it_gives() -> None:
    """Kervadec's: alpha on the boundary, 1 - alpha on the region, up to a maximum."""
    schedule = {"schedule": "rebalance", "start": 0.1, "increment": 0.4, "end": 0.8}
    loss = medloss.loss(
        "compound",
        terms=["dice", "cross_entropy", {"name": "boundary", "spacing_mm": 1.0}],
        weights=[1, 2, schedule],
        softmax=True,
    )
    expected = [(1 - a, 2 * (1 - a), a) for a in (0.1, 0.5, 0.8, 0.8)]
    for got, wanted in zip(weights(loss, 3), expected, strict=True):
        assert got == pytest.approx(wanted)


def test_equal_value_is_karimis_ratio_of_means() -> None:
    loss = medloss.loss(
        "compound",
        terms=["dice", {"name": "hausdorff_dt", "spacing_mm": 1.0}],
        weights=[2, {"schedule": "equal_value", "start": 0.2}],
        softmax=True,
    )
    values: dict[str, list[float]] = {"dice": [], "hausdorff_dt": []}
    for seed in range(3):
        loss(*case(seed))
        for name, part in loss.breakdown().items():
            values[name].append(part.value)
        assert loss.term_weights["hausdorff_dt"] == 0.2
    with torch.no_grad():
        loss(*case(9))  # validation does not count
    loss.step_schedule()
    means = {name: sum(each) / 3 for name, each in values.items()}
    got = loss.term_weights["hausdorff_dt"]
    assert got * means["hausdorff_dt"] == pytest.approx(2 * means["dice"])
    loss(*case(5))
    parts = {name: part.value for name, part in loss.breakdown().items()}
    loss.step_schedule()  # from the passes since the last step alone
    got = loss.term_weights["hausdorff_dt"]
    assert got * parts["hausdorff_dt"] == pytest.approx(2 * parts["dice"])


def test_equal_gradient_norm_makes_both_pull_alike() -> None:
    z, y = case()
    loss = compound({"schedule": "equal_gradient_norm", "every": 1}, gradient_share=True)
    loss(z, y)
    shares = [part.gradient_share for part in loss.breakdown().values()]
    assert shares != pytest.approx([0.5, 0.5], abs=0.05)
    loss.step_schedule()
    loss(z, y)
    shares = [part.gradient_share for part in loss.breakdown().values()]
    assert shares == pytest.approx([0.5, 0.5])


def test_ratios_survive_what_cannot_be_divided_by() -> None:
    z, y = case()
    loss = compound({"schedule": "equal_value", "start": 0.3, "max_weight": 7})
    loss.step_schedule()  # nothing was measured
    assert loss.term_weights["cross_entropy"] == 0.3
    nan = torch.full_like(z, math.nan).requires_grad_()
    loss(nan, y)
    loss.step_schedule()  # nor anything finite
    assert loss.term_weights["cross_entropy"] == 0.3
    loss(torch.where(torch.nn.functional.one_hot(y[:, 0], 3).movedim(-1, 1) > 0, 9.0, 0) + z * 0, y)
    loss.step_schedule()
    assert 0 < loss.term_weights["cross_entropy"] <= 7
    certain = torch.nn.functional.one_hot(y[:, 0], 3).movedim(-1, 1) * 80.0 + z * 0
    loss(certain, y)
    loss.step_schedule()
    assert loss.term_weights["cross_entropy"] <= 7


def test_steps_may_be_named_and_repeated_and_taken_back() -> None:
    z, y = case()
    loss = compound(RAMP)
    loss.step_schedule(7)
    loss.step_schedule(7)
    assert loss.term_weights["cross_entropy"] == pytest.approx(0.7)
    loss.step_schedule(2)
    assert loss.term_weights["cross_entropy"] == pytest.approx(0.2)
    ratio = compound({"schedule": "equal_value", "start": 0.2})
    ratio(z, y)
    ratio.step_schedule()
    ratio(z, y)
    measured = ratio.term_weights
    ratio.step_schedule(1)
    assert ratio.term_weights == measured
    ratio.step_schedule(0)
    assert ratio.term_weights["cross_entropy"] == 0.2
    with pytest.raises(ValueError, match="step: expected a whole number"):
        loss.step_schedule(-1)


def test_a_lambda_may_have_a_schedule_and_nested_losses_step_along() -> None:
    inner = {"name": "dice_ce", "lambda_ce": RAMP}
    loss = medloss.loss("compound", terms=[inner, "focal"], softmax=True)
    loss.step_schedule(4)
    assert loss.losses["dice_ce"].term_weights["cross_entropy"] == pytest.approx(0.4)
    assert loss.scheduled() == ["cross_entropy"]


def test_plain_weights_have_no_state_and_no_step() -> None:
    loss = compound({"schedule": "constant", "value": 0.5})
    assert not loss.state_dict()
    loss.step_schedule()
    assert loss.term_weights == {"dice": 1.0, "cross_entropy": 0.5}


@pytest.mark.parametrize("schedule", [RAMP, {"schedule": "equal_value", "start": 0.2}])
def test_a_checkpoint_goes_on_in_the_middle_of_an_epoch(
    schedule: dict[str, Any], tmp_path: Path
) -> None:
    loss = compound(schedule)
    loss(*case(0))
    loss.step_schedule()
    loss(*case(1))
    torch.save(loss.state_dict(), tmp_path / "loss.pt")
    resumed = compound(schedule)
    resumed.load_state_dict(torch.load(tmp_path / "loss.pt", weights_only=True))
    assert resumed.term_weights == loss.term_weights
    for each in (loss, resumed):
        each(*case(2))
        each.step_schedule()
    assert resumed.term_weights == loss.term_weights


def test_the_config_says_what_a_step_weighs() -> None:
    loss, longer = compound(RAMP), compound({**RAMP, "steps": 20})
    loss.step_schedule(5)
    longer.load_state_dict(loss.state_dict())
    assert longer.term_weights["cross_entropy"] == pytest.approx(0.25)


def test_checkpoints_without_a_schedule_are_refused_in_words_or_start_it() -> None:
    old = compound(0.5).state_dict()
    loss = compound(RAMP)
    with pytest.raises(RuntimeError, match=r"no state of the schedules of cross_entropy"):
        loss.load_state_dict(old)
    loss.load_state_dict(old, strict=False)
    assert loss.term_weights["cross_entropy"] == 0
    with pytest.raises(RuntimeError, match=r"schedule\.step"):
        compound(0.5).load_state_dict(loss.state_dict())


class Network(nn.Module):
    """A network that has its loss, as many have."""

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self.layer, self.loss = nn.Conv3d(3, 3, 1).double(), loss


def train(loss: Any, seeds: range) -> None:
    for seed in seeds:
        loss(*case(seed)).backward()


def validate(loss: Any) -> None:
    with torch.no_grad():
        for seed in range(3):
            loss(*case(seed))


@pytest.mark.parametrize("mode", [False, True])
def test_what_is_no_training_pass_says_nothing_of_epochs(mode: bool) -> None:
    """A teacher or an averaged network is called under no_grad between training passes."""
    loss = compound(RAMP)
    network = Network(loss)
    for _ in range(3):
        train(loss, range(2))
        if mode:
            network.eval()
        validate(loss)
        network.train()
    assert loss.term_weights["cross_entropy"] == pytest.approx(0.0)


def test_a_pass_that_is_made_twice_says_nothing_of_epochs() -> None:
    """Reentrant checkpointing calls the loss without gradient, and again with it."""
    loss = compound(RAMP)
    for seed in range(3):
        logits, label = case(seed)
        checkpoint(loss, logits, label, use_reentrant=True).backward()
        loss(*case(seed)).backward()


def test_a_trainer_among_the_callers_is_not_looked_at() -> None:
    from ignite.engine import Engine

    loss = compound(RAMP)
    trainer = Engine(lambda engine, seed: train(loss, range(seed, seed + 1)))
    trainer.run(range(2), max_epochs=3)
    assert trainer.state.iteration == 6


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_loop_that_steps_is_left_alone(when: str) -> None:
    loss = compound(RAMP, forwards_per_step=6)
    for epoch in range(4):
        if when == "before":
            loss.step_schedule(epoch)
        for _ in range(2):
            train(loss, range(3))
            validate(loss)
        if when == "after":
            loss.step_schedule()
    assert loss.term_weights["cross_entropy"] == pytest.approx(0.3 if when == "before" else 0.4)


def test_more_passes_than_a_step_has_are_refused() -> None:
    loss = compound(RAMP, forwards_per_step=4)
    for _ in range(2):
        train(loss, range(2))
        validate(loss)  # within the epoch
    with pytest.raises(RuntimeError, match="forwards_per_step=4 training passes"):
        train(loss, range(1))
    loss.step_schedule()
    train(loss, range(4))
    with pytest.raises(RuntimeError, match="forwards_per_step=4"):
        train(loss, range(1))


def test_constant_weights_need_no_step() -> None:
    loss = compound(0.5)
    for _ in range(3):
        train(loss, range(2))
        validate(loss)


def test_copies_watch_for_themselves() -> None:
    loss = compound(RAMP, forwards_per_step=4)
    train(loss, range(2))
    other = copy.deepcopy(loss)
    train(loss, range(2))
    train(other, range(2))
    with pytest.raises(RuntimeError, match="nothing steps"):
        train(other, range(1))


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (
        {"schedule": "rmap", "steps": 3},
        {},
        "cross_entropy: schedule: got 'rmap'; did you mean ramp",
    ),
    ({"schedule": "??"}, {}, "expected constant, ramp, cosine, rebalance, equal_value, equal_grad"),
    ({"steps": 3}, {}, "a mapping without the key"),
    ({"schedule": "ramp", "steps": 0}, {}, "steps: expected a whole number from 1 on, got 0"),
    ({"schedule": "ramp", "steps": 2.5}, {}, "steps: expected a whole number"),
    ({"schedule": "ramp", "steps": 2, "end": -1}, {}, "end: expected a finite number"),
    ({"schedule": "rebalance", "end": 1.5}, {}, "expected start <= end <= 1"),
    (
        {"schedule": "rebalance"},
        {"weights": [RAMP, {"schedule": "rebalance"}]},
        "schedules of dice",
    ),
    ({"schedule": "equal_value", "to": "focal"}, {}, "to: expected a term .*dice.*got 'focal'"),
    (
        {"schedule": "equal_value"},
        {"weights": [{"schedule": "equal_value"}] * 2},
        "expected a term whose weight is no ratio itself",
    ),
    ({"schedule": "equal_gradient_norm", "every": 0}, {}, "every: expected a whole number"),
    (-1, {}, "cross_entropy: expected a weight of at least 0, or a mapping"),
    (math.nan, {}, "cross_entropy: expected a weight of at least 0"),
]


@pytest.mark.parametrize(("second", "options", "words"), REFUSED, ids=lambda each: str(each)[:40])
def test_what_cannot_be_meant_is_refused(second: Any, options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compound(second, **options)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        ({"schedule": "ramp"}, "steps"),
        ({"schedule": "ramp", "steps": 2, "increment": 1}, "takes steps, start, end, begin, got"),
        ({"schedule": "cosine", "step": 2}, "did you mean 'steps'"),
        ("ramp", "expected a weight of at least 0, or a mapping with a schedule, got 'ramp'"),
        (True, "expected a weight"),
    ],
)
def test_wrong_kinds_are_refused(second: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        compound(second)


def test_a_schedule_of_all_weights_at_once_is_refused() -> None:
    with pytest.raises(TypeError, match="weights: expected a list, one for each term"):
        compound(1, weights={"schedule": "ramp", "steps": 3})


def _rank(rank: int, folder: str) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2
    )
    loss = compound({"schedule": "equal_value"})
    loss(*case(rank))
    values = {name: part.value for name, part in loss.breakdown().items()}
    loss.step_schedule()
    pooled = compound(1, batch="world", gradient_share=True)
    pooled(*case(rank))
    torch.save((values, loss.term_weights, pooled.breakdown()), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_ranks_agree_on_a_ratio_and_on_pooled_classes(tmp_path: Path) -> None:
    multiprocessing.spawn(_rank, (str(tmp_path),), nprocs=2)
    told = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2)]
    (first, of_first, there), (second, of_second, here) = told
    assert of_first == of_second
    expected = (first["dice"] + second["dice"]) / (first["cross_entropy"] + second["cross_entropy"])
    assert of_first["cross_entropy"] == pytest.approx(expected)
    joined = [torch.cat(both) for both in zip(case(0), case(1), strict=True)]
    loss = compound(1, batch=True)
    loss(*joined)
    classes = loss.breakdown()["dice"].per_class
    for parts in (there, here):
        assert parts["dice"].per_class == pytest.approx(classes)
        assert parts["dice"].value == pytest.approx(loss.breakdown()["dice"].value)
        assert not parts["cross_entropy"].per_class  # of one rank they would be another thing
        assert sum(part.gradient_share for part in parts.values()) == pytest.approx(1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("moved", [False, True])
@pytest.mark.parametrize("schedule", ["equal_value", "equal_gradient_norm"])
def test_on_a_gpu_the_loss_need_not_be_moved(schedule: str, moved: bool) -> None:
    given = {"schedule": schedule, "start": 0.5}
    loss, here = compound(given, gradient_share=True), compound(given, gradient_share=True)
    there = loss.cuda() if moved else loss
    z, y = case()
    for _ in range(2):
        there(z.cuda(), y.cuda())
        here(z, y)
        for name, part in here.breakdown().items():
            assert there.breakdown()[name].weighted == pytest.approx(part.weighted)
            assert there.breakdown()[name].gradient_share == pytest.approx(part.gradient_share)
        there.step_schedule()
        here.step_schedule()
    assert there.term_weights == pytest.approx(here.term_weights)
