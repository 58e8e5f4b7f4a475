"""Which losses, metrics and parts of detectors a command is about."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from medloss.offers.host import Offer, PluginError, host
from medloss.offers.records import Detection, Loss

Kind = Literal["loss", "metric", "detection"]
KINDS: tuple[Kind, ...] = ("loss", "metric", "detection")


def kind_of(offer: Offer[Any]) -> Kind:
    """Whether it is a loss, a metric or a part of a detector."""
    if isinstance(offer.record, Loss):
        return "loss"
    return "detection" if isinstance(offer.record, Detection) else "metric"


def noun(offer: Offer[Any]) -> str:
    """What it is, in words: a loss, a metric, or the role of a part of a detector."""
    record = offer.record
    return record.role.replace("_", " ") if isinstance(record, Detection) else kind_of(offer)


def find_offers(name: str, kind: str | None = None) -> list[Offer[Any]]:
    """Everything of this name: a loss, a metric, a part of a detector, or several of them.

    Raises:
        PluginError: there is none of the wanted kind.
    """
    found: list[Offer[Any]] = []
    errors = []
    finders: tuple[Callable[[str], Offer[Any]], ...] = (
        host().loss,
        host().metric,
        host().detection_part,
    )
    for each, find in zip(KINDS, finders, strict=True):
        if kind in (None, each):
            try:
                found.append(find(name))
            except PluginError as error:
                errors.append(str(error))
    if not found:
        raise PluginError("; ".join(errors))
    return found
