"""Profiles of challenges and programs: what they score how, as files."""

from __future__ import annotations

from collections.abc import Iterator

from medloss import Profile, hookimpl


@hookimpl
def medloss_profiles() -> Iterator[Profile]:
    """What challenges and programs score, each a file here."""
    for name in (
        *("autopet", "brats2023", "brats2026", "metricsreloaded"),
        *("nnunet", "topcow", "totalsegmentator"),
    ):
        yield Profile(name=name, target=f"{__name__}:{name}.toml")
