"""Finds plugins, isolates the broken ones, and builds what they offer by name.

pluggy's own loader drops a second entry point of the same name and does not say whose import
failed, so plugins are loaded here one by one, each by a manager of its own: what fails in one, in
whatever way, is told and touches no other.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
import os
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import pluggy

from medloss.offers import records
from medloss.offers.isolation import IsolatedError, apart, isolated
from medloss.offers.mistakes import SEEMS_OURS, check_hooks, unknown_family, wrong_group
from medloss.offers.records import API, GROUP, Detection, Loss, Metric, Profile, Reader, Record

R = TypeVar("R", bound=Record)
State = Literal["ok", "broken", "disabled", "refused"]

_FEW = 12
"""Names that an error still lists."""

OURS = "medloss"
"""The distribution whose names stay what they are, whoever else offers them too."""


class PluginError(Exception):
    """A plugin, or a name that a plugin should offer, cannot be used."""


@dataclass(frozen=True)
class Plugin:
    """One entry point of the group ``medloss`` and what became of it.

    Args:
        name: of the entry point; empty where those of the distribution cannot be read.
        module: that it names.
        distribution: that it belongs to.
        version: of that.
        state: whether it is used.
        reason: why it is not.
        path: where the distribution says what it is, if it lies in a folder.
    """

    name: str
    module: str
    distribution: str
    version: str
    state: State = "ok"
    reason: str = ""
    path: str = ""

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
        """Import the offered object; of a profile the path of its file.

        Raises:
            PluginError: the module cannot be imported or has no such attribute.
        """
        if isinstance(self.record, Profile):
            return self.record.path()
        module, _, attribute = self.record.target.partition(":")
        try:
            with isolated():
                return getattr(importlib.import_module(module), attribute)
        except IsolatedError as failure:
            raise PluginError(
                f"{self.full_name}: {self.record.target} cannot be imported "
                f"({self.plugin}): {failure}"
            ) from failure.__cause__


class Catalogue(Generic[R]):
    """Everything of one kind that plugins offer, by family and name.

    Args:
        kind: the class of its records.
        plugins: all plugins of the host, for what it says of a name that is not there.
        catalogues: all of the host, likewise.
    """

    def __init__(
        self, kind: type[R], plugins: list[Plugin], catalogues: list[Catalogue[Any]]
    ) -> None:
        self.kind = kind
        self._plugins = plugins
        self._catalogues = catalogues
        self.classes: dict[str, list[tuple[Offer[R], str]]] = {}
        """Offers and targets behind each class name; one, unless plugins clash."""
        self._offers: list[Offer[R]] = []

    def __iter__(self) -> Iterator[Offer[R]]:
        return iter(self._offers)

    def add(self, offers: Sequence[Offer[R]]) -> None:
        """Put the offers of one more plugin in their places."""
        self._offers += offers
        self._offers.sort(key=lambda o: (o.record.family, o.record.name, o.plugin.distribution))
        for offer in offers:
            for name, target in offer.record.classes().items():
                self.classes.setdefault(name, []).append((offer, target))

    @property
    def noun(self) -> str:
        """What each of them is, in words."""
        return self.kind.builder.replace("_", " ")

    def named(self, name: str) -> list[Offer[R]]:
        """All that are called ``name`` or ``distribution:name``, else all that have it as alias."""
        own = [o for o in self if name in (o.record.name, o.full_name)]
        return own or [
            o
            for o in self
            for alias in o.record.aliases
            if name in (alias, f"{o.plugin.distribution}:{alias}")
        ]

    def find(self, name: str) -> Offer[R]:
        """What is called ``name`` or ``distribution:name``, or has such an alias.

        A name of medloss itself stays its own, with a warning where another plugin has it too.

        Raises:
            PluginError: there is none (the nearest names are told), or several.
        """
        if found := self.named(name):
            return _the_one(self.noun, name, found)
        for other in self._catalogues:
            if other.named(name):
                raise PluginError(f"{name!r} is a {other.noun} and no {self.noun}")
        raise PluginError(
            f"no {self.noun} is called {name!r}; {_instead(name, [self], self._plugins)}"
        )

    def own_name(self, name: str) -> str:
        """What results call it: an alias gives way to the name.

        Raises:
            PluginError: as :meth:`find`.

        Example:
            >>> host().metrics.own_name("nsd"), host().metrics.own_name("medloss:dice")
            ('normalized_surface_dice', 'medloss:dice')
        """
        offer = self.find(name)
        if name in (offer.record.name, offer.full_name):
            return name
        same = _preferred(self.named(offer.record.name)) == [offer]
        return offer.record.name if same and ":" not in name else offer.full_name

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
            return sorted(
                each
                for each, found in self.classes.items()
                if len(_preferred([offer for offer, _ in found])) == 1
            )
        if name.startswith("_"):
            raise AttributeError(f"module {self.kind.module!r} has no attribute {name!r}")
        if found := self.classes.get(name):
            chosen = _the_one(self.kind.kind, name, [offer for offer, _ in found])
            target = next(target for offer, target in found if offer is chosen)
            return load(Offer(replace(chosen.record, target=target), chosen.plugin))
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
        self.catalogues: list[Catalogue[Any]] = []
        self.losses = Catalogue(Loss, self.plugins, self.catalogues)
        self.metrics = Catalogue(Metric, self.plugins, self.catalogues)
        self.detection = Catalogue(Detection, self.plugins, self.catalogues)
        self.readers = Catalogue(Reader, self.plugins, self.catalogues)
        self.profiles = Catalogue(Profile, self.plugins, self.catalogues)
        self.catalogues += [each for each in vars(self).values() if isinstance(each, Catalogue)]
        with apart():
            for plugin, api, entry in _entry_points():
                self.plugins.append(self._add(plugin, api, entry))

    def __iter__(self) -> Iterator[Offer[Any]]:
        """Everything on offer: losses, metrics, parts of detectors, readers, then profiles."""
        for catalogue in self.catalogues:
            yield from catalogue

    def find(self, name: str, kind: str | None = None) -> list[Offer[Any]]:
        """Everything of this name, of any kind or of one.

        Raises:
            PluginError: there is none of the wanted kind.
        """
        asked = [each for each in self.catalogues if kind in (None, each.kind.kind)]
        there = [each for each in asked if each.named(name)]
        if not there and len(asked) == 1:
            return [asked[0].find(name)]  # whose error it is
        if not there:
            raise PluginError(f"nothing is called {name!r}; {_instead(name, asked, self.plugins)}")
        found, clashes = [], []
        for catalogue in there:
            try:
                found.append(catalogue.find(name))
            except PluginError as clash:
                clashes.append(str(clash))
        if not found:
            raise PluginError("; ".join(clashes))
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

    def remarks(self, offers: Iterable[Offer[Any]] | None = None) -> list[str]:
        """What is no fault of offers, all of them by default, but may not be meant.

        A family that medloss does not have is one: mistyped, or the author's own.
        """
        families = {offer.record.family for offer in self if offer.plugin.distribution == OURS}
        found = [
            (offer, unknown_family(offer.record.family, families))
            for offer in (self if offers is None else offers)
        ]
        return [f"{offer.full_name}: {remark}" for offer, remark in found if remark]

    def _add(self, plugin: Plugin, api: int, entry: metadata.EntryPoint | None) -> Plugin:
        """Load one plugin whole, or not at all."""
        if self.disabled & {plugin.name, f"{plugin.distribution}:{plugin.name}"}:
            return replace(plugin, state="disabled", reason="listed in MEDLOSS_DISABLE")
        if api != API:
            reason = f"written for plugin API {api}, this medloss speaks API {API}"
            return self._unusable(replace(plugin, state="refused", reason=reason))
        if entry is None:
            return self._unusable(plugin)
        try:
            with isolated():
                offers = _offers(entry, [each.kind for each in self.catalogues], plugin)
        except IsolatedError as failure:
            where = f" (of {plugin.path})" if plugin.path else ""
            broken = replace(plugin, state="broken", reason=f"{failure}{where}")
            return self._unusable(broken, failure.__cause__)
        for catalogue, found in zip(self.catalogues, offers, strict=True):
            catalogue.add(found)
        return plugin

    def _unusable(self, plugin: Plugin, cause: BaseException | None = None) -> Plugin:
        if self.strict:
            raise PluginError(f"{plugin} is {plugin.state}: {plugin.reason}") from cause
        return plugin


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


def _offers(
    entry: metadata.EntryPoint, kinds: Sequence[type[Any]], plugin: Plugin
) -> list[list[Offer[Any]]]:
    """What a plugin offers of each kind, checked."""
    # Of its own, so that nothing is left behind in the manager of others if anything fails.
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(records)
    module = entry.load()
    check_hooks(module, [_hook(kind) for kind in kinds])
    manager.register(module, name=plugin.name)
    return [[Offer(r, plugin) for r in _yielded(manager, kind)] for kind in kinds]


def _hook(kind: type[Record]) -> str:
    return kind.module.replace(".", "_")


def _yielded(manager: pluggy.PluginManager, kind: type[R]) -> list[R]:
    hook = _hook(kind)
    found: list[R] = []
    for result in getattr(manager.hook, hook)():
        if not isinstance(result, Iterable):
            raise TypeError(
                f"{hook}: expected to yield medloss.{kind.__name__} records, got {result!r}"
            )
        for record in result:
            if type(record) is not kind:  # nor a class of theirs, which may do anything later
                raise TypeError(f"{hook}: expected medloss.{kind.__name__} records, got {record!r}")
            found.append(record)
    names = [name for record in found for name in (record.name, *record.aliases)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{hook}: {', '.join(twice)} offered twice by the same plugin")
    return found


_Entry = tuple[Plugin, int, metadata.EntryPoint | None]


def _entry_points() -> Iterator[_Entry]:
    """Every entry point of every ``medloss`` group, in an order that is the same everywhere.

    None where the entry points of a distribution cannot be read.
    """
    found: dict[str, list[_Entry]] = {}
    distributions = iter(metadata.distributions())
    while True:
        try:
            with isolated():
                distribution = next(distributions, None)
        except IsolatedError:  # a finder of somebody, for which there is no more to be had
            break
        if distribution is None:
            break
        try:
            with isolated():
                entries = _of_distribution(distribution)
        except IsolatedError as failure:
            entries = _unreadable(distribution, str(failure))
        if entries:
            # Of one that is on sys.path twice (installed, and as its source) the first is meant,
            # whose modules are imported; the other may name what they have no more.
            name = re.sub(r"[-_.]+", "-", entries[0][0].distribution).lower()
            found.setdefault(name, entries)
    every = [entry for entries in found.values() for entry in reversed(entries)]
    unique = {(p.distribution, p.name, api, p.state): (p, api, e) for p, api, e in every}
    yield from (unique[key] for key in sorted(unique))


def _of_distribution(distribution: metadata.Distribution) -> list[_Entry]:
    if not SEEMS_OURS.search(distribution.read_text("entry_points.txt") or ""):
        return []  # read twice as fast as it is parsed
    entries: list[tuple[metadata.EntryPoint, int, str]] = []
    for entry in distribution.entry_points:
        if group := re.fullmatch(rf"{GROUP}(?:\.(\d+))?", entry.group):
            entries.append((entry, int(group[1] or 1), ""))
        elif reason := wrong_group(entry.group):
            entries.append((entry, API, reason))
    if not entries:  # else nobody asks for the metadata, which take longer to read
        return []
    path = _path(distribution)
    name, version = _name_and_version(distribution, path)
    return [
        (Plugin(entry.name, entry.value, name, version, path=path), api, entry)
        if not reason
        else (Plugin(entry.name, entry.value, name, version, "refused", reason, path), api, None)
        for entry, api, reason in entries
    ]


def _unreadable(distribution: metadata.Distribution, reason: str) -> list[_Entry]:
    """One that cannot be used, of a distribution that seems to offer something to medloss."""
    path = _path(distribution)
    try:
        if f"[{GROUP}".encode() not in Path(path, "entry_points.txt").read_bytes():
            return []
    except (OSError, ValueError):
        return []
    name, version = _name_and_version(distribution, path)
    reason = f"its entry points cannot be read: {reason} (of {path})"
    return [(Plugin("", "", name, version, "broken", reason, path), API, None)]


def _path(distribution: metadata.Distribution) -> str:
    """The folder of its metadata, which every distribution that pip installs has."""
    path = getattr(distribution, "_path", None)
    return str(path) if isinstance(path, Path) else ""


def _name_and_version(distribution: metadata.Distribution, path: str) -> tuple[str, str]:
    """As the metadata have it; where they are missing or damaged, as the folder is called."""
    try:
        with isolated():
            told = distribution.metadata
            name, version = told["Name"], told["Version"]
            if isinstance(name, str) and isinstance(version, str):
                return name, version
    except IsolatedError:
        pass  # the name of the folder is all there is
    name, _, version = Path(path).stem.partition("-")
    return name.replace("_", "-") or "unknown", version or "unknown"


def _preferred(found: list[Offer[R]]) -> list[Offer[R]]:
    """Those of medloss itself, where there are any."""
    return [offer for offer in found if offer.plugin.distribution == OURS] or found


def _the_one(kind: str, name: str, found: list[Offer[R]]) -> Offer[R]:
    """Of those that have a name the one that is meant.

    Raises:
        PluginError: nobody can tell.
    """
    chosen, *more = _preferred(found)
    if more:
        raise PluginError(_clash(kind, name, found))
    for other in found:
        if other is not chosen:
            warnings.warn(
                f"{kind} {name!r} is that of medloss; the one of {other.plugin} is reached by its "
                f"full name, {other.full_name}",
                stacklevel=4,
            )
    return chosen


def _instead(name: str, catalogues: Sequence[Catalogue[Any]], plugins: Sequence[Plugin]) -> str:
    """What may have been meant by a name that nothing has, and what cannot be used."""
    own = {alias: o.record.name for c in catalogues for o in c for alias in o.record.aliases}
    own |= {o.record.name: o.record.name for c in catalogues for o in c}
    spelled = re.sub(r"[\s-]+", "_", name.rpartition(":")[2].strip().lower())
    close = difflib.get_close_matches(spelled, own, n=3)
    close = [spelled] if spelled in own else close
    near: dict[str, str] = {}
    for word in close:
        near.setdefault(own[word], word if own[word] == word else f"{word} ({own[word]})")
    if near:
        hint = f"did you mean {' or '.join(near.values())}?"
    elif len(catalogues) == 1 and len(own) <= _FEW:
        hint = f"there are: {', '.join(sorted({*own.values()}))}"
    else:
        kind = f" --kind {catalogues[0].kind.kind}" if len(catalogues) == 1 else ""
        hint = f"'medloss list{kind}' shows all"
    unusable = "".join(f" ({p} is {p.state}: {p.reason})" for p in plugins if p.state != "ok")
    return f"{hint}{unusable}"


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
