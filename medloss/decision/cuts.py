"""From probabilities of several classes to labels, by a threshold and a weight of each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.decision.expected_dice import Method, best_cut


@dataclass(frozen=True)
class Cuts:
    """Where each class is.

    Classes of their own are where their probability is at least their threshold. Of classes that
    exclude one another the first is the background; a voxel goes to the class whose
    (p − threshold) · weight is the largest, and to the background where none is at least 0.

    Args:
        thresholds: of each channel; that of a background is not used.
        weights: likewise, where classes exclude one another; else empty.
    """

    thresholds: tuple[float, ...]
    weights: tuple[float, ...] = ()

    def mask(self, probabilities: NDArray[Any], channel: int) -> NDArray[np.uint8]:
        """Where a class of its own is.

        Example:
            >>> Cuts((0.5, 0.25)).mask(np.array([0.2, 0.25]), 1)
            array([0, 1], dtype=uint8)
        """
        return (probabilities >= self.thresholds[channel]).view(np.uint8)

    def labels(self, channels: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """The label map of classes that exclude one another; of one channel its mask.

        Example:
            >>> cuts = Cuts((0, 0.4, 0.1), (0, 1 / 0.4, 1 / 0.1))
            >>> cuts.labels([np.array([0.8, 0.5]), np.array([0.1, 0.4]), np.array([0.1, 0.1])])
            array([2, 1], dtype=uint8)
        """
        if len(channels) <= 2:
            return self.mask(channels[-1], len(channels) - 1)
        wide = np.result_type(channels[0].dtype, np.float32)
        # Below 0, which is the gain where p is the threshold.
        best = np.full_like(channels[0], -np.finfo(wide).tiny, dtype=wide)
        labels = np.zeros_like(best, dtype=np.min_scalar_type(len(channels) - 1))
        for label in range(1, len(channels)):
            if math.isinf(self.thresholds[label]):
                continue
            gain = np.subtract(channels[label], self.thresholds[label], dtype=wide)
            gain *= self.weights[label]
            better = gain > best
            labels[better] = label
            np.copyto(best, gain, where=better)
        return labels


def dice_cuts(
    channels: Sequence[NDArray[Any]],
    *,
    exclusive: bool,
    method: Method = "auto",
    least_chance: float = 0.0,
    counted: NDArray[np.bool_] | None = None,
) -> Cuts:
    """The cuts of largest expected Dice, of each class by itself.

    A voxel that several of exclusive classes want goes to the one to whose expected Dice it adds
    most: a voxel of probability p adds 2 (p − t) / (n + μ), with n the voxels of the class.

    Args:
        channels: probabilities of each class.
        exclusive: classes exclude one another, and the first of several is the background.
        method: as :func:`~medloss.decision.expected_dice.best_cut`.
        least_chance: see there.
        counted: the voxels that count, all by default; the others are decided by the same cuts.

    Example:
        >>> class_1 = np.array([0.45, 0.4, 0.05])
        >>> dice_cuts([1 - class_1, class_1], exclusive=True).labels([1 - class_1, class_1])
        array([1, 1, 0], dtype=uint8)
    """
    thresholds, weights = [], []
    for number, channel in enumerate(channels):
        if exclusive and number == 0 and len(channels) > 1:
            thresholds.append(0.0)
            weights.append(0.0)
            continue
        own = channel if counted is None else channel[counted]
        cut = best_cut(own, method=method, least_chance=least_chance)
        thresholds.append(cut.threshold)
        weights.append(1 / (cut.voxels + cut.volume) if cut.voxels else 0.0)
    return Cuts(tuple(thresholds), tuple(weights) if exclusive else ())


def fixed_cuts(thresholds: Sequence[float], *, exclusive: bool) -> Cuts:
    """Cuts that are known: of exclusive classes the one counts that is furthest above its own.

    That is the largest p / threshold.

    Example:
        >>> fixed_cuts([0, 0.5, 0.25], exclusive=True)
        Cuts(thresholds=(0.0, 0.5, 0.25), weights=(0.0, 2.0, 4.0))
    """
    own = tuple(map(float, thresholds))
    weights = tuple(1 / each if each else 0.0 for each in own)
    return Cuts(own, weights if exclusive else ())
