"""Offers as a plugin makes them, without a plugin."""

from __future__ import annotations

from typing import Any

from medloss.offers.host import Offer, Plugin
from medloss.offers.records import Loss, Metric, Record


def offer(target: str, *, module: str = "medloss_region", **changes: Any) -> Offer[Any]:
    """An offer of a target, as if a plugin had made it."""
    name = changes.pop("name", "broken")
    # What a record refuses, so that the checks beneath it can fail
    forced = {word: changes.pop(word) for word in ("exempt", "example") if word in changes}
    kind = changes.pop("kind", "loss")
    record: Record
    if kind == "loss":
        words = {"summary": "Squared error over what is there.", "example": {"softmax": True}}
        record = Loss(name=name, target=target, family="region", **{**words, **changes})
    else:
        words = {"summary": "Overlap over union.", "facts": ("counts",), "better": "higher"}
        record = Metric(name=name, target=target, family="region", **{**words, **changes})
    for word, value in forced.items():
        object.__setattr__(record, word, value)
    return Offer(record, Plugin("broken", module, "medloss-broken", "1.0"))
