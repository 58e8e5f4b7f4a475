"""Classes that overlap as few label maps as hold them, so that each is scored like any label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.reading import values
from medloss.evaluation.reading.images import Image
from medloss.evaluation.reading.stored import CaseError
from medloss.objects.planes import PLANES, Plane
from medloss.scoring import Case


@dataclass(frozen=True, eq=False)
class Layer:
    """Two label maps for classes that do not overlap.

    Args:
        prediction: label map.
        reference: label map.
        codes: what stands for each class in both.
        probabilities: predicted, by code, or ``None`` where nobody asked for them.
        parts: the maps that regions were made of, in the same order, or ``None``.
        members: the labels in these that each region is made of, by its code.
    """

    prediction: NDArray[Any]
    reference: NDArray[Any]
    codes: dict[Label, int]
    probabilities: dict[int, NDArray[Any]] | None = None
    parts: tuple[NDArray[Any], NDArray[Any]] | None = None
    members: Mapping[int, tuple[int, ...]] = field(default_factory=dict)


class ClassCases:
    """The case that each class is scored in.

    Args:
        layers: of all classes; of a single one where there are objects.
        spacing_mm: voxel size.
        preset: definition of the surface metrics.
        ignored: where voxels do not count.
        device: of torch, that counts and distances are computed on, or ``None``.
        objects: that the voxels of the prediction and of the reference belong to.
        planes: that the slices along each axis lie in.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        spacing_mm: Sequence[float],
        preset: str,
        ignored: NDArray[Any] | None = None,
        device: str | None = None,
        objects: tuple[NDArray[Any], NDArray[Any]] | None = None,
        planes: Sequence[Plane] = PLANES,
    ) -> None:
        self._found: dict[Label, tuple[Case, int]] = {}
        for layer in layers:
            case = Case(
                reference=layer.reference,
                prediction=layer.prediction,
                labels=tuple(layer.codes.values()),
                spacing_mm=spacing_mm,
                preset=preset,
                ignored=ignored,
                probabilities=layer.probabilities,
                device=device,
                objects=objects and objects[::-1],
                planes=planes,
                parts=layer.parts and layer.parts[::-1],
                members=layer.members,
            )
            self._found |= {label: (case, code) for label, code in layer.codes.items()}

    def find(self, label: Label) -> tuple[Case, int]:
        """The case, and what the class is called there."""
        return self._found[label]


def make_layers(
    prediction: Image,
    reference: Image,
    labels: Sequence[Label] | None,
    regions: Mapping[str, tuple[int, ...]],
    without: int | None = None,
    *,
    probabilities: bool = False,
    by_name: bool = False,
) -> tuple[Layer, ...]:
    """Layers for all classes, in which the maps of plain labels are the images' own.

    Args:
        prediction: label map, or a stack of channels.
        reference: likewise, on the same grid.
        labels: classes, or ``None`` for every label that either image holds.
        regions: the labels that each region is made of.
        without: a label that is no class.
        probabilities: whether those of the prediction, a stack, are wanted too. Every class that it
            has a channel for is then a label that it holds.
        by_name: whether names told which channel is which label: channel 0 is label 1, whatever the
            labels are that somebody asked for.

    Raises:
        CaseError: the classes cannot be told from the channels of a stack.
    """
    sides = prediction, reference
    if not any(image.independent for image in sides):
        maps = prediction.labels(), reference.labels()
        if labels is None:
            for image, one in zip(sides, maps, strict=True):
                if not image.decided:
                    values.check_labels(image.path, one)
            found = {label for one in maps for label in values.present_labels(one)}
            found |= set(channel_labels(prediction)) if probabilities else set()
            plain: dict[Label, int] = {label: label for label in sorted(found - {without})}
            layers = [Layer(*maps, plain)]
        else:
            layers = [*_map_layers(*maps, labels, regions)]
        return tuple(
            _with_probabilities(layers, prediction, {}, regions) if probabilities else layers
        )
    if prediction.independent != reference.independent and not by_name:
        _check_sides(*sides, labels, regions)
    if labels is None:
        found = {label for image in sides for label in _present(image)}
        found |= set(channel_labels(prediction)) if probabilities else set()
        labels = sorted(found - {without})
    places = _places(labels, regions, by_name=by_name)
    layers = []
    for label in labels:
        masks = [
            _mask(image, label, places[label], None if by_name else len(labels), regions)
            for image in sides
        ]
        add_class(layers, label, *masks)
    return tuple(
        _with_probabilities(layers, prediction, places, regions) if probabilities else layers
    )


def _with_probabilities(
    layers: Sequence[Layer],
    prediction: Image,
    places: Mapping[Label, tuple[int, ...]],
    regions: Mapping[str, tuple[int, ...]],
) -> Iterator[Layer]:
    for layer in layers:
        chances = {}
        for label, code in layer.codes.items():
            members = regions[label] if isinstance(label, str) else (label,)
            channels = places[label] if prediction.independent else members
            chances[code] = class_probability(prediction, channels)
        yield replace(layer, probabilities=chances)


def _map_layers(
    prediction: NDArray[Any],
    reference: NDArray[Any],
    labels: Sequence[Label],
    regions: Mapping[str, tuple[int, ...]],
) -> Iterator[Layer]:
    plain: dict[Label, int] = {label: label for label in labels if isinstance(label, int)}
    yield Layer(prediction, reference, plain)
    for group in disjoint({name: regions[name] for name in labels if isinstance(name, str)}):
        codes: dict[Label, int] = {name: code for code, name in enumerate(group, start=1)}
        changes = {label: codes[name] for name, members in group.items() for label in members}
        yield Layer(
            values.recode(prediction, changes, keep=False),
            values.recode(reference, changes, keep=False),
            codes,
            parts=(prediction, reference),
            members={codes[name]: members for name, members in group.items()},
        )


def disjoint(regions: Mapping[str, tuple[int, ...]]) -> list[dict[str, tuple[int, ...]]]:
    """Regions in groups within which none has a label of another.

    Example:
        >>> disjoint({"whole": (1, 2, 4), "core": (1, 4), "edge": (2, 3)})
        [{'whole': (1, 2, 4)}, {'core': (1, 4), 'edge': (2, 3)}]
    """
    groups: list[dict[str, tuple[int, ...]]] = []
    for name, members in regions.items():
        for group in groups:
            if not any(set(members) & set(others) for others in group.values()):
                group[name] = members
                break
        else:
            groups.append({name: members})
    return groups


def add_class(
    layers: list[Layer], label: Label, prediction: NDArray[np.uint8], reference: NDArray[np.uint8]
) -> None:
    """Put a class into the first layer where it overlaps no other; only then is there one more.

    Args:
        layers: to which it is added; their maps are written to.
        label: the class.
        prediction: its mask, which may become a map.
        reference: likewise.
    """
    for number, layer in enumerate(layers):
        code = len(layer.codes) + 1
        both = ((layer.prediction, prediction), (layer.reference, reference))
        if code < 256 and not any((there[mask != 0] != 0).any() for there, mask in both):
            for there, mask in both:
                there[mask != 0] = code
            layers[number] = replace(layer, codes={**layer.codes, label: code})
            return
    layers.append(Layer(prediction, reference, {label: 1}))


def _places(
    labels: Sequence[Label], regions: Mapping[str, tuple[int, ...]], *, by_name: bool
) -> dict[Label, tuple[int, ...]]:
    """Channels of each class: label 1 is channel 0, unless regions make it the order of the list.

    A list says nothing of the order where names do.
    """
    if regions and not by_name:
        return {label: (place,) for place, label in enumerate(labels)}
    return {
        label: tuple(n - 1 for n in (regions[label] if isinstance(label, str) else (label,)))
        for label in labels
    }


def _mask(
    image: Image,
    label: Label,
    wanted: tuple[int, ...],
    count: int | None,
    regions: Mapping[str, tuple[int, ...]],
) -> NDArray[np.uint8]:
    if not image.independent:
        members = regions[label] if isinstance(label, str) else (label,)
        return values.recode(image.labels(), dict.fromkeys(members, 1), keep=False)
    if label == 0:
        raise CaseError(f"{image.path} holds channels without a background, which label 0 would be")
    channels = image.array.shape[-1]
    if regions and count not in (None, channels):
        raise CaseError(
            f"{image.path} has {channels} channels for {count} classes: with regions, channel by "
            f"channel is what --labels lists"
        )
    mask = np.zeros(image.shape, dtype=np.uint8, order="F")
    for channel in wanted:
        if channel < channels:
            mask |= image.mask(channel)
    return mask


def _present(image: Image) -> set[int]:
    if not image.independent:
        return set(values.present_labels(image.labels()))
    channels = range(image.array.shape[-1])
    return {n + 1 for n in channels if image.mask(n).any()}


def _check_sides(
    prediction: Image,
    reference: Image,
    labels: Sequence[Label] | None,
    regions: Mapping[str, tuple[int, ...]],
) -> None:
    """Channels of one side, labels of the other: what belongs together must be beyond doubt."""
    stack, other = (prediction, reference) if prediction.independent else (reference, prediction)
    if regions and labels is not None:
        return
    likely = np.zeros(stack.shape, dtype=np.uint16, order="F")
    for channel in range(stack.array.shape[-1]):
        likely += stack.mask(channel)
    if likely.max() > 1:
        raise CaseError(
            f"the channels of {stack.path} overlap, which the labels of {other.path} cannot; say "
            f"which labels each channel is made of, such as --labels whole=1+2,core=1"
        )


def channel_labels(image: Image) -> range:
    """The labels, other than the background, that a stack has channels for.

    Example:
        >>> from pathlib import Path
        >>> from medloss.evaluation.reading.images import make_image
        >>> from medloss.evaluation.reading.stored import Stored
        >>> stored = Stored(np.full((2, 2, 4), 0.25), np.eye(4), 2)
        >>> channel_labels(make_image(Path("a.nii"), stored))
        range(1, 4)
    """
    many = image.array.shape[-1]
    return range(1, many + 1 if image.independent or many == 1 else many)


def class_probability(image: Image, channels: Iterable[int]) -> NDArray[Any]:
    """Probability of any of some classes: the sum where they exclude one another, else the largest.

    Args:
        image: a stack.
        channels: of the classes; one that the stack does not have adds nothing.

    Example:
        >>> from pathlib import Path
        >>> from medloss.evaluation.reading.images import make_image
        >>> from medloss.evaluation.reading.stored import Stored
        >>> image = make_image(Path("a.nii"), Stored(np.array([[[0.5, 0.25, 0.25]]]), np.eye(4), 2))
        >>> [class_probability(image, wanted).tolist() for wanted in ((1, 2), (0,), (9,))]
        [[[0.5]], [[0.5]], [[0.0]]]
    """
    planes = image.array
    if planes.shape[-1] == 1 and not image.independent:  # that of label 1, and 0 has the rest
        planes = np.concatenate([1 - planes, planes], axis=-1)
    found = [planes[..., n] for n in channels if n < planes.shape[-1]]
    if len(found) == 1:
        return found[0]
    total = np.zeros(image.shape, np.float32, order="F")
    for plane in found:
        (np.maximum if image.independent else np.add)(total, plane, out=total)
    return total
