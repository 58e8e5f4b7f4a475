"""Which software made the numbers."""

from __future__ import annotations

import platform
from importlib import metadata

from medloss.evaluation.score import Study
from medloss.offers.host import host

_CORE = ("medloss", "numpy", "numba", "scipy", "nibabel", "simpleitk")
_WITH_LOSSES = ("torch", "monai")
_ON_A_DEVICE = ("torch",)


def versions(study: Study) -> dict[str, str]:
    """Python, the packages that numbers depend on, and those that offer the metrics and losses.

    Example:
        >>> from medloss.evaluation.choices import choose_metric
        >>> from medloss.evaluation.requests import parse_request
        >>> [*versions(Study((choose_metric(parse_request("dice")),)))][:3]
        ['python', 'medloss', 'numpy']
    """
    heavy = _WITH_LOSSES if study.losses else _ON_A_DEVICE if study.device else ()
    names = dict.fromkeys((*_CORE, *heavy))
    found = {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in names},
    }
    return found | {name: v for name, v in offering(study).items() if name not in found}


def offering(study: Study) -> dict[str, str]:
    """Version of each distribution that offers a metric or loss of the study."""
    targets = {metric.record.target for metric in study.metrics}
    targets |= {loss.record.target for loss in study.losses}
    offers = [(offer.record.target, offer.plugin) for offer in host().metrics]
    offers += [(offer.record.target, offer.plugin) for offer in host().losses]
    return {plugin.distribution: plugin.version for target, plugin in offers if target in targets}
