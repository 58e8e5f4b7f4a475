"""One record of a case: what is written is read back as the same, and every output takes it."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import nibabel
import numpy as np
import pytest

from medloss.evaluation.compare.paired import differences
from medloss.evaluation.compare.runs import ComparedRun, compared_table
from medloss.evaluation.inputs.pairing import pair_paths
from medloss.evaluation.outputs.folder import placed, write_tables
from medloss.evaluation.outputs.report import write_report
from medloss.evaluation.outputs.results import read_folder
from medloss.evaluation.outputs.tables import make_table, with_origin
from medloss.evaluation.records import CandidateRow, CaseResult, Reliability, ResultTable
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, complete, evaluate
from medloss.scoring import EmptyPolicy

METRICS = ("dice", "hausdorff95", "normalized_surface_dice:tolerance_mm=2")


@pytest.fixture
def table(tmp_path: Path) -> ResultTable:
    """A good case, one with a missed label and an empty one, and one that is torn."""
    reference = np.zeros((9, 8, 7), dtype=np.uint8)
    reference[2:6, 2:6, 2:6], reference[7, 1:3, 1:3] = 1, 2
    missed = np.where(reference == 2, 0, reference)
    for name, prediction in (("good", reference), ("missed", missed), ("torn", None)):
        for side, array in (("pred", prediction), ("ref", reference)):
            path = tmp_path / side / f"{name}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            if array is None:
                path.write_bytes(b"torn")
            else:
                nibabel.save(nibabel.Nifti1Image(array, np.diag([1.0, 1.5, 2.0, 1.0])), path)
    plan = EvalPlan(
        tuple(choose_metric(parse_request(text)) for text in METRICS),
        labels={1: "liver", 2: "", 3: "", "all of it": ""},
        regions={"all of it": (1, 2)},
        policy=EmptyPolicy(missed="inf"),
    )
    pairs = pair_paths(tmp_path / "pred", tmp_path / "ref")
    return with_origin(make_table(complete(evaluate(pairs, plan), plan), plan), plan, "medloss")


def test_what_is_written_is_read_back_as_the_same(table: ResultTable, tmp_path: Path) -> None:
    first, *rest = table.cases
    first = dataclasses.replace(
        first,
        reliability=(Reliability(1, (3, 0), (0.25, math.nan), (1 / 3, math.nan)),),
        candidates=(CandidateRow("all of it", "lesion_froc", (0.75, 0.0), ()),),
        files=(),
    )
    line = json.loads(json.dumps(first.to_json()))
    assert repr(CaseResult.from_json(line, first.pair)) == repr(first)
    table = dataclasses.replace(table, cases=(first, *rest))
    folder = tmp_path / "out"
    folder.mkdir()
    write_tables(folder, table)
    found, made = read_folder(folder), placed(table, folder)
    # NaN is no equal of itself; a failed case keeps its traceback in the journal alone.
    assert repr(found.lines) == repr(made.lines)
    for there, here in zip(found.cases, made.cases, strict=True):
        assert repr(there.results) == repr(here.results)
        assert repr(there.reliability) == repr(here.reliability)
        assert there.candidates == here.candidates
        assert (there.name, there.error, there.voxels) == (here.name, here.error, here.voxels)
        assert (there.shape, there.spacing_mm) == (here.shape, here.spacing_mm)
        assert there.pair.prediction == here.pair.prediction
    assert found.settings == made.settings
    assert (found.measures, found.labels) == (made.measures, made.labels)
    assert (found.path, found.version, found.written) == (made.path, made.version, made.written)
    assert math.inf in [line.mean for line in found.lines]


def test_a_page_of_the_table_is_that_of_its_folder(table: ResultTable, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    write_tables(folder, table)
    of_table = write_report(folder, placed(table, folder)).read_bytes()
    assert write_report(folder).read_bytes() == of_table


def test_tables_are_compared_without_a_folder(table: ResultTable) -> None:
    found = differences(compared_table([ComparedRun(x, table) for x in "ab"]))
    assert {each.label.key for each in found} == {"1", "2", "3", "all of it"}
    assert {each.mean for each in found if each.n} == {0.0}


def test_a_line_of_the_journal_is_the_record(table: ResultTable) -> None:
    for case in table.cases:
        assert repr(CaseResult.from_json(case.to_json(), case.pair)) == repr(
            CaseResult(**{**vars(case), "files": ()})
        )
