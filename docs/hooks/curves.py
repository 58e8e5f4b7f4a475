"""What the pictures show: values along two paths of a prediction, and a gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scenes import Scene, logits_of, mask_of, scene_of

from medloss.offers.host import Offer
from medloss.offers.records import Detection, Loss, Metric

torch.set_num_threads(1)  # images of 40 x 72: waking threads would take longer than the work


@dataclass(frozen=True)
class Curve:
    """Values along a path; ``mark`` is where prediction and target agree."""

    title: str
    unit: str
    places: tuple[float, ...]
    values: tuple[float, ...]
    mark: float


@dataclass(frozen=True)
class Drawn:
    """What is drawn; ``push`` is minus the gradient by the logit, on the scene's own prediction."""

    caption: str
    curves: tuple[Curve, ...]
    scene: Scene | None = None
    push: np.ndarray | None = None


class NotDrawnError(Exception):
    """Says why there is no picture."""


REASONS = {
    "deep_supervision": "It is the mean of another loss over several resolutions; see that loss.",
}


def curves_of(offer: Offer[Any]) -> Drawn:
    """The curves of what is on offer.

    Raises:
        NotDrawnError: it cannot be drawn on a toy; the text says why.
    """
    record = offer.record
    if record.name in REASONS:
        raise NotDrawnError(REASONS[record.name])
    try:
        if isinstance(record, Loss):
            return _loss(offer)
        if isinstance(record, Metric):
            return _metric(offer)
        if isinstance(record, Detection) and record.role == "box_loss":
            return _box_loss(offer)
    except (TypeError, ValueError) as error:
        raise NotDrawnError(f"It does not take the toy's input: {error}.") from error
    raise NotDrawnError(
        "It is no function of two masks or of two boxes, so there is no curve to draw."
    )


def _loss(offer: Offer[Loss]) -> Drawn:
    scene = scene_of(offer.record.name)
    truth = torch.from_numpy(mask_of(scene.depth).astype(np.int64))[None, None]
    target: dict[str, Any] = {"label": truth, "spacing_mm": 1.0, **_maps(offer.record, truth)}
    loss = offer.load()(**{"softmax": True, **offer.record.example})

    def value(z: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = loss(torch.stack([-z, z])[None] / 2, target)
        return found

    z = torch.from_numpy(logits_of(scene.shown)).requires_grad_()
    value(z).backward()
    curves = []
    for path in scene.paths:
        with torch.no_grad():
            seen = [torch.from_numpy(logits_of(path.depth(place))) for place in path.places]
            values = tuple(float(value(each)) for each in seen)
        curves.append(Curve(path.title, "", path.places, values, path.mark))
    push = None if z.grad is None else -z.grad.numpy()
    return Drawn(scene.caption, tuple(curves), scene, push)


def _maps(record: Loss, truth: torch.Tensor) -> dict[str, torch.Tensor]:
    """The extra inputs that a loss cannot do without."""
    if not record.needs:
        return {}
    from medloss.integrations.skeletons import SkeletonMapd
    from medloss.integrations.transforms import ComponentMapd, DistanceMapd

    makers = {
        "skeleton": SkeletonMapd(keys="label", classes=2),
        "components": ComponentMapd(keys="label"),
        "distance_map": DistanceMapd(keys="label", classes=2, spacing_mm=1.0),
    }
    return {name: makers[name]({"label": truth[0]})[name][None] for name in record.needs}


def _metric(offer: Offer[Metric]) -> Drawn:
    from medloss.scoring import Case, EmptyPolicy, score

    function, record = offer.load(), offer.record
    scene = scene_of(record.name)
    reference = mask_of(scene.depth).astype(np.uint8)

    def value(depth: np.ndarray) -> float:
        case = Case(
            reference,
            mask_of(depth).astype(np.uint8),
            labels=(1,),
            spacing_mm=1.0,
            probabilities={1: 1 / (1 + np.exp(-logits_of(depth)))},
        )
        return score(function, record, case, 1, EmptyPolicy(), **record.example).value

    unit = record.unit.replace("mm3", "mm³")
    curves = tuple(
        Curve(path.title, unit, path.places, tuple(value(path.depth(x)) for x in path.places), m)
        for path in scene.paths
        for m in [path.mark]
    )
    return Drawn(scene.caption, curves)


def _box_loss(offer: Offer[Detection]) -> Drawn:
    loss = offer.load()(**offer.record.example)
    truth = torch.tensor([[0.0, 0, 0, 10, 10, 10]])

    def values(ends: list[tuple[float, float]]) -> tuple[float, ...]:
        boxes = torch.tensor([[low, 0.0, 0.0, high, 10.0, 10.0] for low, high in ends])
        return tuple(float(loss(box[None], truth)) for box in boxes)

    shifts, sides = tuple(float(mm) for mm in range(26)), tuple(0.5 * k for k in range(1, 51))
    return Drawn(
        "Target: a box of 10 x 10 x 10. Prediction: the same box, moved along x or stretched.",
        (
            Curve("moved by", "", shifts, values([(s, s + 10) for s in shifts]), 0.0),
            Curve("side along x", "", sides, values([(5 - s / 2, 5 + s / 2) for s in sides]), 10.0),
        ),
    )
