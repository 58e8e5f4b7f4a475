"""One record for an image file of any format: voxels, voxel size and place, checked.

Axes are in file order, (x, y, z), for every reader, and the affine leads to RAS+ millimetres.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.decision import Cuts
from medloss.evaluation.reading import values
from medloss.evaluation.reading.foreign import way_out
from medloss.evaluation.reading.formats import PROBABILITIES, SUFFIXES, Match, matches
from medloss.evaluation.reading.opened import is_link, look_for
from medloss.evaluation.reading.settled import NOTHING_TOLD, Told, settled
from medloss.evaluation.reading.stored import (
    PATIENT,
    CaseError,
    Channels,
    Drawn,
    NeedsGridError,
    Stored,
    Unplaced,
    by,
)
from medloss.objects.spacing import same_size, snapped
from medloss.offers.host import PluginError

_LARGEST_COSINE = 0.01
_FARTHEST_MM, _SHORTEST_MM = 1e9, 1e-9


@dataclass(frozen=True, eq=False)
class Image:
    """A label map or the probability maps of several classes, and where they lie.

    Args:
        path: the file.
        array: ``(x, y)`` or ``(x, y, z)`` labels in the file's own integer type, or probabilities
            with the classes as one more, last axis.
        spacing_mm: voxel size along each spatial axis.
        affine: 4x4, voxel index to RAS+ millimetres.
        probabilities: whether ``array`` has the classes as its last axis.
        independent: whether those are classes of their own, which may overlap: channel 0 is label
            1. Otherwise one class excludes the others and channel 0 is the background.
        note: what the user should know of how the file was read, else empty.
        space: what ``affine`` leads into: the patient's, a space of the file's own, or empty where
            the file does not say where its voxels lie: then ``affine`` has the voxel size alone.
        names: of labels, by their numbers, where the file has them.
        codes: of labels in a terminology, likewise.
        cropped: whether outside of the array is background.
        threshold: from which probability on a class of its own is there.
        decided: whether the labels were decided by this process, not read from a file.
        cuts: where each class is, if that was decided otherwise than by the likeliest class or one
            threshold for all.
    """

    path: Path
    array: NDArray[Any]
    spacing_mm: tuple[float, ...]
    affine: NDArray[np.float64]
    probabilities: bool = False
    independent: bool = False
    note: str = ""
    space: str = PATIENT
    names: Mapping[int, str] = field(default_factory=dict)
    codes: Mapping[int, str] = field(default_factory=dict)
    cropped: bool = False
    threshold: float = values.THRESHOLD
    decided: bool = False
    cuts: Cuts | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each spatial axis, in voxels."""
        return self.array.shape[: len(self.spacing_mm)]

    def labels(self) -> NDArray[Any]:
        """The label map: of probabilities the likeliest class, of a single one p >= threshold.

        Raises:
            CaseError: the classes are independent and have no common label map.
        """
        if self.independent:
            raise CaseError(f"{self.path} holds classes of their own, not one label map")
        if not self.probabilities:
            return self.array
        if self.cuts is not None:
            return self.cuts.labels(self.channels)
        return values.most_likely(self.array, self.threshold)

    @property
    def channels(self) -> list[NDArray[Any]]:
        """The probabilities of each class."""
        return [self.array[..., channel] for channel in range(self.array.shape[-1])]

    def mask(self, channel: int) -> NDArray[np.uint8]:
        """Where the class of a channel is, which is one of its own."""
        if self.cuts is not None:
            return self.cuts.mask(self.array[..., channel], channel)
        return values.likely(self.array[..., channel], self.threshold)


def read_image(
    path: Path,
    *,
    channels: Channels | None = None,
    grid: Image | None = None,
    reader: str | None = None,
    told: Told = NOTHING_TOLD,
    threshold: float | None = None,
    fractions: bool = False,
    signed: bool = False,
    instances: bool = False,
) -> Image:
    """Read an image of any format that a reader is on offer for.

    Args:
        path: a file, or a folder of a format that keeps an image in one.
        channels: what the classes of a fourth axis are; by default exclusive.
        grid: where the voxels lie of a file that says nothing of space and has no image of its name
            beside it, or that draws shapes without an image of their own.
        reader: name of the reader that reads everything that it claims.
        told: what the user says of a file that does not say it itself.
        threshold: from which probability on a class of its own is there; ``None`` if nobody said,
            and then fractions without an axis of classes are no probabilities.
        fractions: whether they are all the same.
        signed: whether labels may be negative, which are changed later.
        instances: whether each value is an object, and not a class.

    Raises:
        CaseError: the file cannot be read, contradicts itself, or holds neither whole-number labels
            nor probabilities.
    """
    with _one_sentence(path):
        return make_image(
            path,
            read_stored(path, grid, reader, told),
            channels=channels,
            threshold=threshold,
            fractions=fractions,
            signed=signed,
            instances=instances,
        )


def read_grey(
    path: Path, *, channel: int | None = None, reader: str | None = None, told: Told = NOTHING_TOLD
) -> Image:
    """Read the values of an image that labels were drawn on, whatever they are.

    Args:
        path: a file of any format of label maps, a JPEG, or a folder with a DICOM series.
        channel: along a fourth axis, from 0; the first by default, and the note says so.
        reader: as :func:`read_image`.
        told: likewise.

    Raises:
        CaseError: the file cannot be read, or has no such channel.
    """
    from medloss.evaluation.reading.dicom_files import is_series
    from medloss.evaluation.reading.photo import PHOTOS, read_photo

    with _one_sentence(path):
        if is_series(path):
            from medloss.evaluation.reading.dicom_series import read_series

            stored = read_series(path)
        elif reader is None and path.suffix.lower() in PHOTOS:
            stored = settled(path, read_photo(path), told)
        else:
            stored = read_stored(path, None, reader, told)
        array, note = stored.array, stored.note
        numbered = channel is None or channel == 0 or path.name.find(f"_{channel:04d}.") > 0
        if array.ndim == stored.dimensions and not numbered:
            raise CaseError(f"{path} has one channel; there is no channel {channel}")
        if array.ndim > stored.dimensions:
            count, place = array.shape[-1], channel or 0
            if place >= count:
                raise CaseError(f"{path} has {count} channels; there is no channel {place}")
            array = array[..., place]
            if count > 1:
                said = f"channel {place} of 0 to {count - 1}"
                note = f"{note}; {said}" if note else said
        if array.size == 0 or array.dtype.kind not in "biuf":
            raise CaseError(f"{path} holds {array.size} values of type {array.dtype}, no image")
        sizes = stored.affine, stored.dimensions, stored.stated_mm
        spacing_mm, doubt = _spacing_mm(path, *sizes)
        note = "; ".join(filter(None, [note, doubt]))
        return Image(path, array, spacing_mm, stored.affine, note=note, space=stored.space)


@contextlib.contextmanager
def _one_sentence(path: Path) -> Iterator[None]:
    """What a path leads to, or one sentence on why it cannot be read."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_size == 0:
            raise CaseError(f"{path} is empty")
        # Numbers of damaged headers may overflow on the way; what they lead to is checked.
        with np.errstate(over="ignore", invalid="ignore"):
            yield
    except OSError as error:
        if isinstance(error, FileNotFoundError) and is_link(path):
            raise CaseError(f"{path} is a link that leads nowhere") from error
        raise CaseError(f"{path} cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise CaseError(f"{path} takes more memory than there is") from error


def read_stored(
    path: Path, grid: Image | None = None, reader: str | None = None, told: Told = NOTHING_TOLD
) -> Stored:
    """What a file holds, before anything is made of it.

    Args:
        path: the file.
        grid: as :func:`read_image`.
        reader: likewise.
        told: likewise.

    Raises:
        CaseError: the file is damaged, leaves open what the numbers depend on, or is no image.
        OSError: it cannot be opened.
    """
    try:
        readers = matches(path, reader)
    except PluginError as error:
        raise CaseError(str(error)) from error
    if not readers:
        raise CaseError(no_image(path))
    found, *others = readers
    if others:
        sides = " and ".join(each.whose for each in readers)
        raise CaseError(f"{path} is claimed by {sides}; say which with --reader")
    stored = found.load()(path) if not found.whose else _read_by_plugin(path, found)
    if isinstance(stored, Unplaced):
        return _placed(path, stored, grid)
    if isinstance(stored, Drawn):
        place = stored.grid
        if place is None and grid is not None and grid.space == PATIENT:
            place = grid.shape, grid.affine
        if place is None:
            raise NeedsGridError(f"{path} {stored.lacks}")
        return stored.on(*place, told.contours)
    return settled(path, stored, told)


def no_image(path: Path) -> str:
    """Why a file cannot be read that no reader is for, and what to do about it.

    Example:
        >>> no_image(Path("a.mif"))
        'a.mif is no format that is read here: it is MRtrix; convert it to .nii.gz, with mrconvert'
    """
    found = f"{path} is no format that is read here"
    if way := way_out(path.name):
        return f"{found}: it is {way}"
    return f"{found}; those are {', '.join(SUFFIXES)} and {PROBABILITIES}"


def case_name(path: Path) -> str | None:
    """The name of a file or folder without its image suffix, ``None`` for what is no image.

    Example:
        >>> case_name(Path("labels/patient.01.nii.gz"))
        'patient.01'
        >>> case_name(Path("labels/notes.txt")) is None
        True
    """
    readers = matches(path)
    return (readers[0].case or None) if readers else None


def make_image(
    path: Path,
    stored: Stored,
    *,
    channels: Channels | None = None,
    threshold: float | None = None,
    fractions: bool = False,
    signed: bool = False,
    instances: bool = False,
) -> Image:
    """Check what a reader found and settle whether it is labels or probabilities.

    Args:
        path: for the error texts.
        stored: what the file holds.
        channels: as :func:`read_image`; what the file itself says counts first.
        threshold: and the others: as :func:`read_image`.
        fractions: see there.
        signed: see there.
        instances: see there.

    Raises:
        CaseError: as :func:`read_image`.

    Example:
        >>> stored = Stored(np.array([[0.0, 2.0]]), np.diag([1, 3, 1, 1]), dimensions=2)
        >>> image = make_image(Path("a.nii"), stored)
        >>> image.spacing_mm, image.array.dtype
        ((1.0, 3.0), dtype('uint8'))
    """
    array, affine, dimensions, note, space, own_channels, names, codes, cropped, _, _ = stored
    if array.size == 0:
        raise CaseError(f"{path} holds no voxels: its shape is {array.shape}")
    if array.dtype.kind not in "biuf":
        raise CaseError(f"{path} holds values of type {array.dtype}, not labels")
    spacing_mm, doubt = _spacing_mm(path, affine, dimensions, stored.stated_mm)
    low, high = values.finite_range(path, array)
    stacked = array.ndim > dimensions
    if stacked and own_channels is None and array.shape[-1] == 1 and values.is_whole(array):
        array, stacked = array[..., 0], False  # a label map that was saved with one more axis
    fractions = fractions or threshold is not None
    if not stacked and fractions and values.is_chance(array, low, high):
        array, stacked = array[..., None], True
    exclude, rounded = True, ""
    if stacked:
        exclude = values.channels_exclude(path, array, low, high, own_channels or channels)
        if exclude and threshold is not None and array.shape[-1] > 1:
            raise CaseError(
                f"{path} holds classes that exclude one another, of which the likeliest counts; "
                f"--threshold is for a class of its own (--channels independent)"
            )
    else:
        array, rounded = values.whole_numbers(
            path, array, low, high, signed=signed, instances=instances
        )
    return Image(
        path,
        array,
        spacing_mm,
        affine,
        probabilities=stacked,
        independent=not exclude,
        note="; ".join(filter(None, [note, doubt, rounded])),
        space=space,
        names=names,
        threshold=values.THRESHOLD if threshold is None else threshold,
        codes=codes,
        cropped=cropped,
    )


def _read_by_plugin(path: Path, found: Match) -> Stored | Unplaced | Drawn:
    """What a stranger's reader gives; it may fail in any way, and the case says whose it was."""
    try:
        stored = found.load()(path)
    except (CaseError, OSError, MemoryError):
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise CaseError(f"{path} cannot be read: {found.whose} failed with {reason}") from error
    if not isinstance(stored, (Stored, Unplaced, Drawn)):
        raise CaseError(
            f"{path} cannot be read: {found.whose} returned {type(stored).__name__}; expected "
            f"Stored, Unplaced or Drawn of medloss.readers"
        )
    return stored


def _placed(path: Path, found: Unplaced, grid: Image | None) -> Stored:
    """Voxels where the image of the same name beside them lies, and without one ``grid``."""
    name = case_name(path) or path.stem
    others = (path.with_name(name + suffix) for suffix in SUFFIXES)
    beside = next((other for other in others if look_for(other)), None)
    image = grid if beside is None else read_image(beside)
    if image is None:
        raise CaseError(f"{path} says nothing of space, and no image of its name is beside it")
    array = found.array
    if len(image.shape) == 2 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.shape[:-1] != image.shape:
        smaller = all(a <= b for a, b in zip(array.shape[:-1], image.shape, strict=False))
        cropped = (
            "; nnU-Net 1 saves what lies in the crop_bbox of its .pkl alone" if smaller else ""
        )
        own = by(array.shape[:-1])
        raise CaseError(f"{path} holds {own} voxels and {image.path} {by(image.shape)}{cropped}")
    note = f"place of {path.name} from {image.path}"
    return Stored(array, image.affine, len(image.shape), note, image.space)


def _spacing_mm(
    path: Path, affine: NDArray[np.float64], dimensions: int, stated_mm: tuple[float, ...]
) -> tuple[tuple[float, ...], str]:
    """Voxel size, and a note where the file states another one than its affine has."""
    affine = np.asarray(affine, dtype=np.float64)
    axes = affine[:3, :dimensions]
    sound = bool((np.abs(affine) < _FARTHEST_MM).all())  # NaN is not
    spacing = np.linalg.norm(axes, axis=0) if sound else np.zeros(dimensions)
    if not (spacing > _SHORTEST_MM).all():
        raise CaseError(f"{path} has an unusable affine: {affine.tolist()}")
    cosines = (axes / spacing).T @ (axes / spacing) - np.eye(dimensions)
    if np.abs(cosines).max() > _LARGEST_COSINE:
        raise CaseError(
            f"{path} has a sheared affine (axes not at right angles), so that distances in "
            f"millimetres do not follow from its voxel size: {affine.tolist()}"
        )
    lengths = tuple(map(snapped, spacing))
    if not stated_mm:
        return lengths, ""
    pairs = list(zip(lengths, map(snapped, stated_mm), strict=True))
    if all(same_size(*pair) for pair in pairs):
        return tuple(stated for _, stated in pairs), ""
    sizes = tuple(stated if same_size(length, stated) else length for length, stated in pairs)
    told, found = _by_mm(stated_mm), _by_mm(sizes)
    return sizes, f"{path.name} states voxels of {told} mm; they are {found} by its affine"


def _by_mm(sizes: Iterable[float]) -> str:
    return " x ".join(f"{snapped(size):.7g}" for size in sizes)
