"""How the two files of a case become what is scored: as the user asked, and with a note of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.decision import Decoding
from medloss.evaluation.inputs.geometry import check_same_grid, covering, united, unknown_place
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.inputs.layers import Layer, make_layers
from medloss.evaluation.inputs.naming import pair_labels
from medloss.evaluation.inputs.pairing import Files, Pair, Structures
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
        names: names that files may use for the classes asked for, by class.
        regions: labels that the regions asked for are made of.
        contours: whether voxels are in whose centres lie on the line of a contour.
        reader: name of the reader of all files that it claims, instead of medloss's own.
        region_order: the label that each channel writes, as nnU-Net makes maps of regions.
        channels_only: whether files that hold no such channels are refused.
        spacing_mm: voxel size of files that do not state theirs; see :class:`Told`.
        spacing_from: the file that says it, where it is not the user; see there.
        axes: the order of axes of files that do not say it; see there.
        threshold: from which probability on a class of its own is there; ``None`` is 0.5, and
            refuses fractions without an axis of classes.
        decode: how labels are decided from the probabilities of predictions; ``None`` is the
            likeliest class, or the threshold for classes of their own.
        instances: whether each value of a map is an object.
        label_divisor: its class is the value divided by this, without the rest; ``None`` where
            all are of one class.
        layout: how each of two folders is laid out, where it is not flat.
        left_out: names of the references that are no cases because nobody predicted them.
        passed_over: paths in the two folders that belong to no case.
        unscored: those of them that look like images.
        beside: images of cases that are no labels of them.
        only: patterns of the names of cases that are meant; empty for all.
    """

    remap_prediction: dict[int, int] = field(default_factory=dict)
    remap_reference: dict[int, int] = field(default_factory=dict)
    ignore_label: int | None = None
    resample: bool = False
    channels: Channels | None = None
    names: dict[Label, tuple[str, ...]] = field(default_factory=dict)
    regions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    contours: Rule = "inclusive"
    reader: str | None = None
    region_order: tuple[int, ...] = ()
    channels_only: bool = False
    spacing_mm: tuple[float, ...] = ()
    spacing_from: str = ""
    axes: str = ""
    threshold: float | None = None
    decode: Decoding | None = None
    instances: bool = False
    label_divisor: int | None = None
    layout: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=(), compare=False)
    passed_over: tuple[str, ...] = field(default=(), compare=False)
    unscored: tuple[str, ...] = field(default=(), compare=False)
    beside: tuple[str, ...] = field(default=(), compare=False)
    only: tuple[str, ...] = field(default=(), compare=False)

    @property
    def told(self) -> Told:
        """What the user says of files that do not say it themselves."""
        return Told(self.spacing_mm, self.axes, self.contours, self.spacing_from)

    def record(self) -> dict[str, Any]:
        """What was asked for, to be written into the results; nothing where nothing was."""
        asked = {
            name: {str(old): new for old, new in value.items()}
            if isinstance(value, dict)
            else value
            for name, value in vars(self).items()
        }
        # 0 is a label like any other.
        asked["decode"] = {} if self.decode is None else self.decode.record()
        asked["contours"] = "" if self.contours == "inclusive" else self.contours
        if self.spacing_from:  # nobody asked: the cases say where it was needed
            del asked["spacing_mm"], asked["spacing_from"]
        return {name: value for name, value in asked.items() if value or type(value) is int}


@dataclass(frozen=True, eq=False)
class CasePair:
    """Both images of a case on one grid.

    Args:
        prediction: with its labels changed as asked, and numbered as the reference's are.
        reference: likewise.
        ignored: where voxels do not count, ``None`` for nowhere.
        notes: what was done to this case.
        objects: of the prediction and of the reference: the number of the object that each voxel
            belongs to, where the files say it. The images are then masks of all of them.
        titles: the names that stand for numbers in the results, where labels pair by name.
        classes: what is scored where nobody says what, or ``None``: every label that is there.
        by_name: whether a name decided which label is which.
    """

    prediction: Image
    reference: Image
    ignored: NDArray[np.bool_] | None = None
    notes: tuple[str, ...] = ()
    objects: tuple[NDArray[Any], NDArray[Any]] | None = None
    titles: Mapping[int, Label] = field(default_factory=dict)
    classes: tuple[Label, ...] | None = None
    by_name: bool = False

    @property
    def exclusive(self) -> bool:
        """Whether each voxel of both images has one label, and no more."""
        return not (self.prediction.independent or self.reference.independent)

    def layers(
        self,
        labels: Sequence[Label] | None,
        regions: Mapping[str, tuple[int, ...]],
        without: int | None = None,
        *,
        probabilities: bool = False,
    ) -> tuple[Layer, ...]:
        """The layers of both images, with classes called what the results call them.

        Args:
            labels: classes, or ``None`` for every label that either image holds.
            regions: and the others: see :func:`~medloss.evaluation.inputs.layers.make_layers`.
            without: see there.
            probabilities: see there.

        Raises:
            CaseError: the classes cannot be told from the channels of a stack.
        """
        numbers = {title: number for number, title in self.titles.items()}
        found = make_layers(
            self.prediction,
            self.reference,
            None if labels is None else [numbers.get(label, label) for label in labels],
            regions,
            without,
            probabilities=probabilities,
            by_name=self.by_name,
        )
        return tuple(
            dataclasses.replace(
                layer,
                codes={
                    self.titles.get(label, label) if isinstance(label, int) else label: code
                    for label, code in layer.codes.items()
                },
            )
            for layer in found
        )


def read_case_pair(pair: Pair, inputs: CaseOptions) -> CasePair:
    """Read both files, each once.

    Raises:
        CaseError: a file cannot be used, or the two do not lie on the same grid.
    """
    try:
        reference = read_side(one_file(pair, pair.reference), inputs, inputs.remap_reference)
    except NeedsGridError:  # shapes without an image of their own: on the prediction's grid
        path = one_file(pair, pair.prediction)
        prediction = read_side(path, inputs, inputs.remap_prediction, predicted=True)
        path = one_file(pair, pair.reference)
        reference = read_side(path, inputs, inputs.remap_reference, prediction)
    else:
        path = one_file(pair, pair.prediction)
        prediction = read_side(path, inputs, inputs.remap_prediction, reference, predicted=True)
    return make_case_pair(prediction, reference, inputs)


def one_file(pair: Pair, side: Files | None) -> Path:
    """The file of a side that has one.

    Raises:
        CaseError: it is missing, or there is one for each structure.
    """
    if pair.problem or side is None:
        raise CaseError(pair.problem)
    if isinstance(side, Structures):
        raise CaseError(f"{side} has a file for each structure, where one is expected")
    return side


def read_side(
    path: Path,
    inputs: CaseOptions,
    changes: dict[int, int],
    grid: Image | None = None,
    *,
    predicted: bool = False,
) -> Image:
    """Read a file as the user says what its values mean; labels are not changed yet.

    Args:
        path: the file.
        inputs: what was said.
        changes: of its labels, which may be of negative ones.
        grid: where it lies if it does not say so itself.
        predicted: it is a prediction, whose labels are decided as the user says.

    Raises:
        CaseError: it cannot be used.
    """
    decode = inputs.decode if predicted else None
    image = read_image(
        path,
        channels=inputs.channels,
        grid=grid,
        reader=inputs.reader,
        told=inputs.told,
        threshold=inputs.threshold,
        fractions=decode is not None,
        signed=any(old < 0 for old in changes),
        instances=inputs.instances,
    )
    return image if decode is None else decided(image, decode)


def decided(image: Image, decode: Decoding) -> Image:
    """A prediction with the cuts that its labels are made by: those of all its own voxels.

    Raises:
        CaseError: it holds labels, or other channels than there are thresholds for.
    """
    if not image.probabilities:
        raise CaseError(
            f"{image.path} holds labels, which are decided already; --decode needs probabilities, "
            f"with the classes as the last axis (nnU-Net's .npz is taken with --probabilities)"
        )
    try:
        cuts = decode.cuts(image.channels, exclusive=not image.independent)
    except ValueError as error:
        raise CaseError(f"{image.path}: --decode {decode.kind}: {error}") from error
    return dataclasses.replace(image, cuts=cuts)


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
        placed = united(prediction, reference)
        if placed is not None:
            prediction, reference, note = placed
        else:
            if inputs.resample and reference.cropped and len(prediction.shape) == 3:
                reference = covering(reference, prediction)
            prediction, note = _onto(prediction, reference, error, inputs.resample)
        notes.append(note)
    else:
        if unknown := unknown_place(prediction, reference):
            notes.append(f"{unknown}: shape and voxel size alone show that they belong together")
    prediction = changed(prediction, inputs, inputs.remap_prediction)
    reference = changed(reference, inputs, inputs.remap_reference)
    ignored = _ignored(reference, inputs.ignore_label)
    if inputs.instances:
        objects = prediction.array, reference.array
        divisor = inputs.label_divisor
        prediction, reference = (_classes(image, divisor) for image in (prediction, reference))
        return CasePair(prediction, reference, ignored, tuple(notes), objects)
    named = pair_labels(prediction, reference, inputs.names, inputs.regions, inputs.ignore_label)
    return CasePair(
        named.prediction,
        named.reference,
        ignored,
        (*notes, *named.notes),
        titles=named.titles,
        classes=named.classes,
        by_name=named.by_name,
    )


def changed(image: Image, inputs: CaseOptions, changes: dict[int, int]) -> Image:
    """An image with its labels changed, and channels of regions as nnU-Net's label map.

    Raises:
        CaseError: it holds no labels, or one is negative still.
    """
    image = _remapped(_as_map(image, inputs), changes)
    if inputs.instances and image.probabilities:
        raise CaseError(f"{image.path} holds probabilities and no objects, which --instances reads")
    signed = image.array.dtype.kind == "i" and not image.probabilities
    if signed and (low := int(image.array.min())) < 0:
        raise CaseError(
            f"{image.path} holds the label {low}, which nothing changes; labels are at least 0"
        )
    return image


def _classes(image: Image, divisor: int | None) -> Image:
    """The classes of objects: the value by the divisor, or label 1 for all."""
    if not divisor:
        return dataclasses.replace(image, array=(image.array != 0).view(np.uint8))
    classes = image.array // divisor
    lost = image.array[(classes == 0) & (image.array != 0)]
    if lost.size:
        raise CaseError(
            f"{image.path} holds the value {int(lost.min())}, an object of no class: those of "
            f"class 1 begin at --label-divisor {divisor}"
        )
    return dataclasses.replace(image, array=classes)


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
    if not unknown_place(prediction, reference) and len(reference.shape) == 3:
        raise CaseError(
            f"{error}; --resample would bring the prediction to the grid of the reference",
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
        own = (
            image.array[..., channel] > image.threshold
            if image.cuts is None
            else image.mask(channel)
        )
        labels[own != 0] = label
    return dataclasses.replace(image, array=labels, probabilities=False, independent=False)


def _remapped(image: Image, changes: dict[int, int]) -> Image:
    if not changes:
        return image
    if image.independent:
        raise CaseError(f"{image.path} holds channels and no labels that could be remapped")
    labels = values.recode(image.labels(), changes, keep=True)
    # Who changes numbers speaks in numbers, which are no longer those that the names belong to.
    return dataclasses.replace(image, array=labels, probabilities=False, names={}, codes={})


def _ignored(reference: Image, label: int | None) -> NDArray[np.bool_] | None:
    if label is None:
        return None
    if reference.independent:
        raise CaseError(f"{reference.path} holds channels and no label to ignore")
    ignored = reference.labels() == label
    return ignored if ignored.any() else None
