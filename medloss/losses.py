"""Every loss on offer as an attribute: ``"_target_": "medloss.losses.FocalTverskyLoss"``.

The classes live in plugins; this module finds them by name, so that one stable path reaches the
built-in families and third parties' alike. Some have further classes under the names that MONAI has
for them.

Example:
    >>> from medloss.losses import FocalTverskyLoss
    >>> FocalTverskyLoss(softmax=True).fn_weight
    0.7
"""

from __future__ import annotations

import dataclasses
from typing import Any

from medloss.offers.host import Offer, by_attribute, host
from medloss.offers.records import Loss


def __getattr__(name: str) -> Any:
    if name == "__all__":  # of an import of *
        return sorted(name for name, found in _offers().items() if len(found) == 1)
    if name.startswith("_"):
        raise AttributeError(f"module 'medloss.losses' has no attribute {name!r}")
    return by_attribute("loss", name, _offers()).load()


def __dir__() -> list[str]:
    return sorted(_offers())


def _offers() -> dict[str, list[Offer[Loss]]]:
    offers: dict[str, list[Offer[Loss]]] = {}
    for offer in host().losses():
        for target in (offer.record.target, *offer.record.also):
            each = Offer(dataclasses.replace(offer.record, target=target), offer.plugin)
            offers.setdefault(each.record.attribute, []).append(each)
    return offers
