"""The page of a study: figures, and in sentences what a reader has to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss._version import __version__
from medloss.evaluation.compare.page import NARROW, WIDE, forest
from medloss.evaluation.outputs.pages import definitions, render, write_page
from medloss.evaluation.outputs.report import pictures
from medloss.evaluation.outputs.results import FolderError, read_folder
from medloss.evaluation.records import ResultTable
from medloss.workbench.study import charts
from medloss.workbench.study.folder import CURVE, EVALUATION, PREDICTIONS, REPORT, StudyFolder
from medloss.workbench.study.results import Results, RunLine
from medloss.workbench.study.tables import Tables
from medloss.workbench.study.tuning import TuningLine, read_tuning

_MOST_PICTURES = 8


def write_report(folder: StudyFolder, tables: Tables, settings: Mapping[str, Any]) -> Path:
    """Write ``report.html`` from the tables, and from what the runs left.

    Args:
        folder: of the study.
        tables: of its results.
        settings: of the study.
    """
    results, ground = tables.results, tables.ground
    tuning = read_tuning(folder.path)
    cases = len(ground.cases)
    several = cases > 1 and len(results.losses) > 1
    plots = tables.rank_plots if several else ()
    groups = []
    for measure in results.measures:
        found = [row.against[measure.name] for row in tables.rows if measure.name in row.against]
        if found:
            groups.append((measure, found))
    context = {
        "tables": tables,
        "results": results,
        "settings": settings,
        "bundle": Path(settings["conditions"]["bundle"]).name,
        "cases": ground.cases,
        "several": several,
        "ranks": [
            (charts.rank_figure(p, charts.WIDE), charts.rank_figure(p, charts.NARROW))
            for p in plots
        ],
        "groups": groups,
        "figures": [
            (forest(m, found, WIDE, points=cases <= 60), forest(m, found, NARROW, points=False))
            for m, found in groups
        ]
        if several
        else [],
        "curves": [
            figure
            for row in tables.rows
            if (
                figure := charts.curve_figure(
                    row.loss, [folder.run(line.run) / CURVE for line in results.of(row.loss)]
                )
            )
        ],
        "pictures": _pictures(folder, tables),
        "tuning": tuning,
        "limits": limits(tables, settings, tuning),
        "policies": policies(tables),
        "definitions": _definitions(folder, results),
        "level": f"{100 * tables.bootstrap.level:g}%",
        "version": __version__,
        "mega": 1 / 2**20,
    }
    return write_page(folder.path / REPORT, render("study.html", context))


def _pictures(folder: StudyFolder, tables: Tables) -> list[tuple[str, Any]]:
    """The worst case of each of the best losses, and of the last."""
    chosen = [row.loss for row in tables.rows]
    if len(chosen) > _MOST_PICTURES:
        chosen = [*chosen[: _MOST_PICTURES - 1], chosen[-1]]
    if tables.baseline not in chosen:
        chosen[-2] = tables.baseline
    found = []
    for loss in chosen:
        worst: tuple[float, Any, Any] | None = None
        for line in tables.results.of(loss):
            own = (
                _evaluation(folder, line) if (folder.run(line.run) / PREDICTIONS).is_dir() else None
            )
            choices, _ = pictures.choose(own) if own else ((), ())
            for choice in choices[:1]:
                if worst is None or choice.value.value < worst[0]:
                    worst = choice.value.value, choice, own
        if worst is not None:
            found.append((loss, pictures.draw(worst[1], worst[2])))
    return found


def _evaluation(folder: StudyFolder, line: RunLine) -> ResultTable | None:
    """The evaluation of a run; None where it is gone or was never there."""
    try:
        return read_folder(folder.run(line.run) / EVALUATION)
    except FolderError:
        return None


def _definitions(folder: StudyFolder, results: Results) -> list[tuple[str, str]]:
    """What the metrics mean, as the evaluation of any run says it."""
    found = next(filter(None, (_evaluation(folder, line) for line in results.runs)), None)
    return definitions(found, intervals=False) if found else []


def limits(
    tables: Tables, settings: Mapping[str, Any], tuning: Sequence[TuningLine] = ()
) -> list[str]:
    """What the study cannot tell."""
    results = tables.results
    steps = sorted({int(n) for run in results.runs if (n := run.number("steps")) == n})
    found = []
    if steps:
        found.append(
            f"Every run trained {_range(steps)} steps. A loss that is slow at first may overtake "
            f"others later; a short study tells how fast losses learn, not where they end."
        )
    found.append(
        "Learning rate, schedule, batch size and network are the bundle's, the same for all "
        "losses. None was tuned for any of them: a loss on another scale might want another "
        "learning rate."
    )
    if tuning:
        names = ", ".join(dict.fromkeys(line.loss for line in tuning))
        found.append(
            f"Options were chosen for {names}, by one training of each candidate on three quarters "
            f"of the training cases; the other losses have the options of their name."
        )
    found.append("Final weights are scored, without choosing a checkpoint by the held-out cases.")
    if len(results.seeds) < 3:
        found.append(
            f"{len(results.seeds)} {'seeds say' if len(results.seeds) > 1 else 'seed says'} little "
            f"about how much chance decides."
        )
    if len(tables.ground.cases) < 20:
        count = len(tables.ground.cases)
        found.append(
            f"Only {count} {'cases were' if count > 1 else 'case was'} held out: "
            f"{'intervals are wide' if count > 1 else 'no interval and no test is possible'}."
        )
    if not settings["conditions"].get("folds"):
        found.append("The bundle's own split: one set of held-out cases.")
    return found


def policies(tables: Tables) -> list[tuple[str, str]]:
    """How the numbers are made."""
    return [
        (
            "A case",
            f"counts once: its value is the mean over {_count(len(tables.results.seeds), 'seed')} "
            f"and {_count(len(tables.results.labels), 'label')}, of those that have a number.",
        ),
        *(_comparisons(tables) if len(tables.ground.cases) > 1 else ()),
        (
            "Diverged runs",
            "ended when their loss was no finite number. They count as empty predictions: Dice and "
            "sensitivity 0, specificity 1, distances by the policy for missed labels.",
        ),
        (
            "Runs without foreground",
            "predicted background only, in all held-out cases. They count as they are.",
        ),
        (
            "Failed runs",
            "ended by an error. They have no values: means are over the other seeds, and in ranks "
            "a case without any value is last.",
        ),
        (
            "Time of a step",
            "median over steps, forward, backward and update, without loading data; other work on "
            "the machine makes it longer.",
        ),
        (
            "Memory of a step",
            "peak of forward and backward on one batch beyond what is there before.",
        ),
    ]


def _comparisons(tables: Tables) -> list[tuple[str, str]]:
    tests = sum(d.p == d.p for row in tables.rows for d in row.against.values())
    return [
        (
            "Interval",
            f"bootstrap over cases ({tables.bootstrap.resamples} resamples, bias-corrected and "
            f"accelerated); it does not hold the chance of training, which the standard deviation "
            f"from seed to seed shows.",
        ),
        (
            "Test",
            f"Wilcoxon's signed-rank test of each loss against {tables.baseline}, case by case; "
            f"Holm's rule adjusts for all {tests} of them. Cases of one fold share their networks, "
            f"so p values are smaller than they should be.",
        ),
        (
            "Ranks",
            "In each case the losses are ranked and the ranks averaged; 1 is best. Friedman's test "
            "asks whether all losses are alike; two differ by Nemenyi's test where their bars do "
            "not overlap.",
        ),
    ]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _range(found: list[int]) -> str:
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
