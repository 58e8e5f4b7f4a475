"""Every metric on offer in its MONAI form: ``"_target_": "medloss.metrics.Hausdorff95Metric"``.

A metric itself is a pure function of facts about one class of one case; the class here is made from
it by the one adapter (``medloss.scoring.adapter``), so that nothing is written twice.
"""

from __future__ import annotations

import functools
from typing import Any

from medloss.offers.host import Offer, by_attribute, host
from medloss.offers.records import Metric


@functools.cache
def monai_class(offer: Offer[Metric]) -> Any:
    """The MONAI ``CumulativeIterationMetric`` class of a metric."""
    from medloss.scoring.adapter import adapt

    return adapt(offer.record, offer.load())


def __getattr__(name: str) -> Any:
    if name == "__all__":  # of an import of *
        return sorted(name for name, found in _offers().items() if len(found) == 1)
    if name.startswith("_"):
        raise AttributeError(f"module 'medloss.metrics' has no attribute {name!r}")
    return monai_class(by_attribute("metric", name, _offers()))


def __dir__() -> list[str]:
    return sorted(_offers())


def _offers() -> dict[str, list[Offer[Metric]]]:
    offers: dict[str, list[Offer[Metric]]] = {}
    for offer in host().metrics():
        offers.setdefault(offer.record.class_name, []).append(offer)
    return offers
