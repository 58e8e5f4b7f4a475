"""TIFF: pages of labels, with the voxel size where ImageJ, OME or nnU-Net state it, by tifffile."""

from __future__ import annotations

import importlib.util
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.libraries import library
from medloss.evaluation.reading.opened import look_for, open_file
from medloss.evaluation.reading.pixels import UNKNOWN, pixel_labels, read_json
from medloss.evaluation.reading.settled import SPACING_TOLERANCE, by_mm
from medloss.evaluation.reading.stored import CaseError, Stored, by, voxel_bytes
from medloss.objects.spacing import within

MM_PER_UNIT = {
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", r"\u00b5m", "micron", "microns", "micrometer"), 1e-3),
    **dict.fromkeys(("micrometre",), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1e-6),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 10.0),
    **dict.fromkeys(("m", "meter", "metre"), 1e3),
    **dict.fromkeys(("inch", "in"), 25.4),
}
_NONE, _LZW, _DEFLATE, _PACKBITS, _ZSTD = 1, 5, (8, 32946), 32773, 50000
_LARGEST_RATIO = 1 << 15  # a block of zstd; the others make less of a byte
_MOST_PAGES = 1 << 16
_ENOUGH = 1 << 16


def read_tiff(path: Path) -> Stored:
    """Labels of columns, rows and pages.

    The resolution of a plain TIFF is that of a printer, and no voxel size; nnU-Net keeps it in
    ``CASE.json`` beside ``CASE.tif``, pages first.

    Raises:
        CaseError: the file is damaged, or holds something else; or tifffile is not installed.
    """
    array, axes, sizes = _read(path)
    found = pixel_labels(array, sizes, classes=axes.endswith("C"))
    beside = path.with_name(re.sub(r"(\.ome)?\.tiff?$", "", path.name, flags=re.I) + ".json")
    if not look_for(beside):
        return found
    sizes = _beside(path, beside, sizes)
    return pixel_labels(array, sizes, classes=axes.endswith("C"))


def read_plane(path: Path) -> NDArray[Any]:
    """Rows and columns of a file that holds one slice.

    Raises:
        CaseError: as :func:`read_tiff`, or it holds several.
    """
    array, axes, _ = _read(path)
    if axes != "YX":
        raise CaseError(f"{path} holds {by(array.shape)} values; expected one slice")
    return array


def _read(path: Path) -> tuple[NDArray[Any], str, tuple[float, ...]]:
    """Values, their axes (``YX``, ``ZYX``, perhaps with ``C`` behind) and sizes along x, y, z."""
    with (
        library(path, "tifffile", "tiff", "TIFF file") as tifffile,
        open_file(path) as file,
        tifffile.TiffFile(file, name=path.name) as tiff,
    ):
        stored = file.seek(0, 2)
        if len(tiff.pages) > _MOST_PAGES:
            raise CaseError(f"{path} has {len(tiff.pages)} pages; expected {_MOST_PAGES} at most")
        if len(tiff.series) != 1:
            raise CaseError(f"{path} holds {len(tiff.series)} images of their own; expected one")
        (series,) = tiff.series
        axes = _axes(path, series.axes, series.shape)
        size = voxel_bytes(path, series.shape, series.dtype.itemsize)
        if any(page is None for page in series.pages):
            raise CaseError(f"{path} is a part of an image in several files")
        _check_segments(path, file, series, size, stored)
        array = series.asarray(maxworkers=1)
        sizes = _sizes(tiff, len(axes.replace("C", "")))
    if "C" in axes:
        array, axes = np.moveaxis(array, axes.index("C"), -1), axes.replace("C", "") + "C"
    return array, axes, sizes


def _axes(path: Path, axes: str, shape: tuple[int, ...]) -> str:
    """The axes of tifffile, where pages without a word on them are slices."""
    names = axes.replace("Q", "Z").replace("I", "Z")
    if "S" in names:
        raise CaseError(
            f"{path} holds colours ({by(shape)}), and not which label each of them stands for; "
            f"save the labels themselves, as grey values"
        )
    if "T" in names:
        raise CaseError(f"{path} is a time series ({by(shape)} along {axes}); save one time of it")
    if names not in ("YX", "ZYX", "CYX", "CZYX", "ZCYX"):
        raise CaseError(f"{path} has the axes {axes} ({by(shape)}); expected pages, rows, columns")
    return names


def _check_segments(path: Path, file: Any, series: Any, size: int, stored: int) -> None:
    """Raise for segments that inflate to more than their share, or that are not there."""
    first = series.pages[0]
    packing = int(first.compression)
    if packing not in (_NONE, _LZW, *_DEFLATE, _PACKBITS, _ZSTD):
        raise CaseError(
            f"{path} is compressed by {first.compression.name}, which changes values or is not "
            f"supported; save it with deflate or without compression"
        )
    if packing in (_LZW, _PACKBITS, _ZSTD) and importlib.util.find_spec("imagecodecs") is None:
        raise CaseError(
            f"{path} is compressed by {first.compression.name}, which takes imagecodecs (pip "
            f"install imagecodecs), or save it with deflate"
        )
    ratio = 1 if packing == _NONE else _LARGEST_RATIO
    if size > stored * ratio:
        raise CaseError(f"{path} is truncated: {stored} bytes where {size} are said to be")
    if packing == _NONE:
        return
    most = min(math.prod(map(int, first.chunks)), size) * series.dtype.itemsize + _ENOUGH
    for page in series.pages:
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if count > 2 * most:
                raise CaseError(f"{path} is damaged: a part of it has {count} bytes")
            if packing in _DEFLATE:
                file.seek(offset)
                _check_inflated(path, file.read(count), most)


def _check_inflated(path: Path, content: bytes, most: int) -> None:
    stream, found = zlib.decompressobj(), 0
    while content and found <= most:
        found += len(stream.decompress(content, _ENOUGH))
        content = stream.unconsumed_tail
    if found > most:
        raise CaseError(f"{path} is damaged: a part of it inflates to more than its share")


def _sizes(tiff: Any, count: int) -> tuple[float, ...]:
    """Along x, y and z in mm, as ImageJ or OME state it."""
    if tiff.is_ome:
        found = [_ome_size(tiff.ome_metadata or "", axis) for axis in "XYZ"]
    elif tiff.is_imagej:
        words = tiff.imagej_metadata or {}
        unit = MM_PER_UNIT.get(str(words.get("unit", "")).strip().lower(), UNKNOWN)
        spacing = words.get("spacing", UNKNOWN)
        tags = tiff.pages[0].tags
        pixels = [_ratio(tags.get(name)) for name in ("XResolution", "YResolution")]
        lengths = [*(1 / one if one else UNKNOWN for one in pixels), spacing]
        found = [unit * abs(float(one)) for one in lengths]
    else:
        found = [UNKNOWN] * 3
    return tuple(size if 0 < size < np.inf else UNKNOWN for size in found[:count])


def _ratio(tag: Any) -> float:
    value = getattr(tag, "value", None)
    if not isinstance(value, tuple) or len(value) != 2 or not value[1]:
        return 0.0
    return float(value[0]) / float(value[1])


def _ome_size(text: str, axis: str) -> float:
    tag = text.partition("<Pixels ")[2].partition(">")[0][:4096]
    size = re.search(rf'\bPhysicalSize{axis}="([^"]{{1,40}})"', tag)
    unit = re.search(rf'\bPhysicalSize{axis}Unit="([^"]{{1,40}})"', tag)
    try:
        length = float(size[1]) if size else UNKNOWN
    except ValueError:
        return UNKNOWN
    return length * MM_PER_UNIT.get(unit[1].strip().lower() if unit else "µm", UNKNOWN)


def _beside(path: Path, beside: Path, sizes: tuple[float, ...]) -> tuple[float, ...]:
    """What nnU-Net states, slowest axis first, as far as the file does not state another size."""
    content = read_json(beside)
    listed = content.get("spacing") if isinstance(content, dict) else None
    if listed is None:
        return sizes
    numbers = listed if isinstance(listed, list) else []
    if len(numbers) != len(sizes) or not all(
        type(one) in (int, float) and 0 < one < np.inf for one in numbers
    ):
        raise CaseError(
            f"{beside} states the spacing {str(listed)[:100]}; expected {len(sizes)} sizes in mm"
        )
    said = tuple(float(one) for one in reversed(numbers))
    for one, other in zip(sizes, said, strict=True):
        if not np.isnan(one) and not within(abs(one - other) / other, SPACING_TOLERANCE):
            raise CaseError(
                f"{path} states a voxel size of {by_mm(sizes)} mm, {beside} one of {by_mm(said)}"
            )
    return said
