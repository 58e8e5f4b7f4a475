"""Compiling beforehand: small calls of losses and metrics, so that the kernels lie on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medloss.offers.host import Offer, host
from medloss.offers.records import Loss, Metric

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WarmupCall:
    """A call that compiles what it needs.

    Args:
        name: of the loss or metric.
        run: the call.
    """

    name: str
    run: Callable[[], None]


def everything() -> Iterator[WarmupCall]:
    """What every loss and metric on offer needs, with labels and with one-hot targets."""
    for loss in host().losses:
        yield of_loss(loss)
        yield of_loss(loss, one_hot=True)
    for metric in host().metrics:
        yield of_metric(metric)
    yield from of_eval()


def of_loss(offer: Offer[Loss], *, one_hot: bool = False) -> WarmupCall:
    """A loss with the options of its record's example, forward and backward."""

    def run() -> None:
        from medloss.testing.loss_subject import LossSubject, value_and_gradient
        from medloss.testing.scenes import Scene

        subject = LossSubject(offer, {})
        scene = subject.scene()
        if one_hot:
            scene = Scene(scene.logits, scene.one_hot(), scene.extras)
        try:
            value_and_gradient(subject.build(), scene)
        except ValueError:
            if not one_hot:  # some losses take labels only
                raise

    return WarmupCall(offer.record.name + (", one-hot" if one_hot else ""), run)


def of_training_step(
    offer: Offer[Loss], device: str, shape: Sequence[int], dtype: torch.dtype
) -> WarmupCall:
    """A loss on logits as they will be, for which kernels of a GPU are compiled.

    Args:
        offer: with the options of its record's example.
        device: where.
        shape: of the logits, (B, C, *spatial).
        dtype: likewise. Labels are of both dtypes that are read as they are.
    """

    def run() -> None:
        import torch

        from medloss.objects.labels import INDEX
        from medloss.testing.loss_subject import LossSubject, value_and_gradient
        from medloss.testing.scenes import Scene

        loss = LossSubject(offer, {}).build().to(device)
        extras = {"spacing_mm": (1.0,) * (len(shape) - 2)}
        for labels in INDEX:
            logits = torch.zeros(*shape, dtype=dtype, device=device)
            target = torch.zeros_like(logits[:, :1], dtype=labels)
            target.flatten()[0] = 1  # something that has a distance
            value_and_gradient(loss, Scene(logits, target, extras))
        if device == "cuda":
            torch.cuda.synchronize()

    words = f"{offer.record.name}, {list(shape)}, {str(dtype).removeprefix('torch.')}"
    return WarmupCall(words, run)


def of_metric(offer: Offer[Metric]) -> WarmupCall:
    """A metric with the options of its record's example."""
    return WarmupCall(offer.record.name, partial(_score, (offer,), "deepmind"))


def of_eval() -> Iterator[WarmupCall]:
    """What ``medloss eval`` computes by default, in every preset."""
    from medloss.evaluation.requests import DEFAULT_METRICS
    from medloss.scoring.presets import PRESETS

    by_name = {offer.record.name: offer for offer in host().metrics}
    offers = tuple(by_name[name] for name in DEFAULT_METRICS)
    for preset in PRESETS:
        yield WarmupCall(f"eval, preset {preset}", partial(_score, offers, preset))


def of_bundle(folder: Path) -> Iterator[WarmupCall]:
    """The loss of a bundle's ``train`` configuration, and ``medloss eval``.

    Raises:
        ValueError: the configuration has no loss that can be built.
    """
    from medloss.workbench.preflight.bundle import bundle_loss

    yield WarmupCall("loss of the bundle", partial(_try_classes, bundle_loss(folder)))
    yield from of_eval()


def _try_classes(loss: Any) -> None:
    """A forward and a backward pass with the first number of classes that the loss takes."""
    from medloss.testing.loss_subject import CLASSES, value_and_gradient
    from medloss.testing.scenes import make_scene, ready_maps

    refusals = []
    for classes in CLASSES:
        scene = make_scene(classes)
        for extras in (dict.fromkeys(scene.extras), {}, ready_maps(scene)):
            try:
                value_and_gradient(loss, scene.given(**extras))
            except (ValueError, TypeError, RuntimeError) as error:
                refusals.append(error)
            else:
                return
    raise ValueError(f"the loss takes no number of classes from 1 to 8: {refusals[0]}")


def _score(offers: Sequence[Offer[Metric]], preset: str) -> None:
    import numpy as np

    from medloss.scoring import Case, EmptyPolicy, score

    reference = np.zeros((40, 24, 24), np.uint8)
    reference[3:9, 4:12, 5:11] = 1
    near = np.roll(reference, 1, axis=2)
    far = np.roll(reference, 28, axis=0)  # found by another search than what is near
    for dtype in (np.uint8, np.uint16):
        for prediction in (near, far):
            # in uint16 as a label that takes two bytes
            maps = [(each.astype(dtype) * np.iinfo(dtype).max) for each in (reference, prediction)]
            label = int(maps[0].max())
            case = Case(
                *maps,
                labels=(label,),
                spacing_mm=1.0,
                preset=preset,
                probabilities={label: prediction.astype(np.float32)},
            )
            for offer in offers:
                score(
                    offer.load(), offer.record, case, label, EmptyPolicy(), **offer.record.example
                )
