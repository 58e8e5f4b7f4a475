"""How large a tile a program works on, and how many programs there are, by rule.

The rule keeps what a thread holds in its registers, which ``docs/examples/compile_kernels.py``
shows, and reads memory in pieces of at least 64 bytes.
"""

from __future__ import annotations

from typing import NamedTuple

REGISTERS = 128
"""Of the 255 of a thread, for what lives as long as a tile; the others are for what comes between.
"""
PIECE_BYTES = 64


class Tile(NamedTuple):
    """What one program holds at a time."""

    rows: int
    """Classes read at once, a power of two."""
    voxels: int
    """A power of two."""
    warps: int
    """Threads / 32, a power of two."""
    programs: int
    """For each multiprocessor; 0 is one program for each tile."""


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
        return self.tile(rows, warps, 32 // warps if self.sums else 0)
