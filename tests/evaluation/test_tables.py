from __future__ import annotations

import math

import numpy as np
import pytest
from rich.console import Console

from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.outputs.formats import latex_text, markdown_text
from medloss.evaluation.outputs.pages import write_page
from medloss.evaluation.outputs.tables import make_table, summarise
from medloss.evaluation.outputs.terminal import print_cases, print_failed, print_summary
from medloss.evaluation.records import CaseResult, Result
from medloss.evaluation.requests import MetricChoice
from medloss.evaluation.score import EvalPlan
from medloss.offers.records import Metric

NAN, INF = math.nan, math.inf
LONG = "normalized_surface_dice[tolerance_mm=2]"


def metric(name: str, unit: str, better: str) -> MetricChoice:
    record = Metric(
        name=name.partition("[")[0],
        target="a:b",
        family="region",
        summary="x",
        facts=("counts",),
        unit=unit,
        better=better,
    )
    return MetricChoice(name, record, min, {})


def study(labels: dict[int, str] | None = None) -> EvalPlan:
    chosen = (metric("hausdorff95", "mm", "lower"), metric(LONG, "", "higher"))
    return EvalPlan(chosen, labels=labels)


def case(name: str, values: dict[int, tuple[float, str]]) -> CaseResult:
    results = [
        Result(label, column, value, unit, status)
        for label, (value, status) in values.items()
        for column, unit in (("hausdorff95", "mm"), (LONG, ""))
    ]
    return CaseResult(Pair(name, None, None), (1.0,) * 3, (9, 9, 9), tuple(results))


def failed(name: str) -> CaseResult:
    return CaseResult(Pair(name, None, None), error="a.nii.gz is empty")


def test_statistics_and_counts():
    values = [2.0, 4.0, 12.0]
    cases = [case(f"c{i}", {1: (v, "ok")}) for i, v in enumerate(values)]
    cases += [
        case("m", {1: (30.0, "missed")}),
        case("s", {1: (NAN, "spurious")}),
        case("e", {1: (NAN, "both_empty")}),
        failed("f"),
    ]
    summary, other = summarise(cases, study())
    assert (summary.label, summary.column.name) == (1, "hausdorff95")
    assert summary.n == 4
    assert summary.mean == 12.0
    assert summary.sd == pytest.approx(np.std([2, 4, 12, 30], ddof=1))
    assert summary.median == 8.0
    assert (summary.minimum, summary.maximum) == (2.0, 30.0)
    assert (summary.worst, summary.worst_case) == (30.0, "m")
    assert summary.statuses == {"ok": 3, "missed": 1, "spurious": 1, "both_empty": 1}
    assert (summary.not_used, summary.failed) == (2, 1)
    assert (other.worst, other.worst_case) == (2.0, "c0")


def test_nothing_used_is_nan_and_never_zero():
    summary, _ = summarise([case("a", {1: (NAN, "missed")})], study())
    assert summary.n == 0
    numbers = (summary.mean, summary.sd, summary.median, summary.minimum, summary.maximum)
    assert all(map(math.isnan, (*numbers, summary.worst)))
    assert summary.not_used == 1


def test_infinite_values_stay_infinite():
    cases = [case("a", {1: (1.0, "ok")}), case("b", {1: (INF, "missed")})]
    summary, _ = summarise(cases, study())
    assert summary.mean == summary.maximum == summary.median == INF
    assert math.isnan(summary.sd)
    assert summary.n == 2


def test_one_value_has_no_deviation():
    summary, _ = summarise([case("a", {1: (1.0, "ok")})], study())
    assert math.isnan(summary.sd)
    assert summary.mean == 1.0


def many(names: dict[int, str]) -> list[CaseResult]:
    cases = [case(f"patient_{i:03}", {k: (170.1 + i + k, "ok") for k in names}) for i in range(3)]
    cases.append(case("patient_999", dict.fromkeys(names, (NAN, "both_empty"))))
    return [*cases, failed("broken")]


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("name", ["", "liver", "left atrial appendage and more", "肝臓の左葉"])
def test_tables_stay_within_the_terminal(width, name, capsys):
    names = {1: name, 104: name and f"{name} b"}
    console = Console(width=width, force_terminal=False)
    cases, chosen = many(names), study(names)
    print_cases(console, make_table(cases, chosen))
    print_summary(console, make_table(cases, chosen))
    lines = capsys.readouterr().out.splitlines()
    from rich.cells import cell_len

    assert max(map(cell_len, lines)) <= width
    text = "\n".join(lines)
    assert "hausdorff95 (mm, lower is better)" in text
    assert "172.100" in text  # mean of label 1
    assert "both_empty" in text
    assert "0.000" not in text


def test_the_summary_says_what_was_left_out(capsys):
    cases, chosen = many({1: "liver"}), study({1: "liver"})
    print_summary(Console(width=120), make_table(cases, chosen))
    row = next(line for line in capsys.readouterr().out.splitlines() if "1 liver" in line)
    cells = "1 liver 172.100 1.000 172.100 171.100 173.100 3 0 0 1 1 patient_002"
    assert " ".join(row.split()) == cells


def test_failed_cases_are_listed_with_their_sentence(capsys):
    print_failed(Console(width=80), make_table(many({1: ""}), study()))
    out = capsys.readouterr().out
    assert "1 of 5 cases failed:" in out
    assert "broken: a.nii.gz is empty" in out


def test_markup_in_names_is_text(capsys):
    cases, chosen = [case("[bold]x", {1: (1.0, "ok")})], study({1: "[red]liver[/red]"})
    print_cases(Console(width=100), make_table(cases, chosen))
    out = capsys.readouterr().out
    assert "[bold]x" in out
    assert "[red]liver[/red]" in out


def test_marks_of_direction_turn_no_number_around(tmp_path):
    name = "liver\u202e"
    assert markdown_text(name) == r"liver\\u202e"
    assert latex_text(name) == r"liver\textbackslash{}u202e"
    page = write_page(tmp_path / "page.html", f"<p>{name}: Dice 0.77</p>\n")
    assert page.read_text() == "<p>liver\\u202e: Dice 0.77</p>\n"
