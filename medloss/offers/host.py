"""Finds plugins, isolates the broken ones, and builds what they offer by name.

pluggy's own loader drops a second entry point of the same name and does not say whose import
failed, so plugins are loaded here one by one, each on its own and undone if any part of it fails.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Generic, Literal, TypeVar

import pluggy

from medloss.offers import records
from medloss.offers.records import API, GROUP, Detection, Loss, Metric, Record

R = TypeVar("R", bound=Record)
State = Literal["ok", "broken", "disabled", "refused"]


class PluginError(Exception):
    """A plugin, or a name that a plugin should offer, cannot be used."""


@dataclass(frozen=True)
class Plugin:
    """One entry point of the group ``medloss`` and what became of it."""

    name: str
    module: str
    distribution: str
    version: str
    state: State = "ok"
    reason: str = ""

    def __str__(self) -> str:
        return f"plugin {self.name!r} of {self.distribution} {self.version}"


@dataclass(frozen=True)
class Offer(Generic[R]):
    """A record together with the plugin that offers it."""

    record: R
    plugin: Plugin

    @property
    def full_name(self) -> str:
        """The name that is never ambiguous: ``distribution:name``."""
        return f"{self.plugin.distribution}:{self.record.name}"

    def load(self) -> Any:
        """Import the offered object.

        Raises:
            PluginError: the module cannot be imported or has no such attribute.
        """
        module, _, attribute = self.record.target.partition(":")
        try:
            return getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise PluginError(
                f"{self.full_name}: {self.record.target} cannot be imported "
                f"({self.plugin}): {type(error).__name__}: {error}"
            ) from error


class Host:
    """All plugins of this environment and what they offer.

    Args:
        strict: raise on the first broken plugin instead of listing it as broken.
        disabled: names of plugins, or ``distribution:name``, that are not even imported.

    Raises:
        PluginError: ``strict`` and a plugin is broken or refused.
    """

    def __init__(self, *, strict: bool = False, disabled: frozenset[str] = frozenset()) -> None:
        self.strict = strict
        self.disabled = disabled
        self.plugins: list[Plugin] = []
        self._losses: list[Offer[Loss]] = []
        self._metrics: list[Offer[Metric]] = []
        self._detection: list[Offer[Detection]] = []
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(records)
        for plugin, api, entry in _entry_points():
            self.plugins.append(self._add(plugin, api, entry))

    def losses(self) -> list[Offer[Loss]]:
        """Every loss on offer, by family and name."""
        return sorted(self._losses, key=_order)

    def metrics(self) -> list[Offer[Metric]]:
        """Every metric on offer, by family and name."""
        return sorted(self._metrics, key=_order)

    def detection(self) -> list[Offer[Detection]]:
        """Every part of a detector on offer, by family and name."""
        return sorted(self._detection, key=_order)

    def loss(self, name: str) -> Offer[Loss]:
        """The loss called ``name`` or ``distribution:name``.

        Raises:
            PluginError: there is none (the nearest names are told), or several.
        """
        return self._find("loss", name, self._losses)

    def metric(self, name: str) -> Offer[Metric]:
        """The metric called ``name`` or ``distribution:name``; raises as :meth:`loss`."""
        return self._find("metric", name, self._metrics)

    def detection_part(self, name: str) -> Offer[Detection]:
        """The part called ``name`` or ``distribution:name``; raises as :meth:`loss`."""
        return self._find("detection part", name, self._detection)

    def _add(self, plugin: Plugin, api: int, entry: metadata.EntryPoint) -> Plugin:
        """Load one plugin whole, or not at all."""
        if self.disabled & {plugin.name, f"{plugin.distribution}:{plugin.name}"}:
            return _became(plugin, "disabled", "listed in MEDLOSS_DISABLE")
        if api != API:
            reason = f"written for plugin API {api}, this medloss speaks API {API}"
            if self.strict:
                raise PluginError(f"{plugin}: {reason}")
            return _became(plugin, "refused", reason)
        key = f"{plugin.distribution}:{plugin.name}"
        try:
            self._manager.register(entry.load(), name=key)
            self._manager.check_pending()
            losses = self._records(key, "medloss_losses", Loss, plugin)
            metrics = self._records(key, "medloss_metrics", Metric, plugin)
            detection = self._records(key, "medloss_detection", Detection, plugin)
        # A plugin may fail in any way, sys.exit() at import included; the host must not.
        except (Exception, SystemExit) as error:
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            reason = f"{type(error).__name__}: {error}".rstrip(": ").replace("\n", " ")
            if self.strict:
                raise PluginError(f"{plugin} is broken: {reason}") from error
            return _became(plugin, "broken", reason)
        self._losses += losses
        self._metrics += metrics
        self._detection += detection
        return plugin

    def _records(self, key: str, hook: str, kind: type[R], plugin: Plugin) -> list[Offer[R]]:
        others = [p for name, p in self._manager.list_name_plugin() if name != key]
        records: list[R] = []
        for result in self._manager.subset_hook_caller(hook, others)():
            for record in result:
                if not isinstance(record, kind):
                    raise TypeError(
                        f"{hook}: expected medloss.{kind.__name__} records, got {record!r}"
                    )
                records.append(record)
        names = [record.name for record in records]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{hook}: {', '.join(twice)} offered twice by the same plugin")
        return [Offer(record, plugin) for record in records]

    def _find(self, kind: str, name: str, offers: list[Offer[R]]) -> Offer[R]:
        found = [o for o in offers if name in (o.record.name, o.full_name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise PluginError(_clash(kind, name, found))
        raise PluginError(self._unknown(kind, name, sorted({o.record.name for o in offers})))

    def _unknown(self, kind: str, name: str, names: list[str]) -> str:
        near = difflib.get_close_matches(name.rpartition(":")[2], names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
        broken = [p for p in self.plugins if p.state != "ok"]
        unusable = "".join(f" ({p} is {p.state}: {p.reason})" for p in broken)
        return f"no {kind} is called {name!r}; {hint}{unusable}"


@functools.cache
def host() -> Host:
    """The plugins of this environment, found once.

    ``MEDLOSS_STRICT=1`` raises on a broken plugin; ``MEDLOSS_DISABLE=a,b`` blocks plugins.
    """
    names = os.environ.get("MEDLOSS_DISABLE", "").split(",")
    return Host(
        strict=os.environ.get("MEDLOSS_STRICT", "") not in ("", "0"),
        disabled=frozenset(name.strip() for name in names if name.strip()),
    )


def loss(name: str, **options: Any) -> Any:
    """Build a loss by its registry name.

    Args:
        name: ``focal_tversky``, or ``distribution:focal_tversky`` where the bare name is ambiguous.
        options: passed to the class.

    Raises:
        PluginError: no such loss, or it cannot be imported.
        TypeError: an option that the loss does not have.

    Example:
        >>> import medloss
        >>> medloss.loss("focal_tversky", softmax=True).fn_weight
        0.7
    """
    offer = host().loss(name)
    target = offer.load()
    _check_options(offer.full_name, target, options)
    return target(**options)


def metric(name: str, **options: Any) -> Any:
    """Build the MONAI form of a metric by its registry name.

    Args:
        name: ``hausdorff95``, or ``distribution:hausdorff95`` where the bare name is ambiguous.
        options: passed to the metric class.

    Raises:
        PluginError: no such metric, or it cannot be imported.
        TypeError: an option that the metric does not have.
    """
    from medloss import metrics

    offer = host().metric(name)
    target = metrics.monai_class(offer)
    _check_options(offer.full_name, target, options)
    return target(**options)


def detection_part(name: str, **options: Any) -> Any:
    """Build a part of a detector by its registry name: a box loss, an assigner, a detector.

    Args:
        name: ``ciou``, or ``distribution:ciou`` where the bare name is ambiguous.
        options: passed to the class.

    Raises:
        PluginError: no such part, or it cannot be imported.
        TypeError: an option that the part does not have.

    Example:
        >>> import medloss
        >>> medloss.detection_part("ciou", reduction="sum").reduction
        'sum'
    """
    offer = host().detection_part(name)
    target = offer.load()
    _check_options(offer.full_name, target, options)
    return target(**options)


def list_losses() -> list[Loss]:
    """Records of every loss on offer, by family and name."""
    return [offer.record for offer in host().losses()]


def list_metrics() -> list[Metric]:
    """Records of every metric on offer, by family and name."""
    return [offer.record for offer in host().metrics()]


def list_detection() -> list[Detection]:
    """Records of every part of a detector on offer, by family and name."""
    return [offer.record for offer in host().detection()]


def by_attribute(kind: str, attribute: str, offers: dict[str, list[Offer[R]]]) -> Offer[R]:
    """The one offer behind a class name, for ``medloss.losses``, ``.metrics`` and ``.detection``.

    Raises:
        AttributeError: no plugin offers it.
        PluginError: several plugins do.
    """
    found = offers.get(attribute, [])
    if len(found) == 1:
        return found[0]
    if found:
        raise PluginError(_clash(kind, attribute, found))
    near = difflib.get_close_matches(attribute, offers, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise AttributeError(f"no plugin offers a {kind} class {attribute!r}{hint}")


def _entry_points() -> Iterator[tuple[Plugin, int, metadata.EntryPoint]]:
    """Every entry point of every ``medloss`` group, in an order that is the same everywhere."""
    found = []
    for distribution in metadata.distributions():
        entries = [
            (entry, int(group[1] or 1))
            for entry in distribution.entry_points
            if (group := re.fullmatch(rf"{GROUP}(?:\.(\d+))?", entry.group))
        ]
        if entries:  # else nobody asks for the metadata, which take longer to read
            told = distribution.metadata
        for entry, api in entries:
            plugin = Plugin(entry.name, entry.value, told["Name"], told["Version"])
            found.append((plugin, api, entry))
    # The same distribution can be on sys.path twice (an editable install beside its source).
    unique = {(p.distribution, p.name, api): (p, api, e) for p, api, e in reversed(found)}
    yield from (unique[key] for key in sorted(unique))


def _became(plugin: Plugin, state: State, reason: str) -> Plugin:
    return Plugin(plugin.name, plugin.module, plugin.distribution, plugin.version, state, reason)


def _order(offer: Offer[R]) -> tuple[str, str, str]:
    return offer.record.family, offer.record.name, offer.plugin.distribution


def _clash(kind: str, name: str, found: list[Offer[R]]) -> str:
    sides = " and ".join(f"{o.full_name} ({o.plugin})" for o in found)
    return (
        f"{kind} {name!r} is offered by {sides}; "
        f"use the full name, or block one plugin with MEDLOSS_DISABLE"
    )


def _check_options(full_name: str, target: Any, options: dict[str, Any]) -> None:
    """Name a mistyped option and the nearest real one, before Python's own, barer message."""
    parameters = inspect.signature(target).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for option in options:
        if option not in parameters:
            said = getattr(target, "renamed", {}).get(option)
            if said is not None:
                raise TypeError(f"{full_name}: no option {option!r}; {said}")
            near = difflib.get_close_matches(option, parameters, n=3, cutoff=0.5)
            hint = (
                f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(parameters)}"
            )
            raise TypeError(f"{full_name}: no option {option!r}; {hint}")
