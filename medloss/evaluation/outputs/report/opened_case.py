"""The files of a case read again, as they were scored, and the image that they were drawn on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.decision import Decoding
from medloss.evaluation.inputs.case_pair import CaseOptions, CasePair, read_case_pair
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.inputs.layers import Layer, add_class
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.inputs.structures import by_structure, read_structures
from medloss.evaluation.outputs.report.grey import Backdrop
from medloss.evaluation.outputs.report.orientation import Display, display_of
from medloss.evaluation.outputs.report.underlay import Underlay
from medloss.evaluation.reading import values
from medloss.evaluation.reading.images import Image, read_grey
from medloss.evaluation.reading.stored import PATIENT, CaseError
from medloss.evaluation.records import CaseResult, ResultTable, ScoredLabel


@dataclass(frozen=True)
class PictureOptions:
    """What is wanted of pictures.

    Args:
        channel: of images, as the user said it.
        window: likewise, empty for what fits.
        modality: of images, where a ``dataset.json`` says it.
        viewer: names of cases to scroll through, empty text for the worst; ``()`` for none.
    """

    channel: str = ""
    window: str = ""
    modality: str = ""
    viewer: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """What was asked for, to be written into the results."""
        return {name: value for name, value in vars(self).items() if value}

    @classmethod
    def of(cls, table: ResultTable) -> PictureOptions:
        """What was asked for when the results were written."""
        told = table.settings.get("pictures", {})
        words = {name: str(told.get(name, "")) for name in ("channel", "window", "modality")}
        return cls(**words, viewer=tuple(map(str, told.get("viewer", ()))))


class OpenedCase:
    """The files of a case, each read once, and checked against what was scored.

    Args:
        case: which.
        table: that it is in.
        options: what the user wants of pictures.
    """

    def __init__(
        self, case: CaseResult, table: ResultTable, options: PictureOptions | None = None
    ) -> None:
        self.case, self.table, self.options = case, table, options or PictureOptions()
        self._grid: Image | None = None

    @property
    def display(self) -> Display:
        """How the reference is shown; known when labels have been read."""
        grid = self._grid
        assert grid is not None  # noqa: S101  labels come first
        return display_of(grid.shape, grid.affine, placed=grid.space == PATIENT)

    def masks(self, label: ScoredLabel) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Reference and prediction of a label.

        Raises:
            CaseError: the files cannot be read, or no longer hold what was scored.
        """
        if by_structure(self._pair):
            found = next(iter(self._structures([label])), None)
            if found is None:
                raise CaseError("no file holds this structure")
            _, reference, prediction = found
        else:
            layer, code = self._found(label)
            reference, prediction = layer.reference == code, layer.prediction == code
        if (sides := self._sides) is not None and sides.ignored is not None:
            reference, prediction = reference & ~sides.ignored, prediction & ~sides.ignored
        self._check(label, int(reference.sum()), int(prediction.sum()))
        return reference, prediction

    def every_layer(self) -> tuple[list[ScoredLabel], list[Layer]]:
        """The labels that either file holds, and as few maps as hold them.

        Codes of a layer are by the place of a label among them, from 1.

        Raises:
            CaseError: as :meth:`masks`.
        """
        told = self.case.voxels
        labels = [x for x in self.table.labels if any(told.get(x.key, (0,) if told else (1,)))]
        found: list[Layer] = []
        if by_structure(self._pair):
            numbers = {label.key: number for number, label in enumerate(labels, start=1)}
            for label, true, predicted in self._structures(labels):
                self._check(label, int(true.sum()), int(predicted.sum()))
                masks = (side.astype(np.uint8, order="F") for side in (predicted, true))
                add_class(found, numbers[label.key], *masks)
            return labels, found
        codes: dict[int, dict[Label, int]] = {}
        for number, label in enumerate(labels, start=1):
            layer, code = self._found(label)
            codes.setdefault(id(layer), {})[number] = code
        for layer in self._layers:
            if mine := codes.get(id(layer)):
                sides = self._counting(layer.prediction), self._counting(layer.reference)
                counts = [values.label_counts(side) for side in sides]
                background = [
                    side.size - self._ignored_voxels - sum(each.values())
                    for side, each in zip(sides, counts, strict=True)
                ]
                for place, code in mine.items():
                    prediction, reference = (
                        each.get(code, 0) if code else rest
                        for each, rest in zip(counts, background, strict=True)
                    )
                    self._check(labels[int(place) - 1], reference, prediction)
                found.append(Layer(*sides, mine))
        return labels, found

    def _counting(self, array: NDArray[Any]) -> NDArray[Any]:
        """A map without the voxels that do not count."""
        ignored = None if self._sides is None else self._sides.ignored
        return array if ignored is None else np.where(ignored, array.dtype.type(0), array)

    @property
    def _ignored_voxels(self) -> int:
        ignored = None if self._sides is None else self._sides.ignored
        return 0 if ignored is None else int(ignored.sum())

    @property
    def _pair(self) -> Pair:
        pair = self.case.pair
        if pair.prediction is None or pair.reference is None:
            raise CaseError("the results do not say which files were read")
        return pair

    @cached_property
    def _sides(self) -> CasePair | None:
        """Both images, of a case that has one file a side."""
        if by_structure(self._pair):
            return None
        sides = read_case_pair(self._pair, _inputs(self.table))
        self._take(sides.reference)
        return sides

    def _take(self, reference: Image) -> None:
        if reference.shape != self.case.shape:
            raise CaseError(f"the reference has the shape {reference.shape}, not {self.case.shape}")
        self._grid = reference

    @cached_property
    def _classes(self) -> dict[str, Label]:
        """Of the table's labels, those that can be found in this case, by their keys."""
        titles = {} if self._sides is None else self._sides.titles
        return {
            label.key: int(label.key) if label.key.isdecimal() else label.key
            for label in self.table.labels
            if label.members or label.key.isdecimal() or label.key in titles.values()
        }

    @cached_property
    def _layers(self) -> tuple[Layer, ...]:
        assert self._sides is not None  # noqa: S101  structures have none
        regions = {label.key: label.members for label in self.table.labels if label.members}
        return self._sides.layers([*self._classes.values()], regions)

    def _found(self, label: ScoredLabel) -> tuple[Layer, int]:
        if label.key not in self._classes:
            raise CaseError("the results do not say which labels the region is made of")
        wanted = self._classes[label.key]
        layer = next(layer for layer in self._layers if wanted in layer.codes)
        return layer, layer.codes[wanted]

    def _structures(
        self, labels: Sequence[ScoredLabel]
    ) -> Iterator[tuple[ScoredLabel, NDArray[np.bool_], NDArray[np.bool_]]]:
        """Structures that are files of their own: no other file is read."""
        wanted: dict[Label, ScoredLabel] = {
            int(label.key) if label.key.isdecimal() else label.key: label for label in labels
        }
        for label, sides in read_structures(self._pair, _inputs(self.table), [*wanted]):
            self._take(sides.reference)
            reference, prediction = (s.labels() != 0 for s in (sides.reference, sides.prediction))
            yield wanted[label], reference, prediction

    def _check(self, label: ScoredLabel, *counted: int) -> None:
        voxels = self.case.voxels
        told = voxels.get(label.key, (0, 0)) if voxels else counted
        if counted != told:
            raise CaseError(
                f"the files hold {counted[0]} and {counted[1]} voxels of this label, the "
                f"results were made of {told[0]} and {told[1]}"
            )

    @property
    def underlay(self) -> Underlay | None:
        """The image on the reference's grid, if there is one."""
        return self._image[0]

    @property
    def no_image(self) -> str:
        """Why there is no image; empty where there is one, or nobody asked for it."""
        return f"No image: {self._image[1]}" if self._image[1] else ""

    @cached_property
    def _image(self) -> tuple[Underlay | None, str]:
        pair, options = self.case.pair, self.options
        if pair.image is None:
            return None, pair.image_problem
        inputs = _inputs(self.table)
        channel = int(options.channel) if options.channel.isdecimal() else None
        try:
            image = read_grey(pair.image, channel=channel, reader=inputs.reader, told=inputs.told)
            assert self._grid is not None  # noqa: S101  labels come first
            backdrop = Backdrop(image, self._grid)
        except CaseError as error:
            return None, str(error)
        return Underlay(backdrop, self.display, options.window, options.modality), ""


def _inputs(table: ResultTable) -> CaseOptions:
    """What was done to the files before they were scored, done again."""
    asked = table.inputs
    for name in ("remap_prediction", "remap_reference"):
        if name in asked:  # JSON has no numbers as keys
            asked[name] = {int(old): int(new) for old, new in asked[name].items()}
    for name in ("names", "regions"):
        if name in asked:
            asked[name] = {
                int(label) if label.isdecimal() else label: tuple(each)
                for label, each in asked[name].items()
            }
    if decode := asked.pop("decode", None):
        # What a bundle predicted lies there as labels, decided already.
        asked["decode"] = None if table.settings.get("source") else Decoding.of_record(decode)
    for name, value in asked.items():
        asked[name] = tuple(value) if isinstance(value, list) else value  # nor has it tuples
    try:
        return CaseOptions(**asked)
    except TypeError as error:
        raise CaseError(
            f"this version cannot repeat what was done to the files: {error}"
        ) from error
