"""Which prediction belongs to which reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
PROBABILITIES = ".npz"
"""What nnU-Net saves the probabilities of a prediction as, beside its label map."""


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


def case_name(path: Path) -> str | None:
    """The file name without its image suffix, ``None`` for what is not an image.

    Example:
        >>> case_name(Path("labels/patient.01.nii.gz"))
        'patient.01'
        >>> case_name(Path("labels/notes.txt")) is None
        True
    """
    for suffix in (*SUFFIXES, PROBABILITIES):
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)]
    return None


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
        if not path.exists():
            raise ValueError(f"{path} does not exist")
    if prediction.is_dir() != reference.is_dir():
        folder, file = sorted((prediction, reference), key=Path.is_file)
        raise ValueError(
            f"{folder} is a folder and {file} is a file; give two files or two folders"
        )
    if prediction.is_dir():
        return _pair_folders(prediction, reference, probabilities)
    for path in (prediction, reference):
        if case_name(path) is None:
            raise ValueError(f"{path} is no image; the suffix must be {_either(SUFFIXES)}")
    return (Pair(case_name(reference) or reference.name, prediction, reference),)


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


def _pair_folders(prediction: Path, reference: Path, probabilities: bool) -> tuple[Pair, ...]:
    predictions, references = _images(prediction, probabilities), _images(reference)
    for folder, images in ((prediction, predictions), (reference, references)):
        if not images:
            raise ValueError(f"{folder} holds no image ({_either(SUFFIXES)})")
    if not predictions.keys() & references.keys():
        raise ValueError(
            f"no file in {prediction} has the name of a file in {reference}: the first are "
            f"{min(predictions)!r} and {min(references)!r}"
        )
    return tuple(
        _pair(name, predictions.get(name, []), references.get(name, []), prediction, reference)
        for name in sorted(predictions.keys() | references.keys())
    )


def _images(folder: Path, probabilities: bool = False) -> dict[str, list[Path]]:
    images: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        name = case_name(path)
        # Names with a leading dot are the operating system's, such as macOS's "._case.nii.gz".
        if name is not None and not name.startswith(".") and path.is_file():
            images.setdefault(name, []).append(path)
    return {name: _preferred(paths, probabilities) for name, paths in images.items()}


def _preferred(paths: list[Path], probabilities: bool) -> list[Path]:
    """Of a label map and its probabilities, which are one prediction, the one that is wanted."""
    wanted = [p for p in paths if (p.suffix.lower() == PROBABILITIES) == probabilities]
    return wanted or paths


def _pair(
    name: str, predictions: list[Path], references: list[Path], prediction: Path, reference: Path
) -> Pair:
    problems, missing = [], ""
    sides = (("prediction", predictions, prediction), ("reference", references, reference))
    for side, found, folder in sides:
        if not found:
            missing = side
            problems.append(f"no {side}: {folder} holds no image called {name!r}")
        elif len(found) > 1:
            problems.append(f"several {side}s: {_listed(path.name for path in found)} in {folder}")
    return Pair(
        name,
        predictions[0] if len(predictions) == 1 else None,
        references[0] if len(references) == 1 else None,
        "; ".join(problems),
        missing,
    )


def _listed(words: Iterable[str]) -> str:
    return " and ".join(words)


def _either(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
