"""What every registered loss refuses by name, and the forms in which it takes a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

import medloss
from medloss.base import SegmentationLoss
from medloss.offers.host import Offer, host

SPACING_MM = (1.0, 2.0, 0.5)
NEEDED: dict[str, dict[str, Any]] = {
    "boundary": {"spacing_mm": SPACING_MM},
    "border_weighted_cross_entropy": {"spacing_mm": SPACING_MM},
    "distance_penalized_cross_entropy": {"spacing_mm": SPACING_MM},
    "compound": {"terms": ["dice", "focal", {"name": "boundary", "spacing_mm": SPACING_MM}]},
}
RECORDS = [offer.record for offer in host().losses if offer.plugin.distribution == "medloss"]
NAMES = [record.name for record in RECORDS]
NEEDS_MAPS = {record.name: record.needs for record in RECORDS}
every_loss = pytest.mark.parametrize("name", NAMES)
SHAPE = (6, 5, 7)


def build(name: str, **options: Any) -> SegmentationLoss:
    built: SegmentationLoss = medloss.loss(name, **NEEDED.get(name, {}), **options)
    return built


def logits(batch: int = 2, classes: int = 3, seed: int = 0, scale: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(batch, classes, *SHAPE, generator=generator)


def labels(batch: int = 2, classes: int = 3, seed: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, classes, (batch, 1, *SHAPE), generator=generator)


@every_loss
@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: dict(reversed(list(d.items())))])
def test_targets_may_be_mappings(name: str, wrap: Callable[[Any], Mapping[str, Any]]) -> None:
    z, y = logits(), labels()
    mask = labels(classes=2, seed=9) > 0
    loss = build(name, softmax=True)
    extras = {"mask": mask, "spacing_mm": SPACING_MM}
    if "skeleton" in NEEDS_MAPS[name]:
        extras["skeleton"] = torch.ones_like(z)
    expected = loss(z, y, **extras)
    torch.testing.assert_close(loss(z, wrap({"label": y, **extras})), expected)


@every_loss
@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda z, y: (z.argmax(1, keepdim=True), y), TypeError, "input: .*floating"),
        (lambda z, y: (z[:, :, 0, 0], y), ValueError, r"input: expected \(B, C, H, W\)"),
        (lambda z, y: (z, y[:, 0, 0]), ValueError, r"target: expected .*got \[2, 5, 7\]"),
        (lambda z, y: (z, y[..., 1:]), ValueError, "target: expected .* to match input"),
        (lambda z, y: (z, y + 1), ValueError, "target: expected labels from 0 to 2"),
        (lambda z, y: (z, y - 1), ValueError, "target: expected labels from 0 to 2"),
        (lambda z, y: (z, y.float() + 0.5), ValueError, "target: "),
        (lambda z, y: (z, y.numpy()), TypeError, "target: expected a torch.Tensor"),
        (lambda z, y: (z, {"lable": y}), ValueError, "did you mean 'label'"),
        (lambda z, y: (z, {"mask": y}), ValueError, "key 'label'"),
        (lambda z, y: (z, {"label": y, "mask": y[..., 1:] > 0}), ValueError, "mask: expected"),
        (lambda z, y: (z, {"label": y, "mask": y}), ValueError, r"mask: .*\[0, 1\]"),
        (lambda z, y: (z, {"label": y, "present": [[1, 1]]}), ValueError, "present: expected"),
        (lambda z, y: (z, {"label": y, "spacing_mm": (1, 2)}), ValueError, "spacing_mm: expected"),
        (lambda z, y: (z, {"label": y, "distance_map": z[..., 1:]}), ValueError, "distance_map:"),
        (lambda z, y: (z[:, :1], y.clamp_max(1)), ValueError, "softmax: .*single channel"),
    ],
)
def test_wrong_input_is_refused_by_name(
    name: str, change: Callable[[Tensor, Tensor], Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        build(name, softmax=True)(*change(logits(), labels()))


@every_loss
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"softmax": True, "sigmoid": True}, "at most one activation"),
        ({"reduction": "avg"}, "reduction: expected one of"),
        ({"batch": "galaxy"}, "batch: expected"),
        ({"other_act": 3}, "other_act: expected a callable"),
        ({"weight": [-1.0, 1.0, 1.0]}, "weight: expected"),
    ],
)
def test_wrong_options_are_refused_by_name(name: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        build(name, **options)


def test_every_offered_loss_is_reachable_as_an_attribute() -> None:
    offers: list[Offer[Any]] = list(host().losses)
    for offer in offers:
        assert getattr(medloss.losses, offer.record.attribute) is offer.load()
