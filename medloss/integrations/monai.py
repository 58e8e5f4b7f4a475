"""Opt-in: every loss also as ``monai.losses.<Name>`` and by its bare name in bundle configs.

In a bundle config, before anything is resolved:

    "imports": ["$import medloss.integrations.monai as _"],
    "loss": {"_target_": "FocalTverskyLoss", "softmax": true}

The dotted path ``medloss.losses.FocalTverskyLoss`` works without this. Importing the module
registers; a name that MONAI has itself is never shadowed: it stays MONAI's class, and is told in
:data:`kept_by_monai`.
"""

from __future__ import annotations

from typing import Any

import monai.losses

from medloss.offers.host import PluginError, host

registered: dict[str, type[Any]] = {}
"""Names that now resolve to a medloss class."""

kept_by_monai: list[str] = []
"""Names that MONAI has too; reach ours as ``medloss.losses.<Name>``."""


def register() -> None:
    """Register every loss whose name MONAI does not have; doing it twice changes nothing.

    MONAI finds bare names through classes whose ``__module__`` is the module that holds them, so a
    subclass is registered and the class itself stays as it is.

    Raises:
        PluginError: two plugins offer the same class name.
    """
    offers = host().losses
    names = [offer.record.attribute for offer in offers]
    for offer in offers:
        name = offer.record.attribute
        if name in registered or name in kept_by_monai:
            continue
        if names.count(name) > 1:
            raise PluginError(f"{name} is offered by several plugins: use their full names")
        if hasattr(monai.losses, name):
            kept_by_monai.append(name)
            continue
        target = offer.load()
        namespace = {"__module__": "monai.losses", "__doc__": target.__doc__}
        registered[name] = type(name, (target,), namespace)
        setattr(monai.losses, name, registered[name])


register()
