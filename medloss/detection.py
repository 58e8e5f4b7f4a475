"""Parts of detectors by name, and every one as an attribute: ``medloss.detection.CIoULoss``.

As in ``medloss.losses``, the classes live in plugins and are found by name.

Example:
    >>> from medloss.detection import CIoULoss
    >>> CIoULoss(reduction="sum").reduction
    'sum'
"""

from __future__ import annotations

from typing import Any

from medloss.offers.host import host
from medloss.offers.records import Detection


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
    return host().detection.build(name, options)


def list_detection() -> list[Detection]:
    """Records of every part of a detector on offer, by family and name."""
    return [offer.record for offer in host().detection]


def __getattr__(name: str) -> Any:
    return host().detection.attribute(name)


def __dir__() -> list[str]:
    return sorted(host().detection.classes)
