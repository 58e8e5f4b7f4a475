"""Which reader is for which file: medloss's own by suffix and content, then those of plugins.

The tables name functions instead of importing them, so that a format costs nothing before a file
of it comes. A reader takes the path and returns ``Stored``, ``Unplaced`` where the file says
nothing of space, or ``Drawn`` where it needs a grid to be drawn on (``stored.py``).
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import importlib
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

from medloss._version import __version__
from medloss.offers.host import Catalogue, Host, Offer, Plugin, host
from medloss.offers.records import Reader

PROBABILITIES = ".npz"
"""What nnU-Net saves the probabilities of a prediction as, beside its label map."""

READERS = {
    ".nii.gz": "nifti:read_nifti",
    ".nii": "nifti:read_nifti",
    ".hdr": "nifti:read_nifti_pair",
    ".hdr.gz": "nifti:read_nifti_pair",
    ".seg.nrrd": "nrrd:read_nrrd",
    ".seg.nhdr": "nrrd:read_nrrd",
    ".nrrd": "nrrd:read_nrrd",
    ".nhdr": "nrrd:read_nrrd",
    ".mha": "metaimage:read_metaimage",
    ".mhd": "metaimage:read_metaimage",
    ".mgz": "mgh:read_mgh",
    ".mgh": "mgh:read_mgh",
    ".mgh.gz": "mgh:read_mgh",
    ".png": "png:read_png",
    ".ome.tif": "tiff:read_tiff",
    ".ome.tiff": "tiff:read_tiff",
    ".tif": "tiff:read_tiff",
    ".tiff": "tiff:read_tiff",
    ".npy": "npy:read_npy",
    PROBABILITIES: "npz:read_npz",
    ".ome.zarr": "ome_zarr:read_ome_zarr",
    ".zarr": "ome_zarr:read_ome_zarr",
}
"""Who reads a suffix, of a file or a folder: the module here and its function."""

CLAIMS = {
    "dicom_files:is_segmentation": "dicom:read_dicom",
    "ome_zarr:is_ome_zarr": "ome_zarr:read_ome_zarr",
    "slices:is_slices": "slices:read_slices",
}
"""Who reads a file without one of these suffixes, or a folder: by the function that tells so."""

LIBRARIES = {
    "dicom": "pydicom",
    "png": "pillow",
    "slices": "pillow",
    "tiff": "tifffile",
    "ome_zarr": "zarr",
}
"""The package beside numpy that the numbers of a reader depend on."""

SUFFIXES = tuple(suffix for suffix in READERS if suffix != PROBABILITIES)
"""Of images, which say where their voxels lie."""

_WORD_SUFFIX = re.compile(r"(?<=.)\.[A-Za-z]\w{0,5}$")
"""What is cut off the name of a file that is known by its content: ``.ima``, but not the last
number of a name such as ``1.2.840.1``."""


class Match(NamedTuple):
    """What reads a path.

    Args:
        name: of the reader; a plugin's with its distribution.
        case: the name of the path without its suffix.
        load: imports the function.
        whose: the plugin, empty where the reader is medloss's own.
    """

    name: str
    case: str
    load: Callable[[], Callable[[Path], Any]]
    whose: str = ""


def matches(path: Path, reader: str | None = None) -> list[Match]:
    """The readers of a path: none, one, or several plugins that do not know of each other.

    A suffix that medloss reads itself stays its own, whatever plugins claim, unless ``reader``
    names one of them; what has no known suffix is offered to those who look into it.

    Args:
        path: a file or a folder.
        reader: name of a reader, which then reads everything that it claims.

    Raises:
        PluginError: there is no such reader.

    Example:
        >>> (found,) = matches(Path("labels/patient.01.nii.gz"))
        >>> found.name, found.case
        ('nifti', 'patient.01')
    """
    if reader is not None and (found := _matched(with_own_readers().readers.find(reader), path)):
        return [found]
    name = path.name.lower()
    suffix = next((suffix for suffix in READERS if name.endswith(suffix)), None)
    if suffix is not None:
        return [_own_match(READERS[suffix], path.name[: -len(suffix)])]
    for claims, target in CLAIMS.items():
        if _is_there(path) and _own_function(claims)(path):
            return [_own_match(target, _case(path))]
    return [found for offer in host().readers if (found := _matched(offer, path))]


def overruled(paths: Iterable[Path], reader: str | None = None) -> Iterator[str]:
    """A sentence for each reader of a plugin that claims the suffix of a path which is our own.

    Args:
        paths: that are to be read.
        reader: the one that was asked for.
    """
    suffixes = {own for path in paths for own in READERS if path.name.lower().endswith(own)}
    for offer in host().readers:
        taken = sorted(suffixes & set(offer.record.suffixes))
        if taken and reader not in (offer.full_name, offer.record.name):
            own = ", ".join(dict.fromkeys(f"medloss:{_own_name(READERS[each])}" for each in taken))
            yield (
                f"{', '.join(taken)} is read by {own} and not by {offer.full_name} "
                f"({offer.plugin}), which claims it too; --reader {offer.full_name} takes that one"
            )


def packages(paths: Iterable[Path], reader: str | None = None) -> dict[str, str]:
    """Versions of the packages that have read some paths, medloss's own libraries and plugins'."""
    found: dict[str, str] = {}
    for path in paths:
        for each in matches(path, reader)[:1]:
            name = each.name.rpartition(":")[0] or LIBRARIES.get(each.name)
            if name and name not in found:
                with contextlib.suppress(metadata.PackageNotFoundError):
                    found[name] = metadata.version(name)
    return found


def own_readers() -> list[Offer[Reader]]:
    """Medloss's own readers as if a plugin offered them."""
    plugin = Plugin("formats", __package__, "medloss", __version__)
    claims = {target: _own(claim) for claim, target in CLAIMS.items()}
    return [
        Offer(
            Reader(
                name=_own_name(target),
                target=_own(target),
                suffixes=tuple(suffix for suffix, other in READERS.items() if other == target),
                claims=claims.get(target, ""),
            ),
            plugin,
        )
        for target in dict.fromkeys([*READERS.values(), *claims])
    ]


def with_own_readers() -> Host:
    """The host, with medloss's own readers among those of plugins."""
    found = copy.copy(host())
    found.catalogues = [*found.catalogues]
    found.readers = Catalogue(Reader, found.plugins, found.catalogues)
    found.readers.add([*own_readers(), *host().readers])
    found.catalogues[found.catalogues.index(host().readers)] = found.readers
    return found


def _matched(offer: Offer[Reader], path: Path) -> Match | None:
    record, lower = offer.record, path.name.lower()
    whose = f"{offer.full_name} ({offer.plugin})"
    for suffix in sorted(record.suffixes, key=len, reverse=True):
        if lower.endswith(suffix):
            return Match(offer.full_name, path.name[: -len(suffix)], offer.load, whose)
    if record.claims and _is_there(path) and _claimed(offer, path):
        return Match(offer.full_name, _case(path), offer.load, whose)
    return None


def _claimed(offer: Offer[Reader], path: Path) -> bool:
    claims = dataclasses.replace(
        offer, record=dataclasses.replace(offer.record, target=offer.record.claims)
    )
    try:
        return bool(claims.load()(path))
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way, and nobody else must
        reason = f"{type(error).__name__}: {error}"
        warnings.warn(
            f"{offer.full_name} ({offer.plugin}) cannot tell of {path}: {reason}", stacklevel=2
        )
        return False


def _is_there(path: Path) -> bool:
    """Whether there is a file or a folder that may be looked into; a pipe would never open."""
    try:
        return path.is_file() or path.is_dir()
    except (OSError, ValueError):
        return False


def _case(path: Path) -> str:
    return path.name if path.is_dir() else _WORD_SUFFIX.sub("", path.name)


def _own(target: str) -> str:
    return f"{__package__}.{target}"


def _own_name(target: str) -> str:
    return target.partition(":")[2].removeprefix("read_")


def _own_match(target: str, case: str) -> Match:
    return Match(_own_name(target), case, functools.partial(_own_function, target))


@functools.cache
def _own_function(target: str) -> Callable[[Path], Any]:
    module, _, name = target.partition(":")
    found: Callable[[Path], Any] = getattr(importlib.import_module(_own(module)), name)
    return found
