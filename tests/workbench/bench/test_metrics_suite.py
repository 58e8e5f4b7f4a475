"""The suite of surface metrics: the same work, the same values, and what cannot take part."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.workbench.bench import lesion_rivals, metric_rivals, metrics
from medloss.workbench.bench.label_maps import SCENES, make_pair
from medloss.workbench.bench.metric_rivals import MetricRival, ours
from medloss.workbench.bench.metrics import MetricPlan, run
from medloss.workbench.bench.results import dumps, loads

TINY = MetricPlan(cases=("tiny",), rounds=2, copy_bytes=1 << 20)


def entries(report):
    (table,) = report.tables
    return {entry.name: entry for contest in table.contests for entry in contest.rivals}


def offer(monkeypatch, *rivals: MetricRival) -> None:
    monkeypatch.setattr(metrics, "rivals", lambda: rivals)


def peer(score, **more) -> MetricRival:
    return MetricRival("rival", "numpy", "numpy", "monai", "a rival", score, **more)


def test_what_is_measured_and_who_agrees():
    report = run(TINY)
    assert report.wrong == ()
    found = entries(report)
    assert found["MONAI"].check == found["surface-distance"].check == "equal"
    for name in ("MONAI", "surface-distance"):
        assert len(found[name].wall_s) == 2
    (table,) = report.tables
    assert table.settings["classes"] == 4
    assert loads(dumps(report)) == report


def test_scores_of_lesions_are_a_case_of_their_own(monkeypatch):
    small = replace(SCENES["lesions"], shape=(30, 30, 24), classes=3, radii_mm=(2, 4))
    monkeypatch.setitem(metrics.SCENES, "lesions", small)

    def wrong(task):
        values = lesion_rivals.ours(lesion_rivals.TABLE)(task)
        values[0, 1] += 1e-3
        return values

    def rivals(contest):
        return (peer(wrong if contest == lesion_rivals.TABLE else lesion_rivals.ours(contest)),)

    monkeypatch.setattr(lesion_rivals, "lesion_rivals", rivals)
    report = run(replace(TINY, cases=("lesions",), memory=False))
    (table,) = report.tables
    scores, lesions, cells, betti = table.contests
    others = [(entry.name, entry.check) for each in (cells, betti) for entry in each.rivals]
    assert others == [("MONAI", "equal"), ("scikit-image", "equal")]
    assert [entry.check for entry in scores.rivals] == ["equal"]
    assert [entry.status for entry in lesions.rivals] == ["disagrees"]
    assert "lesion 1" in report.wrong[0]


def test_a_wrong_value_is_an_error_that_names_the_class(monkeypatch):
    def wrong(task):
        values = ours("monai")(task)
        values[2, 1] += 1e-3
        return values

    offer(monkeypatch, peer(wrong))
    report = run(replace(TINY, memory=False))
    assert entries(report)["rival"].status == "disagrees"
    (sentence,) = report.wrong
    assert "class 3" in sentence


def test_values_that_a_peer_lacks_or_defines_otherwise_are_not_compared(monkeypatch):
    def no_nsd(task):
        values = ours("monai")(task)
        values[:, 2] = np.nan
        return values

    offer(
        monkeypatch,
        peer(no_nsd, has=(True, True, False)),
        replace(peer(lambda task: np.zeros((4, 3))), name="other", differs="all is 0"),
    )
    found = entries(run(replace(TINY, memory=False)))
    assert found["rival"].check == "equal"
    assert (found["other"].check, found["other"].reason) == ("other definition", "all is 0")


def test_who_fails_or_is_missing_is_listed(monkeypatch):
    def broken(task):
        raise ValueError("no such thing")

    offer(
        monkeypatch,
        peer(broken),
        replace(peer(broken), name="absent", needs="no_such_package", install="it"),
        replace(peer(broken), name="slow", most_classes=3),
    )
    found = entries(run(replace(TINY, memory=False)))
    assert (found["rival"].status, found["rival"].reason) == (
        "failed",
        "ValueError: no such thing",
    )
    assert found["absent"].reason == "no_such_package is not installed (pip install it)"
    assert found["slow"].reason.startswith("not run: 4 classes")


@pytest.mark.parametrize("name", ["b", "d"])
def test_scenes_are_the_same_every_time_and_have_errors(name):
    scene = replace(SCENES[name], shape=(64, 64, 32))
    reference, prediction = make_pair(scene)
    np.testing.assert_array_equal(reference, make_pair(scene)[0])
    both = (reference > 0) & (prediction > 0)
    agree = (reference == prediction)[both].mean()
    assert (agree > 0.8) if name == "b" else (agree < 0.8)
    assert (reference != prediction).any()


def test_the_command(tmp_path):
    target = tmp_path / "found.json"
    call = ["bench", "--metrics", "--quick", "--rivals", "none", "--no-memory", "--json"]
    done = CliRunner().invoke(main, [*call, str(target)])
    assert done.exit_code == 0, done.output
    assert "case tiny: 4 small organs" in done.stdout
    assert "all labels and three metrics" in " ".join(done.stdout.split())
    assert json.loads(target.read_text())["suite"] == "metrics"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--metrics", "dice"], "--metrics measures no loss, so"),
        (["--metrics", "--shape", "1,2,8,8,8"], "--metrics measures no loss, so --shape"),
        (["--case", "a"], "--case is an option of --metrics"),
    ],
)
def test_options_of_the_other_suite_are_refused(arguments, text):
    done = CliRunner().invoke(main, ["bench", *arguments])
    assert done.exit_code == 2
    assert text in done.output


def test_every_peer_names_what_it_needs():
    names = [each.name for each in metric_rivals.rivals()]
    assert len(set(names)) == len(names)
    assert all(each.install and each.needs and each.computes for each in metric_rivals.rivals())
