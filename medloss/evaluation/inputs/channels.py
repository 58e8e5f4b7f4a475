"""The channels of a stack as predicted probabilities of classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.images import Image


def channel_labels(image: Image) -> range:
    """The labels, other than the background, that a stack has channels for.

    Example:
        >>> from pathlib import Path
        >>> from medloss.evaluation.reading.images import make_image
        >>> channel_labels(make_image(Path("a.nii"), np.full((2, 2, 4), 0.25), np.eye(4), 2))
        range(1, 4)
    """
    many = image.array.shape[-1]
    return range(1, many + 1 if image.independent or many == 1 else many)


def class_probability(image: Image, channels: Iterable[int | None]) -> NDArray[Any]:
    """Probability of any of some classes that exclude one another.

    Args:
        image: a stack.
        channels: of the classes; one that the stack does not have, or ``None``, adds nothing.

    Example:
        >>> from pathlib import Path
        >>> from medloss.evaluation.reading.images import make_image
        >>> image = make_image(Path("a.nii"), np.array([[[0.5, 0.25, 0.25]]]), np.eye(4), 2)
        >>> [class_probability(image, wanted).tolist() for wanted in ((1, 2), (0,), (9,))]
        [[[0.5]], [[0.5]], [[0.0]]]
    """
    planes = image.array
    if planes.shape[-1] == 1 and not image.independent:  # that of label 1, and 0 has the rest
        planes = np.concatenate([1 - planes, planes], axis=-1)
    found = [planes[..., n] for n in channels if n is not None and n < planes.shape[-1]]
    if len(found) == 1:
        return found[0]
    total = np.zeros(image.shape, np.float32, order="F")
    for plane in found:
        total += plane
    return total
