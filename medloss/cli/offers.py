"""Which losses and metrics a command is about."""

from __future__ import annotations

from typing import Any

from medloss.host import Offer, PluginError, host


def find_offers(name: str, kind: str | None = None) -> list[Offer[Any]]:
    """The loss, the metric, or both, of this name.

    Raises:
        PluginError: there is none of the wanted kind.
    """
    found: list[Offer[Any]] = []
    errors = []
    for each, find in (("loss", host().loss), ("metric", host().metric)):
        if kind in (None, each):
            try:
                found.append(find(name))
            except PluginError as error:
                errors.append(str(error))
    if not found:
        raise PluginError("; ".join(errors))
    return found
