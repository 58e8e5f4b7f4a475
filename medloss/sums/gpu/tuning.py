"""Which tile: by rule, as the user says, or the fastest of some that are tried."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable

import torch
from triton.testing import do_bench

from medloss.sums.gpu.tiles import Load, Tile

VARIABLE = "MEDLOSS_TRITON_TILE"
TUNE = "tune"
_FASTEST: dict[Hashable, Tile] = {}


def chosen_tile(load: Load, key: Hashable, launch: Callable[[Tile], object]) -> Tile:
    """The tile that ``MEDLOSS_TRITON_TILE`` asks for; without it that of the rule.

    Args:
        load: what a program has to hold.
        key: requests with the same key share the tile that was found to be the fastest.
        launch: runs the kernel with a tile.

    Raises:
        ValueError: the variable is neither ``tune`` nor four numbers for ``sums``, ``slopes``.
    """
    asked = os.environ.get(VARIABLE, "")
    if not asked:
        return load.tile_by_rule()
    if asked != TUNE:
        return _told(asked).get("sums" if load.sums else "slopes", load.tile_by_rule())
    if key not in _FASTEST:
        if torch.cuda.is_available() and torch.cuda.is_current_stream_capturing():
            return load.tile_by_rule()  # a graph that is recorded cannot be timed
        _FASTEST[key] = min(candidates(load), key=lambda tile: do_bench(lambda: launch(tile)))
    return _FASTEST[key]


def candidates(load: Load) -> list[Tile]:
    """The tile of the rule, and those around it."""
    rule = load.tile_by_rule()
    others = (
        load.tile(rows, warps, waves // warps)
        for rows in (rule.rows // 2, rule.rows, 2 * rule.rows)
        if 0 < rows < 2 * load.classes
        for warps in (1, 2, 4, 8)
        for waves in ((16, 32, 64) if load.sums else (0,))
    )
    return list(dict.fromkeys((rule, *others)))


def _told(asked: str) -> dict[str, Tile]:
    """Tiles from ``sums=rows,voxels,warps,programs slopes=...``."""
    told = {}
    for word in asked.split():
        kind, _, numbers = word.partition("=")
        fields = numbers.split(",")
        if kind not in ("sums", "slopes") or not (
            len(fields) == len(Tile._fields) and all(field.isdecimal() for field in fields)
        ):
            raise ValueError(
                f"{VARIABLE}: expected {TUNE!r} or words like "
                f"sums={','.join(Tile._fields)} and slopes=..., got {word!r}"
            )
        told[kind] = Tile(*map(int, fields))
    return told
