"""Cases whose images are in memory, or whose files are named one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs.case_pair import (
    CaseOptions,
    decided,
    make_case_pair,
    one_file,
    read_side,
)
from medloss.evaluation.inputs.pairing import FoundCases, Pair, Structures
from medloss.evaluation.reading.images import Image, case_name, make_image
from medloss.evaluation.reading.settled import settled
from medloss.evaluation.reading.stored import PATIENT, CaseError, Stored, sizes_alone
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan, attempt, evaluate_case_pair, evaluate_pair

Side = Any
"""A path, paths by structure, or an array: of numpy, torch, or MONAI with its place."""


@dataclass(frozen=True, eq=False)
class GivenCases:
    """Cases that were given one by one.

    Args:
        found: the cases; a side in memory has no file.
        arrays: prediction and reference by case, where at least one of them is in memory.
    """

    found: FoundCases
    arrays: Mapping[str, tuple[Side, Side]]

    def evaluate(self, pairs: Sequence[Pair], plan: EvalPlan) -> Iterator[CaseResult]:
        """Score these cases, in order."""
        for pair in pairs:
            if pair.name in self.arrays:
                yield attempt(pair, self._work(pair, plan))
            else:
                yield evaluate_pair(pair, plan)

    def _work(self, pair: Pair, plan: EvalPlan) -> Callable[[], CaseResult]:
        def work() -> CaseResult:
            inputs, (prediction, reference) = plan.inputs, self.arrays[pair.name]
            sides = make_case_pair(
                _image("prediction", pair, prediction, inputs, inputs.remap_prediction),
                _image("reference", pair, reference, inputs, inputs.remap_reference),
                inputs,
            )
            return evaluate_case_pair(pair, sides, plan)

        return work


def given_cases(predictions: Any, references: Any, names: Sequence[str] | None) -> GivenCases:
    """Cases of two arrays, two lists in one order, or two mappings with the same keys.

    Raises:
        ValueError: they do not belong together; says what was expected and what came.
    """
    if is_array(predictions) or is_array(references):
        predictions, references = [predictions], [references]
    for word, side in (("predictions", predictions), ("references", references)):
        if not isinstance(side, Mapping | Sequence) or isinstance(side, str):
            raise ValueError(
                f"{word}: expected a path, an array, or a list or mapping of such, got {side!r:.60}"
            )
    if isinstance(predictions, Mapping) != isinstance(references, Mapping):
        kind = "a mapping" if isinstance(predictions, Mapping) else "a list"
        raise ValueError(
            f"references: expected {kind} as predictions are, got {type(references).__name__}"
        )
    if isinstance(predictions, Mapping):
        if names is not None:
            raise ValueError("names: expected None where cases have keys, got names")
        apart = sorted(map(str, predictions.keys() ^ references.keys()))
        if apart:
            raise ValueError(
                f"references: expected the cases of predictions; only one of them has "
                f"{', '.join(apart[:6])}"
            )
        titles = [str(name) for name in predictions]
        sides = [(predictions[name], references[name]) for name in predictions]
    else:
        if len(predictions) != len(references):
            raise ValueError(
                f"references: expected {len(predictions)} as of predictions, got {len(references)}"
            )
        sides = list(zip(predictions, references, strict=True))
        titles = list(names) if names is not None else _names([one for one, _ in sides])
        if len(titles) != len(sides):
            raise ValueError(f"names: expected {len(sides)}, got {len(titles)}")
    if not sides:
        raise ValueError("predictions: expected at least one case, got none")
    for title in titles:
        if titles.count(title) > 1:
            raise ValueError(f"names: expected different ones, got {title!r} twice")
    pairs = [
        Pair(title, _files(one), _files(other))
        for title, (one, other) in zip(titles, sides, strict=True)
    ]
    arrays = {
        title: side for title, side in zip(titles, sides, strict=True) if any(map(is_array, side))
    }
    return GivenCases(FoundCases(tuple(sorted(pairs, key=lambda pair: pair.name))), arrays)


def is_array(side: Any) -> bool:
    """Whether something is an image in memory; nothing is imported to tell."""
    return hasattr(side, "shape") and hasattr(side, "dtype")


def _names(predictions: Sequence[Side]) -> list[str]:
    """Of files after them; in memory by number, so that their order stays."""
    if all(isinstance(side, str | PathLike) for side in predictions):
        paths = [Path(side) for side in predictions]
        return [case_name(path) or path.name for path in paths]
    width = len(str(len(predictions)))
    return [f"case_{number:0{width}d}" for number in range(1, len(predictions) + 1)]


def _files(side: Side) -> Path | Structures | None:
    if is_array(side):
        return None
    if isinstance(side, Mapping):
        return Structures(tuple((str(name), Path(path)) for name, path in side.items()))
    if isinstance(side, str | PathLike):
        return Path(side)
    raise ValueError(
        f"predictions, references: expected paths or arrays, got {type(side).__name__}"
    )


def _image(
    word: str, pair: Pair, side: Side, inputs: CaseOptions, changes: dict[int, int]
) -> Image:
    if not is_array(side):
        files = pair.prediction if word == "prediction" else pair.reference
        return read_side(one_file(pair, files), inputs, changes, predicted=word == "prediction")
    called = Path(f"the {word} of {pair.name}")
    # Labels beside probabilities have no axis of classes.
    axes = inputs.axes if len(side.shape) == len(inputs.axes) else inputs.axes.replace("c", "")
    decode = inputs.decode if word == "prediction" else None
    image = make_image(
        called,
        settled(called, _stored(called, side, axes), dataclasses.replace(inputs.told, axes=axes)),
        channels=inputs.channels,
        threshold=inputs.threshold,
        fractions=decode is not None,
        signed=bool(changes),
        instances=inputs.instances,
    )
    return image if decode is None else decided(image, decode)


def _stored(called: Path, side: Side, axes: str) -> Stored:
    """An array, and its place if it is MONAI's.

    Without a word on its axes an array has spatial ones alone, in the order of the voxel sizes, and
    MONAI's has the classes first.
    """
    array: NDArray[Any] = np.asarray(side.detach().cpu() if hasattr(side, "detach") else side)
    affine = getattr(side, "affine", None) if hasattr(side, "meta") else None
    if affine is None:
        if not axes and array.ndim not in (2, 3):
            raise CaseError(
                f"{called} has {array.ndim} axes; say what they are, such as axes='cxyz'"
            )
        count = len(axes.replace("c", "")) or array.ndim
        return Stored(array, sizes_alone([np.nan] * count), count, space="", ordered=not axes)
    order = axes or ("cxyz" if array.ndim == 4 else "")
    if not order or order.replace("c", "") != "xyz"[: len(order.replace("c", ""))]:
        raise CaseError(
            f"{called} is an image of MONAI with {array.ndim} axes; say with axes where the "
            f"classes are, such as axes='cxy'"
        )
    if len(order) != array.ndim:
        raise CaseError(f"{called} has {array.ndim} axes, and axes={axes!r} has {len(order)}")
    if "c" in order:
        array = np.moveaxis(array, order.index("c"), -1)
    place = np.eye(4)
    matrix = np.asarray(affine.detach().cpu() if hasattr(affine, "detach") else affine, np.float64)
    count = min(len(matrix), 4) - 1
    place[:count, :count], place[:count, 3] = matrix[:count, :count], matrix[:count, -1]
    return Stored(array, place, len(order.replace("c", "")), space=PATIENT)
