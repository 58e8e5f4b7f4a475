"""What is checked: one name, or everything that a plugin offers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from medloss.offers.host import Offer, Plugin, PluginError, host
from medloss.offers.kinds import find_offers

__all__ = ["find_offers", "plugin_offers"]


def plugin_offers(plugin: str) -> list[Offer[Any]]:
    """Everything that a plugin, or all plugins of a distribution, offer.

    Args:
        plugin: its name, that of its distribution, or ``distribution:name``.

    Raises:
        PluginError: no usable plugin has the name, or it offers nothing.
    """
    found = [p for p in host().plugins if plugin in _names(p)]
    if not found:
        names = ", ".join(sorted({name for p in host().plugins for name in _names(p)}))
        raise PluginError(f"no plugin or distribution is called {plugin!r}; there are: {names}")
    for each in found:
        if each.state != "ok":
            raise PluginError(f"{each} is {each.state}: {each.reason}")
    everything: list[Offer[Any]] = [*host().losses(), *host().metrics(), *host().detection()]
    offers = [offer for offer in everything if offer.plugin in found]
    if not offers:
        raise PluginError(f"{' and '.join(map(str, found))}: nothing is offered")
    return offers


def _names(plugin: Plugin) -> Iterator[str]:
    yield plugin.name
    yield plugin.distribution
    yield f"{plugin.distribution}:{plugin.name}"
