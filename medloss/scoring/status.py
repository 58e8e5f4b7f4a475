"""What is known of a class in a case beside its value, and what an undefined value counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

from medloss.scoring.presets import find_preset

MissedWord = Literal["diagonal", "inf", "exclude"]
Missed = MissedWord | float
BothEmpty = Literal["exclude", "perfect"]


class Status(StrEnum):
    """Where a class of a case occurs."""

    OK = "ok"
    """In the reference and in the prediction."""

    BOTH_EMPTY = "both_empty"
    """In neither."""

    MISSED = "missed"
    """In the reference only."""

    SPURIOUS = "spurious"
    """In the prediction only."""

    NOT_ANNOTATED = "not_annotated"
    """Unknown: the class was not annotated in this case."""


@dataclass(frozen=True)
class EmptyPolicy:
    """What a class counts that is missing from the reference, the prediction or both.

    Args:
        missed: an infinite distance of a missed or spurious class counts as the diagonal of the
            image in mm (``"diagonal"``), as so many mm (a number), as infinity (``"inf"``), or not
            at all (``"exclude"``).
        both_empty: a class in neither map does not count (``"exclude"``), or counts as a perfect
            result (``"perfect"``).

    Raises:
        ValueError: any other word, or a number that is no distance.

    Example:
        >>> EmptyPolicy(missed="inf").describe()
        'missed or spurious: infinite distance; in neither: excluded'
    """

    missed: Missed = "diagonal"
    both_empty: BothEmpty = "exclude"

    def __post_init__(self) -> None:
        for name, words, rest in (
            ("missed", MissedWord, " or a number of mm"),
            ("both_empty", BothEmpty, ""),
        ):
            value = getattr(self, name)
            if rest and isinstance(value, int | float) and 0 <= value < math.inf:
                continue
            if not isinstance(value, str) or value not in get_args(words):
                expected = " or ".join(repr(word) for word in get_args(words))
                raise ValueError(f"{name}: expected {expected}{rest}, got {value!r}")

    @classmethod
    def of(
        cls, preset: str, missed: Missed | None = None, both_empty: BothEmpty | None = None
    ) -> EmptyPolicy:
        """The policy that a preset has of its own, unless told otherwise.

        Example:
            >>> EmptyPolicy.of("brats2023")
            EmptyPolicy(missed=374.0, both_empty='perfect')
        """
        own = find_preset(preset)
        return cls(
            own.missed if missed is None else missed,
            own.both_empty if both_empty is None else both_empty,
        )

    def describe(self) -> str:
        """One line to print beside the results."""
        words = {
            "diagonal": "distance counts as the image diagonal",
            "inf": "infinite distance",
            "exclude": "infinite distance excluded",
        }
        both_empty = {"exclude": "excluded", "perfect": "counts as perfect"}
        missed = (
            words[self.missed]
            if isinstance(self.missed, str)
            else f"distance counts as {self.missed:g} mm"
        )
        return f"missed or spurious: {missed}; in neither: {both_empty[self.both_empty]}"


@dataclass(frozen=True)
class Score:
    """Value of a metric for one class of one case, and the status of the class there."""

    value: float
    status: Status
