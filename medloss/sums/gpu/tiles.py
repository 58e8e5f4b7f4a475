"""How large a tile a program works on, and how many programs there are.

By rule, as the user says, or the fastest of some that are tried. The rule keeps what a thread holds
in its registers, which ``docs/examples/compile_kernels.py`` shows, and reads memory in pieces of at
least 64 bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch

REGISTERS = 128
"""Of the 255 of a thread, for what lives as long as a tile; the others are for what comes between.
"""
PIECE_BYTES = 64
AS_MANY = -1
"""Programs: as reside on a multiprocessor."""
VARIABLE = "MEDLOSS_TRITON_TILE"
TUNE = "tune"
_FASTEST: dict[Hashable, Tile] = {}


class Tile(NamedTuple):
    """What one program holds at a time."""

    rows: int
    """Classes read at once, a power of two."""
    voxels: int
    """A power of two."""
    warps: int
    """Threads / 32, a power of two."""
    programs: int
    """For each multiprocessor; 0 is one program for each tile, -1 as many as reside there."""

    @property
    def choices(self) -> dict[str, int]:
        """As a kernel takes it."""
        return {"ROWS": self.rows, "VOXELS": self.voxels, "num_warps": self.warps}


class Load(NamedTuple):
    """What a program has to hold."""

    classes: int
    itemsize: int
    """Bytes of an element of the input."""
    sums: int
    """Terms to add up; 0 for the gradient."""
    tiles: int
    """Values of all classes of a voxel that live at once."""

    @property
    def vector(self) -> int:
        """Voxels of one class that a thread reads together."""
        return 2 if self.itemsize == 8 else 4

    def registers(self, rows: int) -> int:
        """Of a thread, for sums and tiles; float64 takes two, and two more in its logarithms."""
        lots = -(-self.classes // rows)
        return lots * (self.sums + self.tiles * self.vector) * (4 if self.itemsize == 8 else 1)

    def tile(self, rows: int, warps: int, programs: int) -> Tile:
        """A tile of which each thread holds as many voxels of one class as it reads together."""
        return Tile(rows, max(self.vector, 32 * self.vector * warps // rows), warps, programs)

    def fold(self, tile: Tile) -> int:
        """Neighbouring voxels that are in one thread, whatever the tile."""
        return min(self.vector, tile.voxels, max(1, tile.rows * tile.voxels // (32 * tile.warps)))

    def tile_by_rule(self) -> Tile:
        """As few rows as fit: with one, a thread has all classes of its voxels to itself."""
        rows = 1
        while self.registers(rows) > REGISTERS and rows < self.classes:
            rows *= 2
        # the threads of several rows meet, and do so best within a warp
        piece = rows * PIECE_BYTES // self.itemsize // (32 * self.vector)
        warps = 4 if rows == 1 else max(1, min(8, piece))
        return self.tile(rows, warps, AS_MANY if self.sums else 0)


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
        from triton.testing import do_bench

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
        for waves in ((16, 24, 32, 48, 64) if load.sums else (0,))
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
