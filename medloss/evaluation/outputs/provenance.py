"""Which software made the numbers."""

from __future__ import annotations

import platform
from importlib import metadata

from medloss.evaluation.score import EvalPlan
from medloss.offers.host import host

_CORE = ("medloss", "numpy", "numba", "scipy", "nibabel", "simpleitk")
_WITH_LOSSES = ("torch", "monai")
_ON_A_DEVICE = ("torch",)


def versions(plan: EvalPlan) -> dict[str, str]:
    """Python, the packages that numbers depend on, and those that offer the metrics and losses.

    Example:
        >>> from medloss.evaluation.choices import choose_metric
        >>> from medloss.evaluation.requests import parse_request
        >>> [*versions(EvalPlan((choose_metric(parse_request("dice")),)))][:3]
        ['python', 'medloss', 'numpy']
    """
    heavy = _WITH_LOSSES if plan.losses else _ON_A_DEVICE if plan.device else ()
    names = dict.fromkeys((*_CORE, *heavy))
    found = {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in names},
    }
    return found | {name: v for name, v in offering(plan).items() if name not in found}


def offering(plan: EvalPlan) -> dict[str, str]:
    """Version of each distribution that offers a metric or loss of the study."""
    targets = {metric.record.target for metric in plan.metrics}
    targets |= {loss.record.target for loss in plan.losses}
    offers = [(offer.record.target, offer.plugin) for offer in host().metrics()]
    offers += [(offer.record.target, offer.plugin) for offer in host().losses()]
    return {plugin.distribution: plugin.version for target, plugin in offers if target in targets}
