"""The target of a whole volume, cut as its rows come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medloss.base.targets import Target
from medloss.integrations.sliding_window.labels import plain

_ALONG_ROWS = ("label", "mask", "distance_map", "skeleton", "components")


class WholeTarget:
    """Gives the rows of everything in a target that has voxels.

    Args:
        target: label, or mapping, as losses take it.
        spatial: size of the volume.

    Raises:
        ValueError: something has another size, which cutting rows would hide.
    """

    def __init__(self, target: Target, spatial: Sequence[int]) -> None:
        whole = target if isinstance(target, Mapping) else {"label": target}
        given = {name: value for name, value in whole.items() if value is not None}
        self.whole = {k: plain(v) if k in _ALONG_ROWS else v for k, v in given.items()}
        for name in _ALONG_ROWS:
            size = list(self.whole[name].shape[2:]) if name in self.whole else list(spatial)
            if size != list(spatial):
                raise ValueError(f"target: expected {name} of {list(spatial)} voxels, got {size}")

    def rows(self, where: slice) -> dict[str, Any]:
        """The target of these rows."""
        return {k: v[:, :, where] if k in _ALONG_ROWS else v for k, v in self.whole.items()}
