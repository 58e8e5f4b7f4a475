"""A study never becomes smaller without saying so."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from medloss.cli import main
from medloss.evaluation.inputs.manifest import read_manifest
from medloss.evaluation.inputs.pairing import find_cases, pair_paths


@pytest.fixture
def folders(save) -> tuple[Path, Path]:
    """Two folders with one case that can be scored."""
    labels = np.zeros((4, 5, 6), np.uint8)
    labels[1:3, 1:4, 1:5] = 1
    return save("pred/a.nii.gz", labels).parent, save("ref/a.nii.gz", labels).parent


def run(*args: object) -> Result:
    return CliRunner().invoke(main, ["eval", *map(str, args), "-m", "dice"], terminal_width=200)


def both(folders: tuple[Path, Path], *names: str) -> None:
    for folder in folders:
        for name in names:
            (folder / name).touch()


def summary(folder: Path) -> dict:
    return json.loads((folder / "summary.json").read_text())


def test_formats_that_nobody_reads_are_failed_cases_where_both_folders_have_them(folders, tmp_path):
    both(folders, "b.jpg", "c.par", "c.rec", "d.nhdr", "e.stl", "f.ome.tif", "g.xyz", "h.mnc.gz")
    out = tmp_path / "out"
    result = run(*folders, "--output", out)
    assert result.exit_code == 1
    assert "1 of 8 cases scored" in result.output
    assert "7 of 8 cases failed" in result.output
    assert "holds c.par and c.rec, and it is Philips PAR/REC; convert it" in result.output
    with (out / "cases.csv").open() as file:
        failed = [row["case"] for row in csv.DictReader(file) if row["status"] == "failed"]
    assert failed == ["b", "c", "d", "e", "f", "g", "h"]
    assert [case["case"] for case in summary(out)["cases"]] == ["a", *failed]
    assert "7 of 8 cases failed" in (out / "report.html").read_text()
    lines = (out / "journal.jsonl").read_text().splitlines()
    assert len(lines) == 9


def test_voxels_under_another_name_than_their_header_are_no_case(folders, tmp_path):
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\n"
        "ElementSpacing = 1 1 1\nElementDataFile = voxels_of_b.raw\n"
    )
    for folder in folders:
        (folder / "b.mhd").write_text(header)
        (folder / "voxels_of_b.raw").write_bytes(bytes([1] * 120))
    both(folders, "spare.zraw", "spare.raw.gz", "scores.csv.gz")
    result = run(*folders, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 of 2 cases scored" in result.output
    told = summary(tmp_path / "out")["settings"]["inputs"]["passed_over"]
    names = ["scores.csv.gz", "spare.raw.gz", "spare.zraw", "voxels_of_b.raw"]
    assert [Path(path).name for path in told] == 2 * names


def test_a_case_in_a_format_that_nobody_reads_on_one_side_is_not_missing(folders, save):
    pred, ref = folders
    (ref / "b.xyz").touch()
    save("pred/b.nii.gz", np.ones((2, 2, 2), np.uint8))
    _, pair = pair_paths(pred, ref)
    assert pair.problem.startswith(f"no reference that can be read: {ref} holds b.xyz, and formats")
    assert pair.missing == ""
    assert run(*folders, "--only-predicted").exit_code == 1


def test_what_belongs_to_no_case_is_named_everywhere(folders, tmp_path):
    pred, ref = folders
    both((pred,), "dataset.json", "only_here.mnc", "a.json", "a.npz", "._a.nii.gz")
    both(folders, "notes.txt", "README")
    (ref / "old").mkdir()
    out = tmp_path / "out"
    result = run(*folders, "--output", out)
    assert result.exit_code == 1, "one of them looks like an image"
    assert "1 image belongs to no case and is not scored" in result.output
    assert run(*folders, "--only", "a").exit_code == 0
    named = [
        *(f"{pred}/{name}" for name in ("README", "dataset.json", "notes.txt", "only_here.mnc")),
        *(f"{ref}/{name}" for name in ("README", "notes.txt", "old/")),
    ]
    assert summary(out)["settings"]["inputs"]["passed_over"] == named
    assert f"Passed over, as no image of a case: {', '.join(named)}." in result.output
    page = (out / "report.html").read_text()
    assert "7 files in the two folders belong to no case" in page
    assert all(name in page for name in named)


def test_nothing_is_said_where_nothing_is_passed_over(folders):
    assert find_cases(*folders).passed_over == ()
    assert "Passed over" not in run(*folders).output


def dangling(path: Path) -> None:
    path.symlink_to("nowhere.nii.gz")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


ODD = {
    dangling: "is a link that leads nowhere",
    os.mkfifo: "is a pipe and no file",
    Path.mkdir: "Is a directory|is a folder and no file",
    loop: "Too many levels of symbolic links",
}


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("sides", [(0, 1), (0,), (1,)])
def test_what_is_called_like_an_image_is_a_case(folders, make, sides):
    for side, folder in enumerate(folders):
        if side in sides:
            make(folder / "b.nii.gz")
        else:
            (folder / "b.nii.gz").write_bytes((folder / "a.nii.gz").read_bytes())
    result = run(*folders)
    assert result.exit_code == 1
    assert "1 of 2 cases scored" in result.output
    assert any(words in result.output for words in ODD[make].split("|")), result.output


def test_voxels_in_a_pipe_are_refused_and_not_waited_for(folders):
    pred, ref = folders
    header = (
        "ObjectType = Image\nNDims = 3\nDimSize = 4 5 6\nElementType = MET_UCHAR\n"
        "ElementSpacing = 1 1 1\nElementDataFile = b.raw\n"
    )
    for folder in folders:
        (folder / "b.mhd").write_text(header)
        os.mkfifo(folder / "b.raw")
    result = run(pred, ref)
    assert result.exit_code == 1
    assert "b.raw" in result.output


@pytest.mark.parametrize(
    ("name", "words"),
    [("x" * 300 + ".nii.gz", "File name too long"), ("loop.nii.gz", "symbolic links")],
)
def test_a_path_that_cannot_be_looked_at_costs_its_case_only(folders, tmp_path, name, words):
    pred, _ = folders
    loop(pred / "loop.nii.gz")
    path = tmp_path / "cases.csv"
    path.write_text(
        f"case,prediction,reference\nbad,pred/{name},ref/a.nii.gz\n"
        "good,pred/a.nii.gz,ref/a.nii.gz\n"
    )
    bad, good = read_manifest(path)
    assert not good.problem
    assert "cannot be looked at" in bad.problem
    assert bad.missing == "", "somebody made it, so that --only-predicted does not leave it out"
    result = run("--manifest", path, "--only-predicted")
    assert result.exit_code == 1
    assert "1 of 2 cases scored" in result.output
    assert words in result.output


def test_links_of_a_manifest_that_lead_nowhere_are_failed_cases(folders, tmp_path):
    dangling(folders[0] / "b.nii.gz")
    path = tmp_path / "cases.csv"
    path.write_text("case,prediction,reference\nb,pred/b.nii.gz,ref/a.nii.gz\n")
    (pair,) = read_manifest(path)
    assert pair.problem.endswith("is a link that leads nowhere")
    assert pair.missing == ""


def test_names_that_are_no_text_cost_no_output(folders, tmp_path):
    name = os.fsdecode(b"b\xff.nii.gz")
    for folder in folders:
        (folder / name).write_bytes((folder / "a.nii.gz").read_bytes())
    out = tmp_path / "out"
    result = run(*folders, "--output", out)
    assert result.exit_code == 0, result.output
    assert [case["case"] for case in summary(out)["cases"]] == ["a", "b\\udcff"]
    assert (out / "report.html").is_file()
    assert run(*folders, "--output", out, "--resume").exit_code == 0
