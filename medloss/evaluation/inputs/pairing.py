"""Which prediction belongs to which reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from medloss.evaluation.reading.foreign import way_out
from medloss.evaluation.reading.formats import PROBABILITIES, SUFFIXES
from medloss.evaluation.reading.images import case_name, no_image
from medloss.evaluation.reading.opened import is_link

PAPERS = (
    *(".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".conf", ".xml", ".db"),
    *(".txt", ".md", ".rst", ".log", ".csv", ".tsv", ".xlsx", ".html", ".pdf", ".docx"),
    *(".py", ".sh", ".pkl", ".pth", ".pt", ".out", ".err", ".lock", ".sha256", ".md5"),
)
"""Suffixes of what lies beside images and is none: no case, even if both folders have the name."""

HEADLESS = (".raw", ".zraw", ".bin", ".dat")
"""Suffixes of voxels whose header is another file, under any name: of no use alone, and no case."""

_PACKED = ("gz", "bz2", "xz", "zst", "zip")


@dataclass(frozen=True)
class Pair:
    """One case: its two files, or the reason why it has not two.

    Args:
        name: the file name without its image suffix.
        prediction: file of the prediction, ``None`` where it is missing or ambiguous.
        reference: file of the reference, likewise.
        problem: one sentence where the case cannot be evaluated, else empty.
        missing: ``"prediction"`` or ``"reference"`` where there is no such file at all.
    """

    name: str
    prediction: Path | None
    reference: Path | None
    problem: str = ""
    missing: str = ""


def pair_paths(
    prediction: Path, reference: Path, *, probabilities: bool = False
) -> tuple[Pair, ...]:
    """Pair two files, or the images of two folders by name; folders inside are not searched.

    Args:
        prediction: file or folder.
        reference: the same kind as ``prediction``.
        probabilities: whether a prediction's ``.npz`` is taken rather than the image beside it.

    Returns:
        One pair for every name on either side, by name.

    Raises:
        ValueError: a path is missing or no image, a file is set against a folder, or no name is on
            both sides.
    """
    for path in (prediction, reference):
        if problem := unreachable(path):
            raise ValueError(problem)
    # Formats that keep an image in a folder: what such a folder holds may be cases all the same.
    images = (case_name(prediction) is not None) and (case_name(reference) is not None)
    one = (Pair(case_name(reference) or reference.name, prediction, reference),)
    if images and not (prediction.is_dir() and reference.is_dir()):
        return one
    if prediction.is_dir() != reference.is_dir():
        folder, file = sorted((prediction, reference), key=lambda path: not path.is_dir())
        raise ValueError(
            f"{folder} is a folder and {file} is a file; give two files or two folders"
        )
    if prediction.is_dir():
        try:
            return _pair_folders(prediction, reference, probabilities)
        except ValueError:
            if images:
                return one
            raise
    path = prediction if case_name(prediction) is None else reference
    raise ValueError(no_image(path))


def printable(text: str) -> str:
    r"""Text that can be written anywhere: a name of a file may hold bytes that are none.

    Example:
        >>> printable("case_\udcff")
        'case_\\udcff'
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


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


def passed_over(prediction: Path, reference: Path, pairs: Sequence[Pair]) -> tuple[str, ...]:
    """What two folders hold that belongs to none of the pairs made of them, in order.

    A file that has the name of a case belongs to it, such as the voxels beside their header.
    """
    names = {pair.name for pair in pairs}
    return tuple(
        printable(f"{path}/" if _is_folder(path) else str(path))
        for folder in (prediction, reference)
        if _is_folder(folder)
        for path in _entries(folder)
        if printable(case_name(path) or _stem(path.name)) not in names
    )


@dataclass(frozen=True)
class _Side:
    """What a folder holds, by the name of the case: images, and files of other formats."""

    folder: Path
    images: dict[str, list[Path]]
    others: dict[str, list[Path]]

    @property
    def names(self) -> set[str]:
        return {*self.images, *self.others}


def _pair_folders(prediction: Path, reference: Path, probabilities: bool) -> tuple[Pair, ...]:
    predictions, references = _side(prediction, probabilities), _side(reference)
    for side in (predictions, references):
        if not side.images:
            raise ValueError(f"{side.folder} holds no image ({_either(SUFFIXES)})")
    if not predictions.names & references.names:
        raise ValueError(
            f"no file in {prediction} has the name of a file in {reference}: the first are "
            f"{min(predictions.images)!r} and {min(references.images)!r}"
        )
    # A name that both folders have is a case, even where nobody here can read its files.
    names = {*predictions.images, *references.images, *(predictions.names & references.names)}
    return tuple(_pair(name, predictions, references) for name in sorted(names))


def _side(folder: Path, probabilities: bool = False) -> _Side:
    images: dict[str, list[Path]] = {}
    others: dict[str, list[Path]] = {}
    for path in _entries(folder):
        # Whether it is a file at all is found out when it is read: then it is a failed case.
        if (name := case_name(path)) is not None:
            images.setdefault(printable(name), []).append(path)
        else:
            stem = _stem(path.name)
            # without the suffix of a compressed file, which follows it
            _, dot, suffix = path.name[len(stem) :].lower().partition(".")
            kind = dot + suffix.partition(".")[0]
            if kind and kind not in (*PAPERS, *HEADLESS):
                others.setdefault(printable(stem), []).append(path)
    images = {name: _preferred(paths, probabilities) for name, paths in images.items()}
    return _Side(folder, images, others)


def _entries(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder} cannot be listed: {error.strerror or error}") from error
    # Names with a leading dot are the operating system's, such as macOS's "._case.nii.gz".
    return [path for path in found if not path.name.startswith(".")]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _stem(name: str) -> str:
    """The name without its suffix, and without the one before that of a compressed file."""
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return name
    return _stem(stem) if suffix.lower() in _PACKED else stem


def _preferred(paths: list[Path], probabilities: bool) -> list[Path]:
    """Of a label map and its probabilities, which are one prediction, the one that is wanted."""
    wanted = [p for p in paths if (p.suffix.lower() == PROBABILITIES) == probabilities]
    return wanted or paths


def _pair(name: str, predictions: _Side, references: _Side) -> Pair:
    problems, missing = [], ""
    files: dict[str, Path | None] = {}
    for word, side in (("prediction", predictions), ("reference", references)):
        found, others = side.images.get(name, []), side.others.get(name, [])
        files[word] = found[0] if len(found) == 1 else None
        if len(found) > 1:
            problems.append(f"several {word}s: {_listed(p.name for p in found)} in {side.folder}")
        elif not found and others:
            listed = _listed(path.name for path in others)
            way = next((f"it is {way}" for path in others if (way := way_out(path.name))), "")
            way = way or f"formats are {_either(SUFFIXES)}"
            problems.append(f"no {word} that can be read: {side.folder} holds {listed}, and {way}")
        elif not found:
            missing = word
            problems.append(f"no {word}: {side.folder} holds no image called {name!r}")
    return Pair(name, files["prediction"], files["reference"], "; ".join(problems), missing)


def _listed(words: Iterable[str]) -> str:
    return " and ".join(words)


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
