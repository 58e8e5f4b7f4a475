from __future__ import annotations

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result

from medloss.cli import main
from medloss.cli.eval import eval_command


def write(path: Path, array: np.ndarray, spacing_mm: tuple[float, ...] = (1, 2, 3)) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([*spacing_mm, 1])), path)


@pytest.fixture
def folders(tmp_path, monkeypatch) -> Path:
    """Three cases: a perfect one, one that misses label 2, one with its labels moved by 1 mm."""
    monkeypatch.chdir(tmp_path)
    reference = np.zeros((12, 12, 12), np.uint8)
    reference[2:6, 2:6, 2:6] = 1
    reference[7:10, 7:10, 7:10] = 2
    predictions = {
        "a": reference,
        "b": np.where(reference == 2, 0, reference),
        "c": np.roll(reference, 1, axis=0),
    }
    for name, prediction in predictions.items():
        write(tmp_path / "pred" / f"{name}.nii.gz", prediction)
        write(tmp_path / "ref" / f"{name}.nii.gz", reference)
    return tmp_path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(eval_command, [str(argument) for argument in arguments])


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def pick(found: list[dict[str, str]], case: str, label: str, metric: str) -> dict[str, str]:
    (row,) = [r for r in found if (r["case"], r["label"], r["metric"]) == (case, label, metric)]
    return row


def test_two_folders(folders):
    result = run("pred", "ref")
    assert result.exit_code == 0, result.output
    assert "3 of 3 cases scored" in result.stdout
    assert "deepmind" in result.stdout
    assert "hausdorff95 (mm, lower is better)" in result.stdout
    assert "missed" in result.stdout
    assert result.stderr == ""


def test_two_files_need_no_summary(folders):
    result = run("pred/a.nii.gz", "ref/a.nii.gz")
    assert result.exit_code == 0
    assert "1.0000" in result.stdout
    assert "median" not in result.stdout


def test_every_value_in_the_csv_file(folders):
    result = run("pred", "ref", "--labels", "1=liver,2=lesion,9", "--csv", "out.csv")
    assert result.exit_code == 0, result.output
    assert "Wrote out.csv." in result.stdout
    found = rows(folders / "out.csv")
    assert ",".join(found[0]) == "case,label,name,metric,value,unit,preset,status,message"
    assert len(found) == 3 * 3 * 6
    assert pick(found, "a", "1", "dice") == {
        "case": "a",
        "label": "1",
        "name": "liver",
        "metric": "dice",
        "value": "1.0",
        "unit": "",
        "preset": "deepmind",
        "status": "ok",
        "message": "",
    }
    assert float(pick(found, "c", "1", "dice")["value"]) == 0.75
    assert float(pick(found, "c", "2", "dice")["value"]) == 2 * 18 / 54  # all 17 digits
    assert pick(found, "c", "1", "hausdorff95")["unit"] == "mm"
    assert float(pick(found, "c", "1", "hausdorff95")["value"]) == pytest.approx(1.0)
    assert pick(found, "b", "2", "dice")["status"] == "missed"
    assert pick(found, "b", "9", "dice")["status"] == "both_empty"
    assert pick(found, "b", "9", "dice")["value"] == "nan"


def test_settings_cases_and_summary_in_the_json_file(folders):
    write(folders / "pred" / "d.nii.gz", np.zeros((2, 2, 2), np.uint8))
    result = run(
        *("pred", "ref", "--labels", "1=liver,2,9", "-m", "dice", "--json", "out.json"),
        *("-m", "normalized_surface_dice:tolerance_mm=2"),
    )
    assert result.exit_code == 1
    text = (folders / "out.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    content = json.loads(text)
    from medloss import __version__

    assert content["medloss"] == __version__
    settings = content["settings"]
    assert settings["preset"] == "deepmind"
    assert settings["policies"]["missed"] == "diagonal"
    assert settings["policies"]["both_empty"] == "exclude"
    assert "diagonal" in str(settings["policies"]["meaning"])
    assert settings["metrics"][1] == {
        "metric": "normalized_surface_dice[tolerance_mm=2]",
        "name": "normalized_surface_dice",
        "options": {"tolerance_mm": 2},
        "unit": "",
        "better": "higher",
    }
    assert settings["labels"][:2] == [{"label": 1, "name": "liver"}, {"label": 2, "name": ""}]
    first, *_, last = content["cases"]
    assert (first["case"], first["status"]) == ("a", "ok")
    assert first["prediction"] == os.path.join("pred", "a.nii.gz")
    assert (first["spacing_mm"], first["shape"]) == ([1, 2, 3], [12, 12, 12])
    assert first["results"][0]["value"] == 1.0
    assert [r["value"] for r in first["results"] if r["label"] == 9] == [None, None]
    assert last["status"] == "failed"
    assert "no reference" in last["error"]
    dice = {s["label"]: s for s in content["summary"] if s["metric"] == "dice"}
    assert dice[1]["mean"] == pytest.approx((1 + 1 + 0.75) / 3)
    assert (dice[1]["n"], dice[1]["failed"]) == (3, 1)
    assert (dice[1]["min"], dice[1]["worst_case"]) == (0.75, "c")
    assert dice[2]["statuses"]["missed"] == 1
    assert dice[9]["mean"] is None
    assert (dice[9]["n"], dice[9]["not_used"], dice[9]["statuses"]["both_empty"]) == (0, 3, 3)


def test_infinity_is_null_in_json_and_inf_in_csv(folders):
    result = run("pred", "ref", "--missed", "inf", "--json", "o.json", "--csv", "o.csv")
    assert result.exit_code == 0
    assert "Wrote o.csv and o.json." in result.stdout
    assert pick(rows(folders / "o.csv"), "b", "2", "hausdorff95")["value"] == "inf"
    content = json.loads((folders / "o.json").read_text())
    (row,) = [
        r for r in content["cases"][1]["results"] if (r["label"], r["metric"]) == (2, "hausdorff95")
    ]
    assert (row["value"], row["status"]) == (None, "missed")
    assert content["settings"]["policies"]["missed"] == "inf"


def test_all_excluded_is_a_dash(folders):
    result = run("pred", "ref", "--labels", "9", "-m", "dice")
    assert result.exit_code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("  9  ")]
    assert line.split() == ["9", "-", "-", "-", "-", "0", "0", "0", "3", "3"]


def test_both_empty_can_count_as_perfect(folders):
    run("pred", "ref", "--labels", "9", "--both-empty", "perfect", "--csv", "o.csv")
    values = {row["metric"]: float(row["value"]) for row in rows(folders / "o.csv")}
    assert values["dice"] == 1.0
    assert values["hausdorff95"] == 0.0


def test_failed_cases_are_listed_and_the_exit_code_is_1(folders):
    (folders / "pred" / "b.nii.gz").write_bytes(b"")
    (folders / "ref" / "c.nii.gz").unlink()
    result = run("pred", "ref", "--csv", "o.csv")
    assert result.exit_code == 1
    assert "1 of 3 cases scored" in result.stdout
    assert "2 of 3 cases failed:" in result.stdout
    assert "b.nii.gz is empty" in result.stdout
    found = rows(folders / "o.csv")
    failed = {row["case"]: row for row in found if row["status"] == "failed"}
    assert failed.keys() == {"b", "c"}
    assert failed["b"]["message"] == f"{Path('pred/b.nii.gz')} is empty"
    assert failed["c"]["message"] == "no reference: ref holds no image called 'c'"
    assert failed["b"]["value"] == ""
    assert {row["case"] for row in found} == {"a", "b", "c"}


def test_all_cases_may_fail_and_the_files_still_say_why(folders):
    for path in (folders / "pred").iterdir():
        path.write_bytes(b"text")
    result = run("pred", "ref", "--csv", "o.csv", "--json", "o.json")
    assert result.exit_code == 1
    assert [row["status"] for row in rows(folders / "o.csv")] == ["failed"] * 3
    assert json.loads((folders / "o.json").read_text())["summary"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pred", "nowhere"], "nowhere does not exist"),
        (["pred", "ref/a.nii.gz"], "pred is a folder and"),
        (["pred", "ref", "-m", "dicee"], "did you mean dice"),
        (["pred", "ref", "-m", "dice:smooth=1"], "dice has no option 'smooth'"),
        (["pred", "ref", "-m", "normalized_surface_dice:tolerance=1"], "tolerance_mm"),
        (["pred", "ref", "-m", "normalized_surface_dice:tolerance_mm=-1"], "tolerance_mm"),
        (["pred", "ref", "-m", "dice", "-m", "dice"], "dice is asked for twice"),
        (["pred", "ref", "-m", "dice:"], "is not of the form NAME"),
        (["pred", "ref", "--labels", "liver"], "'liver' is no label"),
        (["pred", "ref", "--labels", "0"], "background"),
        (["pred", "ref", "--missed", "zero"], "'zero' is not one of"),
        (["pred", "ref", "--preset", "mine"], "'mine' is not"),
        (["pred", "ref", "--csv", "gone/o.csv"], "gone is no folder"),
        (["pred", "ref", "--csv", "pred"], "pred is a folder"),
        (["pred", "ref", "--csv", "o", "--json", "./o"], "name the same file"),
        (["pred"], "Missing argument"),
        (["pred", "ref", "--loss", "dicee"], "did you mean"),
    ],
)
def test_wrong_commands_end_with_2_and_one_sentence(folders, arguments, words):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.mark.parametrize("option", ["--csv", "--json"])
def test_files_are_overwritten_only_with_force(folders, option, monkeypatch):
    kept = folders / "out"
    kept.write_text("precious")
    with monkeypatch.context() as patch:
        patch.setattr("medloss.evaluation.score.evaluate", lambda *_: pytest.fail("worked"))
        result = run("pred", "ref", option, "out")
    assert result.exit_code == 2
    assert "out exists; --force overwrites it" in result.stderr
    assert kept.read_text() == "precious"
    assert run("pred", "ref", option, "out", "--force").exit_code == 0
    assert "dice" in kept.read_text()
    assert not list(folders.glob(".*"))


def test_a_write_that_fails_leaves_the_old_file(folders, monkeypatch):
    kept = folders / "out.json"
    kept.write_text("precious")
    monkeypatch.setattr("json.dump", lambda *_, **__: (_ for _ in ()).throw(OSError("disk full")))
    result = run("pred", "ref", "--json", "out.json", "--force")
    assert result.exit_code == 4
    assert kept.read_text() == "precious"
    assert not list(folders.glob(".*"))


def test_many_cases_are_summed_up_and_shown_one_by_one_on_demand(folders):
    for i in range(9):
        for side in ("pred", "ref"):
            (folders / side / f"x{i}.nii.gz").write_bytes(
                (folders / "ref" / "a.nii.gz").read_bytes()
            )
    assert "x7" not in run("pred", "ref").stdout
    assert "x7" in run("pred", "ref", "--per-case").stdout


def test_losses_have_rows_for_the_whole_case(folders):
    result = run("pred", "ref", "-m", "dice", "--loss", "tversky:fp_weight=0.3", "--csv", "o.csv")
    assert result.exit_code == 0, result.output
    row = pick(rows(folders / "o.csv"), "a", "all", "tversky_loss[fp_weight=0.3]")
    assert float(row["value"]) == pytest.approx(0, abs=1e-5)
    assert (row["unit"], row["status"]) == ("", "ok")
    assert "tversky_loss[fp_weight=0.3] (lower is better)" in result.stdout


def test_a_metric_and_a_loss_of_one_name_stay_apart(folders):
    result = run("pred", "ref", "-m", "dice", "--loss", "dice", "--csv", "o.csv")
    assert result.exit_code == 0, result.output
    found = rows(folders / "o.csv")
    assert {row["metric"] for row in found if row["label"] == "all"} == {"dice_loss"}
    assert {row["metric"] for row in found if row["label"] != "all"} == {"dice"}


def test_options_at_their_default_are_told(folders):
    result = run("pred", "ref", "--json", "o.json")
    settings = json.loads((folders / "o.json").read_text())["settings"]
    options = {metric["metric"]: metric["options"] for metric in settings["metrics"]}
    assert options["normalized_surface_dice"] == {"tolerance_mm": 1.0}
    assert options["dice"] == {}
    assert "normalized_surface_dice: tolerance_mm=1.0." in " ".join(result.stdout.split())


def test_debug_shows_where_a_case_failed(folders):
    (folders / "pred" / "b.nii.gz").write_bytes(b"")

    plain = CliRunner().invoke(main, ["eval", "pred", "ref"])
    debugged = CliRunner().invoke(main, ["--debug", "eval", "pred", "ref"])
    assert plain.exit_code == debugged.exit_code == 1
    assert "Traceback" not in plain.output
    assert "Traceback" in debugged.stderr


def test_the_result_files_do_not_depend_on_the_order_of_the_folder(folders):
    run("pred", "ref", "--csv", "one.csv")
    for path in sorted((folders / "pred").iterdir(), reverse=True):
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
    run("pred", "ref", "--csv", "two.csv")
    assert (folders / "one.csv").read_bytes() == (folders / "two.csv").read_bytes()


def test_neither_torch_nor_monai_is_imported_without_a_loss(folders):
    code = (
        "import sys\n"
        "from medloss.cli.eval import eval_command\n"
        "eval_command(['pred', 'ref', '--csv', 'o.csv', '--json', 'o.json'], "
        "standalone_mode=False)\n"
        "print(sorted({'torch', 'monai'} & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=folders
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_the_help_needs_no_numpy():
    code = "import sys, medloss.cli.eval; print('numpy' in sys.modules)"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_real_labels_of_a_folder_with_the_names_of_its_dataset(data_dir, tmp_path):
    source = data_dir / "Task04_Hippocampus"
    (tmp_path / "pred").mkdir()
    (tmp_path / "ref").mkdir()
    for path in sorted((source / "labelsTr").glob("*.nii.gz"))[:3]:
        image = nibabel.load(path)
        labels = np.asanyarray(image.dataobj)
        nibabel.save(image, tmp_path / "ref" / path.name)
        moved = nibabel.Nifti1Image(np.roll(labels, 2, axis=1), image.affine)
        nibabel.save(moved, tmp_path / "pred" / path.name)
    result = run(
        *(tmp_path / "pred", tmp_path / "ref", "--labels", source / "dataset.json"),
        *("--csv", tmp_path / "o.csv"),
    )
    assert result.exit_code == 0, result.output
    assert "1 Anterior" in result.stdout
    found = rows(tmp_path / "o.csv")
    assert len(found) == 3 * 2 * 6
    distances = [float(row["value"]) for row in found if row["metric"] == "hausdorff95"]
    assert all(0 < distance <= 2 + 1e-6 for distance in distances)
    assert not any(math.isnan(float(row["value"])) for row in found)
