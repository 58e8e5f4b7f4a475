"""The predicted probability of a class beside the reference: voxels by bins, and by rank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medloss.objects.spacing import reach, within
from medloss.scoring.inputs import in_range

Floats = NDArray[np.float64]
Binning = Literal["equal_width", "equal_mass"]

BINS = 15
"""How many there are where nobody says otherwise."""

_PIECE = 1 << 20
_EDGE = 1e-9
"""What a probability may be above the limit of a bin and still belong below it, in widths."""


@dataclass(frozen=True, eq=False)
class Bins:
    """Voxels by their probability.

    Args:
        voxels: of each bin.
        probability: their sum.
        reference: how many of them the reference gives the class.
    """

    voxels: NDArray[np.int64]
    probability: Floats
    reference: Floats

    @property
    def means(self) -> tuple[Floats, Floats]:
        """Mean probability and frequency of the class in each bin; NaN in an empty one."""
        some = np.where(self.voxels > 0, self.voxels, np.nan)
        return self.probability / some, self.reference / some

    @property
    def gaps(self) -> Floats:
        """How far these are apart, in the bins that hold voxels."""
        held = self.voxels > 0
        apart: Floats = np.abs(self.probability - self.reference)[held] / self.voxels[held]
        return apart

    @property
    def expected_gap(self) -> float:
        """Their mean over voxels; NaN without any."""
        voxels = float(self.voxels.sum())
        # The sums of a bin, not their means: its voxels cancel.
        apart = float(np.abs(self.probability - self.reference).sum())
        return apart / voxels if voxels else math.nan

    @property
    def average_gap(self) -> float:
        """Their mean over bins; NaN without any."""
        return float(self.gaps.mean()) if self.voxels.any() else math.nan

    @property
    def largest_gap(self) -> float:
        """The largest; NaN without any."""
        return float(self.gaps.max()) if self.voxels.any() else math.nan


@dataclass(frozen=True, eq=False)
class ProbabilityRanks:
    """Where voxels of a class stand among the others by their probability.

    Args:
        own: how many voxels of the class have each of their different probabilities, rising.
        above: how many others have a larger one.
        equal: how many others have the same.
        others: how many there are.
    """

    own: NDArray[np.int64]
    above: NDArray[np.int64]
    equal: NDArray[np.int64]
    others: int


@dataclass(frozen=True, eq=False)
class Probabilities:
    """A class in one case.

    Args:
        predicted: its probability in each voxel, from 0 to 1.
        reference: where the reference has it; of the same shape.
        ignored: voxels that do not count, ``None`` for none.
        spacing_mm: size of a voxel along each axis, ``None`` if it is not known.
        chosen: where the prediction has the class: its likeliest one, or one of at least 0.5.

    Example:
        >>> here = np.array([[True, False, False]])
        >>> found = Probabilities(np.array([[0.75, 0.5, 0.0]]), here, ignored=np.array([[0, 0, 1]]))
        >>> [(p.tolist(), y.tolist()) for p, y in found.pieces()]
        [([0.75, 0.5], [True, False])]
    """

    predicted: NDArray[Any]
    reference: NDArray[np.bool_]
    ignored: NDArray[Any] | None = None
    spacing_mm: Sequence[float] | None = None
    chosen: NDArray[np.bool_] | None = None

    def pieces(self) -> Iterator[tuple[Floats, NDArray[np.bool_]]]:
        """Probability and reference of the voxels that count, some at a time.

        Rounding may lead out of the range of a probability, which is cut off; NaN stays NaN.

        Raises:
            ValueError: values that are no probabilities.
        """
        order: Literal["C", "F"] = "F" if self.predicted.flags.f_contiguous else "C"
        predicted, reference = self.predicted.ravel(order), self.reference.ravel(order)
        left_out = None if self.ignored is None else self.ignored.ravel(order) != 0
        for start in range(0, len(predicted), _PIECE):
            part = slice(start, start + _PIECE)
            keep = slice(None) if left_out is None else ~left_out[part]
            chances = in_range("probabilities", predicted[part][keep].astype(np.float64))
            yield chances, reference[part][keep]

    def part(self, *, within_mm: float | None = None, top_label: bool = False) -> Probabilities:
        """The same with fewer voxels that count.

        Args:
            within_mm: those within so many mm of a voxel that the reference gives the class, these
                among them; ``None`` for all.
            top_label: those that the prediction gives the class.

        Raises:
            ValueError: no distance, or a distance without the size of a voxel.

        Example:
            >>> line = np.arange(5.0)[None] / 4
            >>> found = Probabilities(line, line == 1, spacing_mm=(1.0, 2.0), chosen=line > 0.7)
            >>> [p.tolist() for p, _ in found.part(within_mm=4).pieces()]
            [[0.5, 0.75, 1.0]]
            >>> [p.tolist() for p, _ in found.part(top_label=True).pieces()]
            [[0.75, 1.0]]
        """
        key = within_mm, top_label
        if key not in self._parts:
            found = self if within_mm is None else self._near(within_mm)
            self._parts[key] = found._of_chosen() if top_label else found
        return self._parts[key]

    def bins(self, many: int = BINS, binning: Binning = "equal_width") -> Bins:
        """Voxels by their probability.

        Args:
            many: how many bins.
            binning: "equal_width": bin b from 0 holds what is above b/many and up to (b+1)/many,
                the first one 0 too. float64 decides, and forgives a billionth of the width: 0.3 is
                in the third bin of ten, and what float32 makes of it, which is more, in the fourth.
                "equal_mass": quantiles are the limits, and belong to the bin above them.

        Raises:
            ValueError: no such number or word.
        """
        if not isinstance(many, int) or isinstance(many, bool) or many < 1:
            raise ValueError(f"bins: expected a whole number of at least 1, got {many!r}")
        if binning not in get_args(Binning):
            raise ValueError(f"binning: expected equal_width or equal_mass, got {binning!r}")
        key = many, binning
        if key not in self._bins:
            self._bins[key] = self._binned(*key)
        return self._bins[key]

    @cached_property
    def ranks(self) -> ProbabilityRanks | None:
        """Where the voxels of the class stand among the others; ``None`` where one is NaN.

        Only the probabilities of the class itself are held, the others are sorted some at a time.
        """
        own = [p[y] for p, y in self.pieces()]
        values, many = np.unique(np.concatenate(own or [np.zeros(0)]), return_counts=True)
        before = np.zeros(len(values) + 1, np.int64)
        equal = np.zeros(len(values) + 1, np.int64)
        for p, y in self.pieces():
            if np.isnan(p).any():
                return None
            rest = np.sort(p[~y])
            place = values.searchsorted(rest)  # how many values of the class are smaller
            before += np.bincount(place, minlength=len(before))
            there = place < len(values)
            same = place[there][values[place[there]] == rest[there]]
            equal += np.bincount(same, minlength=len(equal))
        others = int(before.sum())
        above = others - np.cumsum(before)
        return ProbabilityRanks(many.astype(np.int64), above[:-1], equal[:-1], others)

    @cached_property
    def _parts(self) -> dict[tuple[float | None, bool], Probabilities]:
        return {}

    @cached_property
    def _bins(self) -> dict[tuple[int, Binning], Bins]:
        return {}

    def _near(self, within_mm: float) -> Probabilities:
        number = isinstance(within_mm, int | float) and not isinstance(within_mm, bool)
        if not number or not 0 <= within_mm < math.inf:
            raise ValueError(f"within_mm: expected a distance of at least 0, got {within_mm!r}")
        if self.spacing_mm is None:
            raise ValueError("within_mm: expected the size of a voxel too, which is not known")
        from scipy import ndimage

        # No voxel out of this box is near enough.
        box, size = [], self.reference.shape
        for axis, mm in enumerate(self.spacing_mm):
            others = tuple(n for n in range(len(size)) if n != axis)
            held = np.flatnonzero(self.reference.any(axis=others))
            if not len(held):
                nothing = np.zeros((0,) * len(size), bool)
                return Probabilities(nothing, nothing, None, self.spacing_mm, nothing)
            steps = int(reach(within_mm) / mm)
            box.append(slice(max(int(held[0]) - steps, 0), int(held[-1]) + steps + 1))
        cut = tuple(box)
        mm = ndimage.distance_transform_edt(~self.reference[cut], sampling=self.spacing_mm)
        ignored = ~within(mm, within_mm)
        if self.ignored is not None:
            ignored |= self.ignored[cut] != 0
        return Probabilities(
            self.predicted[cut],
            self.reference[cut],
            ignored,
            self.spacing_mm,
            None if self.chosen is None else self.chosen[cut],
        )

    def _of_chosen(self) -> Probabilities:
        if self.chosen is None:
            raise ValueError("top_label: expected where the prediction has the class, got nothing")
        ignored = ~self.chosen if self.ignored is None else ~self.chosen | (self.ignored != 0)
        return Probabilities(self.predicted, self.reference, ignored, self.spacing_mm, self.chosen)

    def _binned(self, many: int, binning: Binning) -> Bins:
        limits = None if binning == "equal_width" else self._limits(many)
        many = many if limits is None else len(limits) + 1
        voxels, probability, reference = np.zeros(many, np.int64), np.zeros(many), np.zeros(many)
        for p, y in self.pieces():
            if limits is None:
                # What is no number belongs nowhere, and makes the sum of any bin NaN.
                place = np.ceil(np.nan_to_num(p) * many - _EDGE).astype(np.int64) - 1
                np.maximum(place, 0, out=place)
            else:
                place = limits.searchsorted(p, side="right")
            voxels += np.bincount(place, minlength=many)
            probability += np.bincount(place, weights=p, minlength=many)
            reference += np.bincount(place, weights=y, minlength=many)
        return Bins(voxels, probability, reference)

    def _limits(self, many: int) -> Floats:
        """Different quantiles between the least and the greatest probability."""
        every = np.concatenate([p for p, _ in self.pieces()] or [np.zeros(0)])
        if not len(every):
            return every
        inner = np.quantile(every, np.arange(1, many) / many, method="higher")
        limits: Floats = np.unique(inner[inner > every.min()])
        return limits
