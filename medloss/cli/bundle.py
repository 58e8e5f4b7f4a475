"""The block of a MONAI bundle config that names a loss, metric or part of a detector."""

from __future__ import annotations

import json
from typing import Any

from medloss.offers.host import Offer, host
from medloss.offers.records import Detection, Loss


def bundle_config(offer: Offer[Any]) -> dict[str, Any]:
    """The config of a loss or part of a detector, or of an ``IgniteMetricHandler`` with a metric.

    The class path is used while it is unambiguous, the registry name otherwise.
    """
    record = offer.record
    if isinstance(record, Loss):
        same = [o for o in host().losses() if o.record.attribute == record.attribute]
        if len(same) == 1:
            return {"_target_": f"medloss.losses.{record.attribute}", **record.example}
        return {"_target_": "medloss.loss", "name": offer.full_name, **record.example}
    if isinstance(record, Detection):
        alike = [o for o in host().detection() if o.record.attribute == record.attribute]
        if len(alike) == 1:
            return {"_target_": f"medloss.detection.{record.attribute}", **record.example}
        return {"_target_": "medloss.detection_part", "name": offer.full_name, **record.example}
    clash = [o for o in host().metrics() if o.record.class_name == record.class_name]
    metric = (
        {"_target_": f"medloss.metrics.{record.class_name}"}
        if len(clash) == 1
        else {"_target_": "medloss.metric", "name": offer.full_name}
    )
    return {
        "_target_": "IgniteMetricHandler",
        "metric_fn": {**metric, "include_background": False, **record.example},
        "output_transform": "$monai.handlers.from_engine(['pred', 'label'])",
    }


def bundle_block(offer: Offer[Any]) -> str:
    """The config as text that can be pasted into a bundle's JSON."""
    record = offer.record
    key = "loss" if isinstance(record, Loss) else record.name
    if isinstance(record, Detection) and record.role == "detector":
        key = "detector"
    return f'"{key}": {json.dumps(bundle_config(offer), indent=4)}'
