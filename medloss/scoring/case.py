"""What is known of one case: two label maps and the facts that metrics are made of, each once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medloss.objects.planes import PLANES, Plane
from medloss.objects.spacing import parse_spacing
from medloss.offers.records import FACTS
from medloss.scoring.candidates import LesionCandidates
from medloss.scoring.cells import Cells
from medloss.scoring.contours import Contours
from medloss.scoring.facts import Counts, Skeletons, class_counts, skeleton_overlap
from medloss.scoring.inputs import (
    is_tensor,
    known_labels,
    label_map,
    left_out,
    probabilities_of,
    to_array,
)
from medloss.scoring.lesion_maps import Parts
from medloss.scoring.lesions import Components
from medloss.scoring.maps import ClassMasks, LabelMaps
from medloss.scoring.presets import PRESETS, Status, find_preset
from medloss.scoring.probabilities import Probabilities
from medloss.scoring.surface.distances import SurfaceDistances
from medloss.scoring.surfaces import class_surfaces
from medloss.scoring.topology import Topology

if TYPE_CHECKING:
    from torch import Tensor

    from medloss.scoring.tensors import TensorMaps


@dataclass(frozen=True)
class CountedCase:
    """One class of a case of which nothing but its counts is known; what a score asks of a case.

    Args:
        only: the counts.
        shape: of the maps.
        spacing_mm: size of a voxel along each axis, ``None`` if it is not known.
    """

    only: Counts
    shape: Sequence[int]
    spacing_mm: Sequence[float] | None

    @property
    def diagonal_mm(self) -> float:
        """As :attr:`Case.diagonal_mm`."""
        return _diagonal_mm(self.shape, self.spacing_mm)

    def status(self, label: int) -> Status:
        """As :meth:`Case.status`, whatever the label is."""
        return self.only.status

    def fact(self, name: str, label: int) -> Counts:
        """The counts: there is no other fact."""
        if name != "counts":
            raise ValueError(f"fact: expected counts, got {name!r}")
        return self.only


class Case:
    """Reference and prediction of one case; every fact is computed when asked for, and once.

    Args:
        reference: label map, 2D or 3D, integers or bool.
        prediction: label map of the same shape.
        labels: classes that can be asked for; they need not occur.
        spacing_mm: size of a voxel along each axis, one number for all axes, or ``"voxel"`` for
            distances in voxels. Without it there are counts but no distances.
        preset: definition of the surface metrics, see :data:`medloss.scoring.PRESETS`.
        annotated: the labels that were annotated in this case, all by default.
        ignored: where it is true, voxels do not count, and neither do surface elements that are
            made of such a voxel; surfaces themselves are those of the whole maps.
        probabilities: the predicted probability of each label in every voxel, where they are known.
            Without them there is no such fact; a label that is not among them has probability 0.
        device: of torch, such as ``"cuda"``, where counts and surface distances of arrays are
            computed; those of maps that are tensors are computed where these are. Without either it
            is compiled loops on the CPU. Other facts are always computed on the CPU.
        objects: the number of the object that each voxel of the reference and of the prediction
            belongs to, 0 outside. Components of a label are then these objects, as far as they lie
            in it, whether or not they touch; every other fact is that of all of them together.
        planes: that the slices along each axis lie in (:func:`medloss.objects.planes.planes_of`);
            by default those of an image whose axes run along R-L, A-P and S-I, as in RAS.
        parts: maps of the labels that regions are made of, of the reference and the prediction.
        members: by the label of each region, which of these it is made of.

    Maps may be numpy arrays or tensors.

    Raises:
        TypeError: a map that does not hold integers or bool.
        ValueError: shapes, spacing, labels or preset that do not fit.

    Example:
        >>> reference = np.zeros((4, 4), dtype=np.uint8)
        >>> reference[1:3, 1:3] = 2
        >>> case = Case(reference, np.roll(reference, 1, axis=0), labels=[1, 2], spacing_mm=0.5)
        >>> case.counts(2)
        Counts(tp=2, fp=2, fn=2, tn=10)
        >>> float(case.surfaces(2).reference_mm[-1])
        0.5
        >>> case.status(1)
        <Status.BOTH_EMPTY: 'both_empty'>
    """

    def __init__(
        self,
        reference: NDArray[Any] | Tensor,
        prediction: NDArray[Any] | Tensor,
        *,
        labels: Collection[int],
        spacing_mm: float | Sequence[float] | str | None = None,
        preset: str = "deepmind",
        annotated: Collection[int] | None = None,
        ignored: NDArray[Any] | Tensor | None = None,
        probabilities: Mapping[int, NDArray[Any]] | None = None,
        device: str | None = None,
        objects: tuple[NDArray[Any], NDArray[Any]] | None = None,
        planes: Sequence[Plane] = PLANES,
        parts: tuple[NDArray[Any], NDArray[Any]] | None = None,
        members: Mapping[int, tuple[int, ...]] | None = None,
    ) -> None:
        reference = label_map("reference", reference)
        prediction = label_map("prediction", prediction)
        self.shape = tuple(reference.shape)
        if tuple(prediction.shape) != self.shape:
            raise ValueError(
                f"prediction: expected the shape of the reference {self.shape}, "
                f"got {tuple(prediction.shape)}"
            )
        if ignored is not None:
            ignored = left_out("ignored", ignored, self.shape)
        self.preset = find_preset(preset).name
        self.labels = known_labels(labels)
        self.annotated = None if annotated is None else frozenset(annotated)
        self.spacing_mm = None
        if spacing_mm is not None:
            (self.spacing_mm,) = parse_spacing(spacing_mm, batch=1, axes=reference.ndim)
        self._given = (reference, prediction, ignored)
        self._objects = objects and tuple(label_map("objects", given) for given in objects)
        self.planes = tuple(planes)
        self._parts = parts and tuple(label_map("parts", given) for given in parts)
        self._members = members or {}
        self._device = device
        self._probabilities = None
        if probabilities is not None:
            self._probabilities = {
                label: probabilities_of(label, chances, self.shape)
                for label, chances in probabilities.items()
            }
        self._counts: dict[int, Counts] = {}
        self._components: dict[int, Components] = {}
        self._skeletons: dict[int, Skeletons] = {}
        self._topology: dict[int, Topology] = {}
        self._cells: dict[int, Cells] = {}
        self._contours: dict[int, Contours] = {}
        self._chances: tuple[int, Probabilities] | None = None
        self._candidates: LesionCandidates | None = None

    @property
    def diagonal_mm(self) -> float:
        """Diagonal of the image: the norm of shape times spacing.

        Raises:
            ValueError: the case has no spacing.
        """
        return _diagonal_mm(self.shape, self.spacing_mm)

    def counts(self, label: int) -> Counts:
        """Voxels of a class that both maps, one of them or none have."""
        if label not in self._counts:
            self._counts[label] = class_counts(self._counted, self._known(label), self._voxel_mm3)
        return self._counts[label]

    @property
    def confused(self) -> dict[tuple[int | None, int | None], int]:
        """Voxels by their label in the reference and in the prediction, where these differ.

        ``None`` is none of the labels of the case. Pairs without a voxel are left out; of more than
        512 labels there are none.

        Example:
            >>> case = Case(np.array([[1, 1, 2, 0]]), np.array([[1, 2, 2, 3]]), labels=[1, 2])
            >>> case.confused
            {(1, 2): 1}
        """
        found = self._counted.confused
        if found is None:
            return {}
        labels = (None, *self._counted.codes)
        rows, columns = found.nonzero()
        return {
            (labels[row], labels[column]): int(found[row, column])
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
            if row or column
        }

    def status(self, label: int) -> Status:
        """Whether a class occurs in both maps, in one or in none, or was not annotated."""
        if self.annotated is not None and self._known(label) not in self.annotated:
            return Status.NOT_ANNOTATED
        return self.counts(label).status

    def surfaces(self, label: int) -> SurfaceDistances:
        """Distances between the two surfaces of a class.

        Raises:
            ValueError: the case has no spacing.
        """
        self._spacing()
        return self._surfaces[self._known(label)]

    def components(self, label: int) -> Components:
        """Connected components of a class in both maps, from which lesions are found."""
        if label not in self._components:
            masks, parts = self._separate(label), None
            if self._parts is not None and label in self._members:
                parts = Parts(*self._boxed(self._parts, masks), self._members[label])
            self._components[label] = Components(
                masks.reference,
                masks.prediction,
                masks.ignored,
                self._voxel_mm3,
                spacing_mm=self._lesion_spacing_mm,
                preset=self.preset,
                worst_mm=self._worst_mm,
                origin=masks.origin,
                turned=self._maps.turned,
                whole=self._whole(label),
                parts=parts,
            )
        return self._components[label]

    def cells(self, label: int) -> Cells:
        """The objects of a class in the reference, with the cell around each."""
        if label not in self._cells:
            masks, turned, size = self._separate(label), self._maps.turned, self.spacing_mm
            self._cells[label] = Cells(
                masks.reference,
                masks.prediction != 0,
                masks.ignored,
                size[::-1] if size and turned else size,
                self.preset,
                turned=turned,
                whole=self._whole(label),
            )
        return self._cells[label]

    def topology(self, label: int) -> Topology:
        """Objects, tunnels and cavities of a class; voxels that do not count are in neither mask.

        Raises:
            ValueError: the objects are given, whether or not they touch.
        """
        if self._objects is not None:
            raise ValueError(
                "topology is that of what touches, and the objects are given (--instances); score "
                "it without them"
            )
        if label not in self._topology:
            maps, masks = self._maps, self._maps.masks(self._known(label))
            one, other = masks.reference, masks.prediction
            if masks.ignored is not None:
                one, other = one & ~masks.ignored, other & ~masks.ignored
            found = Topology(one, other, masks.origin, maps.reference.shape[int(maps.flat) :])
            self._topology[label] = found.turned() if maps.turned else found
        return self._topology[label]

    def skeletons(self, label: int) -> Skeletons:
        """How much of the centre lines of a class in each map lies in the other.

        Raises:
            ImportError: scikit-image is not installed.
        """
        if label not in self._skeletons:
            masks = self._maps.masks(self._known(label))
            # Thinning depends on the order of the axes, which is that of the maps as given.
            self._skeletons[label] = skeleton_overlap(masks.T if self._maps.turned else masks)
        return self._skeletons[label]

    def contours(self, label: int) -> Contours:
        """Both masks of a class, whose outlines are drawn slice by slice.

        Raises:
            ValueError: the case has no spacing.
        """
        if label not in self._contours:
            masks = self._maps.masks(self._known(label), beside=1)
            masks = masks.T if self._maps.turned else masks
            self._contours[label] = Contours(masks, self._spacing(), self.planes)
        return self._contours[label]

    def probabilities(self, label: int) -> Probabilities:
        """Predicted probability of a class, beside where the reference has it.

        Raises:
            ValueError: the case has label maps alone.
        """
        if self._probabilities is None:
            raise ValueError("probabilities: expected those of each class, got label maps alone")
        # Of one class at a time: masks of all of them would take more memory than the maps.
        if self._chances is None or self._chances[0] != label:
            reference, prediction, ignored = self._arrays
            chances = self._probabilities.get(self._known(label))
            if chances is None:
                chances = np.broadcast_to(np.float32(0), self.shape)
            masks = reference == label, ignored, self.spacing_mm, prediction == label
            self._chances = label, Probabilities(chances, *masks)
        return self._chances[1]

    def candidates(self, label: int) -> LesionCandidates:
        """What the probabilities of a class propose as lesions.

        Raises:
            ValueError: the case has label maps alone.
        """
        chances = self.probabilities(label)
        if self._candidates is None or self._candidates.probabilities is not chances:
            self._candidates = LesionCandidates(chances)
        return self._candidates

    def fact(self, name: str, label: int) -> Any:
        """A fact by the name that metric records use, such as ``"counts"``.

        Raises:
            ValueError: no such fact.
        """
        if name not in FACTS:
            raise ValueError(f"fact: expected one of {', '.join(FACTS)}, got {name!r}")
        return getattr(self, name)(label)

    def _whole(self, label: int) -> Callable[[], SurfaceDistances] | None:
        """The surfaces of a class, where its objects are measured alike."""
        if PRESETS[self.preset].misreads or self.spacing_mm is None:
            return None
        return partial(self.surfaces, label)

    def _separate(self, label: int) -> ClassMasks:
        """Masks of a class, or its objects where they are given, fastest along the last axis."""
        masks = self._maps.masks(self._known(label))
        if self._objects is None:
            return masks
        one, other = self._boxed(self._objects, masks)
        reference = np.where(masks.reference, one, 0)
        prediction = np.where(masks.prediction, other, 0)
        return ClassMasks(reference, prediction, masks.ignored, masks.origin)

    def _boxed(self, maps: Sequence[Any], masks: ClassMasks) -> tuple[NDArray[Any], NDArray[Any]]:
        """Two whole maps in the box and the order of axes of the masks of a class."""
        ends = zip(masks.origin, masks.reference.shape, strict=True)
        box = tuple(slice(start, start + size) for start, size in ends)
        one, other = ((x.T if self._maps.turned else x)[box] for x in map(to_array, maps))
        return one, other

    @cached_property
    def _arrays(self) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any] | None]:
        reference, prediction, ignored = map(to_array, self._given)
        return reference, prediction, ignored

    @cached_property
    def _maps(self) -> LabelMaps:
        reference, prediction, ignored = self._arrays
        return LabelMaps(reference, prediction, self.labels, ignored)

    @cached_property
    def _counted(self) -> LabelMaps | TensorMaps:
        """The maps where counts and surfaces are computed."""
        if self._device is None and not is_tensor(self._given[0]):
            return self._maps
        from medloss.scoring.tensors import TensorMaps, tensor_of  # torch

        reference, prediction, ignored = self._given
        one, other = tensor_of(reference, self._device), tensor_of(prediction, self._device)
        left = None if ignored is None else tensor_of(ignored, self._device)
        return TensorMaps(one, other, self.labels, left)

    @cached_property
    def _surfaces(self) -> dict[int, SurfaceDistances]:
        spacing = self._spacing()
        if PRESETS[self.preset].misreads:
            spacing = (1.0,) * len(spacing)
        return class_surfaces(self._counted, self.labels, spacing, self.preset)

    @property
    def _lesion_spacing_mm(self) -> Sequence[float] | None:
        """Along the axes of the components' masks."""
        turned = self._maps.turned != PRESETS[self.preset].misreads
        return self.spacing_mm and (self.spacing_mm[::-1] if turned else self.spacing_mm)

    @property
    def _worst_mm(self) -> float | None:
        """What the preset counts for a missed class."""
        missed = PRESETS[self.preset].missed
        if missed != "diagonal":
            return missed
        return None if self.spacing_mm is None else self.diagonal_mm

    @property
    def _voxel_mm3(self) -> float | None:
        return None if self.spacing_mm is None else math.prod(self.spacing_mm)

    @cached_property
    def _label_set(self) -> frozenset[int]:
        return frozenset(self.labels)

    def _known(self, label: int) -> int:
        if label not in self._label_set:
            raise ValueError(f"label: expected one of {list(self.labels)}, got {label!r}")
        return label

    def _spacing(self) -> Sequence[float]:
        return _known_spacing(self.spacing_mm)


def _diagonal_mm(shape: Sequence[int], spacing_mm: Sequence[float] | None) -> float:
    return math.hypot(*(n * mm for n, mm in zip(shape, _known_spacing(spacing_mm), strict=True)))


def _known_spacing(spacing_mm: Sequence[float] | None) -> Sequence[float]:
    if spacing_mm is None:
        raise ValueError(
            "spacing_mm: distances need the size of a voxel; give one number of mm for each "
            "axis, or 'voxel' for distances in voxels"
        )
    return spacing_mm
