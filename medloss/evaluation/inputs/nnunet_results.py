"""Results of nnU-Net: where the predictions of a fold lie, their references, and what labels mean.

nnU-Net v2 trains into ``nnUNet_results/DATASET/TRAINER__PLANS__CONFIGURATION/fold_0``, validates
into ``validation`` inside of it, and keeps ``dataset.json`` and ``plans.json`` beside the folds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from medloss.evaluation.inputs.pairing import FoundCases, find_cases
from medloss.runtime.config_text import parse_file, read_text

_VALIDATION = "validation"
_SLICE_MM = 999.0
"""What nnU-Net gives as the distance of the slices of an image that has one."""


@dataclass(frozen=True)
class FoldResults:
    """The validation of one fold or of several, of one training.

    Args:
        validations: folders of predictions.
        references: the folder of their references.
        dataset: the ``dataset.json``.
        spacing_mm: voxel size along x, y and z (or x and y) for files that do not state theirs.
        expected: names of the cases that should have been predicted; ``None`` where nobody says.
    """

    validations: tuple[Path, ...]
    references: Path
    dataset: Path
    spacing_mm: tuple[float, ...] = ()
    expected: frozenset[str] | None = None

    def cases(self, *, probabilities: bool = False) -> FoundCases:
        """The cases of all folds: those that were predicted, and those that should have been.

        Raises:
            ValueError: nothing pairs, or two folds predict the same case.
        """
        found = [
            find_cases(folder, self.references, probabilities=probabilities)
            for folder in self.validations
        ]
        predicted = [pair for each in found for pair in each if pair.missing != "prediction"]
        names = [pair.name for pair in predicted]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is predicted in several folds of one training")
        missed = {pair.name: pair for each in found for pair in each if pair.name not in names}
        failed = [pair for name, pair in missed.items() if name in (self.expected or ())]
        return replace(
            found[0],
            pairs=tuple(sorted((*predicted, *failed), key=lambda pair: pair.name)),
            left_out=tuple(sorted(missed.keys() - {pair.name for pair in failed})),
            passed_over=tuple(path for each in found for path in each.passed_over),
            unscored=tuple(path for each in found for path in each.unscored),
            beside=tuple(dict.fromkeys(told for each in found for told in each.beside)),
            labels=self.dataset,
            spacing_mm=self.spacing_mm,
        )


def find_results(path: Path) -> FoldResults | None:
    """What lies in a fold of a training, in any folder of its predictions, or in all folds of it.

    Args:
        path: ``fold_0``, its ``validation``, ``crossval_results_folds_0_1_2_3_4``, or the folder of
            the training.

    Returns:
        ``None`` where the path is none of them.

    Raises:
        ValueError: a fold was not validated, or the references are nowhere.
    """
    path = Path(os.path.abspath(path))
    training = next((x for x in (path, path.parent, path.parent.parent) if _is_training(x)), None)
    if training is None:
        return None
    if path == training:
        validations = tuple(sorted(path.glob(f"fold_*/{_VALIDATION}")))
        if not any(path.glob("fold_*")):
            return None  # what nnUNetv2_predict writes has these files too
    else:
        validations = (path / _VALIDATION if path.name.startswith("fold_") else path,)
    if not validations or not validations[0].is_dir():
        raise ValueError(
            f"{path} has no folder {_VALIDATION}: nnU-Net writes it at the end of a fold's "
            f"training, and again with nnUNetv2_train ... --val"
        )
    places = tuple(dict.fromkeys(_places(training, validations)))
    references = next((place for place in places if place.is_dir()), None)
    dataset = training / "dataset.json"
    if references is None:
        raise ValueError(
            f"the references of {path} are in none of {', '.join(map(str, places))}; set "
            f"nnUNet_preprocessed or nnUNet_raw, or say medloss eval {validations[0]} REF --labels "
            f"{dataset} --only-predicted"
        )
    spacing_mm = _plans_spacing_mm(training / "plans.json")
    expected = _split(references.parent / "splits_final.json", validations)
    return FoldResults(validations, references, dataset, spacing_mm, expected)


def _is_training(folder: Path) -> bool:
    return all((folder / name).is_file() for name in ("dataset.json", "plans.json"))


def _places(training: Path, validations: tuple[Path, ...]) -> Iterator[Path]:
    """Where references may be, in order."""
    dataset = training.parent.name
    for folder in validations:
        summary = folder / "summary.json"
        if summary.is_file():
            entries = _content(summary).get("metric_per_case") or ()
            yield from (Path(str(entry["reference_file"])).parent for entry in entries[:1])
    roots = (
        ("nnUNet_preprocessed", "gt_segmentations"),
        ("nnUNet_raw", "labelsTr"),
    )
    for variable, inside in roots:
        if root := os.environ.get(variable):
            yield Path(root, dataset, inside)
    for name, inside in roots:
        yield training.parent.parent.parent / name / dataset / inside


def _content(path: Path) -> dict[str, Any]:
    content = parse_file(read_text(path), path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no object")
    return content


def _plans_spacing_mm(path: Path) -> tuple[float, ...]:
    """The median voxel size of the data set, from nnU-Net's order of axes to x, y and z."""
    plans = _content(path)
    transposed = plans.get("original_median_spacing_after_transp")
    if transposed is None:
        return ()
    try:
        sizes = [float(size) for size in transposed]
        slowest_first = [sizes[int(axis)] for axis in plans.get("transpose_backward", range(3))]
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"{path}: original_median_spacing_after_transp: expected 3 sizes in mm, got "
            f"{transposed!r}"
        ) from error
    if slowest_first[0] == _SLICE_MM:
        del slowest_first[0]
    return tuple(reversed(slowest_first))


def _split(path: Path, validations: tuple[Path, ...]) -> frozenset[str] | None:
    """The cases that are validated in these folders; ``None`` where nobody says."""
    if not path.is_file():
        return None
    # fold_0/validation, crossval_results_folds_0_1_2/postprocessed; fold_all has no split.
    told = [
        re.findall(r"fold(?:s)?((?:_[0-9]+)+)", f"{x.parent.name}/{x.name}") for x in validations
    ]
    if not all(told):
        return None
    numbers = [int(number) for found in told for number in found[-1].strip("_").split("_")]
    splits = parse_file(read_text(path), path)
    try:
        return frozenset(str(name) for number in numbers for name in splits[number]["val"])
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"{path} has no 'val' of {', '.join(map(str, numbers))}") from error
