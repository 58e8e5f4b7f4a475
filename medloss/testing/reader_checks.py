"""What is demanded of a reader of files, tried on a file of its format."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from medloss.evaluation.reading.formats import matches
from medloss.evaluation.reading.images import Image, make_image
from medloss.evaluation.reading.opened import recording
from medloss.evaluation.reading.stored import CaseError, Drawn, Grid, Stored, Unplaced
from medloss.offers.host import Offer
from medloss.offers.records import Reader
from medloss.testing.registry import ContractSubject, ExemptError, contract, demand

_DAMAGED = 60
_GRID: Grid = ((6, 7, 8), np.diag([-1.0, -1.0, 2.0, 1.0]))


class ReaderSubject(ContractSubject[Reader]):
    """A reader, and a file or folder of its format.

    Args:
        offer: the reader.
        options: ``sample``, the path; most checks need it.
    """

    def __init__(self, offer: Offer[Reader], options: Mapping[str, Any]) -> None:
        super().__init__(offer, options)
        unknown = sorted(set(options) - {"sample"})
        if unknown:
            raise TypeError(f"{offer.full_name}: no option {unknown[0]!r}; a reader has sample")

    @property
    def sample(self) -> Path:
        """The file.

        Raises:
            ExemptError: none was given.
        """
        if "sample" not in self.options:
            raise ExemptError("no file of the format was given: sample=PATH (--sample PATH)")
        return Path(self.options["sample"])

    def read(self, path: Path) -> Stored | Unplaced:
        """What the reader returns; what it draws is drawn on a small grid."""
        found = self.target(path)
        if isinstance(found, Drawn):
            shape, affine = found.grid or _GRID
            found = found.on(shape, affine, "inclusive")
        demand(
            isinstance(found, (Stored, Unplaced)),
            f"it returned {type(found).__name__}; expected Stored, Unplaced or Drawn of "
            f"medloss.readers",
        )
        checked: Stored | Unplaced = found
        return checked

    def image(self, path: Path) -> Image | None:
        """What becomes of the file in ``medloss eval``; nothing of one without a place."""
        found = self.read(path)
        return make_image(path, found) if isinstance(found, Stored) else None


@contract("reader", excusable=False)
def result_is_an_image(subject: ReaderSubject) -> None:
    """The sample is read, as arrays and numbers of the kinds that an image has.

    Voxels are whole numbers or floats in two or three spatial axes, with perhaps one of classes
    after them; the affine is 4x4 and finite; names are texts by whole numbers.
    """
    found = subject.read(subject.sample)
    array = found.array
    demand(isinstance(array, np.ndarray), f"the voxels are of type {type(array).__name__}")
    demand(array.dtype.kind in "biuf", f"the voxels are of type {array.dtype}")
    demand(array.dtype.isnative, "the voxels are not in this machine's byte order")
    demand(array.size > 0, f"there are no voxels: the shape is {array.shape}")
    if isinstance(found, Unplaced):
        demand(array.ndim == 4, f"there are {array.ndim} axes; expected (x, y, z, classes)")
        return
    demand(found.dimensions in (2, 3), f"dimensions is {found.dimensions!r}; expected 2 or 3")
    extra = array.ndim - found.dimensions
    demand(extra in (0, 1), f"there are {array.ndim} axes, of which {found.dimensions} are spatial")
    affine = np.asarray(found.affine)
    demand(affine.shape == (4, 4), f"the affine has the shape {affine.shape}")
    demand(np.isfinite(affine).all(), f"the affine is {affine.tolist()}")
    for field in ("names", "codes"):
        for label, name in getattr(found, field).items():
            good = isinstance(label, (int, np.integer)) and isinstance(name, str)
            demand(good, f"{field} has {label!r}: {name!r}; expected a number and a text")
    if found.channels == "independent":
        most = array.shape[-1] if extra else 0
        demand(extra == 1, "its channels are independent, and it has no axis of them")
        wrong = [label for label in found.names if not 1 <= label <= most]
        demand(not wrong, f"names has {wrong}; channel 0 is label 1, and there are {most}")
    make_image(subject.sample, found)


@contract("reader", excusable=False)
def reading_changes_nothing(subject: ReaderSubject) -> None:
    """The sample reads the same twice, and is not written to.

    A report reads the files of a case again for its pictures.
    """
    before = {path: path.read_bytes() for path in _files(subject.sample)}
    one, other = subject.read(subject.sample), subject.read(subject.sample)
    demand(np.array_equal(one.array, other.array), "the second time the voxels were others")
    if isinstance(one, Stored) and isinstance(other, Stored):
        demand(np.array_equal(one.affine, other.affine), "the second time the affine was another")
    after = {path: path.read_bytes() for path in _files(subject.sample)}
    demand(after == before, "the file is another one after it was read")


@contract("reader", excusable=False)
def files_are_noted(subject: ReaderSubject) -> None:
    """Every file that decides a number is opened by ``medloss.readers.open_file``, or noted.

    That is how ``--resume`` knows that a case must be scored anew.
    """
    with recording() as noted:
        subject.read(subject.sample)
    paths = {Path(path).resolve() for path, *_ in noted}
    own = {path.resolve() for path in (subject.sample, *_files(subject.sample))}
    demand(paths & own, f"nothing of {subject.sample.name} was noted")


@contract("reader", excusable=False)
def damaged_files_are_refused_in_a_sentence(subject: ReaderSubject) -> str:
    """A damaged file raises ``medloss.readers.CaseError`` and nothing else, or is still an image.

    The error names the path, so that the failed case says what to look at. Damaged are copies of
    the sample: cut short, with other bytes, and with bytes too many, always the same ones.
    """
    chance = random.Random(0)
    refused = 0
    for _ in range(_DAMAGED):
        with _copy(subject.sample) as copy:
            victim = chance.choice(_files(copy))
            victim.write_bytes(_damage(victim.read_bytes(), chance))
            try:
                with np.errstate(all="ignore"):
                    subject.image(copy)
            except CaseError as error:
                refused += 1
                named = any(str(path) in str(error) for path in (copy, *_files(copy)))
                demand(named, f"the error does not name the file: {error}")
            except (MemoryError, OSError) as error:
                demand(isinstance(error, OSError) and error.errno, f"it raised {error!r}")
    return f"{refused} of {_DAMAGED} damaged copies were refused"


@contract("reader", excusable=False)
def empty_and_other_files_are_refused(subject: ReaderSubject) -> None:
    """An empty file and one of plain words, under the sample's name, raise ``CaseError``."""
    with _copy(subject.sample) as copy:
        for content in (b"", b"These are words.\n" * 20):
            for path in _files(copy):
                path.write_bytes(content)
            try:
                subject.image(copy)
            except CaseError:
                continue
            demand(False, f"{len(content)} bytes of no image were read as one")


@contract("reader", excusable=False)
def it_is_found(subject: ReaderSubject) -> None:
    """``medloss eval`` asks this reader for the sample: by its suffix, or by what it claims."""
    name = subject.offer.full_name
    found = matches(subject.sample, name)
    names = [each.name for each in found]
    demand(name in names, f"the sample is read by {' and '.join(names) or 'nobody'}")


def _files(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


@contextmanager
def _copy(sample: Path) -> Iterator[Path]:
    """The sample in a folder of its own, with what lies beside it under its name."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / sample.name
        if sample.is_dir():
            shutil.copytree(sample, copy)
        else:
            stem = sample.name.partition(".")[0]
            for each in sample.parent.glob(f"{stem}.*"):
                if each.is_file():
                    shutil.copy(each, copy.with_name(each.name))
            shutil.copy(sample, copy)
        yield copy


def _damage(content: bytes, chance: random.Random) -> bytes:
    spoiled = bytearray(content)
    kind = chance.randrange(4)
    if kind == 0:
        return bytes(spoiled[: chance.randrange(len(spoiled) + 1)])
    if kind == 1:
        place = chance.randrange(len(spoiled) + 1)
        return bytes(spoiled[:place] + chance.randbytes(chance.randrange(1, 9)) + spoiled[place:])
    # Most damage that matters is in the header.
    end = len(spoiled) if kind == 2 else min(len(spoiled), 400)
    for _ in range(chance.randrange(1, 9)):
        spoiled[chance.randrange(end)] = chance.randrange(256)
    return bytes(spoiled)
