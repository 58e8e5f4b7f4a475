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
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import metadata
from typing import Any, Generic, Literal, TypeVar

import pluggy

from medloss.offers import records
from medloss.offers.records import API, GROUP, Detection, Loss, Metric, Reader, Record

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


class Catalogue(Generic[R]):
    """Everything of one kind that plugins offer, by family and name.

    Args:
        kind: the class of its records.
        plugins: all plugins of the host, for what it says of a name that is not there.
    """

    def __init__(self, kind: type[R], plugins: list[Plugin]) -> None:
        self.kind = kind
        self._plugins = plugins
        self.classes: dict[str, list[tuple[Offer[R], str]]] = {}
        """Offers and targets behind each class name; one, unless plugins clash."""
        self._offers: list[Offer[R]] = []

    def __iter__(self) -> Iterator[Offer[R]]:
        return iter(self._offers)

    def add(self, offers: list[Offer[R]]) -> None:
        """Put the offers of one more plugin in their places."""
        self._offers += offers
        self._offers.sort(key=lambda o: (o.record.family, o.record.name, o.plugin.distribution))
        for offer in offers:
            for name, target in offer.record.classes().items():
                self.classes.setdefault(name, []).append((offer, target))

    def find(self, name: str) -> Offer[R]:
        """What is called ``name`` or ``distribution:name``.

        Raises:
            PluginError: there is none (the nearest names are told), or several.
        """
        word = self.kind.builder.replace("_", " ")
        found = [o for o in self if name in (o.record.name, o.full_name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise PluginError(_clash(word, name, found))
        names = sorted({o.record.name for o in self})
        near = difflib.get_close_matches(name.rpartition(":")[2], names, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(names)}"
        broken = [p for p in self._plugins if p.state != "ok"]
        unusable = "".join(f" ({p} is {p.state}: {p.reason})" for p in broken)
        raise PluginError(f"no {word} is called {name!r}; {hint}{unusable}")

    def build(
        self, name: str, options: dict[str, Any], load: Callable[[Offer[R]], Any] = Offer.load
    ) -> Any:
        """An object of the class that is called ``name``.

        Args:
            name: as :meth:`find` takes it.
            options: passed to the class.
            load: from the offer to the class.

        Raises:
            PluginError: there is none, or it cannot be imported.
            TypeError: an option that the class does not have.
        """
        offer = self.find(name)
        target = load(offer)
        _check_options(offer.full_name, target, options)
        return target(**options)

    def attribute(self, name: str, load: Callable[[Offer[R]], Any] = Offer.load) -> Any:
        """A class by its name, as ``medloss.losses``, ``.metrics`` and ``.detection`` have it.

        Args:
            name: of the class; ``"__all__"`` are those that a ``*`` imports.
            load: from the offer to the class.

        Raises:
            AttributeError: no plugin offers it.
            PluginError: several plugins do, or it cannot be imported.
        """
        if name == "__all__":
            return sorted(each for each, found in self.classes.items() if len(found) == 1)
        if name.startswith("_"):
            raise AttributeError(f"module {self.kind.module!r} has no attribute {name!r}")
        found = self.classes.get(name, [])
        if len(found) > 1:
            raise PluginError(_clash(self.kind.kind, name, [offer for offer, _ in found]))
        for offer, target in found:
            return load(Offer(replace(offer.record, target=target), offer.plugin))
        near = difflib.get_close_matches(name, self.classes, n=3, cutoff=0.5)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise AttributeError(f"no plugin offers a {self.kind.kind} class {name!r}{hint}")


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
        self.losses = Catalogue(Loss, self.plugins)
        self.metrics = Catalogue(Metric, self.plugins)
        self.detection = Catalogue(Detection, self.plugins)
        self.readers = Catalogue(Reader, self.plugins)
        self.catalogues: list[Catalogue[Any]] = [
            each for each in vars(self).values() if isinstance(each, Catalogue)
        ]
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(records)
        for plugin, api, entry in _entry_points():
            self.plugins.append(self._add(plugin, api, entry))

    def __iter__(self) -> Iterator[Offer[Any]]:
        """Everything on offer: losses, metrics, parts of detectors, then readers."""
        for catalogue in self.catalogues:
            yield from catalogue

    def find(self, name: str, kind: str | None = None) -> list[Offer[Any]]:
        """Everything of this name, of any kind or of one.

        Raises:
            PluginError: there is none of the wanted kind.
        """
        found: list[Offer[Any]] = []
        errors = []
        for catalogue in self.catalogues:
            if kind in (None, catalogue.kind.kind):
                try:
                    found.append(catalogue.find(name))
                except PluginError as error:
                    errors.append(str(error))
        if not found:
            raise PluginError("; ".join(errors))
        return found

    def of_plugin(self, name: str) -> list[Offer[Any]]:
        """Everything that a plugin, or all plugins of a distribution, offer.

        Args:
            name: of the plugin, of its distribution, or ``distribution:name``.

        Raises:
            PluginError: no usable plugin has the name, or it offers nothing.
        """

        def names(plugin: Plugin) -> tuple[str, str, str]:
            full = f"{plugin.distribution}:{plugin.name}"
            return plugin.name, plugin.distribution, full

        found = [plugin for plugin in self.plugins if name in names(plugin)]
        if not found:
            known = ", ".join(sorted({each for p in self.plugins for each in names(p)}))
            raise PluginError(f"no plugin or distribution is called {name!r}; there are: {known}")
        for each in found:
            if each.state != "ok":
                raise PluginError(f"{each} is {each.state}: {each.reason}")
        offers = [offer for offer in self if offer.plugin in found]
        if not offers:
            raise PluginError(f"{' and '.join(map(str, found))}: nothing is offered")
        return offers

    def _add(self, plugin: Plugin, api: int, entry: metadata.EntryPoint) -> Plugin:
        """Load one plugin whole, or not at all."""
        key = f"{plugin.distribution}:{plugin.name}"
        if self.disabled & {plugin.name, key}:
            return replace(plugin, state="disabled", reason="listed in MEDLOSS_DISABLE")
        if api != API:
            reason = f"written for plugin API {api}, this medloss speaks API {API}"
            if self.strict:
                raise PluginError(f"{plugin}: {reason}")
            return replace(plugin, state="refused", reason=reason)
        try:
            self._manager.register(entry.load(), name=key)
            self._manager.check_pending()
            offers = [self._offered(key, each.kind, plugin) for each in self.catalogues]
        # A plugin may fail in any way, sys.exit() at import included; the host must not.
        except (Exception, SystemExit) as error:
            if self._manager.has_plugin(key):
                self._manager.unregister(name=key)
            reason = f"{type(error).__name__}: {error}".rstrip(": ").replace("\n", " ")
            if self.strict:
                raise PluginError(f"{plugin} is broken: {reason}") from error
            return replace(plugin, state="broken", reason=reason)
        for catalogue, found in zip(self.catalogues, offers, strict=True):
            catalogue.add(found)
        return plugin

    def _offered(self, key: str, kind: type[Record], plugin: Plugin) -> list[Offer[Any]]:
        hook = kind.module.replace(".", "_")
        others = [p for name, p in self._manager.list_name_plugin() if name != key]
        records: list[Record] = []
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


def _entry_points() -> Iterator[tuple[Plugin, int, metadata.EntryPoint]]:
    """Every entry point of every ``medloss`` group, in an order that is the same everywhere."""
    found = []
    for distribution in metadata.distributions():
        if GROUP not in (distribution.read_text("entry_points.txt") or ""):
            continue  # read twice as fast as it is parsed
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
