"""How labels are decided from probabilities: what a user asks for, and what it makes of a case."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medloss.decision.cuts import Cuts, dice_cuts, fixed_cuts
from medloss.decision.expected_dice import METHODS, Method
from medloss.decision.thresholds_file import read_thresholds

Kind = Literal["argmax", "dice", "thresholds"]

LEAST_CHANCE = 0.1
"""A class that is nowhere this probable is left out, unless the user says another number: the best
expected Dice of such a class is below twice that, and without a limit the noise of an absent class
would fill the volume, as any voxel of it is better than none."""

_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """A way from probabilities to labels.

    Args:
        kind: ``"argmax"``: the likeliest class; ``"dice"``: the largest expected Dice;
            ``"thresholds"``: a threshold for each channel.
        method: of ``"dice"``, see :func:`~medloss.decision.expected_dice.best_cut`.
        least_chance: likewise. A class of which no voxel is as probable is left out: 0 leaves out
            none; 0.5 suits a score of 1 where prediction and reference are both empty.
        thresholds: of ``"thresholds"``, one for each channel; of exclusive classes the first is the
            background's, and not used.
        channels: that they are for, ``"exclusive"`` or ``"independent"``; empty if nobody said.
        file: that they were read from.
        sha256: of its content.
        cases: names of those that they were found on.
    """

    kind: Kind
    method: Method = "auto"
    least_chance: float = LEAST_CHANCE
    thresholds: tuple[float, ...] = ()
    channels: str = ""
    file: str = ""
    sha256: str = ""
    cases: tuple[str, ...] = field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"expected argmax, dice or thresholds, got {self.kind!r}")
        if self.method not in METHODS:
            raise ValueError(f"method: expected one of {', '.join(METHODS)}, got {self.method!r}")
        if not _is_chance(self.least_chance):
            raise ValueError(f"least_chance: expected 0 to 1, got {self.least_chance!r}")
        if (self.kind == "thresholds") != bool(self.thresholds):
            raise ValueError(f"thresholds: expected one for each channel, got {self.thresholds!r}")
        if self.channels not in ("", "exclusive", "independent"):
            raise ValueError(f"channels: expected exclusive or independent, got {self.channels!r}")
        for each in self.thresholds:
            if not _is_chance(each):
                raise ValueError(f"thresholds: expected numbers from 0 to 1, got {each!r}")

    def cuts(
        self,
        channels: Sequence[NDArray[Any]],
        *,
        exclusive: bool,
        counted: NDArray[np.bool_] | None = None,
    ) -> Cuts | None:
        """Where each class of a case is; ``None`` where the likeliest class counts.

        Args:
            channels: probabilities of the classes.
            exclusive: whether they exclude one another; the first of several is then the
                background.
            counted: the voxels that count, all by default.

        Raises:
            ValueError: there are other channels than it has thresholds for, or the likeliest of
                classes that do not exclude one another is asked for.
        """
        if self.kind == "argmax":
            if not exclusive:
                raise ValueError(
                    "channels of their own, of which several may be there, have no likeliest one"
                )
            return None
        if self.kind == "dice":
            return dice_cuts(
                channels,
                exclusive=exclusive,
                method=self.method,
                least_chance=self.least_chance,
                counted=counted,
            )
        if len(self.thresholds) != len(channels):
            raise ValueError(
                f"{self.file or 'thresholds'} has thresholds for {len(self.thresholds)} channels, "
                f"and there are {len(channels)}"
            )
        own = "exclusive" if exclusive else "independent"
        if self.channels not in ("", own) and len(channels) > 1:
            raise ValueError(
                f"{self.file or 'thresholds'} has thresholds for {self.channels} channels, and "
                f"these are {own}"
            )
        if not all(self.thresholds[1 if exclusive and len(channels) > 1 else 0 :]):
            raise ValueError(
                f"{self.file or 'thresholds'} has a threshold of 0, which every voxel is above"
            )
        return fixed_cuts(self.thresholds, exclusive=exclusive)

    def record(self) -> dict[str, Any]:
        """What results say of it: all that it depends on, and nothing that it does not.

        Example:
            >>> Decoding(kind="dice").record()
            {'kind': 'dice', 'method': 'auto', 'least_chance': 0.1}
        """
        own = {
            "dice": ("method", "least_chance"),
            "thresholds": ("thresholds", "channels", "file", "sha256"),
        }.get(self.kind, ())
        said = asdict(self)
        return {"kind": self.kind} | {name: said[name] for name in own if said[name] != ""}

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Decoding:
        """From what :meth:`record` gave, also after it was JSON.

        Raises:
            ValueError: it holds something else.
        """
        known = {each.name for each in fields(cls)} - {"cases"}
        if lost := [name for name in record if name not in known]:
            raise ValueError(f"expected {', '.join(sorted(known))}, got {lost[0]}")
        given = dict(record)
        try:
            given["thresholds"] = tuple(map(float, given.get("thresholds", ())))
            return cls(**given)
        except TypeError as error:
            raise ValueError(f"expected kind and its options, got {dict(record)!r}") from error

    @classmethod
    def of_file(cls, path: Path) -> Decoding:
        """Thresholds that ``medloss thresholds`` found, or a file ``{"thresholds": [0, 0.4]}``.

        Raises:
            ValueError: it cannot be read, holds none, or was changed by hand.
        """
        found = read_thresholds(path)
        return cls(
            kind="thresholds",
            thresholds=found.thresholds,
            channels=str(found.content.get("channels", "")),
            file=path.name,
            sha256=found.sha256,
            cases=tuple(map(str, found.content.get("case_names", ()))),
        )

    def fitted_to(self, names: Iterable[str]) -> str:
        """What has to be said where cases are scored that thresholds were found on; else empty.

        Example:
            >>> decoding = Decoding(kind="thresholds", thresholds=(0, 0.4), cases=("a", "b"))
            >>> decoding.fitted_to(["b", "c"])
            'the thresholds were found on 1 of these cases, which flatters them: b'
        """
        both = [name for name in names if name in set(self.cases)]
        if not both:
            return ""
        more = ", ..." if len(both) > _NAMED else ""
        return (
            f"the thresholds were found on {len(both)} of these cases, which flatters them: "
            f"{', '.join(both[:_NAMED])}{more}"
        )

    def sentence(self) -> str:
        """What a reader of the results is told.

        Example:
            >>> Decoding(kind="thresholds", thresholds=(0.3, 0.5)).sentence()
            'Labels were decided by a threshold for each channel: 0.3, 0.5'
        """
        if self.kind == "argmax":
            return "Labels were decided by the likeliest class"
        if self.kind == "dice":
            how = {"auto": "", "exact": ", exact", "rma": ", RMA"}[self.method]
            least = (
                f"; a class that is nowhere as probable as {self.least_chance:g} is left out"
                if self.least_chance
                else ""
            )
            return f"Labels were decided by the largest expected Dice{how}{least}"
        listed = ", ".join(f"{each:g}" for each in self.thresholds)
        of = f" of {self.file}" if self.file else ""
        return f"Labels were decided by a threshold for each channel{of}: {listed}"


def _is_chance(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value) and 0 <= value <= 1
