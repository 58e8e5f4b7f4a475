"""The loss inside another one, given by name, as a mapping, or built."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

import medloss


def build_loss(given: str | Mapping[str, Any] | nn.Module, options: Mapping[str, Any]) -> nn.Module:
    """The loss that is meant.

    Args:
        given: name, mapping with ``name`` and options, or a loss that is built already.
        options: of the loss, beside those of the mapping, which come first; none where it is built.

    Raises:
        TypeError: ``given`` is nothing of that.
        ValueError: options for a loss that is built already.
    """
    if isinstance(given, str):
        given = {"name": given}
    if isinstance(given, Mapping) and "name" in given:
        own = {key: value for key, value in given.items() if key != "name"}
        built: nn.Module = medloss.loss(str(given["name"]), **{**options, **own})
        return built
    if not isinstance(given, nn.Module):
        raise TypeError(f"loss: expected a name, a mapping with a name, or a loss, got {given!r}")
    if options:
        raise ValueError(
            f"{', '.join(options)}: expected none beside a loss that is built already, "
            f"{type(given).__name__}, which has its own"
        )
    return given
