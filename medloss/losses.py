"""Losses by name, and every one on offer as an attribute: ``medloss.losses.FocalTverskyLoss``.

The classes live in plugins; this module finds them, so that one stable path (in a bundle's config
``"_target_": "medloss.losses.FocalTverskyLoss"``) reaches the built-in families and third parties'
alike. Some have further classes under the names that MONAI has for them.

Example:
    >>> from medloss.losses import FocalTverskyLoss
    >>> FocalTverskyLoss(softmax=True).fn_weight
    0.7
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medloss.offers.host import host
from medloss.offers.records import Loss

if TYPE_CHECKING:
    from medloss.base import SegmentationLoss


def loss(name: str, **options: Any) -> SegmentationLoss:
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
    made: SegmentationLoss = host().losses.build(name, options)
    return made


def list_losses() -> list[Loss]:
    """Records of every loss on offer, by family and name."""
    return [offer.record for offer in host().losses]


def __getattr__(name: str) -> Any:
    return host().losses.attribute(name)


def __dir__() -> list[str]:
    return sorted(host().losses.classes)
