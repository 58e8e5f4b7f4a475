"""What a mean is divided by: the voxels that it adds up, whatever is left out.

The right values are those of formulas on lists of voxels, written here without the engine.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import medloss
from medloss.offers.host import host
from medloss.testing.loss_subject import LossSubject
from medloss.testing.scenes import Scene

SAMPLES, CLASSES, SPATIAL = 2, 3, (2, 3)
EXACT: dict[str, Any] = {"smooth_nr": 0, "smooth_dr": 0}
LN3 = math.log(3)
close = torch.testing.assert_close


class Case:
    """Logits, a target in one of its forms, and what is left out; read voxel by voxel."""

    def __init__(self, rng: random.Random, activation: str, form: str, left_out: set[str]) -> None:
        seed = torch.Generator().manual_seed(rng.randrange(10**6))
        shape = (SAMPLES, CLASSES, *SPATIAL)
        self.activation = activation
        self.z = torch.randn(shape, generator=seed, dtype=torch.float64)
        if activation == "probabilities":
            self.z = self.z.softmax(1)
        labels = torch.randint(0, CLASSES, (SAMPLES, 1, *SPATIAL), generator=seed)
        self.g = torch.nn.functional.one_hot(labels[:, 0], CLASSES).movedim(-1, 1).double()
        if form == "soft":
            self.g = torch.rand(shape, generator=seed, dtype=torch.float64)
            self.g /= self.g.sum(1, keepdim=True)
        self.is_index = form == "index"
        self.target: Tensor = labels if self.is_index else self.g
        self.m = torch.ones(SAMPLES, 1, *SPATIAL, dtype=torch.float64)
        self.extras: dict[str, Tensor] = {}
        self.options: dict[str, Any] = {}
        if "mask" in left_out:
            self.m = torch.tensor([0.0, 1, 0.5])[
                torch.randint(0, 3, self.m.shape, generator=seed)
            ].double()
            self.m[:, :, 0, 0] = 1
            self.extras["mask"] = self.m.clone()
        if "ignore_index" in left_out and self.is_index:
            self.options["ignore_index"] = 255
            self.target = self.target.clone()
            self.target[0, 0, 1] = 255
            self.m[0, 0, 1] = 0
        self.annotated = torch.ones(SAMPLES, CLASSES, dtype=torch.bool)
        if "present" in left_out:
            self.annotated = torch.tensor([[False, True, True], [True, False, True]])
            self.extras["present"] = self.annotated.clone()
        self.counts = self.annotated.clone()
        if "background" in left_out:
            self.options["include_background"] = False
            self.counts[:, 0] = False
        self.w = torch.ones(CLASSES, dtype=torch.float64)
        self.weighted = "weight" in left_out
        if self.weighted:
            self.w = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)
            given = self.w[1:] if "background" in left_out else self.w
            self.options["weight"] = tuple(given.tolist())

    @property
    def exclusive(self) -> bool:
        return self.activation != "sigmoid"

    def p(self, z: Tensor) -> Tensor:
        if self.activation == "softmax":
            return z.softmax(1)
        return z.sigmoid() if self.activation == "sigmoid" else z

    def loss(self, name: str, **options: Any) -> Any:
        how = {} if self.activation == "probabilities" else {self.activation: True}
        return medloss.loss(name, **how, **self.options, **options)

    def mean(
        self, z: Tensor, each: Callable[..., Tensor], *, sums: bool, by_weight: bool
    ) -> Tensor:
        """Σ over voxels and classes that count, over how many there are of them.

        Args:
            z: input.
            each: of (p, g, w, share of the label that counts), the value of a class of a voxel.
            sums: without the division.
            by_weight: divide by the weights of the true classes.
        """
        p, total, number = self.p(z), z.sum() * 0, 0.0
        for b, *at in itertools.product(range(SAMPLES), *map(range, SPATIAL)):
            weight = float(self.m[(b, 0, *at)])
            of_label = [
                float(self.g[(b, c, *at)]) for c in range(CLASSES) if bool(self.counts[b, c])
            ]
            share = sum(of_label)
            for c in range(CLASSES):
                if not self.counts[b, c]:
                    continue
                g, w = float(self.g[(b, c, *at)]), float(self.w[c])
                total = total + weight * each(p[(b, c, *at)], g, w, share, c)
                of_voxel = g * (w if by_weight else 1) if self.exclusive else 1
                number += weight * of_voxel
        return total if sums else total / number if number else total


def cross_entropy(case: Case, *, epsilon: float = 0, poly: float = 0) -> Callable[..., Tensor]:
    def each(p: Tensor, g: float, w: float, share: float, c: int) -> Tensor:
        if not case.exclusive:
            own = -w * g * p.log() - (1 - g) * (1 - p).log()
            return own + poly * (w * g * (1 - p) + (1 - g) * p)
        smoothed = (1 - epsilon) * g + epsilon / CLASSES * share
        return -w * smoothed * p.log() + poly * w * g * (1 - p)

    return each


def unified(case: Case) -> Callable[..., Tensor]:
    """δ = 0.7, γ = 0.5 and λ = 0."""

    def each(p: Tensor, g: float, w: float, share: float, c: int) -> Tensor:
        positive = -g * (1 - p).sqrt() * p.log()
        if case.exclusive:
            return w * (0.3 if c == 0 else 0.7) * positive
        return w * (0.7 * positive - 0.3 * (1 - g) * p.sqrt() * (1 - p).log())

    return each


MEANS: list[tuple[str, dict[str, Any], Callable[[Case], Callable[..., Tensor]]]] = [
    ("cross_entropy", {}, cross_entropy),
    ("cross_entropy", {"label_smoothing": 0.2}, lambda case: cross_entropy(case, epsilon=0.2)),
    ("poly", {"epsilon": 0.7}, lambda case: cross_entropy(case, poly=0.7)),
    ("topk_cross_entropy", {"k": 1}, cross_entropy),
    ("nacl", {"lambda_penalty": 0}, cross_entropy),
    ("dice_ce", {"lambda_dice": 0}, cross_entropy),
    ("unified_focal", {"lambda_tversky": 0, "delta": 0.7}, unified),
]
LEFT_OUT = ("mask", "ignore_index", "present", "background", "weight")


@pytest.mark.parametrize(("name", "options", "formula"), MEANS)
def test_means_over_voxels_are_those_of_a_list_of_voxels(
    name: str, options: dict[str, Any], formula: Callable[[Case], Callable[..., Tensor]]
) -> None:
    rng = random.Random(0)
    for activation, form in itertools.product(
        ("softmax", "sigmoid", "probabilities"), ("index", "one_hot", "soft")
    ):
        if activation == "sigmoid" and options.get("label_smoothing"):
            continue
        if activation == "probabilities" and name == "nacl":
            continue
        for _ in range(4):
            left_out = {each for each in LEFT_OUT if rng.random() < 0.5}
            if name == "dice_ce":  # include_background concerns its other term
                left_out -= {"background"}
            case, sums = Case(rng, activation, form, left_out), rng.random() < 0.3
            loss = case.loss(
                name, **options, batch=rng.random() < 0.5, reduction="sum" if sums else "mean"
            )
            z = case.z.clone().requires_grad_()
            by_weight = case.is_index and name not in ("unified_focal",)
            expected = case.mean(z, formula(case), sums=sums, by_weight=by_weight)
            (slope,) = torch.autograd.grad(expected, z)
            value = loss(z, case.target, **case.extras)
            what = f"{activation} {form} {sorted(left_out)} {sums}"
            close(value, expected, msg=lambda text, what=what: f"{what}: {text}")  # type: ignore[misc]
            close(torch.autograd.grad(value, z)[0], slope)


Y = torch.tensor([[[[0, 1], [2, 1]]]])
ONE_HOT = torch.nn.functional.one_hot(Y[:, 0], 3).movedim(-1, 1)
PRESENT = torch.tensor([[False, True, True]])


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("cross_entropy", {}, LN3),
        ("cross_entropy", {"label_smoothing": 0.3}, LN3 * (1 - 0.3 / 3)),  # class 0 leaves it too
        ("poly", {"epsilon": 1}, LN3 + 2 / 3),
        ("topk_cross_entropy", {"k": 0.5}, LN3),
        ("nacl", {"lambda_penalty": 0}, LN3),
        ("margin_label_smoothing", {}, LN3),
        ("distance_penalized_cross_entropy", {"spacing_mm": 1.0}, 2 * LN3),  # all is border
        ("border_weighted_cross_entropy", {"spacing_mm": 1.0, "w0": 0}, LN3),
        ("shape_aware", {"spacing_mm": 1.0}, LN3),
        ("structural_similarity", {"lambda_structure": 0, "lambda_ce": 1}, LN3),
        ("dice_ce", {"lambda_dice": 0}, LN3),
        ("dice_topk", {"lambda_dice": 0}, LN3),
        ("blob", {"loss": "cross_entropy", "lambda_global": 1, "lambda_instances": 0}, LN3),
        ("cc_dice_ce", {"lambda_dice": 0, "lambda_instances": 0, "spacing_mm": 1.0}, LN3),
        ("svls_cross_entropy", {}, LN3),
        ("weighted_cross_entropy", {"normalise": "voxels"}, LN3),
        ("balanced_cross_entropy", {"beta": 1.0}, LN3),
        ("unified_focal", {"gamma": 0, "delta": 0.5, "lambda_tversky": 0}, LN3 / 2),
        ("generalized_wasserstein_dice", EXACT, 1 - 2 / 2.5),
    ],
)
def test_a_voxel_whose_class_was_not_annotated_leaves_the_mean(
    name: str, options: dict[str, Any], expected: float
) -> None:
    """z = 0, so that each of the three voxels that are left has the same value."""
    for batch, target in itertools.product((False, True), (Y, ONE_HOT, ONE_HOT.double())):
        z = torch.zeros(1, 3, 2, 2, dtype=torch.float64)
        loss = medloss.loss(name, softmax=True, batch=batch, **options)
        assert float(loss(z, target, present=PRESENT)) == pytest.approx(expected, abs=1e-9)
        every = loss(z, target)
        close(loss(z, target, present=torch.ones(1, 3)), every)


def test_generalized_dice_scales_its_weights_over_annotated_classes() -> None:
    """The smoothing meets weights that add up to 1, whatever else there would have been."""
    p = torch.full((1, 3, 2, 2), 0.25, dtype=torch.float64)
    present = torch.tensor([[True, True, False]])
    for name in ("generalized_dice", "penalty_generalized_dice"):
        loss = medloss.loss(name, smooth_nr=1, smooth_dr=1)
        close(loss(p, ONE_HOT, present=present), loss(p[:, :2], ONE_HOT[:, :2]))


def test_independent_classes_have_one_distance_penalty_for_labels_of_any_form() -> None:
    z = torch.zeros(1, 2, 1, 4, dtype=torch.float64)
    y = torch.tensor([[[[0, 0, 1, 1]]]])
    loss = medloss.loss("distance_penalized_cross_entropy", sigmoid=True, spacing_mm=1.0)
    for target in (y, torch.cat([1 - y, y], 1)):
        assert float(loss(z, target)) == pytest.approx(1.5 * math.log(2), abs=1e-12)


LOSSES = [LossSubject(o, {}) for o in host().losses if o.plugin.distribution == "medloss"]


def value_and_slope(subject: LossSubject, loss: Any, scene: Scene) -> tuple[Tensor, Tensor]:
    z = scene.logits.double().requires_grad_()
    value = loss(z, scene.target, **scene.extras)
    value.sum().backward()
    assert z.grad is not None, subject.record.name
    return value.detach(), z.grad


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_every_loss_has_one_value_for_integer_and_one_hot_labels(
    activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", "reference")
    present = torch.tensor([[False, True, True], [True, True, False]])
    for subject in LOSSES:
        if not subject.takes(activation):
            continue
        for left_out in ({}, {"present": present}):
            loss, scene = subject.build(activation=activation), subject.scene()
            extras = left_out if subject.classes == 3 else {}
            scene = scene.given(**extras)
            dense = Scene(scene.logits, scene.one_hot(), scene.extras)
            for one, other in zip(
                value_and_slope(subject, loss, scene),
                value_and_slope(subject, loss, dense),
                strict=True,
            ):
                close(other, one, msg=lambda text, s=subject: f"{s.record.name}: {text}")  # type: ignore[misc]


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
@pytest.mark.parametrize("backend", ["reference", "chunked", "numba"])
def test_a_class_that_is_ruled_out_is_one_of_probability_zero(
    backend: str, activation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """−inf as the logit of a class that no voxel has; of all but one class, too."""
    monkeypatch.setenv("MEDLOSS_BACKEND", backend)
    for subject, ruled_out in itertools.product(LOSSES, ([2], [1, 2])):
        if subject.classes != 3 or not subject.takes(activation):
            continue
        labels = subject.scene().target % (3 - len(ruled_out))
        found = []
        for never in (-1e4, -math.inf):
            scene = subject.scene(labels=labels)
            logits = scene.logits.clone()
            logits[:, ruled_out] = never
            scene = Scene(logits, scene.one_hot(), scene.extras)
            found.append(value_and_slope(subject, subject.build(activation=activation), scene))
        (value, slope), (limit, of_limit) = found
        name = subject.record.name
        penalty = name in ("nacl", "margin_label_smoothing")  # of the logit itself
        expected = torch.full_like(value, math.inf) if penalty else value
        close(limit, expected, msg=lambda text, name=name: f"{name}: {text}")  # type: ignore[misc]
        close(of_limit, slope, msg=lambda text, name=name: f"{name}: {text}")  # type: ignore[misc]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_an_empty_batch_costs_nothing_and_has_a_gradient(reduction: str) -> None:
    for subject, batch in itertools.product(LOSSES, (False, True)):
        z = torch.zeros(0, subject.classes, 4, 3, requires_grad=True)
        maps = {"skeleton": torch.zeros(0, subject.classes, 4, 3)}
        given: dict[str, Any] = {name: maps[name] for name in subject.record.needs if name in maps}
        given["spacing_mm"] = 1.0
        loss = subject.build(reduction=reduction, batch=batch)
        value = loss(z, torch.zeros(0, 1, 4, 3, dtype=torch.long), **given)
        assert bool((value == 0).all()), subject.record.name
        value.sum().backward()
        assert z.grad is not None, subject.record.name
