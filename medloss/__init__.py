"""Losses and boundary metrics for 3D medical segmentation, as plugins for MONAI.

Importing this package is cheap: neither torch nor any plugin is loaded before it is needed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from medloss._version import __version__

if TYPE_CHECKING:
    from medloss import detection as detection
    from medloss import losses as losses
    from medloss import metrics as metrics
    from medloss.base.fused_head import FusedHead as FusedHead
    from medloss.base.input_checks import finish_value_checks as finish_value_checks
    from medloss.base.input_checks import set_value_checks as set_value_checks
    from medloss.detection import detection_part as detection_part
    from medloss.detection import list_detection as list_detection
    from medloss.integrations.sliding_window import SlidingWindowScore as SlidingWindowScore
    from medloss.losses import list_losses as list_losses
    from medloss.losses import loss as loss
    from medloss.metrics import list_metrics as list_metrics
    from medloss.metrics import metric as metric
    from medloss.offers.host import PluginError as PluginError
    from medloss.offers.records import Detection as Detection
    from medloss.offers.records import Loss as Loss
    from medloss.offers.records import Metric as Metric
    from medloss.offers.records import hookimpl as hookimpl

_HOME = {
    "Detection": "medloss.offers.records",
    "FusedHead": "medloss.base.fused_head",
    "Loss": "medloss.offers.records",
    "Metric": "medloss.offers.records",
    "detection_part": "medloss.detection",
    "finish_value_checks": "medloss.base.input_checks",
    "hookimpl": "medloss.offers.records",
    "PluginError": "medloss.offers.host",
    "SlidingWindowScore": "medloss.integrations.sliding_window",
    "list_detection": "medloss.detection",
    "list_losses": "medloss.losses",
    "list_metrics": "medloss.metrics",
    "loss": "medloss.losses",
    "metric": "medloss.metrics",
    "set_value_checks": "medloss.base.input_checks",
}

__all__ = ["__version__", *sorted(_HOME)]


_MODULES = ("detection", "losses", "metrics")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"medloss.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'medloss' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_MODULES])
