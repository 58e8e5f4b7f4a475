"""The scores of TopCoW: of shapes that its own tests have, by its own expected values."""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy import ndimage

from medloss.cli.eval import eval_command
from medloss.evaluation.class_average import detection_rates, over_present_labels
from medloss.evaluation.records import Result
from medloss.scoring import Case
from medloss_topology.metrics_class_detection import false_class, found_class, missed_class
from medloss_topology.metrics_overlap import cl_dice

Map = NDArray[np.uint8]


def donut() -> tuple[Map, Map]:
    """A block with a tunnel, and the same of which a wall has another label."""
    reference = np.zeros((5, 7, 9), dtype=np.uint8)
    reference[1:4, 2:6, 2:5] = 1
    reference[2, 3:5, 2:5] = 0
    prediction = reference.copy()
    prediction[3, 2:6, 2:5] = 6
    return reference, prediction


def cubes() -> tuple[Map, Map]:
    """Eight cubes that fill the image; of them one is missed, and three are hollow."""
    x, y, z = np.indices((8, 8, 8)) // 4
    reference = (1 + x + 2 * y + 4 * z).astype(np.uint8)
    prediction = np.where(reference == 4, 0, reference)
    prediction[5:7, 1:3, 1:3] = prediction[5:7, 1:3, 4:] = prediction[5:7, 5:7, 4:] = 0
    return reference, prediction


EXPECTED = {
    # Dice, b0 error, HD95 and HD by label; then the averages, then those of the merged labels.
    "donut": {
        "1": (0.75, 0, 1.41421356, 1.41421356),
        "6": (0, 1, 90, 90),
        "average": (0.375, 0.5, 45.70710678, 45.70710678),
        "merged": (1, 0, 0, 0),
    },
    "cubes": {
        "1": (1, 0, 0, 0),
        "2": (0.93333333, 0, 0, 0),
        "4": (0, 1, 90, 90),
        "6": (0.85714286, 0, 1, 1),
        "8": (0.85714286, 0, 1, 1),
        "average": (0.83095238, 0.125, 11.5, 11.5),
        "merged": (0.88695652, 0, 2, 4),
    },
}
CL_DICE = {"donut": 1.0, "cubes": 0.0}
METRICS = ("dice", "betti_error[dimension=0]", "hausdorff95", "hausdorff")


def test_files_get_the_expected_values(tmp_path: Path) -> None:
    for name, (reference, prediction) in {"donut": donut(), "cubes": cubes()}.items():
        for side, array in (("ref", reference), ("pred", prediction)):
            (tmp_path / side).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / side / f"{name}.nii.gz")
    labels = ",".join(map(str, range(1, 9)))
    of_thinning = "cl_dice:of_every_object=false"
    metrics = ("dice", "betti_error:dimension=0", "hausdorff95", "hausdorff", of_thinning)
    chosen = [text for metric in metrics for text in ("--metric", metric)]
    arguments = [
        *(str(tmp_path / "pred"), str(tmp_path / "ref")),
        *("--preset", "topcow", *chosen, "--output", str(tmp_path / "out")),
        *("--labels", f"{labels},merged=1+2+3+4+5+6+7+8"),
    ]
    done = CliRunner().invoke(eval_command, arguments)
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for case, expected in EXPECTED.items():
        of_case = [row for row in rows if row["case"] == case]
        found = {(row["label"], row["metric"]): float(row["value"] or "nan") for row in of_case}
        for label, values in expected.items():
            if label != "average":
                assert [found[label, metric] for metric in METRICS] == pytest.approx(values)
        assert found["merged", "cl_dice[of_every_object=False]"] == CL_DICE[case]
        average = over_present_labels(
            Result(1, row["metric"], found[row["label"], row["metric"]], "", row["status"])
            for row in of_case
            if row["label"] != "merged"
        )
        assert [average[metric] for metric in METRICS] == pytest.approx(expected["average"])


def test_a_class_is_found_missed_or_false() -> None:
    reference, prediction = cubes()
    absent = np.zeros_like(reference)
    cases = [(reference, prediction), (absent, reference), (reference, absent), (absent, absent)]
    found = {}
    for label in (4, 8, 9):
        counts = [Case(*maps, labels=[label]).counts(label) for maps in cases]
        found[label] = [[m(c) for c in counts] for m in (found_class, missed_class, false_class)]
    assert found[4] == [[0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0]]
    assert found[8] == [[1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]]
    assert detection_rates(*found[8]) == (0.5, 0.5, 0.5)
    assert detection_rates(*found[9]) == (0, 0, 0)  # of a class that no case has
    (edge,) = [Case(*maps, labels=[1]).counts(1) for maps in [_overlap()]]
    assert [found_class(edge, iou=iou) for iou in (0.25, 0.2501)] == [1, 0]
    with pytest.raises(ValueError, match="iou"):
        found_class(edge, iou=0)


def _overlap() -> tuple[Map, Map]:
    """An intersection over union of a quarter."""
    reference, prediction = np.zeros((2, 1, 4), dtype=np.uint8)
    reference[0, :2] = prediction[0, 1:] = 1
    return reference, prediction


def test_lines_of_thinning_are_those_of_the_official_score() -> None:
    bar = np.zeros((11, 11, 12), dtype=np.uint8)
    bar[4:7, 4:7, 1:11] = 1
    gap, short = bar.copy(), bar.copy()
    gap[..., 5] = short[..., 8:] = 0
    values = [
        cl_dice(Case(bar, other, labels=[1]).skeletons(1), of_every_object=False)
        for other in (gap, short, np.zeros_like(bar))
    ]
    assert values == pytest.approx([0.9333333333, 0.8571428571, 0])
    nothing = Case(bar * 0, bar * 0, labels=[1]).skeletons(1)
    assert cl_dice(nothing, of_every_object=False) == 0
    assert np.isnan(cl_dice(nothing))


@pytest.mark.parametrize("shape", [(9, 10), (8, 9, 7)])
@pytest.mark.parametrize("device", [None, "cpu"])
def test_outlines_have_any_neighbour_outside(shape: tuple[int, ...], device: str | None) -> None:
    draw = np.random.default_rng(5)
    spacing = (0.5, 1.5, 1.0)[: len(shape)]
    for n in range(6):
        masks = [ndimage.binary_opening(draw.random(shape) < 0.85) for _ in range(2)]
        ignored = None if n % 2 else draw.random(shape) < 0.03
        every = np.ones((3,) * len(shape), dtype=bool)
        own, other = (mask & ~ndimage.binary_erosion(mask, every) for mask in masks)
        assert own.any()
        assert other.any()
        kept = own if ignored is None else own & ~ndimage.binary_dilation(ignored, every)
        mm = ndimage.distance_transform_edt(~other, sampling=spacing)[kept]
        case = Case(
            *(mask.astype(np.uint8) for mask in masks),
            labels=[1],
            spacing_mm=spacing,
            preset="topcow",
            ignored=ignored,
            device=device,
        )
        found = case.surfaces(1)
        assert found.areas[0] == kept.sum()
        assert found.means[0] == pytest.approx(mm.mean())
