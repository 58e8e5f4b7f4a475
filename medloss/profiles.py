"""Definitions as files: those on offer, and how one is read (``docs/write-a-profile.md``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medloss.offers.host import host
from medloss.offers.records import Profile

if TYPE_CHECKING:
    from medloss.evaluation.profiles.reading import read_profile as read_profile

__all__ = ["list_profiles", "read_profile"]


def list_profiles() -> list[Profile]:
    """Records of every profile on offer, by name.

    Example:
        >>> [record.name for record in list_profiles()][:2]
        ['autopet', 'brats2023']
    """
    return [offer.record for offer in host().profiles]


def __getattr__(name: str) -> Any:
    if name == "read_profile":
        from medloss.evaluation.profiles.reading import read_profile

        return read_profile
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
