"""Every part of a detector as an attribute: ``"_target_": "medloss.detection.CIoULoss"``.

As in ``medloss.losses``, the classes live in plugins and are found by name.

Example:
    >>> from medloss.detection import CIoULoss
    >>> CIoULoss(reduction="sum").reduction
    'sum'
"""

from __future__ import annotations

from typing import Any

from medloss.offers.host import Offer, by_attribute, host
from medloss.offers.records import Detection


def __getattr__(name: str) -> Any:
    if name == "__all__":  # of an import of *
        return sorted(name for name, found in _offers().items() if len(found) == 1)
    if name.startswith("_"):
        raise AttributeError(f"module 'medloss.detection' has no attribute {name!r}")
    return by_attribute("detection", name, _offers()).load()


def __dir__() -> list[str]:
    return sorted(_offers())


def _offers() -> dict[str, list[Offer[Detection]]]:
    offers: dict[str, list[Offer[Detection]]] = {}
    for offer in host().detection():
        offers.setdefault(offer.record.attribute, []).append(offer)
    return offers
