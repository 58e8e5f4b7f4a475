"""Which image each case was drawn on, for pictures: found by the name of the case, never scored."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from medloss.evaluation.inputs.folders import FolderEntry, is_folder, printable
from medloss.evaluation.inputs.pairing import Pair, files_of, unreachable
from medloss.evaluation.reading.dicom_files import is_series
from medloss.evaluation.reading.images import case_name, no_image
from medloss.evaluation.reading.photo import PHOTOS
from medloss.runtime.config_text import parse_file, read_text

_CASE = "{case}"
_FIRST_CHANNEL = "_0000"
_BETWEEN_WORDS = "-_. "
_LABELS = re.compile(
    r"(?:^|[-_./ ])(?:d?seg|labels?(?:Tr|Ts)?|masks?|segmentations?)(?:$|[-_./ ])", re.IGNORECASE
)
_MOST_LISTED = 6


class _Found(NamedTuple):
    """An image of a case.

    Args:
        rest: its path from the name of the case on.
        path: where it is.
        labels: whether it is called like labels.
    """

    rest: str
    path: Path
    labels: bool


def with_images(images: Path, pairs: Sequence[Pair], channel: str = "") -> tuple[Pair, ...]:
    """Cases with the images that a folder holds of them.

    An image belongs to a case that it is called like, whose name it begins with, or in whose folder
    it lies: ``{case}.nii.gz``, ``{case}_0000.nii.gz``, ``{case}-t1c.nii.gz``, ``{case}/ct.nii.gz``,
    ``{case}/{case}_flair.nii.gz``. Files that are scored are no images, nor are those called seg,
    label or mask. Of several that of nnU-Net's channel 0 counts, or the one that ``channel`` names;
    else the case has none, and it is said why.

    Args:
        images: the folder, or the image of the only case.
        pairs: cases.
        channel: nnU-Net's number, or the last word of the names, such as ``t1c``; empty for any.

    Raises:
        ValueError: there is no such folder, or it holds no image of any case.
    """
    if problem := unreachable(images):
        raise ValueError(f"--images: {problem}")
    series, name = is_series(images), _name(images)
    if not is_folder(images) or series or name not in (None, images.name):
        if name is None and not series:
            raise ValueError(f"--images: {no_image(images)}")
        if len(pairs) != 1:
            raise ValueError(f"--images: {images} is one image, and there are {len(pairs)} cases")
        return (dataclasses.replace(pairs[0], image=images, image_problem=""),)
    scored = {
        os.path.realpath(path)
        for pair in pairs
        for side in (pair.prediction, pair.reference)
        for path in files_of(side)
    }
    found: dict[str, list[_Found]] = {}
    names = {pair.name for pair in pairs}
    first = ""
    for entry in _images_in(images):
        if os.path.realpath(entry.path) in scored:
            continue
        first = first or printable(entry.relative)
        if place := _belongs(printable(entry.stem), names):
            case, before, rest = place
            labels = bool(_LABELS.search(f"{before}/{rest}"))
            found.setdefault(case, []).append(_Found(rest, entry.path, labels))
    made = tuple(_with_image(pair, found.get(pair.name, []), images, channel) for pair in pairs)
    if not any(pair.image for pair in made):
        if not found:
            seen = f"the first image is {first!r}" if first else "there is no image in it"
            raise ValueError(
                f"--images: {images} holds no image that has or begins with the name of a case, "
                f"such as {pairs[0].name!r}; {seen}"
            )
        raise ValueError(f"--images: {next(pair.image_problem for pair in made if found)}")
    return made


def modality(images: Path, channel: str = "") -> str:
    """What ``dataset.json`` in a folder of images, or above it, calls a channel; else empty.

    Args:
        images: the folder.
        channel: its number, by default 0.
    """
    for folder in (images, images.parent):
        path = folder / "dataset.json"
        if not path.is_file():
            continue
        with contextlib.suppress(ValueError, OSError):
            content = parse_file(read_text(path), path)
            names = content.get("channel_names", content.get("modality"))
            if isinstance(names, Mapping):
                return str(names.get(channel or "0", ""))
    return ""


def _images_in(
    folder: Path, before: str = "", above: frozenset[str] = frozenset()
) -> Iterator[FolderEntry]:
    """Images in a folder and the folders in it, however deep; a DICOM series is one."""
    here = os.path.realpath(folder)
    if here in above:
        return
    try:
        inside = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        if before:
            return
        raise ValueError(
            f"--images: {folder} cannot be listed: {error.strerror or error}"
        ) from error
    for path in inside:
        if path.name.startswith("."):
            continue
        relative, name = before + path.name, _name(path)
        if is_folder(path) and (name is None or name == path.name):
            if is_series(path):
                yield FolderEntry(path, relative, path.name)
            else:
                yield from _images_in(path, f"{relative}/", above | {here})
        elif name is not None:
            yield FolderEntry(path, relative, name)


def _name(path: Path) -> str | None:
    """Without the suffix of an image or a photograph, ``None`` for what is neither."""
    return path.stem if path.suffix.lower() in PHOTOS else case_name(path)


def _belongs(stem: str, names: set[str]) -> tuple[str, str, str] | None:
    """The case of a path without its suffix, the folders before it, and the rest of the path.

    Example:
        >>> _belongs("imagesTr/a_1_0000", {"a", "a_1"}), _belongs("a/ct", {"a", "a_1"})
        (('a_1', 'imagesTr', '{case}_0000'), ('a', '', '{case}/ct'))
        >>> _belongs("b/ct", {"a"}) is None
        True
    """
    *folders, last = stem.split("/")
    spans = [(i, j) for i in range(len(folders)) for j in range(i + 1, len(folders) + 1)]
    for i, j in sorted(spans, key=lambda span: span[0] - span[1]):
        if (case := "/".join(folders[i:j])) in names:
            own = folders[j - 1]
            rest = [*folders[j:], _CASE + last[len(own) :] if last.startswith(own) else last]
            return case, "/".join(folders[:i]), "/".join([_CASE, *rest])
    for end in (
        len(last),
        *(at for at in range(len(last) - 1, 0, -1) if last[at] in _BETWEEN_WORDS),
    ):
        for k in range(len(folders) + 1):
            if (case := "/".join([*folders[k:], last[:end]])) in names:
                return case, "/".join(folders[:k]), _CASE + last[end:]
    return None


def _with_image(pair: Pair, found: list[_Found], images: Path, channel: str) -> Pair:
    image, problem = _chosen(found, channel, repr(pair.name))
    if problem:
        problem = f"{images} holds {problem}"
    return dataclasses.replace(pair, image=image, image_problem=problem)


def _chosen(found: Sequence[_Found], channel: str, case: str) -> tuple[Path | None, str]:
    """One image, or what a folder holds instead."""
    found = [each for each in found if not each.labels] or list(found)
    if not found:
        return None, f"no image of {case}"
    if channel and (len(found) > 1 or not channel.isdecimal()):
        ends = _ends(channel)
        fits = [each for each in found if each.rest.lower().endswith(ends)]
        if not fits:
            return None, f"no image {channel} of {case}: {_listed(found)}"
        found = fits
    for fits in (
        [each for each in found if each.rest in (_CASE, f"{_CASE}/{_CASE}")],
        [each for each in found if each.rest.endswith(_FIRST_CHANNEL)],
        found,
    ):
        if len(fits) == 1:
            return fits[0].path, ""
    return None, f"several images of {case}, and --channel says which: {_listed(found)}"


def _ends(channel: str) -> tuple[str, ...]:
    if channel.isdecimal():
        return (f"_{int(channel):04d}",)
    word = channel.lower()
    return tuple(sign + word for sign in (*_BETWEEN_WORDS, "/"))


def _listed(found: Sequence[_Found]) -> str:
    names = [*Counter(each.rest.replace(_CASE, "*") for each in found)]
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return ", ".join(names[:_MOST_LISTED]) + more
