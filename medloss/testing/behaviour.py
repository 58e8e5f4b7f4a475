"""What is on offer does at the corners: perfect, all wrong, empty. Computed when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from medloss.offers.records import Detection, Loss, Metric, Record

Rows = Iterator[tuple[str, str, str]]


def behaviour(record: Record, target: Callable[..., Any]) -> Rows:
    """What it does at the corners: what is perfect, all wrong, missed, beside it.

    Yields:
        Rows of case, value, and gradient or (of a metric) status.
    """
    if isinstance(record, Loss):
        return _of_loss(record, target)
    if isinstance(record, Metric):
        return _of_metric(record, target)
    return _of_part(record, target) if isinstance(record, Detection) else iter(())


def _of_loss(record: Loss, target: Callable[..., Any]) -> Rows:
    """Value and largest gradient on the logits of a 5x5 image with a 3x3 object, two classes.

    Yields:
        Rows of case, value, gradient.
    """
    import torch

    truth = torch.zeros(1, 1, 5, 5, dtype=torch.long)
    truth[..., 1:4, 1:4] = 1
    empty = torch.zeros_like(truth)
    sign = 2.0 * truth - 1

    def logits(foreground: Any) -> torch.Tensor:
        half = torch.as_tensor(foreground, dtype=torch.float64).expand(1, 1, 5, 5) / 2
        return torch.cat([-half, half], 1)

    certain = 12.0
    nine_to_one = float(torch.log(torch.tensor(9.0)))
    cases = {
        f"perfect (logits ±{certain:g})": (logits(certain * sign), truth),
        f"all wrong (logits ±{certain:g})": (logits(-certain * sign), truth),
        "empty target, p = 0.1": (logits(-nine_to_one), empty),
        "empty target, p = 0.9": (logits(nine_to_one), empty),
    }
    for case, (z, y) in cases.items():
        z = z.requires_grad_()
        try:
            loss = target(**{"softmax": True, **record.example})
            value = loss(z, {"label": y, "spacing_mm": 1.0, **_needed(record, z, y)})
            value.backward()
        except (TypeError, ValueError) as error:  # a third party's loss may want other inputs
            yield case, "not computed", str(error)
            continue
        gradient = 0.0 if z.grad is None else float(z.grad.abs().max())
        yield case, f"{float(value.detach()):.6g}", f"{gradient:.2g}"


def _needed(record: Loss, logits: Any, labels: Any) -> dict[str, Any]:
    """The maps that a loss cannot do without."""
    if not record.needs:
        return {}
    from medloss.testing.scenes import Scene, ready_maps

    maps = ready_maps(Scene(logits.detach(), labels, {"spacing_mm": 1.0}))
    return {name: maps[name] for name in record.needs}


def _of_metric(record: Metric, target: Callable[..., Any]) -> Rows:
    """Value and status on a 9x9 image with a 3x3 object and 1 mm voxels.

    Yields:
        Rows of case, value, status; none where a package for the metric is not installed.
    """
    import numpy as np

    from medloss.scoring import Case, EmptyPolicy, score

    truth = np.zeros((9, 9), np.uint8)
    truth[1:4, 1:4] = 1
    nothing = np.zeros_like(truth)
    cases = {
        "perfect": (truth, truth),
        "moved by 1 voxel": (truth, np.roll(truth, 1, axis=0)),
        "all wrong": (truth, 1 - truth),
        "missed": (truth, nothing),
        "spurious": (nothing, truth),
        "both empty": (nothing, nothing),
    }
    for name, (reference, prediction) in cases.items():
        sure = {1: prediction.astype(np.float32)}
        case = Case(reference, prediction, labels=(1,), spacing_mm=1.0, probabilities=sure)
        try:
            result = score(target, record, case, 1, EmptyPolicy(), **record.example)
        except ImportError:  # of an extra; the rest of the card needs none
            return
        yield name, f"{result.value:.6g}", str(result.status)


def _of_part(record: Detection, target: Callable[..., Any]) -> Rows:
    """Value and largest gradient of a box loss on predictions of a box of 4x4x4 voxels.

    Yields:
        Rows of case, value, gradient; none for what is no box loss.
    """
    import torch

    if record.role != "box_loss":
        return
    truth = (0.0, 0.0, 0.0, 4.0, 4.0, 4.0)
    cases = {
        "perfect": truth,
        "moved by 1 voxel": (1.0, 0.0, 0.0, 5.0, 4.0, 4.0),
        "flat: 4x4x2": (0.0, 0.0, 1.0, 4.0, 4.0, 3.0),
        "beside it": (4.0, 0.0, 0.0, 8.0, 4.0, 4.0),
        "far away": (40.0, 0.0, 0.0, 44.0, 4.0, 4.0),
        "a point inside": (2.0, 2.0, 2.0, 2.0, 2.0, 2.0),
    }
    for case, corners in cases.items():
        box = torch.tensor([corners], dtype=torch.float64, requires_grad=True)
        value = target(**record.example)(box, torch.tensor([truth], dtype=torch.float64))
        (gradient,) = torch.autograd.grad(value, box)
        yield case, f"{float(value.detach()):.6g}", f"{float(gradient.abs().max()):.2g}"
