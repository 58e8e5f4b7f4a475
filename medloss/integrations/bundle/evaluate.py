"""The cases of a bundle, predicted row by row and scored where the reference lies."""

from __future__ import annotations

import dataclasses
import functools
import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor

from medloss.base import LossInParts, NotAdditiveError
from medloss.evaluation.inputs.case_pair import make_case_pair, one_file, read_side
from medloss.evaluation.inputs.geometry import check_same_grid
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.images import Image, case_name
from medloss.evaluation.reading.opened import note
from medloss.evaluation.reading.stored import PATIENT, CaseError
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan, attempt, evaluate_case_pair
from medloss.integrations.bundle.predict import WholeLosses, predict
from medloss.integrations.bundle.settings import BundleInference
from medloss.runtime.files import write_nifti

_HEADERS = (".mhd", ".nhdr", ".hdr", ".img")
IMAGE, LABEL = "image", "label"
"""MONAI's keys of a case."""


def bundle_pairs(
    bundle: BundleInference, references: Path | None = None, predictions: Path | None = None
) -> tuple[Pair, ...]:
    """The cases of a bundle with their references, by name.

    Args:
        bundle: whose cases they are.
        references: folder with an image for each case, under the name of the case; by default
            what the bundle's list of cases has as ``label``.
        predictions: folder that predictions will be written to, or None.

    Raises:
        ValueError: there is no case, a case without image, no reference for any of them, or two
            cases have one name.
    """
    if references is not None and not references.is_dir():
        raise ValueError(f"{references} is no folder of references")
    pairs = [_pair(bundle, case, references, predictions) for case in bundle.cases]
    names = [pair.name for pair in pairs]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{bundle.folder}: two cases are called {name!r}")
    if not pairs:
        raise ValueError(f"{bundle.folder}: its list of cases is empty")
    if references is None and not any(LABEL in case for case in bundle.cases):
        raise ValueError(
            f"{bundle.folder}: its cases are images without {LABEL!r}; give REF, a folder with a "
            f"reference for each image, under its name"
        )
    return tuple(pairs)


@dataclass(frozen=True)
class BundleCases:
    """The cases of a bundle, to be predicted and scored.

    Args:
        bundle: says how.
        pairs: the cases.
        source: what predicts, to be written into the results.
    """

    bundle: BundleInference
    pairs: tuple[Pair, ...]
    source: tuple[tuple[str, str], ...]

    def extend(self, plan: EvalPlan) -> EvalPlan:
        """The study with what predicts.

        Raises:
            ValueError: a loss cannot be had from this bundle.
        """
        check_losses(self.bundle, plan)
        return dataclasses.replace(plan, source=self.source)

    def evaluate(self, pairs: Sequence[Pair], plan: EvalPlan) -> Iterator[CaseResult]:
        """Predict and score these cases, in order."""
        return evaluate_bundle(self.bundle, pairs, plan)


def evaluate_bundle(
    bundle: BundleInference, pairs: Sequence[Pair], plan: EvalPlan
) -> Iterator[CaseResult]:
    """Predict and score cases, in order; a case that fails does not stop the others.

    Labels are made on the grid of the image file: probabilities are brought there row by row, and
    the reference must lie on that grid. Losses have the probabilities there as input, as they
    would from files. A pair whose ``prediction`` names a file gets its labels written there.

    Args:
        bundle: whose cases they are.
        pairs: of :func:`bundle_pairs`, all or some.
        plan: what is computed.

    Raises:
        ValueError: the study has losses, which cannot be had from this bundle.
    """
    check_losses(bundle, plan)
    by_name = {_name(bundle, case): case for case in bundle.cases}
    for pair in pairs:
        work = functools.partial(_evaluate, bundle, pair, by_name[pair.name], plan)
        yield attempt(pair, work)


def check_losses(bundle: BundleInference, plan: EvalPlan) -> None:
    """Raise if the losses of a study, or its metrics, cannot be computed on what a bundle predicts.

    Raises:
        ValueError: says why.
    """
    for metric in plan.metrics:
        if metric.record.of_probabilities:
            raise ValueError(
                f"{metric.column} needs the probabilities of a whole volume, which --bundle does "
                f"not keep; save them and score the files"
            )
    if not plan.losses:
        return
    if bundle.decision.activation is None:
        raise ValueError(
            f"{bundle.folder}: a loss needs probabilities; postprocessing has no Activationsd "
            f"with softmax or sigmoid"
        )
    if plan.inputs.remap_prediction:
        raise ValueError("a loss is computed on probabilities, whose classes cannot be remapped")
    p, labels = torch.full((1, 2, 4, 4, 4), 0.5), torch.zeros(1, 1, 4, 4, 4, dtype=torch.long)
    for choice in plan.losses:
        try:
            LossInParts(choice.loss).add(p, labels, spacing_mm=1.0)
        except NotAdditiveError as error:
            raise ValueError(f"{choice.column}: {error}") from error
        except (TypeError, ValueError):
            # such as weights of another number of classes, which only a case can judge
            continue


def _pair(
    bundle: BundleInference,
    case: Mapping[str, Any],
    references: Path | None,
    predictions: Path | None,
) -> Pair:
    name = _name(bundle, case)
    prediction = None if predictions is None else predictions / f"{name}.nii.gz"
    if references is None:
        label = case.get(LABEL)
        found = [Path(label)] if isinstance(label, str | Path) else []
        where = "the bundle's list of cases has no file under 'label'"
    else:
        found = sorted(p for p in references.iterdir() if case_name(p) == name)
        where = f"{references} holds no image called {name!r}"
    if len(found) == 1:
        return Pair(name, prediction, found[0])
    if not found:
        return Pair(name, prediction, None, f"no reference: {where}", "reference")
    several = " and ".join(path.name for path in found)
    return Pair(name, prediction, None, f"several references: {several} in {references}")


def _name(bundle: BundleInference, case: Mapping[str, Any]) -> str:
    """After the image file; of several images, as modalities are, after the first."""
    image = case.get(IMAGE)
    first = image[0] if isinstance(image, list | tuple) and image else image
    if not isinstance(first, str | Path):
        raise ValueError(f"{bundle.folder}: a case has no file under {IMAGE!r} but {first!r}")
    return case_name(Path(first)) or Path(first).name


def _files(value: Any) -> Iterator[Path]:
    """Files of an image, which MONAI reads; voxels may lie beside a header of the same name."""
    if isinstance(value, list | tuple):
        for each in value:
            yield from _files(each)
    elif isinstance(value, str | Path):
        path = Path(value)
        yield path
        if path.is_dir():  # of slices
            yield from sorted(path.iterdir())
        elif path.suffix.lower() in _HEADERS:
            yield from sorted(path.parent.glob(f"{glob.escape(path.stem)}.*"))


def _evaluate(
    bundle: BundleInference, pair: Pair, case: Mapping[str, Any], plan: EvalPlan
) -> CaseResult:
    inputs = plan.inputs
    reference = read_side(one_file(pair, pair.reference), inputs, inputs.remap_reference)
    for file in _files(case.get(IMAGE)):
        note(file)
    image = bundle.transform(dict(case))[IMAGE]
    if not isinstance(image, MetaTensor) or "original_affine" not in image.meta:
        raise CaseError(f"{pair.name}: the bundle's transforms lose where the image lies")
    kept = None if pair.prediction is None else one_file(pair, pair.prediction)
    path = kept or Path(str(image.meta.get("filename_or_obj", pair.name)))
    losses = None
    if plan.losses:
        # the reference as it will be scored
        plain = dataclasses.replace(inputs, remap_prediction={})
        own = make_case_pair(reference, reference, plain)
        losses = WholeLosses(plan.losses, own.reference, own.ignored)
    with torch.no_grad():
        prediction = predict(bundle, image, path, losses)
    if losses is not None:
        check_same_grid(prediction, reference)
    if kept is not None:
        _write(kept, prediction)
    sides = make_case_pair(prediction, reference, inputs)
    values = None if losses is None else losses.values()
    return evaluate_case_pair(pair, sides, plan, values)


def _write(path: Path, prediction: Image) -> None:
    """A label map, or channels of independent classes as the last axis."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.asarray(prediction.array)
    write_nifti(path, array, prediction.affine, placed=prediction.space == PATIENT)
