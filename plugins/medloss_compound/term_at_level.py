"""A loss as it serves at a lower resolution: it measures nothing there, and may drop terms."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn

from medloss.base import SegmentationLoss
from medloss.base.input_checks import STORED
from medloss.compound.step_watch import StepWatch
from medloss.compound.weighted_sum import WeightedSum
from medloss.offers.host import host

FAMILIES = ("boundary", "topology")
MONAI_NAMES = ("BoundaryLoss", "HausdorffDTLoss", "LogHausdorffDTLoss", "SoftclDiceLoss")


def belongs_to_full_resolution(loss: nn.Module) -> bool:
    """Whether a loss looks at boundaries, distances or topology.

    So it is for the families boundary and topology, whoever offers them, for a loss that needs a
    ready map, for one with the option ``spacing_mm``, and for those of MONAI.
    """
    kind = type(loss)
    if kind.__module__.startswith("monai.") and kind.__name__ in MONAI_NAMES:
        return True
    target = f"{kind.__module__}:{kind.__qualname__}"
    for offer in host().losses:
        if target in (offer.record.target, *offer.record.also) and (
            offer.record.family in FAMILIES or offer.record.needs
        ):
            return True
    return hasattr(loss, "spacing_mm")


def at_lower_level(loss: nn.Module, *, boundary: bool) -> nn.Module | None:
    """The loss with the same weights, whose schedules neither count nor measure this pass.

    Args:
        loss: stays as it is.
        boundary: whether terms on boundaries, distances and topology are kept.

    Returns:
        A loss that shares its parts with the given one, or None where nothing of it is left.
    """
    terms_decide = isinstance(loss, WeightedSum)  # whatever the family of their sum
    if not boundary and not terms_decide and belongs_to_full_resolution(loss):
        return None
    if not isinstance(loss, SegmentationLoss):
        return loss
    parts: dict[str, nn.Module | None] = dict(loss._modules)
    if isinstance(loss, WeightedSum):
        terms = {k: at_lower_level(term, boundary=boundary) for k, term in loss.losses.items()}
        kept = {k: term for k, term in terms.items() if term is not None}
        if not kept:
            return None
        parts["losses"] = nn.ModuleDict(kept)
    else:
        for name, part in loss.named_children():
            parts[name] = at_lower_level(part, boundary=boundary)
            if parts[name] is None:
                return None
    lower = copy.copy(loss)
    lower.__dict__["_modules"] = parts
    lower.training = False
    if isinstance(lower, WeightedSum):
        lower._last = lower._last_training = None
        lower._watch = StepWatch()
    return lower


def spacing_options(loss: nn.Module) -> list[str]:
    """Losses whose option ``spacing_mm`` says the size of a voxel."""
    return [
        type(each).__name__
        for each in loss.modules()
        if getattr(each, "spacing_mm", None) is not None
    ]


def call(loss: nn.Module, output: Tensor, target: dict[str, Any]) -> Tensor:
    """Value of a loss at one level.

    Raises:
        ValueError: a loss of another library beside what it does not know.
        TypeError: it gives something else than a tensor.
    """
    beside = sorted(k for k, v in target.items() if k != "label" and v is not None)
    label = target["label"]
    if isinstance(loss, SegmentationLoss):
        value = loss(output, target if beside else label)
    else:
        beside = [name for name in beside if name != "spacing_mm"]
        if beside:
            raise ValueError(
                f"{', '.join(beside)}: {type(loss).__name__} of another library takes a label alone"
            )
        value = loss(output.float() if output.dtype in STORED else output, label)
    if not isinstance(value, Tensor):
        raise TypeError(f"loss: expected one tensor, got {type(value).__name__}")
    return value
