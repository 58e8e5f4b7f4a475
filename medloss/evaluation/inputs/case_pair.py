"""How the two files of a case become what is scored: as the user asked, and with a note of it."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs.geometry import check_same_grid, unknown_place
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading import values
from medloss.evaluation.reading.images import Image, read_image
from medloss.evaluation.reading.settled import Told
from medloss.evaluation.reading.stored import CaseError, Channels, NeedsGridError, Rule


@dataclass(frozen=True)
class CaseOptions:
    """What is done to the files of every case before it is scored.

    Args:
        remap_prediction: new labels by old ones, of the predictions.
        remap_reference: likewise, of the references.
        ignore_label: voxels that the reference gives this label do not count.
        resample: whether a prediction on another grid is brought to the reference's.
        channels: what the channels of a stack are; by default exclusive.
        contours: whether voxels are in whose centres lie on the line of a contour.
        reader: name of the reader of all files that it claims, instead of medloss's own.
        region_order: the label that each channel writes, as nnU-Net makes maps of regions.
        channels_only: whether files that hold no such channels are refused.
        spacing_mm: voxel size of files that do not state theirs; see :class:`Told`.
        axes: the order of axes of files that do not say it; see there.
        left_out: names of the references that are no cases because nobody predicted them.
        passed_over: paths in the two folders that belong to no case.
    """

    remap_prediction: dict[int, int] = field(default_factory=dict)
    remap_reference: dict[int, int] = field(default_factory=dict)
    ignore_label: int | None = None
    resample: bool = False
    channels: Channels | None = None
    contours: Rule = "inclusive"
    reader: str | None = None
    region_order: tuple[int, ...] = ()
    channels_only: bool = False
    spacing_mm: tuple[float, ...] = ()
    axes: str = ""
    left_out: tuple[str, ...] = field(default=(), compare=False)
    passed_over: tuple[str, ...] = field(default=(), compare=False)

    @property
    def told(self) -> Told:
        """What the user says of files that do not say it themselves."""
        return Told(self.spacing_mm, self.axes, self.contours)

    def record(self) -> dict[str, Any]:
        """What was asked for, to be written into the results; nothing where nothing was."""
        asked = {
            name: {str(old): new for old, new in value.items()}
            if isinstance(value, dict)
            else value
            for name, value in vars(self).items()
        }
        # 0 is a label like any other.
        asked["contours"] = "" if self.contours == "inclusive" else self.contours
        return {name: value for name, value in asked.items() if value or type(value) is int}


@dataclass(frozen=True, eq=False)
class CasePair:
    """Both images of a case on one grid.

    Args:
        prediction: with its labels changed as asked.
        reference: likewise.
        ignored: where voxels do not count, ``None`` for nowhere.
        notes: what was done to this case.
    """

    prediction: Image
    reference: Image
    ignored: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()


def read_case_pair(pair: Pair, inputs: CaseOptions) -> CasePair:
    """Read both files, each once.

    Raises:
        CaseError: a file cannot be used, or the two do not lie on the same grid.
    """
    if pair.problem or pair.prediction is None or pair.reference is None:
        raise CaseError(pair.problem)
    read = functools.partial(
        read_image, channels=inputs.channels, reader=inputs.reader, told=inputs.told
    )
    try:
        reference = read(pair.reference)
    except NeedsGridError:  # shapes without an image of their own: on the prediction's grid
        prediction = read(pair.prediction)
        reference = read(pair.reference, grid=prediction)
    else:
        prediction = read(pair.prediction, grid=reference)
    return make_case_pair(prediction, reference, inputs)


def make_case_pair(prediction: Image, reference: Image, inputs: CaseOptions) -> CasePair:
    """Bring two images to one grid and to the labels asked for.

    Raises:
        CaseError: they do not lie on the same grid, or cannot be changed as asked.
    """
    for image in (prediction, reference):
        if inputs.channels_only and not image.independent:
            raise CaseError(
                f"{image.path} holds a label map, and the labels are named after channels without "
                f"a background; say what its labels are, such as --labels core=1,whole=1+2"
            )
    notes = [image.note for image in (prediction, reference) if image.note]
    try:
        check_same_grid(prediction, reference)
    except CaseError as error:
        prediction, note = _onto(prediction, reference, error, inputs.resample)
        notes.append(note)
    else:
        if unknown := unknown_place(prediction, reference):
            notes.append(f"{unknown}: shape and voxel size alone show that they belong together")
    prediction = _remapped(_as_map(prediction, inputs), inputs.remap_prediction)
    reference = _remapped(_as_map(reference, inputs), inputs.remap_reference)
    return CasePair(prediction, reference, _ignored(reference, inputs.ignore_label), tuple(notes))


def _onto(
    prediction: Image, reference: Image, error: CaseError, resample: bool
) -> tuple[Image, str]:
    from medloss.evaluation.inputs.geometry import onto, reoriented

    if resample:
        if unknown := unknown_place(prediction, reference):
            raise CaseError(
                f"{error}; --resample has nothing to go by: {unknown}", error.sign
            ) from error
        return onto(prediction, reference)
    if reoriented(prediction, reference) is not None:
        raise CaseError(
            f"{error}; only the order or direction of the axes differs, and --resample turns them "
            f"without loss",
            error.sign,
        ) from error
    raise error


def _as_map(image: Image, inputs: CaseOptions) -> Image:
    """nnU-Net's channels of regions as its label map: a later channel overwrites an earlier one."""
    if not image.independent or not inputs.region_order:
        return image
    if image.array.shape[-1] != len(inputs.region_order):
        raise CaseError(
            f"{image.path} has {image.array.shape[-1]} channels; regions_class_order has "
            f"{len(inputs.region_order)} labels"
        )
    labels = np.zeros(image.shape, dtype=np.min_scalar_type(max(inputs.region_order)), order="F")
    for channel, label in enumerate(inputs.region_order):
        labels[image.array[..., channel] > 0.5] = label
    return dataclasses.replace(image, array=labels, probabilities=False, independent=False)


def _remapped(image: Image, changes: dict[int, int]) -> Image:
    if not changes:
        return image
    if image.independent:
        raise CaseError(f"{image.path} holds channels and no labels that could be remapped")
    labels = values.recode(image.labels(), changes, keep=True)
    return dataclasses.replace(image, array=labels, probabilities=False)


def _ignored(reference: Image, label: int | None) -> NDArray[np.bool_] | None:
    if label is None:
        return None
    if reference.independent:
        raise CaseError(f"{reference.path} holds channels and no label to ignore")
    ignored = reference.labels() == label
    return ignored if ignored.any() else None
