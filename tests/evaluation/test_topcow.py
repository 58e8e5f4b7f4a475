"""The scores of TopCoW: of shapes that its own tests have, by its own expected values."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray
from scipy import ndimage

import medloss_challenges
from medloss.cli.eval import eval_command
from medloss.scoring import Case
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
METRICS = ("dice", "betti0_error", "hausdorff95", "hausdorff")
NAMES = {"1": "BA", "2": "R-PCA", "4": "R-ICA", "6": "L-ICA", "8": "R-Pcom"}
PROFILE = Path(medloss_challenges.__file__).with_name("topcow.toml")


def test_the_profile_gives_the_expected_values(tmp_path: Path) -> None:
    for name, (reference, prediction) in {"donut": donut(), "cubes": cubes()}.items():
        for side, array in (("ref", reference), ("pred", prediction)):
            (tmp_path / side).mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / side / f"{name}.nii.gz")
    sides = [str(tmp_path / side) for side in ("pred", "ref")]
    done = CliRunner().invoke(
        eval_command, [*sides, "--profile", str(PROFILE), "--output", str(tmp_path / "out")]
    )
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "cases.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = {
        (row["case"], row["name"] or row["label"], row["metric"]): float(row["value"] or "nan")
        for row in rows
    }
    for case, expected in EXPECTED.items():
        for label, values in expected.items():
            name = NAMES.get(label, "MergedBin")
            if label != "average":
                of_label = [found[case, name, metric] for metric in METRICS]
                assert of_label == pytest.approx(values)
        assert found[case, "MergedBin", "cl_dice"] == CL_DICE[case]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    average = {(each["name"], each["metric"]): each["value"] for each in summary["averages"]}
    for place, metric in enumerate(METRICS):
        both = [expected["average"][place] for expected in EXPECTED.values()]
        assert average["class average", metric] == pytest.approx(sum(both) / 2)
    assert average["group 2 detection F1", "jaccard"] == 0.25  # one of four labels, always found


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
