"""Which prediction belongs to which reference."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import overload

from medloss.evaluation.inputs import layouts
from medloss.evaluation.inputs.folders import (
    FolderCase,
    FolderSide,
    images_in,
    left_over,
    place_beside,
    printable,
    read_folder,
    stem_of,
)
from medloss.evaluation.inputs.labels import same_name
from medloss.evaluation.inputs.layouts import FLAT, Layout, parse_layout
from medloss.evaluation.reading.foreign import way_out
from medloss.evaluation.reading.formats import SUFFIXES
from medloss.evaluation.reading.images import case_name, no_image
from medloss.evaluation.reading.opened import is_link

_MOST_PROPOSED = 2


@dataclass(frozen=True)
class Structures:
    """One side of a case whose every structure is a file of its own.

    Args:
        files: by the name of the structure, in order.
    """

    files: tuple[tuple[str, Path], ...]

    def __str__(self) -> str:
        """The folder that holds them all."""
        paths = [str(path) for _, path in self.files]
        return os.path.commonpath(paths) if len(paths) > 1 else "".join(paths)


Files = Path | Structures
"""What one side of a case is read from."""


def files_of(side: Files | None) -> tuple[Path, ...]:
    """Every file of a side.

    Example:
        >>> [str(path) for path in files_of(Structures((("liver", Path("a/liver.nii")),)))]
        ['a/liver.nii']
    """
    if isinstance(side, Structures):
        return tuple(path for _, path in side.files)
    return () if side is None else (side,)


@dataclass(frozen=True)
class Pair:
    """One case: its two sides, or the reason why it has not two.

    Args:
        name: of the case.
        prediction: file of the prediction or one for each structure, ``None`` where it is missing
            or ambiguous.
        reference: likewise.
        problem: one sentence where the case cannot be evaluated, else empty.
        missing: ``"prediction"`` or ``"reference"`` where there is no such file at all.
        columns: what else a manifest says of the case, such as its site.
        image: that the labels were drawn on, for pictures; nothing is scored by it.
        image_problem: why there is none, where one was looked for.
    """

    name: str
    prediction: Files | None
    reference: Files | None
    problem: str = ""
    missing: str = ""
    columns: tuple[tuple[str, str], ...] = ()
    image: Path | None = field(default=None, compare=False)
    image_problem: str = field(default="", compare=False)


@dataclass(frozen=True)
class FoundCases(Sequence[Pair]):
    """The cases of a study, in order, and what lies beside them.

    Args:
        pairs: cases.
        left_out: names of the references that nobody predicted, where such are no cases.
        passed_over: paths in the two folders that belong to no case.
        unscored: those of them that look like images.
        beside: images of cases that are no labels, such as ``{case}/ct (2)``.
        layout: how each side is laid out, in words; empty where it is flat.
        only: patterns of the names of cases that are meant; empty for all.
        labels: the file beside them that says what their labels mean, where they have one.
        spacing_mm: voxel size that such a file says of images that do not state theirs.
    """

    pairs: tuple[Pair, ...]
    left_out: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()
    unscored: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    layout: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    labels: Path | None = None
    spacing_mm: tuple[float, ...] = ()

    def __len__(self) -> int:
        """How many cases there are."""
        return len(self.pairs)

    @overload
    def __getitem__(self, index: int) -> Pair: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Pair, ...]: ...
    def __getitem__(self, index: int | slice) -> Pair | tuple[Pair, ...]:
        """A case, or several."""
        return self.pairs[index]


def pair_paths(prediction: Path, reference: Path, *, probabilities: bool = False) -> FoundCases:
    """The cases of two files, or of two flat folders: :func:`find_cases`."""
    return find_cases(prediction, reference, probabilities=probabilities)


def find_cases(
    prediction: Path,
    reference: Path,
    *,
    probabilities: bool = False,
    sides: tuple[Layout, Layout] = (parse_layout(FLAT), parse_layout(FLAT)),
    one_reference: bool = False,
) -> FoundCases:
    """Pair two files, or the images of two folders by the names of their cases.

    Args:
        prediction: file or folder.
        reference: the same kind as ``prediction``.
        probabilities: whether a prediction's ``.npz`` is taken rather than the image beside it.
        sides: how the two folders are laid out.
        one_reference: whether a file as reference is that of every case of a folder.

    Returns:
        One pair for every name on either side, by name, and what belongs to none.

    Raises:
        ValueError: a path is missing or no image, a file is set against a folder, or no name is on
            both sides.
    """
    for path in (prediction, reference):
        if problem := unreachable(path):
            raise ValueError(problem)
    folders = prediction.is_dir(), reference.is_dir()
    if one_reference:
        if folders != (True, False):
            raise ValueError("--one-reference is for a folder of predictions and one file REF")
        _check_image(reference)
        return _against_one(
            read_folder(
                prediction,
                sides[0],
                alone=prediction.resolve().name,
                probabilities=probabilities,
            ),
            reference,
        )
    # Formats that keep an image in a folder: what such a folder holds may be cases all the same.
    images = all(case_name(path) is not None for path in (prediction, reference))
    name = printable(case_name(reference) or reference.name)
    one = FoundCases((Pair(name, prediction, reference),))
    if images and not all(folders):
        return one
    if folders[0] != folders[1]:
        folder, file = sorted((prediction, reference), key=lambda path: not path.is_dir())
        hint = "" if folders[1] else f"; where {file} is the reference of all, say --one-reference"
        raise ValueError(
            f"{folder} is a folder and {file} is a file; give two files or two folders{hint}"
        )
    if folders[0]:
        try:
            return _pair_folders(prediction, reference, probabilities, sides)
        except ValueError:
            if images:
                return one
            raise
    if not all(side.flat for side in sides):
        raise ValueError("--layout is for two folders; PRED and REF are files")
    for path in (prediction, reference):
        _check_image(path)
    return one


def _check_image(path: Path) -> None:
    if case_name(path) is None:
        raise ValueError(no_image(path))


def unreachable(path: Path) -> str:
    """Why a path leads to nothing that could be read; empty where something is there.

    Example:
        >>> unreachable(Path("nowhere/a.nii"))
        'nowhere/a.nii does not exist'
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} {'is a link that leads nowhere' if is_link(path) else 'does not exist'}"
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        return f"{path} cannot be looked at: {reason or error}"
    return ""


def only_predicted(pairs: Sequence[Pair]) -> tuple[tuple[Pair, ...], tuple[str, ...]]:
    """The pairs without those that nobody predicted, and the names of the latter.

    Raises:
        ValueError: nothing is left.
    """
    left_out = tuple(pair.name for pair in pairs if pair.missing == "prediction")
    kept = tuple(pair for pair in pairs if pair.missing != "prediction")
    if not kept:
        raise ValueError(f"none of the {len(pairs)} references has a prediction")
    return kept, left_out


def only_named(
    found: FoundCases, patterns: Sequence[str], roots: Sequence[Path] = ()
) -> FoundCases:
    """The cases whose names fit one of some patterns, as of files: ``case_0*``.

    Args:
        found: all cases.
        patterns: of names.
        roots: the two folders, whose own names are no names of cases.

    Raises:
        ValueError: no case fits one of them.

    Example:
        >>> pairs = Pair("a1", None, None), Pair("b1", None, None)
        >>> found = FoundCases(pairs, unscored=("p/b.x",))
        >>> kept = only_named(found, ["a*"])
        >>> [pair.name for pair in kept.pairs], kept.unscored
        (['a1'], ())
    """
    for pattern in patterns:
        if not any(fnmatchcase(pair.name, pattern) for pair in found.pairs):
            first = ", ".join(repr(pair.name) for pair in found.pairs[:3])
            raise ValueError(f"--only: no case is called {pattern!r}; the first are {first}")

    def meant(name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in patterns)

    def path_meant(path: str) -> bool:
        own = Path(path)
        root = next((root for root in roots if own.is_relative_to(root)), own.parent)
        *folders, name = own.relative_to(root).parts
        return any(map(meant, (*folders, name, case_name(own) or stem_of(name))))

    return replace(
        found,
        pairs=tuple(pair for pair in found.pairs if meant(pair.name)),
        unscored=tuple(filter(path_meant, found.unscored)),
        only=tuple(patterns),
    )


def _pair_folders(
    prediction: Path, reference: Path, probabilities: bool, given: tuple[Layout, Layout]
) -> FoundCases:
    alone = reference.resolve().name
    sides = (
        read_folder(prediction, given[0], alone=alone, probabilities=probabilities),
        read_folder(reference, given[1], alone=alone),
    )
    problem = _unpaired(*sides)
    if problem:
        raise ValueError(problem + _proposal(sides, probabilities))
    return _paired(*sides)


def _paired(predictions: FolderSide, references: FolderSide) -> FoundCases:
    # A name that both folders have is a case, even where nobody here can read its files.
    both = predictions.cases.keys() & references.cases.keys()
    names = sorted(predictions.images | references.images | both)
    pairs = tuple(_pair(name, predictions, references) for name in names)
    return _with_rest(pairs, (predictions, references))


def _unpaired(predictions: FolderSide, references: FolderSide) -> str:
    for side in (predictions, references):
        if not side.images:
            like = "" if side.layout.flat else f" laid out as {_shown(side.layout.ranks)}"
            return f"{side.folder} holds no image{like} ({_formats(side)})"
    if predictions.cases.keys() & references.cases.keys():
        return ""
    what = "file" if predictions.layout.flat and references.layout.flat else "case"
    return (
        f"no {what} in {predictions.folder} has the name of a {what} in {references.folder}: the "
        f"first are {min(predictions.images)!r} and {min(references.images)!r}"
    )


def _proposal(sides: tuple[FolderSide, FolderSide], probabilities: bool) -> str:
    """What would pair them: said, never done."""
    if not all(side.layout.flat for side in sides):
        return ""
    fits = []
    for place, name in enumerate(layouts.NAMES):
        layout = parse_layout(name)
        try:
            one, other = (
                read_folder(side.folder, layout, probabilities=probabilities) for side in sides
            )
        except ValueError:  # names that a pattern fits in several ways
            continue
        if layout.flat or not one.images & other.images:
            continue
        found = _paired(one, other)
        lost = len(found.unscored) + sum(bool(pair.problem) for pair in found.pairs)
        fits.append((lost, place, name, len(one.images & other.images)))
    if fits:
        best = [each for each in sorted(fits) if each[0] == min(fits)[0]][:_MOST_PROPOSED]
        told = (f"{name} would pair {many}" for *_, name, many in best)
        return f"; --layout {', --layout '.join(told)} of the cases"
    names = [sorted(side.images) for side in sides]
    if all(names) and (patterns := layouts.affix_pattern(*names)):
        words = ("--layout-prediction", "--layout-reference")
        options = [
            f"{word} '{pattern}'"
            for word, pattern in zip(words, patterns, strict=True)
            if pattern != "{case}"
        ]
        return f"; {' '.join(options)} would pair some" if options else ""
    return ""


def _formats(side: FolderSide) -> str:
    """What is read, or of a file that is not what it is."""
    others = (path for case in side.cases.values() for _, path in case.others)
    said = (f"{path.name} is {way}" for path in others if (way := way_out(path.name)))
    return next(said, _either(SUFFIXES))


def _against_one(side: FolderSide, reference: Path) -> FoundCases:
    if not side.images:
        raise ValueError(f"{side.folder} holds no image ({_formats(side)})")
    one = FolderCase([("", reference)])
    fixed = FolderSide(reference, side.layout, (), dict.fromkeys(side.images, one), (), frozenset())
    pairs = tuple(_pair(name, side, fixed) for name in sorted(side.images))
    return _with_rest(pairs, (side,))


def _with_rest(pairs: tuple[Pair, ...], sides: Sequence[FolderSide]) -> FoundCases:
    """What two folders hold that belongs to none of the pairs made of them, in order.

    A file that has the name of a case belongs to it, such as the voxels beside their header; where
    a layout names more than the case, so does one whose name goes on after it, or that lies in its
    folder.
    """
    names = {pair.name for pair in pairs}
    over: list[str] = []
    unscored: list[str] = []
    beside: Counter[str] = Counter()
    for side in sides:
        for entry, foreign in left_over(side, names):
            images = images_in(entry)
            place = None if foreign else place_beside(entry, side, names)
            if place is None:
                path = printable(f"{entry.path}/" if entry.folder else str(entry.path))
                path += f" ({entry.problem})" if entry.problem else ""
                over.append(path)
                unscored += [path] if images else []
            elif images:
                beside[f"{printable(side.folder.name)}/{place}"] += images
    return FoundCases(
        pairs,
        passed_over=tuple(over),
        unscored=tuple(unscored),
        beside=tuple(f"{name} ({many})" for name, many in sorted(beside.items())),
        layout=tuple(
            f"{word} {_shown((side.rank,))}"
            for word, side in zip(("prediction", "reference"), sides, strict=False)
            if not side.layout.flat
        ),
    )


def _pair(name: str, predictions: FolderSide, references: FolderSide) -> Pair:
    problems, missing = [], ""
    files: dict[str, Files | None] = {}
    for word, side in (("prediction", predictions), ("reference", references)):
        case = side.cases.get(name, FolderCase())
        files[word], problem = _files(case, word, side)
        if not problem and files[word] is None:
            missing = word
            what = "image called" if side.layout.flat else "labels of a case called"
            problem = f"no {word}: {side.folder} holds no {what} {name!r}"
        problems += [problem] if problem else []
    return Pair(name, files["prediction"], files["reference"], "; ".join(problems), missing)


def _files(case: FolderCase, word: str, side: FolderSide) -> tuple[Files | None, str]:
    """What one side is read from, or why it cannot be said."""
    if not case.images:
        if not case.others:
            return None, ""
        listed = _listed(path.name for _, path in case.others)
        ways = (f"it is {way}" for _, path in case.others if (way := way_out(path.name)))
        formats = next(ways, f"formats are {_either(SUFFIXES)}")
        where = _common(path for _, path in case.others)
        return None, f"no {word} that can be read: {where} holds {listed}, and {formats}"
    if not any(label for label, _ in case.images):
        paths = [path for _, path in case.images]
        return (paths[0], "") if len(paths) == 1 else (None, _several(word, paths))
    return structures_of(case.images, word, case.others)


def structures_of(
    found: Iterable[tuple[str, Path]], word: str, others: Iterable[tuple[str, Path]] = ()
) -> tuple[Structures | None, str]:
    """A file for each structure, or why there is not one.

    Args:
        found: names and files.
        word: the side, for the text.
        others: files that nobody reads.
    """
    files: dict[str, list[tuple[str, Path]]] = {}
    for label, path in found:
        files.setdefault(folded(label), []).append((label, path))
    if "" in files:  # a file for all beside one for a structure
        files = {"": [each for together in files.values() for each in together]}
    for together in files.values():
        if len(together) > 1:
            return None, _several(word, [path for _, path in together])
    for label, path in others:
        if folded(label) not in files:
            return None, f"no {word} that can be read: {path} is of a format that is not read"
    if "all" in files:
        return None, f"{files['all'][0][1]}: 'all' cannot be the name of a structure"
    return Structures(tuple(sorted(together[0] for together in files.values()))), ""


def folded(name: str) -> str:
    """The name of a structure as it is compared: files have no blanks where segments have some.

    Example:
        >>> folded(" Left_Kidney ")
        'left kidney'
    """
    return same_name(re.sub(r"[_-]", " ", name))


def _several(word: str, paths: Sequence[Path]) -> str:
    where = _common(paths)
    listed = _listed(os.path.relpath(path, where) for path in paths)
    return f"several {word}s: {listed} in {where}"


def _common(paths: Iterable[Path]) -> str:
    return os.path.commonpath([path.parent for path in paths])


def _shown(ranks: Iterable[Iterable[str]]) -> str:
    return " or ".join(dict.fromkeys(pattern for rank in ranks for pattern in rank))


def _listed(words: Iterable[str]) -> str:
    return " and ".join(words)


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
