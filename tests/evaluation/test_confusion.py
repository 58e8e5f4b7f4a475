from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.evaluation.outputs.results import read_folder
from medloss.evaluation.records import Confusion
from medloss.scoring import Case


@pytest.mark.parametrize(
    ("dtype", "offset", "ignored"),
    [(np.uint8, 0, False), (np.uint8, 0, True), (np.uint16, 2000, False), (np.int32, 99999, True)],
)
@pytest.mark.parametrize("tensors", [False, True])
def test_pairs_are_those_that_a_loop_finds(dtype, offset, ignored, tensors):
    """Labels 1 and 2 are not asked for, so that they are the same as none."""
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    reference = rng.integers(0, 9, (6, 7, 8))
    prediction = np.where(rng.random(reference.shape) < 0.6, reference, rng.integers(0, 9, 1))
    maps = [np.where(x > 0, x + offset, 0).astype(dtype) for x in (reference, prediction)]
    left = rng.random(reference.shape) < 0.2 if ignored else None
    labels = [n + offset for n in range(3, 9)]
    expected: dict[tuple[int | None, int | None], int] = {}
    for place in np.ndindex(reference.shape):
        pair = tuple(int(x[place]) if x[place] in labels else None for x in maps)
        if pair[0] != pair[1] and not (ignored and left[place]):
            expected[pair] = expected.get(pair, 0) + 1
    given = [torch.from_numpy(x.astype(np.int32)) for x in maps] if tensors else maps
    case = Case(*given, labels=labels, ignored=left)
    assert case.confused == expected
    for label in labels:
        assert case.counts(label).fn == sum(n for (row, _), n in expected.items() if row == label)
        assert case.counts(label).fp == sum(n for (_, col), n in expected.items() if col == label)


def test_of_too_many_labels_it_is_not_counted():
    case = Case(np.array([[1, 600]]), np.array([[2, 600]]), labels=range(1, 600))
    assert case.confused == {}
    assert case.counts(1).fn == 1


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for side in ("ref", "pred"):
        (tmp_path / side).mkdir()
        for name in "ab":
            array = rng.integers(0, 4, (5, 5, 5)).astype(np.uint8)
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), tmp_path / side / f"{name}.nii.gz")
    return tmp_path


def evaluate(folder: Path, *arguments: str) -> tuple[tuple[Confusion, ...], ...]:
    words = ["eval", "pred", "ref", "-m", "dice", "--no-report", *arguments]
    paths = [str(folder / word) if word in ("pred", "ref") else word for word in words]
    result = CliRunner().invoke(main, paths)
    assert result.exit_code == 0, result.output
    return tuple(case.confusion for case in read_folder(folder / arguments[1]).cases)


def test_it_lies_in_the_folder_and_in_the_journal(folders):
    out = str(folders / "out")
    first = evaluate(folders, "--output", out)
    maps = [
        [np.asarray(nibabel.load(folders / side / f"{name}.nii.gz").dataobj) for name in "ab"]
        for side in ("ref", "pred")
    ]
    for rows, reference, prediction in zip(first, *maps, strict=True):
        found = {
            (row.label or 0, predicted or 0): voxels
            for row in rows
            for predicted, voxels in zip(row.predicted, row.voxels, strict=True)
        }
        pairs = [(r, p) for r in range(4) for p in range(4) if r != p]
        assert found == {
            (r, p): int(((reference == r) & (prediction == p)).sum()) for r, p in pairs
        }
    for name in ("cases.csv", "summary.json"):
        (folders / "out" / name).unlink()
    assert evaluate(folders, "--output", out, "--resume") == first
    lines = (folders / "out" / "journal.jsonl").read_text().splitlines()
    assert "confusion" in json.loads(lines[1])["result"]


def test_there_is_none_where_labels_do_not_exclude_one_another(folders):
    """Regions, and one label alone; there is one of the labels beside regions."""
    out = str(folders / "out")
    both = evaluate(folders, "--output", out, "--labels", "whole=1+2,edge=2+3")
    assert both == ((), ())
    mixed = evaluate(folders, "--output", out, "--force", "--labels", "a=1,b=2,whole=1+2")
    assert [{row.label for row in rows} for rows in mixed] == [{1, 2, ""}] * 2
    assert evaluate(folders, "--output", out, "--force", "--labels", "a=1") == ((), ())
