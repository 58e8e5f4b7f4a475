"""Metrics by name, and every one on offer as an attribute: ``medloss.metrics.Hausdorff95Metric``.

A metric itself is a pure function of facts about one class of one case; the MONAI class here is
made from it by the one adapter (``medloss.scoring.adapter``), so that nothing is written twice. In
a bundle's config it is ``"_target_": "medloss.metrics.Hausdorff95Metric"``.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from medloss.offers.host import Offer, host
from medloss.offers.records import Metric

if TYPE_CHECKING:
    from medloss.scoring.adapter import FactMetric


def metric(name: str, **options: Any) -> FactMetric:
    """Build the MONAI form of a metric by its registry name.

    Args:
        name: ``hausdorff95``, or ``distribution:hausdorff95`` where the bare name is ambiguous.
        options: passed to the metric class.

    Raises:
        PluginError: no such metric, or it cannot be imported.
        TypeError: an option that the metric does not have.
    """
    made: FactMetric = host().metrics.build(name, options, monai_class)
    return made


def list_metrics() -> list[Metric]:
    """Records of every metric on offer, by family and name."""
    return [offer.record for offer in host().metrics]


@functools.cache
def monai_class(offer: Offer[Metric]) -> type[FactMetric]:
    """The MONAI ``CumulativeIterationMetric`` class of a metric."""
    from medloss.scoring.adapter import adapt

    return adapt(offer.record, offer.load())


def __getattr__(name: str) -> Any:
    return host().metrics.attribute(name, monai_class)


def __dir__() -> list[str]:
    return sorted(host().metrics.classes)
