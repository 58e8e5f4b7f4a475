"""Losses and boundary metrics for 3D medical segmentation, as plugins for MONAI.

Importing this package is cheap: neither torch nor any plugin is loaded before it is needed.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec

from medloss._version import __version__

# As typing has it, which takes longer to import than all that is here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

    from medloss import detection as detection
    from medloss import losses as losses
    from medloss import metrics as metrics
    from medloss import profiles as profiles
    from medloss import readers as readers
    from medloss.base.fused_head import FusedHead as FusedHead
    from medloss.base.input_checks import finish_value_checks as finish_value_checks
    from medloss.base.input_checks import set_value_checks as set_value_checks
    from medloss.detection import detection_part as detection_part
    from medloss.detection import list_detection as list_detection
    from medloss.evaluation.api import evaluate as evaluate
    from medloss.integrations.sliding_window import SlidingWindowScore as SlidingWindowScore
    from medloss.losses import list_losses as list_losses
    from medloss.losses import loss as loss
    from medloss.metrics import list_metrics as list_metrics
    from medloss.metrics import metric as metric
    from medloss.offers.host import PluginError as PluginError
    from medloss.offers.records import Detection as Detection
    from medloss.offers.records import Loss as Loss
    from medloss.offers.records import Metric as Metric
    from medloss.offers.records import Profile as Profile
    from medloss.offers.records import Reader as Reader
    from medloss.offers.records import hookimpl as hookimpl
    from medloss.profiles import list_profiles as list_profiles
    from medloss.readers import list_readers as list_readers

_HOME = {
    "Detection": "medloss.offers.records",
    "FusedHead": "medloss.base.fused_head",
    "Loss": "medloss.offers.records",
    "Metric": "medloss.offers.records",
    "detection_part": "medloss.detection",
    "evaluate": "medloss.evaluation.api",
    "finish_value_checks": "medloss.base.input_checks",
    "hookimpl": "medloss.offers.records",
    "PluginError": "medloss.offers.host",
    "Profile": "medloss.offers.records",
    "Reader": "medloss.offers.records",
    "SlidingWindowScore": "medloss.integrations.sliding_window",
    "list_detection": "medloss.detection",
    "list_losses": "medloss.losses",
    "list_metrics": "medloss.metrics",
    "list_profiles": "medloss.profiles",
    "list_readers": "medloss.readers",
    "loss": "medloss.losses",
    "metric": "medloss.metrics",
    "set_value_checks": "medloss.base.input_checks",
}

__all__ = ["__version__", *sorted(_HOME)]


_MODULES = ("detection", "losses", "metrics", "profiles", "readers")

_MOVED = {
    "medloss.breakdown": "medloss.compound.breakdown",
    "medloss.hookspecs": "medloss.offers.records",
    "medloss.numeric": "medloss.sums.numeric",
    "medloss.preflight": "medloss.workbench.preflight",
    "medloss.schedules": "medloss.compound.schedules",
    "medloss.suggest": "medloss.workbench.suggest",
    "medloss.suggest.advice": "medloss.workbench.suggest.advice",
    "medloss.suggest.cases": "medloss.workbench.suggest.cases",
    "medloss.suggest.facts": "medloss.workbench.suggest.facts",
    "medloss.targets": "medloss.base.targets",
}
"""Where modules are now that the documentation of 0.1.0 told others to import."""


class _Moved:
    """Finds and loads a module that has moved; under both names it is one module."""

    def find_spec(self, name: str, path: object, target: object = None) -> ModuleSpec | None:
        if name not in _MOVED:
            return None
        return ModuleSpec(name, self, origin=_MOVED[name])  # type: ignore[arg-type]  # it is one

    def create_module(self, spec: ModuleSpec) -> None:
        return None  # the usual one

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(_MOVED[module.__name__])


# Before the finder of files, which would load the parts of a moved package a second time.
sys.meta_path.insert(0, _Moved())


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"medloss.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'medloss' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_MODULES])
