"""What a reader of a file format is made of; those on offer are used by ``medloss eval``.

A reader is a function of a path that returns :class:`Stored`, :class:`Unplaced` or :class:`Drawn`,
or raises :class:`CaseError` with one sentence that names the file. It opens its files with
:func:`open_file` or :func:`read_file`, or notes with :func:`note` what something else opens, so
that ``--resume`` sees when one of them has changed. ``docs/write-a-reader.md`` has an example.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medloss.evaluation.reading.formats import with_own_readers
from medloss.offers.records import Reader

if TYPE_CHECKING:
    from medloss.evaluation.reading.opened import note as note
    from medloss.evaluation.reading.opened import open_file as open_file
    from medloss.evaluation.reading.opened import read_file as read_file
    from medloss.evaluation.reading.stored import CaseError as CaseError
    from medloss.evaluation.reading.stored import Drawn as Drawn
    from medloss.evaluation.reading.stored import Stored as Stored
    from medloss.evaluation.reading.stored import Unplaced as Unplaced

_OPENED = ("note", "open_file", "read_file")
_STORED = ("CaseError", "Drawn", "Stored", "Unplaced")

__all__ = ["list_readers", *_OPENED, *_STORED]


def list_readers() -> list[Reader]:
    """Records of every reader on offer: medloss's own and those of plugins.

    Example:
        >>> next(reader.suffixes for reader in list_readers() if reader.name == "nifti")
        ('.nii.gz', '.nii')
    """
    return [offer.record for offer in with_own_readers().readers]


def __getattr__(name: str) -> Any:
    if name in _OPENED:
        from medloss.evaluation.reading import opened

        return getattr(opened, name)
    if name in _STORED:  # numpy, which listing does without
        from medloss.evaluation.reading import stored

        return getattr(stored, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
