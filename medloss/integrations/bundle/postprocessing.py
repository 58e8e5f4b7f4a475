"""How a bundle makes labels of what its network gives, as far as it can be done row by row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    CopyItemsd,
    EnsureTyped,
    Invertd,
    SaveImaged,
)
from torch import Tensor

from medloss.decision import Decoding
from medloss.evaluation.reading.stored import Channels
from medloss.integrations.decision import DecideLabelsd

PREDICTION = "pred"
"""MONAI's key of a prediction."""


@dataclass(frozen=True, eq=False)
class Decision:
    """From the network's output to labels.

    Args:
        activation: what makes probabilities of it, None where it is compared as it is.
        threshold: classes are independent, each is where its value is at least this; None takes
            the class of the largest value.
        nearest: labels are brought to the grid of the image file, not probabilities.
        after: transforms of the label map on that grid.
        decoding: labels are decided by this, of the probabilities of the whole volume on that grid.
    """

    activation: Literal["softmax", "sigmoid"] | None = None
    threshold: float | None = None
    nearest: bool = False
    after: tuple[Any, ...] = ()
    decoding: Decoding | None = None

    @property
    def channels(self) -> Channels:
        """Whether one class excludes the others."""
        return "exclusive" if self.threshold is None else "independent"

    def by(self, decoding: Decoding) -> Decision:
        """The same with other labels.

        Raises:
            ValueError: the values are no probabilities.
        """
        if self.activation is None:
            raise ValueError(
                "--decode needs probabilities; postprocessing has no Activationsd with softmax or "
                "sigmoid"
            )
        return dataclasses.replace(self, decoding=decoding)

    def activate(self, values: Tensor) -> Tensor:
        """Values of the classes, (B, C, *spatial)."""
        if self.activation == "softmax":
            return values.softmax(1)
        return values.sigmoid() if self.activation == "sigmoid" else values


def read_postprocessing(folder: Path, transform: Any) -> Decision:
    """Understand a bundle's postprocessing.

    Known are, in this order: ``Activationsd``, ``Invertd``, ``AsDiscreted`` (or ``DiceOptimald``,
    ``AsDiscreteByThresholdsd``), and behind those any transforms of the label map; ``Invertd`` may
    stand behind ``AsDiscreted`` too. What saves files
    is left out.

    Args:
        folder: of the bundle, for the error texts.
        transform: a ``Compose``, or None for argmax.

    Raises:
        ValueError: it does something else.
    """
    activation: Literal["softmax", "sigmoid"] | None = None
    threshold: float | None = None
    decoding: Decoding | None = None
    discrete, inverted, nearest = False, False, False
    after: list[Any] = []
    for step in _steps(transform):
        if isinstance(step, (SaveImaged, EnsureTyped, CopyItemsd)):
            continue
        if isinstance(step, Invertd):
            nearest = nearest or discrete or bool(_of_prediction(step, step.nearest_interp))
            if inverted or after:
                raise ValueError(
                    f"{folder}: postprocessing has Invertd behind {type(after[-1]).__name__}"
                    if after
                    else f"{folder}: postprocessing has Invertd twice"
                )
            inverted = True
        elif isinstance(step, Activationsd) and not discrete and activation is None:
            activation = _activation(folder, step)
        elif isinstance(step, AsDiscreted) and not discrete:
            threshold = _threshold(folder, step)
            discrete = True
        elif isinstance(step, DecideLabelsd) and not discrete:
            _check_decided(folder, step)
            decoding = step.decide.decoding
            threshold = None if step.decide.channels == "exclusive" else 0.5
            discrete = True
        elif discrete:
            after.append(step)
        else:
            raise ValueError(
                f"{folder}: postprocessing has {type(step).__name__} before the labels are made, "
                f"which needs the values of all voxels; expected Activationsd, Invertd, AsDiscreted"
            )
    if activation == "sigmoid" and threshold is None:
        raise ValueError(
            f"{folder}: postprocessing has a sigmoid; expected a threshold in AsDiscreted, got none"
        )
    decision = Decision(activation, threshold, nearest, tuple(after))
    return decision if decoding is None else decision.by(decoding)


def _steps(transform: Any) -> Iterator[Any]:
    steps: Iterable[Any] = transform.transforms if isinstance(transform, Compose) else [transform]
    for step in steps:
        if isinstance(step, Compose):
            yield from _steps(step)
        elif step is not None:
            yield step


def _of_prediction(step: Any, options: Any) -> Any:
    """The option of a transform for the key of the prediction."""
    keys = list(step.keys)
    if PREDICTION not in keys or not isinstance(options, (list, tuple)):
        return options if PREDICTION in keys else None
    return options[keys.index(PREDICTION)]


def _activation(folder: Path, step: Any) -> Literal["softmax", "sigmoid"] | None:
    if _of_prediction(step, step.other) is not None:
        raise ValueError(f"{folder}: postprocessing has Activationsd with a function of its own")
    if _of_prediction(step, step.softmax):
        return "softmax"
    return "sigmoid" if _of_prediction(step, step.sigmoid) else None


def _check_decided(folder: Path, step: Any) -> None:
    if step.mask_key is not None:
        raise ValueError(
            f"{folder}: postprocessing has {type(step).__name__} with a mask_key, which "
            f"--bundle does not read"
        )
    if list(step.keys) != [PREDICTION]:
        raise ValueError(
            f"{folder}: postprocessing has {type(step).__name__} for {list(step.keys)}, expected "
            f"[{PREDICTION!r}]"
        )


def _threshold(folder: Path, step: Any) -> float | None:
    threshold = _of_prediction(step, step.threshold)
    if _of_prediction(step, step.argmax):
        if threshold is not None:
            raise ValueError(f"{folder}: postprocessing has AsDiscreted with argmax and threshold")
        return None
    if threshold is None:
        raise ValueError(f"{folder}: postprocessing has AsDiscreted without argmax or threshold")
    return float(threshold)
