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
    from medloss.fused_head import FusedHead as FusedHead
    from medloss.hookspecs import Detection as Detection
    from medloss.hookspecs import Loss as Loss
    from medloss.hookspecs import Metric as Metric
    from medloss.hookspecs import hookimpl as hookimpl
    from medloss.host import PluginError as PluginError
    from medloss.host import detection_part as detection_part
    from medloss.host import list_detection as list_detection
    from medloss.host import list_losses as list_losses
    from medloss.host import list_metrics as list_metrics
    from medloss.host import loss as loss
    from medloss.host import metric as metric
    from medloss.integrations.sliding_window import SlidingWindowScore as SlidingWindowScore
    from medloss.value_checks import finish_value_checks as finish_value_checks
    from medloss.value_checks import set_value_checks as set_value_checks

_HOME = {
    "Detection": "medloss.hookspecs",
    "FusedHead": "medloss.fused_head",
    "Loss": "medloss.hookspecs",
    "Metric": "medloss.hookspecs",
    "detection_part": "medloss.host",
    "finish_value_checks": "medloss.value_checks",
    "hookimpl": "medloss.hookspecs",
    "PluginError": "medloss.host",
    "SlidingWindowScore": "medloss.integrations.sliding_window",
    "list_detection": "medloss.host",
    "list_losses": "medloss.host",
    "list_metrics": "medloss.host",
    "loss": "medloss.host",
    "metric": "medloss.host",
    "set_value_checks": "medloss.value_checks",
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
