"""Cases a second of ``medloss eval`` beside MONAI's metrics and surface-distance in a loop.

python docs/examples/measure_evaluation.py FOLDER_OF_LABEL_MAPS [CASES] [--metrics]

Every label map is compared with a copy that is moved and has noise on its border. All read the same
files and compute the same six metrics, those of ``medloss eval`` by default, for each label; the
loops read with nibabel, as such loops do. MONAI has no surface distance with areas, so its metrics
are those of the same names.

With ``--metrics`` instead: these six beside twenty metrics, and the whole command for each.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from scipy import ndimage

from medloss.evaluation.inputs.pairing import Pair, pair_paths
from medloss.evaluation.requests import DEFAULT_METRICS, choose_metric, parse_request
from medloss.evaluation.run import evaluate_all
from medloss.evaluation.score import EvalPlan
from medloss.runtime import threads

ROUNDS, SEED = 3, 0
ENOUGH_S = 30.0
"""Who has taken longer than this is not asked again."""

MORE = (
    *("hausdorff", "mean_average_surface_distance", "boundary_iou", "jaccard", "precision"),
    *("volume_difference", "lesion_f1", "lesion_dice", "lesion_hausdorff95", "panoptic_quality"),
    *("false_negative_volume", "per_component_dice", "per_component_hausdorff95", "betti_error"),
)
"""With the six: counts, surfaces, bands, lesions, cells and topology."""

LABELS = (1, 2)
TOLERANCE_MM = 1.0


def perturbed(labels: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Moved by up to a voxel along each axis, with smooth noise on the border."""
    moved = ndimage.shift(labels, rng.integers(-1, 2, 3), order=0)
    noise = ndimage.gaussian_filter(rng.standard_normal(labels.shape), 2)
    grown = ndimage.grey_dilation(moved, size=3)
    found = np.where((moved == 0) & (noise > 1.2 * noise.std()), grown, moved)
    shrunk = ndimage.grey_erosion(moved, size=3)
    return np.where(noise < -1.2 * noise.std(), shrunk, found).astype(np.uint8)


def make_study(source: Path, folder: Path, count: int) -> tuple[Pair, ...]:
    """References and predictions as compressed NIfTI files."""
    rng = np.random.default_rng(SEED)
    paths = sorted(p for p in source.glob("*.nii.gz") if not p.name.startswith("."))[:count]
    for side in ("prediction", "reference"):
        (folder / side).mkdir()
    for path in paths:
        image: Any = nibabel.load(path)
        labels = np.asarray(image.dataobj).astype(np.uint8)
        for side, array in (("reference", labels), ("prediction", perturbed(labels, rng))):
            nibabel.save(nibabel.Nifti1Image(array, image.affine), folder / side / path.name)
    return pair_paths(folder / "prediction", folder / "reference").pairs


def read(pair: Pair) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], tuple[float, ...]]:
    """Prediction, reference, voxel size."""
    images: list[Any] = [nibabel.load(path) for path in (pair.prediction, pair.reference) if path]
    prediction, reference = (np.asarray(image.dataobj).astype(np.uint8) for image in images)
    return prediction, reference, tuple(map(float, images[1].header.get_zooms()[:3]))


def medloss_one(pairs: tuple[Pair, ...]) -> list[float]:
    """In this process; its threads are as many as processors."""
    return [result.value for case in evaluate_all(pairs, STUDY) for result in case.results]


def medloss_all(pairs: tuple[Pair, ...]) -> list[float]:
    """By a process for each processor, their start included."""
    found = evaluate_all(pairs, STUDY, workers=threads.processors())
    return [result.value for case in found for result in case.results]


def deepmind(pairs: tuple[Pair, ...]) -> list[float]:
    """The loop of the surface-distance package's README."""
    import surface_distance

    values = []
    for pair in pairs:
        prediction, reference, spacing_mm = read(pair)
        for label in LABELS:
            one, other = reference == label, prediction == label
            found = surface_distance.compute_surface_distances(one, other, spacing_mm)
            tp, fn, fp = (one & other).sum(), (one & ~other).sum(), (~one & other).sum()
            values += [
                surface_distance.compute_dice_coefficient(one, other),
                tp / (tp + fn),
                (~one & ~other).sum() / (~one).sum() if fp + tp else 1.0,
                surface_distance.compute_robust_hausdorff(found, 95),
                float(np.mean(surface_distance.compute_average_surface_distance(found))),
                surface_distance.compute_surface_dice_at_tolerance(found, TOLERANCE_MM),
            ]
    return values


def monai(pairs: tuple[Pair, ...]) -> list[float]:
    """MONAI's metric classes on one-hot tensors, each called for each case."""
    # Here, for worker processes import this file: torch would cost each of them seconds.
    import torch
    from monai import metrics
    from monai.networks.utils import one_hot

    torch.set_num_threads(threads.processors())
    keep = {"include_background": False}
    found = (
        metrics.DiceMetric(**keep),
        metrics.ConfusionMatrixMetric(**keep, metric_name=("sensitivity", "specificity")),
        metrics.HausdorffDistanceMetric(**keep, percentile=95),
        metrics.SurfaceDistanceMetric(**keep, symmetric=True),
        metrics.SurfaceDiceMetric([TOLERANCE_MM] * len(LABELS), **keep),
    )
    dice, confusion, *surfaces = found
    values = []
    for pair in pairs:
        prediction, reference, spacing_mm = read(pair)
        both = [
            one_hot(torch.from_numpy(array)[None, None], num_classes=len(LABELS) + 1)
            for array in (prediction, reference)
        ]
        for metric in (dice, confusion):
            values += metric(*both).flatten().tolist()
        for metric in surfaces:
            values += metric(*both, spacing=spacing_mm).flatten().tolist()
    return values


def plan(names: Iterable[str]) -> EvalPlan:
    """What is computed."""
    metrics = tuple(choose_metric(parse_request(name)) for name in names)
    return EvalPlan(metrics, labels=dict.fromkeys(LABELS, ""))


STUDY = plan(DEFAULT_METRICS)


def six_and_twenty(pairs: tuple[Pair, ...], folder: Path) -> None:
    """The cases alone, processor time of this process; and the command from start to end."""
    chosen = {"6 metrics": DEFAULT_METRICS, "20 metrics": (*DEFAULT_METRICS, *MORE)}
    computed: dict[str, list[float]] = {name: [] for name in chosen}
    whole: dict[str, list[float]] = {name: [] for name in chosen}
    for _ in range(ROUNDS + 1):
        for name, metrics in chosen.items():
            start = time.process_time()
            evaluate_all(pairs, plan(metrics))
            computed[name].append(time.process_time() - start)
            start = time.perf_counter()
            asked = [word for metric in metrics for word in ("-m", metric)]
            command = [sys.executable, "-m", "medloss", "eval", "prediction", "reference", *asked]
            command += ["--output", f"out{len(whole[name])} {name}", "--workers", "1"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
            whole[name].append(time.perf_counter() - start)
    for what, times in (("cases, processor s", computed), ("command, wall s", whole)):
        six, twenty = (times[name][1:] for name in chosen)  # the first loads what is compiled
        ratio = statistics.median(b / a for a, b in zip(six, twenty, strict=True))
        print(f"{what:24}{min(six):9.2f} {min(twenty):9.2f} {ratio:8.2f} x the time", flush=True)


def main(source: Path, count: int) -> None:
    """Time everyone, several times over."""
    entrants: dict[str, Callable[[tuple[Pair, ...]], list[float]]] = {
        "medloss, this process": medloss_one,
        f"medloss, {threads.processors()} workers": medloss_all,
        "surface-distance": deepmind,
        "MONAI": monai,
    }
    with tempfile.TemporaryDirectory() as folder:
        pairs = make_study(source, Path(folder), count)
        if "--metrics" in sys.argv:
            six_and_twenty(pairs, Path(folder))
            return
        times: dict[str, list[float]] = {name: [] for name in entrants}
        for call in entrants.values():  # compiled kernels and the like are not measured
            call(pairs[:2])
        print(f"{len(pairs)} cases, {threads.processors()} processors", flush=True)
        for name, call in entrants.items():
            while len(times[name]) < ROUNDS and sum(times[name]) < ENOUGH_S:
                start = time.perf_counter()
                call(pairs)
                times[name].append(time.perf_counter() - start)
            median = statistics.median(times[name])
            ratio = median / statistics.median(times["medloss, this process"])
            print(
                f"{name:24}{len(pairs) / median:9.1f} cases/s {ratio:8.1f} x the time", flush=True
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 200)
