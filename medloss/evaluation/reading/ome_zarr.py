"""OME-Zarr 0.4 and 0.5 (a folder ``.zarr``): one label image of it, at full resolution, by zarr."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medloss.evaluation.reading.libraries import library
from medloss.evaluation.reading.opened import look_for, note, read_file
from medloss.evaluation.reading.packed_chunks import check_chunk
from medloss.evaluation.reading.pixels import UNKNOWN, read_json
from medloss.evaluation.reading.stored import CaseError, Stored, by, voxel_bytes
from medloss.evaluation.reading.tiff import MM_PER_UNIT

SPACE = "the space of an OME-Zarr image"
"""Where its voxels lie: nobody knows which way the patient does."""

_ATTRIBUTES = (".zattrs", "zarr.json")
_ARRAYS = (".zarray", "zarr.json")
_MOST_CHUNKS = 1 << 18
_LARGEST_CHUNK = 1 << 26
_MOST_MORE = 1 << 24


def read_ome_zarr(path: Path) -> Stored:
    """The labels of an image, or of the one label image in it.

    Args:
        path: the folder of an image, or of one of its label images (``x.zarr/labels/organs``).

    Raises:
        CaseError: the folder is damaged, or does not say which label image is meant; or zarr is
            not installed.
    """
    if not path.is_dir():
        raise CaseError(f"{path} is no folder, which an OME-Zarr image is")
    folder, metadata = _label_image(path)
    scales = metadata.get("multiscales")
    scale = scales[0] if isinstance(scales, list) and scales and isinstance(scales[0], dict) else {}
    levels = scale.get("datasets")
    if not isinstance(levels, list) or not levels or not isinstance(levels[0], dict):
        raise CaseError(f"{folder} is no OME-Zarr image: it has no multiscales")
    name = levels[0].get("path")
    inside = isinstance(name, str) and (folder / name).resolve().is_relative_to(path.resolve())
    if not inside:
        raise CaseError(f"{folder} is damaged: its first level is {str(name)[:100]!r}")
    array = _array(path, folder / str(name))
    axes, units = _axes(folder, scale.get("axes"), array.shape)
    lengths, origin = _placed(folder, levels[0], scale, len(axes))
    for axis in reversed(range(len(axes))):
        if axes[axis] not in "xyz":
            if array.shape[axis] != 1:
                what = "a time series" if axes[axis] == "t" else "several channels"
                raise CaseError(f"{folder} is {what} ({by(array.shape)}); expected one label map")
            array = array.reshape(array.shape[:axis] + array.shape[axis + 1 :])
            del axes[axis], units[axis], lengths[axis], origin[axis]
    order = [axes.index(axis) for axis in "xyz" if axis in axes]
    affine = np.eye(4)
    for axis, old in enumerate(order):
        affine[axis, axis] = lengths[old] * units[old]
        affine[axis, 3] = origin[old] * units[old]
    known = bool(np.isfinite(affine).all())
    affine[:, 3] = np.where(np.isfinite(affine[:, 3]), affine[:, 3], 0)
    return Stored(
        array.transpose(order),
        affine,
        len(order),
        space=SPACE if known else "",
        names=_names(metadata.get("image-label")),
    )


def is_ome_zarr(path: Path) -> bool:
    """Whether a folder has the metadata of an OME-Zarr image."""
    return path.is_dir() and any((path / name).is_file() for name in _ATTRIBUTES)


def _label_image(path: Path) -> tuple[Path, Mapping[str, Any]]:
    """The folder of the label image, and its metadata; the image itself where it has none."""
    metadata = _attributes(path)
    listed = metadata.get("labels")
    inner = path if isinstance(listed, list) else path / "labels"
    if inner is not path and inner.is_dir():
        listed = _attributes(inner).get("labels")
    if not isinstance(listed, list):
        return path, metadata
    names = [str(name)[:100] for name in listed]
    if len(names) != 1:
        told = ", ".join(names[:10]) or "none"
        raise CaseError(
            f"{path} has {len(names)} label images ({told}); name the folder of one of them, such "
            f"as {inner / (names[0] if names else 'NAME')}"
        )
    folder = inner / names[0]
    if not folder.resolve().is_relative_to(path.resolve()):
        raise CaseError(f"{path} points outside of its folder for its labels: {names[0]!r}")
    return folder, _attributes(folder)


def _attributes(folder: Path) -> Mapping[str, Any]:
    for name in _ATTRIBUTES:
        if look_for(folder / name):
            content = read_json(folder / name)
            if name == "zarr.json" and isinstance(content, dict):
                content = content.get("attributes")
            found = content.get("ome", content) if isinstance(content, dict) else None
            if not isinstance(found, dict):
                raise CaseError(f"{folder / name} is damaged: it is no object of metadata")
            return found
    raise CaseError(f"{folder} is no OME-Zarr image: it has neither .zattrs nor zarr.json")


def _array(path: Path, folder: Path) -> NDArray[Any]:
    metadata = next((folder / name for name in _ARRAYS if look_for(folder / name)), None)
    if metadata is None:
        raise CaseError(f"{folder} is no array: it has neither .zarray nor zarr.json")
    described = read_json(metadata)
    with library(path, "zarr", "zarr", "OME-Zarr image") as zarr:
        from zarr.core.buffer.cpu import Buffer

        content = {metadata.name: Buffer.from_bytes(read_file(metadata))}
        array = zarr.open_array(zarr.storage.MemoryStore(content), mode="r")
        shape, itemsize = tuple(map(int, array.shape)), int(array.dtype.itemsize)
        if array.dtype.kind not in "biuf":
            raise CaseError(f"{path} holds values of type {array.dtype}, not labels")
        size = voxel_bytes(path, shape, itemsize)
        chunks = tuple(map(int, array.shards or array.chunks))
        chunk = voxel_bytes(path, chunks, itemsize)
        many = math.prod(-(-length // each) for length, each in zip(shape, chunks, strict=True))
        if chunk > max(2 * size, _LARGEST_CHUNK) or many > _MOST_CHUNKS:
            raise CaseError(
                f"{path} has {by(shape)} voxels in {many} pieces of {by(chunks)}, which is too "
                f"many or too large"
            )
        total = 0
        for key, file in _files(folder):
            packed = read_file(file, most=2 * chunk + _LARGEST_CHUNK)
            total += len(packed)
            if total > 2 * size + _MOST_MORE:
                raise CaseError(f"{path} is damaged: its pieces are far longer than its voxels")
            check_chunk(file, packed, described, chunk, itemsize)
            content[key] = Buffer.from_bytes(packed)
        found: NDArray[Any] = np.asarray(array[...])
    return found.astype(found.dtype.newbyteorder("="), copy=False)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every piece by its name in the array; folders are noted, in which others may appear."""
    found, left = 0, [folder]
    while left:
        inner = left.pop()
        note(inner)
        with os.scandir(inner) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                found += 1
                if found > 2 * _MOST_CHUNKS:
                    raise CaseError(f"{folder} holds more than {2 * _MOST_CHUNKS} files")
                if entry.is_symlink():
                    raise CaseError(f"{entry.path} is a link, which pieces of an array are not")
                if entry.is_dir():
                    left.append(Path(entry.path))
                elif not entry.name.startswith(".z") and entry.name != "zarr.json":
                    yield Path(entry.path).relative_to(folder).as_posix(), Path(entry.path)


def _axes(folder: Path, described: Any, shape: tuple[int, ...]) -> tuple[list[str], list[float]]:
    """Names of the axes, and mm for a unit of each."""
    listed = described if isinstance(described, list) else []
    axes = [one if isinstance(one, dict) else {"name": one} for one in listed]
    names = [str(one.get("name")) for one in axes]
    spatial = [name for name in names if name in ("x", "y", "z")]
    fit = len(names) == len(shape) and len(set(names)) == len(names)
    if not fit or not {"x", "y"} <= set(spatial):
        raise CaseError(f"{folder} has the axes {names[:6]} for {by(shape)} voxels")
    return names, [MM_PER_UNIT.get(str(one.get("unit")).strip().lower(), UNKNOWN) for one in axes]


def _placed(
    folder: Path, level: Mapping[str, Any], scale: Mapping[str, Any], count: int
) -> tuple[list[float], list[float]]:
    """Sizes and origin, by the level's transformations and then by those of all levels."""
    lengths, origin = np.ones(count), np.zeros(count)
    key = "coordinateTransformations"
    steps = itertools.chain(level.get(key) or (), scale.get(key) or ())
    for step in steps:
        kind = step.get("type") if isinstance(step, dict) else None
        if kind == "identity":
            continue
        values: Any = step.get(kind) if kind in ("scale", "translation") else None
        if not _are_numbers(values, count):
            raise CaseError(f"{folder} is damaged, or placed by {str(step)[:100]}")
        if kind == "scale":
            lengths, origin = lengths * values, origin * values
        else:
            origin = origin + values
    return lengths.tolist(), origin.tolist()


def _are_numbers(values: Any, count: int) -> bool:
    return (
        isinstance(values, Sequence)
        and len(values) == count
        and all(type(one) in (int, float) and abs(one) < 1e9 for one in values)
    )


def _names(described: Any) -> dict[int, str]:
    listed = described.get("properties") if isinstance(described, dict) else None
    found: dict[int, str] = {}
    for one in listed if isinstance(listed, list) else ():
        label = one.get("label-value") if isinstance(one, dict) else None
        name = (one.get("name") or one.get("class")) if isinstance(one, dict) else None
        if type(label) is int and label > 0 and isinstance(name, str) and name.strip():
            found[label] = name.strip()[:1000]
    return found
