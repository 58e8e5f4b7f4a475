"""Patients, subgroups, margins, agreement and sample sizes, as a user asks for them."""

from __future__ import annotations

import csv
import json
import math
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result
from html_pages import check_page
from study_folders import write_folder

import medloss
from medloss.cli import main
from medloss.evaluation.outputs.results import read_folder

A = [0.91, 0.88, 0.84, 0.93, 0.79, 0.86, 0.90, 0.72, 0.95, 0.83]
B = [0.93, 0.88, 0.86, 0.94, 0.84, 0.85, 0.93, 0.80, 0.95, 0.87]
PATIENTS = "1112234456"
NAMES = [f"patient{p}_scan{i}" for i, p in enumerate(PATIENTS)]
BY_NAME = r"^(patient\d+)_"


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def told(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """Table 1: ten scans of six patients by two models."""
    monkeypatch.chdir(tmp_path)
    for name, values in (("unet", A), ("swin", B)):
        cases = {case: {("1", "dice"): x} for case, x in zip(NAMES, values, strict=True)}
        write_folder(tmp_path / name, cases, metrics={"dice": ("", "higher")})
    return tmp_path


def compared(*options: str) -> dict:
    assert run("compare", "unet", "swin", "--json", "o.json", "--force", *options).exit_code == 0
    content = json.loads(Path("o.json").read_text())
    (each,) = content["differences"]
    return {**each, "decisions": content["decisions"], "notes": content["notes"]}


def test_a_comparison_of_the_worked_table(runs):
    each = compared("--margin", "dice=0.02")
    ends = each["ci_low"], each["ci_high"]
    assert ends == pytest.approx((0.004569, 0.043431), abs=1e-6)
    assert each["p"] == pytest.approx(0.0234375)
    assert (each["second_better"], each["equal"], each["first_better"]) == (7, 2, 1)
    assert each["hodges_lehmann"] == pytest.approx(0.02)
    assert each["verdict"].startswith("swin is better than unet by 0.0240")
    margin = each["margin"]
    assert (margin["non_inferior"], margin["equivalent"]) == (True, False)
    assert margin["p_non_inferior"] == pytest.approx(0.000313, abs=1e-6)
    assert (margin["low90"], margin["high90"]) == pytest.approx((0.008255, 0.039745), abs=1e-6)
    assert margin["p_equivalent"] == pytest.approx(0.673749, abs=1e-6)
    wider = compared("--margin", "dice[1]=0.05")["margin"]
    assert (wider["equivalent"], wider["p_equivalent"]) == (True, pytest.approx(0.007158, abs=1e-6))
    assert "--cluster '^(patient\\d+)' counts patients" in each["notes"][0]


def test_by_patient_the_same_difference_is_not_shown(runs):
    each = compared("--cluster", BY_NAME, "--margin", "dice=0.02")
    ends = each["ci_low"], each["ci_high"]
    assert ends == pytest.approx((0.000440, 0.047560), abs=1e-6)
    assert (each["test"], each["p"], each["clusters"]) == ("sign_flip", 0.125, 6)
    assert "better than" not in each["verdict"]
    assert "the flip test decides" in each["verdict"]
    assert each["margin"]["non_inferior"] is True
    assert each["notes"] == []
    assert each["decisions"]["clusters"] == 6


def test_lower_is_better_turns_the_margin(runs):
    for name, values in (("unet", B), ("swin", A)):
        cases = {case: {("1", "hd"): x} for case, x in zip(NAMES, values, strict=True)}
        write_folder(runs / name, cases, metrics={"hd": ("mm", "lower")})
    each = compared("--margin", "hd=0.02")
    assert each["favours"] == "swin"
    assert each["margin"]["p_non_inferior"] == pytest.approx(0.000313, abs=1e-6)
    assert (each["margin"]["low90"], each["margin"]["high90"]) == pytest.approx(
        (-0.039745, -0.008255), abs=1e-6
    )


def test_a_failed_case_is_the_worst_value_with_complete_cases_beside_it(runs):
    cases = {n: {("1", "dice"): x} for n, x in zip(NAMES, B, strict=True)}
    write_folder(runs / "swin", {**cases, NAMES[7]: "no file"}, metrics={"dice": ("", "higher")})
    each = compared()
    assert each["difference"] == pytest.approx(-0.056)
    assert each["median_difference"] == pytest.approx(0.015)
    assert each["complete_cases"]["mean"] == pytest.approx(0.016 / 0.9, abs=1e-4)
    assert each["worst_second"] == 1
    assert "(1 of swin); without these cases the difference is 0.0178" in each["verdict"]
    assert each["decisions"]["worst_values"] == {"dice": "0"}
    left_out = compared("--missing", "leave-out")
    assert (left_out["n"], left_out["complete_cases"]) == (9, None)
    assert left_out["difference"] == pytest.approx(each["complete_cases"]["mean"])


def test_titles_limits_and_pictures_are_no_definitions(runs):
    write_folder(
        runs / "swin",
        {case: {("1", "dice"): x} for case, x in zip(NAMES, B, strict=True)},
        metrics={"dice": ("", "higher")},
        settings={"title": "Swin", "acceptance": ["1: dice>=0.8"], "pictures": {"viewer": [""]}},
    )
    assert compared()["p"] == pytest.approx(0.0234375)


def test_only_primary_tests_are_adjusted_and_may_say_better(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, values in (("unet", A), ("swin", B)):
        cases = {
            case: {("1", "dice"): x, ("2", "dice"): x}
            for case, x in zip(NAMES, values, strict=True)
        }
        write_folder(tmp_path / name, cases, metrics={"dice": ("", "higher")}, names={"1": "liver"})
    run("compare", "unet", "swin", "--primary", "dice[liver]", "--json", "o.json")
    first, second = json.loads(Path("o.json").read_text())["differences"]
    assert first["p_holm"] == first["p"]
    assert "swin is better than unet" in first["verdict"]
    assert second["p_holm"] is None
    assert "descriptive only" in second["verdict"]
    run("compare", "unet", "swin", "--json", "o.json", "--force")
    both = json.loads(Path("o.json").read_text())["differences"]
    assert [x["p_holm"] for x in both] == [pytest.approx(0.046875)] * 2


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_cases_never_make_a_run_better(tmp_path, monkeypatch, n):
    monkeypatch.chdir(tmp_path)
    for name, shift in (("unet", 0.0), ("swin", 0.3)):
        cases = {f"c{i}": {("1", "dice"): 0.5 + shift + i / 100} for i in range(n)}
        write_folder(tmp_path / name, cases, metrics={"dice": ("", "higher")})
    each = compared()
    assert "better" not in each["verdict"]
    assert (each["ci_low"] is None) == (n < 3)


@pytest.mark.parametrize(
    "values",
    [
        [0.02, -0.01, 0.03, -0.02, 0.01, 0.02, -0.01],  # the interval holds 0
        [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.1],
        [0.1, 0.1, 0.1],  # the interval has no width, and no test is possible
        [math.inf, 0.1, 0.2, 0.3, 0.1, 0.2, 0.3],
        [0.0] * 7,
    ],
)
def test_no_verdict_says_better_of_an_interval_that_holds_zero(tmp_path, monkeypatch, values):
    monkeypatch.chdir(tmp_path)
    for name, scale in (("unet", 1.0), ("swin", 0.0)):
        cases = {
            f"c{i}": {("1", "hausdorff95"): 0.5 + scale * x if scale else 0.5}
            for i, x in enumerate(values)
        }
        write_folder(tmp_path / name, cases, metrics={"hausdorff95": ("mm", "lower")})
    assert "better" not in compared("--margin", "hausdorff95=0.01")["verdict"]


def test_ends_of_intervals_are_not_rounded_to_zero(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    gains = [1e-5, 1e-5, 1e-5, 1e-5, 1e-5, 1.2e-5, 1.1e-5, 1.3e-5]
    for name, scale in (("unet", 0.0), ("swin", 1.0)):
        cases = {f"c{i}": {("1", "dice"): 0.5 + scale * x} for i, x in enumerate(gains)}
        write_folder(tmp_path / name, cases, metrics={"dice": ("", "higher")})
    each = compared()
    assert each["favours"] == "swin"
    low, high = each["ci_low"], each["ci_high"]
    assert f"swin is better than unet by {each['difference']:.2g} (" in each["verdict"]
    assert f"95% interval {low:.2g} to {high:.2g}" in each["verdict"]


def test_every_column_stands_on_a_terminal_of_80_and_on_the_page(runs, monkeypatch):
    for width in (80, 160):
        monkeypatch.setenv("COLUMNS", str(width))
        shown = run("compare", "unet", "swin", "--html", "o.html", "--force").stdout
        assert max(map(len, shown.splitlines()[:-1])) <= width
        for word in ("difference [95% CI]", "p (Holm)", "median", "HL", "means", "worst"):
            assert word in shown, word
        assert "0.0240 [0.0046, 0.0434]" in shown
        assert "swin - unet" in shown
    page = check_page(runs / "o.html")
    assert page.source.index('id="differences"') < page.source.index('id="ranking"')
    assert "swin is better" in page.text
    assert "second is better" not in page.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--margin", "dice"], "expected METRIC=number"),
        (["--margin", "dice=0"], "a number above 0"),
        (["--margin", "nsd=1"], "'nsd' is not compared; there are dice"),
        (["--margin", "dice[7]=1"], "there is no label '7'; there are 1"),
        (["--primary", "dice[7]"], "there is no label '7'"),
        (["--cluster", "patient"], "is no column of a manifest (there is none"),
        (["--cluster", "^(x)"], "does not fit 10 of 10 names of cases, such as patient1_scan0"),
        (["--cluster", "("], "is no regular expression"),
        (["--by", "site"], "the manifest has no column 'site'"),
        (["--agreement", "-m", "dice"], "--metric is for runs with a reference, not --agreement"),
    ],
)
def test_what_cannot_be_is_refused(runs, options, words):
    result = run("compare", "unet", "swin", *options)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_methods_of_a_comparison(runs):
    run("compare", "unet", "swin", "--methods", "m.md", "--margin", "dice=0.02")
    text = (runs / "m.md").read_text()
    for words in ("Pratt", "Holm", "2000 resamples", "non-inferior", "| 10 |", "0.0046 to 0.0434"):
        assert words in text, words
    run("compare", "unet", "swin", "--methods", "m.tex")
    assert r"\begin{tabular}" in (runs / "m.tex").read_text()


# Evaluation


@pytest.fixture
def study(tmp_path, monkeypatch):
    """24 scans of 12 patients, two sites; a manifest that says so."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = ["case,prediction,reference,patient,site,age"]
    for i in range(24):
        reference = np.zeros((6, 6, 6), np.uint8)
        reference[1:5, 1:5, 1:5] = 1
        prediction = reference.copy()
        prediction[1, 1:5, 1 : 2 + rng.integers(0, 4)] = 0
        for side, voxels in (("p", prediction), ("r", reference)):
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / f"{side}{i}.nii.gz")
        lines.append(f"c{i:02},p{i}.nii.gz,r{i}.nii.gz,{i // 2},{'AB'[i % 2]},{30 + 2 * i}")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    return tmp_path


def test_intervals_count_patients_and_survive_the_folder(study):
    options = ("--cluster", "patient", "--by", "site", "--by", "age:40,60", "-m", "dice")
    first = run("eval", "--manifest", "m.csv", *options, "--output", "out")
    assert "24 cases of 12 patients (patient)" in told(first)
    content = json.loads((study / "out/summary.json").read_text())
    assert (content["settings"]["cluster"], content["settings"]["by"]) == (
        "patient",
        ["site", "age:40,60"],
    )
    assert "--cluster patient --by site --by age:40,60" in content["settings"]["command"]
    line = content["summary"][0]
    lines = (study / "out/cases.csv").read_text().splitlines()
    values = [float(row["value"]) for row in csv.DictReader(lines)]
    sums = np.array(values).reshape(12, 2).sum(axis=1)
    error = math.sqrt(12 / 11 * ((sums - sums.mean()) ** 2).sum()) / 24
    reach = 2.200985 * error  # t of 11 degrees of freedom
    assert line["ci_high"] == pytest.approx(np.mean(values) + reach, rel=1e-6)
    assert (line["ci_method"], line["clusters"], line["n"]) == ("cluster_t", 12, 24)
    table = read_folder(study / "out")
    assert table.lines[0].clusters == 12
    site, age = table.subgroups
    assert [(g.level, g.n, g.clusters) for g in site.groups] == [("A", 12, 12), ("B", 12, 12)]
    (contrast,) = site.contrasts
    assert contrast.ci_low < contrast.mean < contrast.ci_high
    # patients have one scan at each site, so that their differences are paired
    apart = np.array(values[1::2]) - np.array(values[::2])
    t = apart.mean() / (apart.std(ddof=1) / math.sqrt(12))
    assert contrast.mean == pytest.approx(apart.mean())
    assert (contrast.ci_high - contrast.mean) == pytest.approx(2.200985 * contrast.mean / t)
    assert [g.level for g in age.groups] == ["below 40", "40 to below 60", "60 and above"]
    assert all(math.isnan(g.ci_low) and len(g.values) == g.n for g in age.groups if g.clusters < 10)
    assert content["subgroups"][0]["groups"][0]["mean"] == pytest.approx(site.groups[0].mean)
    rows = list(csv.DictReader((study / "out/subgroups.csv").read_text().splitlines()))
    assert [row["level"] for row in rows][:2] == ["A", "B"]
    for name in ("methods.md", "methods.tex"):
        said = (study / "out" / name).read_text()
        assert "24 cases of 12 patients" in said
        assert "Subgroups: site, age" in said
    page = check_page(study / "out" / "report.html")
    assert "40 to below 60" in page.text
    assert 'class="scroll' not in (study / "out" / "report.html").read_text()
    again = run("eval", "--manifest", "m.csv", "-m", "dice", "--output", "out", "--resume")
    assert "24 of 24 cases were scored before" in again.stderr, "grouping changes no value"
    assert "24 cases seem to be of 12 patients" in told(again)
    assert "--cluster patient counts patients" in told(again)


def test_python_and_profiles_group_alike(study):
    """By arguments, and by what a profile names beforehand."""
    profile = {
        "name": "trial",
        "summary": "Of patients.",
        "metrics": ["dice"],
        "cluster": {"by": "patient"},
        "subgroups": {"by": ["site"]},
    }
    for arguments in (
        {"metrics": "dice", "cluster": "patient", "by": "site"},
        {"profile": profile},
    ):
        table = medloss.evaluate(manifest="m.csv", **arguments).table
        assert (table.lines[0].clusters, table.lines[0].ci_method) == (12, "cluster_t")
        assert [group.level for group in table.subgroups[0].groups] == ["A", "B"]
    with pytest.raises(ValueError, match="cluster: 'x' is no column of a manifest"):
        medloss.evaluate(manifest="m.csv", cluster="x")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--cluster", "person"], "is no column of a manifest (it has patient, site, age)"),
        (["--by", "sex"], "the manifest has no column 'sex'; it has patient, site, age"),
        (["--by", "age"], "age makes 24 subgroups of 24 cases"),
        (["--by", "age:x"], "expected rising numbers, such as age:40,65"),
        (["--by", "site:1"], "site of c00 is 'A' and no number"),
        (["--by", "site,site"], "site is there twice"),
    ],
)
def test_groups_that_are_none_are_refused_before_any_work(study, options, words):
    result = run("eval", "--manifest", "m.csv", *options)
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_few_cases_need_no_scipy(study):
    """Student's t is a finite sum there; the library would cost a third of the start."""
    code = (
        "import sys\n"
        "from medloss.cli import main\n"
        "main(['eval', '--manifest', 'm.csv', '-m', 'dice', '--output', 'o', '--no-report'], "
        "standalone_mode=False)\n"
        "print(sorted({'scipy.special', 'scipy.stats'} & set(sys.modules)))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=study
    )
    assert result.stdout.splitlines()[-1] == "[]"


# Agreement and sample sizes

VOLUMES = """case,reader,model
1,12.1,12.9
2,30.4,29.1
3,7.9,8.4
4,55.0,58.6
5,21.3,20.7
6,40.2,42.8
7,16.8,16.1
8,9.5,10.4
9,,10
"""


def test_agreement_of_a_table_of_volumes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("v.csv").write_text(VOLUMES)
    outputs = ("--json", "a.json", "--csv", "a.csv", "--html", "a.html", "--methods", "a.md")
    shown = told(run("compare", "--agreement", "v.csv", *outputs))
    for words in (
        "bias 0.725 (95% interval -0.679 to 2.129)",
        "-2.568 (-6.403 to -1.108) to 4.018 (2.558 to 7.853)",
        "model over reader 1.0288",
        "limits 0.9215",
        "ICC(A,1) 0.9949 (0.9769 to 0.9990)",
        "Left out: 9 (not of reader)",
    ):
        assert words in shown, words
    (label,) = json.loads(Path("a.json").read_text())["labels"]
    assert label["icc"][1]["value"] == pytest.approx(0.994925, abs=1e-6)
    check_page(Path("a.html"))
    (row,) = csv.DictReader(Path("a.csv").read_text().splitlines())
    assert float(row["limit_high_high"]) == pytest.approx(7.853, abs=1e-3)
    assert float(row["ratio_limit_low"]) == pytest.approx(0.9215, abs=1e-4)
    for text, words in (
        ("case,a\n1,2", "expected the columns case"),
        ("case,a,b\n1,2,x", "b is 'x' and no volume"),
        ("case,a,b\n1,2,3\n1,2,3", "'1' is there twice"),
        ("case,a,b\n1,2", "line 2: expected 3 cells"),
    ):
        Path("w.csv").write_text(text)
        result = run("compare", "--agreement", "w.csv")
        assert result.exit_code == 2
        assert words in " ".join(result.stderr.split())


def test_agreement_of_folders_that_have_other_grids(study):
    """Volumes in ml need no common grid, and an output of eval stands for its predictions."""
    for name, shape in (("r1", 10), ("r2", 20)):
        (study / name).mkdir()
        for i in range(4):
            voxels = np.zeros((shape,) * 3, np.uint8)
            voxels[: 4 * shape // 10, : 2 * shape // 10, : (2 + i) * shape // 10] = 1
            image = nibabel.Nifti1Image(voxels, np.diag([*[100 / shape] * 3, 1]))
            nibabel.save(image, study / name / f"c{i}.nii.gz")
    result = run("compare", "--agreement", "r1", "r2", "--json", "a.json")
    assert "r2 minus r1: bias 0.000 ml" in told(result)
    (label,) = json.loads(Path("a.json").read_text())["labels"]
    assert label["volumes"]["volumes"][1] == pytest.approx([24.0, 24.0])
    assert run("eval", "r1", "r1", "-m", "dice", "--output", "e", "--no-report").exit_code == 0
    assert "r2 minus e: bias 0.000 ml" in told(run("compare", "--agreement", "e", "r2"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--sd .08 --half-width .02", "64 cases: the 95% interval of the mean"),
        ("--sd .03 --half-width .005", "141 cases"),
        ("--sd .05 --non-inferiority .02", "68 cases"),
        ("--sd .05 --non-inferiority .02 --power .8", "52 cases"),
        ("--sd .05 --non-inferiority .02 --advantage .005", "44 cases"),
        ("--sd .05 --equivalence .02", "(68 by the normal distribution)"),
        ("--sd .05 --equivalence .02 --alpha .025", "(82 by the normal distribution)"),
        ("--share .94 --half-width .05", "87 cases"),
        ("--share 1 --half-width .1", "36 cases"),
        ("--sd .05 --non-inferiority .02 --design-effect 1.235529 --dropout .1", "94 cases"),
        ("unet swin --non-inferiority .02 --cluster ^(patient\\d+)", "n = 10 of 6 clusters"),
        ("unet swin --non-inferiority .02 --cluster ^(patient\\d+)", "clusters: 1.236"),
        ("unet swin --non-inferiority .02 --cluster ^(patient\\d+)", "standard deviation 0.02716"),
        ("unet/cases.csv --half-width .02", "standard deviation 0.06935"),
    ],
)
def test_sample_sizes(runs, options, words):
    assert words in told(run("sample-size", *options.split()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", "give one of --half-width, --non-inferiority and --equivalence"),
        ("--half-width 1", "give a PILOT, or --sd S, or --share P"),
        ("--half-width 1 --equivalence 1 --sd 1", "give one of"),
        ("--sd 1 unet --half-width 1", "--sd is instead of a pilot"),
        ("unet --equivalence .1", "give two PILOTs on the same cases"),
        ("unet --half-width .1 -m nsd", "'nsd' is none of the values"),
        ("gone --half-width .1", "gone does not exist"),
        ("--sd 1 --non-inferiority .1 --advantage -.1", "no number of cases is enough"),
        ("--sd 1 --half-width .000001", "more than 10000000 cases"),
    ],
)
def test_sample_sizes_that_nobody_can_say(runs, options, words):
    result = run("sample-size", *options.split())
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())
