"""The topology of a class: how many objects, tunnels and cavities each mask has."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from medloss.objects.component_runs import component_runs

Mask = NDArray[np.bool_]
Pairing = Literal["corners", "faces"]
"""Across what foreground is joined; background is then joined across the other one.

Either 26 with 6 neighbours or 6 with 26, in 2D 8 with 4 or 4 with 8. With the same for both, a
diagonal line would leave both sides of it connected, or neither.
"""
Patch = int | Sequence[int] | None
"""Voxels along each axis, or one number for all of them; ``None`` for the whole image."""


class Betti(NamedTuple):
    """Betti numbers of a mask.

    Args:
        components: b0, objects.
        tunnels: b1; in 2D holes.
        cavities: b2, hollows that are closed on all sides; in 2D there are none.
    """

    components: int
    tunnels: int
    cavities: int

    @property
    def euler(self) -> int:
        """The Euler number."""
        return self.components - self.tunnels + self.cavities


@dataclass(frozen=True, eq=False)
class Topology:
    """Both masks of a class, whose Betti numbers are counted once for each way to join voxels.

    Args:
        reference: mask, 2D or 3D; without voxels that do not count.
        prediction: mask of the same shape, likewise.
        corner: where the masks begin in the image.
        image: shape of the image; by default that of the masks.

    Example:
        >>> ring = np.ones((3, 3), dtype=bool)
        >>> ring[1, 1] = False
        >>> Topology(ring, ~ring).betti("corners")
        (Betti(components=1, tunnels=1, cavities=0), Betti(components=1, tunnels=0, cavities=0))
    """

    reference: Mask
    prediction: Mask
    corner: tuple[int, ...] = ()
    image: tuple[int, ...] = ()
    _found: dict[tuple[str, int], Betti] = field(default_factory=dict, repr=False)

    def betti(self, connectivity: Pairing) -> tuple[Betti, Betti]:
        """Betti numbers of the reference and of the prediction.

        Raises:
            ValueError: a connectivity that pairs with none.
        """
        steps = pairing_steps(connectivity)
        for side, mask in enumerate((self.reference, self.prediction)):
            if (connectivity, side) not in self._found:
                self._found[connectivity, side] = betti_numbers(mask, steps)
        return self._found[connectivity, 0], self._found[connectivity, 1]

    def unmatched(self, connectivity: Pairing) -> int:
        """Objects of both masks beyond one of each in every object of their union.

        Raises:
            ValueError: a connectivity that pairs with none.
        """
        steps = pairing_steps(connectivity)
        union = component_runs(self.reference | self.prediction, steps)
        sides = [component_runs(mask, steps) for mask in (self.reference, self.prediction)]
        one, other = (np.unique(runs.within(union)) for runs in sides)
        matched = len(np.intersect1d(one, other, assume_unique=True))
        return sides[0].count + sides[1].count - 2 * matched

    def parts(self, patch_voxels: Patch, stride_voxels: Patch) -> Iterator[Topology]:
        """The patches of the image that hold some of either mask, or the whole of it.

        Args:
            patch_voxels: size of a patch; those at the end of the image are cut off there.
            stride_voxels: from the beginning of a patch to that of the next.

        Raises:
            ValueError: sizes that cannot be meant, or one without the other.
        """
        if patch_voxels is None and stride_voxels is None:
            yield self
            return
        axes = self.reference.ndim
        size = _sizes("patch_voxels", patch_voxels, axes)
        step = _sizes("stride_voxels", stride_voxels, axes)
        if any(far > long for far, long in zip(step, size, strict=True)):
            raise ValueError(
                f"stride_voxels: expected at most patch_voxels={patch_voxels!r}, which would leave "
                f"voxels out, got {stride_voxels!r}"
            )
        corner, image = self.corner or (0,) * axes, self.image or self.reference.shape
        along = [
            _cuts(*each)
            for each in zip(size, step, corner, self.reference.shape, image, strict=True)
        ]
        for box in itertools.product(*along):
            yield Topology(self.reference[box], self.prediction[box])

    def turned(self) -> Topology:
        """The same with the axes in reverse."""
        return replace(
            self,
            reference=self.reference.T,
            prediction=self.prediction.T,
            corner=self.corner[::-1],
            image=self.image[::-1],
        )


def pairing_steps(connectivity: str) -> int:
    """Along how many axes neighbours in the foreground may differ.

    Raises:
        ValueError: a connectivity that pairs with none.
    """
    if connectivity not in get_args(Pairing):
        raise ValueError(
            f"connectivity: expected corners (26 neighbours, and 6 of the background; in 2D 8 and "
            f"4) or faces (6 and 26; 4 and 8), got {connectivity!r}"
        )
    return 3 if connectivity == "corners" else 1


def betti_numbers(mask: Mask, steps: int) -> Betti:
    """Objects, tunnels and cavities of a mask.

    The Euler number is b0 - b1 + b2, so that tunnels need not be looked for. Cavities are the
    objects of the background but for the one around the image.

    Args:
        mask: 2D or 3D.
        steps: along how many axes neighbours in the foreground may differ, 3 or 1; those in the
            background then differ along 1 or 3.
    """
    if not mask.any():
        return Betti(0, 0, 0)
    runs = component_runs(mask, steps)
    cavities = runs.background(4 - steps).count - 1 if mask.ndim == 3 else 0
    return Betti(runs.count, runs.count + cavities - euler_number(mask, steps), cavities)


def euler_number(mask: Mask, steps: int) -> int:
    """Euler number of a mask.

    Of closed voxels (``steps`` 3) it is that of vertices, edges, faces and voxels, V - E + F - C;
    of voxel centres (1) that of voxels, pairs that share a face, full squares and full cubes. Both
    are sums over lines along the last axis, through rows of voxels, between two and between four
    rows: on each line the runs of what touches it, or of what fills it, count with a sign.

    Args:
        mask: 2D or 3D.
        steps: along how many axes neighbours may differ, 3 or 1.

    Example:
        >>> euler_number(np.eye(2, dtype=bool), 3), euler_number(np.eye(2, dtype=bool), 1)
        (1, 2)
    """
    join = np.bitwise_or if steps == 3 else np.bitwise_and
    rows = _words(mask.reshape((1,) * (3 - mask.ndim) + mask.shape))
    along, across = join(rows[1:], rows[:-1]), join(rows[:, 1:], rows[:, :-1])
    between = join(along[:, 1:], along[:, :-1])
    return _runs(rows) - _runs(along) - _runs(across) + _runs(between)


def _words(mask: Mask) -> NDArray[np.uint64]:
    """Rows of a mask as bits of words, the lowest bit first, between empty rows."""
    x, y, z = mask.shape
    words = np.zeros((x + 2, y + 2, -(-z // 64)), "<u8")
    words.view(np.uint8)[1:-1, 1:-1, : -(-z // 8)] = np.packbits(mask, axis=-1, bitorder="little")
    return words.astype(np.uint64, copy=False)


def _runs(words: NDArray[np.uint64]) -> int:
    """How many runs of bits there are in all rows."""
    before = words << np.uint64(1)
    before[..., 1:] |= words[..., :-1] >> np.uint64(63)
    return int(np.bitwise_count(words & ~before).sum(dtype=np.int64))


def _sizes(name: str, given: Patch, axes: int) -> tuple[int, ...]:
    sizes: tuple[Any, ...] = (given,) * axes
    if isinstance(given, Sequence) and not isinstance(given, str):
        sizes = tuple(given)
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in sizes)
    if len(sizes) != axes or not whole:
        raise ValueError(
            f"{name}: expected a whole number of voxels, or {axes} of them, for both patch_voxels "
            f"and stride_voxels, got {given!r}"
        )
    return sizes


def _cuts(size: int, step: int, corner: int, extent: int, image: int) -> list[slice]:
    """Patches along an axis, in the mask that lies there from a corner on."""
    starts = range(0, max(image - size, 0) + step, step)
    ends = ((start - corner, start + size - corner) for start in starts)
    return [slice(max(a, 0), min(b, extent)) for a, b in ends if a < extent and b > 0]
