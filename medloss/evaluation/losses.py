"""Values of losses for whole cases; the only part of an evaluation that needs torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

import medloss
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import CaseError
from medloss.evaluation.requests import OfferRequest, resolve
from medloss.offers.host import host
from medloss.offers.records import Loss

_ACTIVATIONS = ("sigmoid", "softmax", "other_act")
_LARGEST_INPUT_BYTES = 8 << 30


@dataclass(frozen=True)
class LossChoice:
    """A loss with its options, ready to be called.

    Args:
        column: what its values are called: ``dice_loss``, for there is a metric ``dice`` too.
        record: what the loss says about itself.
        options: those given.
        loss: the built loss.
    """

    column: str
    record: Loss
    options: dict[str, Any]
    loss: Any


def choose_loss(request: OfferRequest) -> LossChoice:
    """Find and build the loss.

    Raises:
        PluginError: there is no such loss, or it cannot be imported.
        ValueError: it refuses its options, or one of them is an activation.
    """
    request = resolve(request, host().losses)
    options = dict(request.options)
    for option in _ACTIVATIONS:
        if option in options:
            raise ValueError(f"{request.name}: files hold probabilities already, drop {option!r}")
    offer = host().losses.find(request.name)
    try:
        loss = medloss.loss(request.name, **options)
    except (TypeError, ValueError) as error:
        reason = str(error).removeprefix(f"{offer.full_name}: ")
        raise ValueError(f"{request.name}: {reason}") from error
    column = OfferRequest(f"{request.name}_loss", request.options).column
    return LossChoice(column, offer.record, options, loss)


def loss_values(
    losses: tuple[LossChoice, ...],
    prediction: Image,
    reference: Image,
    ignored: np.ndarray[Any, Any] | None = None,
) -> Iterator[tuple[str, float]]:
    """Column and value of every loss for one case.

    Args:
        losses: to be computed.
        prediction: label map or probabilities of classes that exclude one another.
        reference: likewise.
        ignored: where voxels do not count.

    Raises:
        CaseError: a loss cannot be computed for this case.
    """
    for image in (prediction, reference):
        if image.independent:
            raise CaseError(
                f"{image.path}: its channels are classes of their own, and losses are computed on "
                f"classes that exclude one another; drop --loss"
            )
    target, extra = reference.labels(), {}
    if ignored is not None:
        target = np.where(ignored, 0, target)
        extra["mask"] = torch.from_numpy(~ignored)[None, None]
    probabilities = _class_probabilities(prediction, target)[None]
    labels = torch.from_numpy(target.astype(np.int64))[None, None]
    for choice in losses:
        try:
            with torch.no_grad():
                value = choice.loss(probabilities, labels, spacing_mm=reference.spacing_mm, **extra)
        except (ValueError, TypeError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            raise CaseError(f"{prediction.path}: {choice.column}: {reason}") from error
        if value.numel() != 1:
            raise CaseError(
                f"{prediction.path}: {choice.column} gives {value.numel()} values, not one; "
                f"drop its reduction"
            )
        yield choice.column, float(value)


def _class_probabilities(prediction: Image, target: np.ndarray[Any, Any]) -> torch.Tensor:
    """``(C, *spatial)`` float32; a label map becomes one-hot, which is being sure of everything."""
    if prediction.probabilities:
        planes = np.moveaxis(prediction.array, -1, 0)
        return torch.from_numpy(np.ascontiguousarray(planes, dtype=np.float32))
    # At least two classes: a single one would be taken for foreground.
    classes = max(int(prediction.array.max()), int(target.max()), 1) + 1
    size = 4 * classes * target.size
    if size > _LARGEST_INPUT_BYTES:
        raise CaseError(
            f"{prediction.path}: a loss on {classes} classes (up to the largest label) of "
            f"{target.size} voxels takes {size / 2**30:.1f} GiB; number the labels 1, 2, 3, ..."
        )
    hot = np.zeros((classes, *target.shape), dtype=np.float32)
    for label in range(classes):
        np.equal(prediction.array, label, out=hot[label], casting="unsafe")
    return torch.from_numpy(hot)
