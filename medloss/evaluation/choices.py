"""A metric that was asked for, found by the host and checked before the work starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from medloss.evaluation.requests import Request
from medloss.offers.host import host
from medloss.offers.records import Metric

DEFAULT_METRICS = (
    "dice",
    "sensitivity",
    "specificity",
    "hausdorff95",
    "average_symmetric_surface_distance",
    "normalized_surface_dice",
)


@dataclass(frozen=True)
class MetricChoice:
    """A metric with its options.

    Args:
        column: what its values are called in tables and files.
        record: what the metric says about itself.
        function: from the facts that the record names to a number.
        options: passed to ``function``: those given, and the defaults of the others.
        given: names of the options that were asked for.
    """

    column: str
    record: Metric
    function: Callable[..., float]
    options: Mapping[str, Any]
    given: tuple[str, ...] = ()

    @property
    def defaults(self) -> str:
        """The options that nobody gave, as text."""
        left = (name for name in self.options if name not in self.given)
        return ", ".join(f"{name}={self.options[name]}" for name in left)


def choose_metric(request: Request) -> MetricChoice:
    """Find the metric and compare the options with its signature.

    Raises:
        PluginError: there is no such metric, or it cannot be imported.
        ValueError: it has no such option, or cannot do without one that is not given.

    Example:
        >>> from medloss.evaluation.requests import parse_request
        >>> choose_metric(parse_request("normalized_surface_dice:tolerance=2"))
        Traceback (most recent call last):
        ValueError: normalized_surface_dice has no option 'tolerance'; it has tolerance_mm
    """
    offer = host().metrics.find(request.name)
    function, options = offer.load(), dict(request.options)
    parameters = list(inspect.signature(function).parameters.values())[len(offer.record.facts) :]
    known = [p.name for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for option in options:
        if option not in known and not takes_any:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise ValueError(f"{request.name} has no option {option!r}; {has}")
    missing = [
        p.name
        for p in parameters
        if p.name in known and p.name not in options and p.default is p.empty
    ]
    if missing:
        raise ValueError(f"{request.name} needs a value for {', '.join(missing)}")
    defaults = {p.name: p.default for p in parameters if p.name in known}
    for p in parameters:
        if p.name in options:
            _check_kind(f"{request.column}: {p.name}", options[p.name], p.annotation)
    every = {**defaults, **options}
    return MetricChoice(request.column, offer.record, function, every, tuple(options))


def _check_kind(what: str, value: Any, annotation: Any) -> None:
    """Refuse what is no number or no flag where the function says that it takes nothing else."""
    kind = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if kind not in ("int", "float", "bool"):
        return
    flag = kind == "bool"
    if isinstance(value, bool) != flag or not isinstance(value, int | float):
        raise ValueError(
            f"{what}: expected {'true or false' if flag else 'a number'}, got {value!r}"
        )
