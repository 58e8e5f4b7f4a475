"""The block of a MONAI bundle config that names a loss, metric or part of a detector."""

from __future__ import annotations

import json
from typing import Any

from medloss.offers.host import Offer, host
from medloss.offers.records import Detection


def bundle_config(offer: Offer[Any]) -> dict[str, Any]:
    """The config of a loss or part of a detector, or of an ``IgniteMetricHandler`` with a metric.

    The class path is used while it is unambiguous, the registry name otherwise.
    """
    record = offer.record
    (catalogue,) = (each for each in host().catalogues if each.kind.kind == record.kind)
    name = next(iter(record.classes()))
    built = (
        {"_target_": f"{record.module}.{name}"}
        if len(catalogue.classes[name]) == 1
        else {"_target_": f"medloss.{record.builder}", "name": offer.full_name}
    )
    if record.kind != "metric":
        return {**built, **record.example}
    return {
        "_target_": "IgniteMetricHandler",
        "metric_fn": {**built, "include_background": False, **record.example},
        "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
    }


def bundle_block(offer: Offer[Any]) -> str:
    """The config as text that can be pasted into a bundle's JSON."""
    record = offer.record
    key = "loss" if record.kind == "loss" else record.name
    if isinstance(record, Detection) and record.role == "detector":
        key = "detector"
    return f'"{key}": {json.dumps(bundle_config(offer), indent=4)}'
