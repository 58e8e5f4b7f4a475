"""What is known of a class in a case beside its value, and what an undefined value counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

Missed = Literal["diagonal", "inf", "exclude"]
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
            image in mm (``"diagonal"``), as infinity (``"inf"``), or not at all (``"exclude"``).
        both_empty: a class in neither map does not count (``"exclude"``), or counts as a perfect
            result (``"perfect"``).

    Raises:
        ValueError: any other word.

    Example:
        >>> EmptyPolicy(missed="inf").describe()
        'missed or spurious: infinite distance; in neither: excluded'
    """

    missed: Missed = "diagonal"
    both_empty: BothEmpty = "exclude"

    def __post_init__(self) -> None:
        for name, words in (("missed", Missed), ("both_empty", BothEmpty)):
            value = getattr(self, name)
            if value not in get_args(words):
                expected = " or ".join(repr(word) for word in get_args(words))
                raise ValueError(f"{name}: expected {expected}, got {value!r}")

    def describe(self) -> str:
        """One line to print beside the results."""
        missed = {
            "diagonal": "distance counts as the image diagonal",
            "inf": "infinite distance",
            "exclude": "infinite distance excluded",
        }
        both_empty = {"exclude": "excluded", "perfect": "counts as perfect"}
        return (
            f"missed or spurious: {missed[self.missed]}; in neither: {both_empty[self.both_empty]}"
        )


@dataclass(frozen=True)
class Score:
    """Value of a metric for one class of one case, and the status of the class there."""

    value: float
    status: Status
