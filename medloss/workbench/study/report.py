"""The page of a study."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from medloss._version import __version__
from medloss.evaluation.compare.page import NARROW, WIDE, forest
from medloss.evaluation.outputs.files import finite
from medloss.evaluation.outputs.pages import definitions, render, write_page
from medloss.evaluation.outputs.report import pictures
from medloss.evaluation.outputs.results import FolderError, read_folder
from medloss.workbench.study import charts
from medloss.workbench.study.conditions import Run
from medloss.workbench.study.folder import REPORT, StudyFolder
from medloss.workbench.study.losses import StudyLoss
from medloss.workbench.study.ranks import rank_plots
from medloss.workbench.study.results import Results
from medloss.workbench.study.tables import Tables
from medloss.workbench.study.words import limits, policies

_MOST_PICTURES = 8


def write_report(folder: StudyFolder, tables: Tables, settings: Mapping[str, Any]) -> Path:
    """Write ``report.html`` from the tables, and from what the runs left.

    Args:
        folder: of the study.
        tables: of its results.
        settings: of the study.
    """
    results, ground = tables.results, tables.ground
    cases = len(ground.cases)
    several = cases > 1 and len(results.losses) > 1
    plots = rank_plots(ground) if several else []
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
        "curves": [figure for figure in _curves(folder, results, tables) if figure],
        "pictures": _pictures(folder, tables),
        "limits": limits(tables, settings),
        "policies": policies(tables),
        "definitions": _definitions(folder, results),
        "level": f"{100 * tables.bootstrap.level:g}%",
        "version": __version__,
        "mega": 1 / 2**20,
    }
    return write_page(folder.path / REPORT, render("study.html", context))


def _run_folder(folder: StudyFolder, loss: str, fold: int, seed: int) -> Path:
    return folder.run(Run(StudyLoss(loss, {}), fold, seed))


def _curves(
    folder: StudyFolder, results: Results, tables: Tables
) -> Iterator[charts.CurveFigure | None]:
    for row in tables.rows:
        files = [
            _run_folder(folder, run.loss, run.fold, run.seed) / "curve.csv"
            for run in results.of(row.loss)
        ]
        yield charts.curve_figure(row.loss, files)


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
        for run in tables.results.of(loss):
            path = _run_folder(folder, run.loss, run.fold, run.seed)
            if not (path / "predictions").is_dir():
                continue
            try:
                own = read_folder(path / "evaluation")
            except FolderError:
                continue
            choices, _ = pictures.choose(own)
            for choice in choices[:1]:
                if worst is None or choice.value.value < worst[0]:
                    worst = choice.value.value, choice, own
        if worst is not None:
            found.append((loss, pictures.draw(worst[1], worst[2])))
    return found


def _definitions(folder: StudyFolder, results: Results) -> list[tuple[str, str]]:
    """What the metrics mean, as the evaluation of any run says it."""
    for run in results.runs:
        path = _run_folder(folder, run.loss, run.fold, run.seed) / "evaluation"
        try:
            return definitions(read_folder(path), intervals=False)
        except FolderError:
            continue
    return []


def summary(tables: Tables, settings: Mapping[str, Any]) -> str:
    """Everything in numbers, as JSON; NaN is null."""
    content = {
        "medloss": __version__,
        "settings": dict(settings),
        "baseline": tables.baseline,
        "cases": len(tables.ground.cases),
        "losses": [
            {
                "loss": row.loss,
                "place": row.place,
                "mean_rank": row.mean_rank,
                "broken": row.broken,
                "step_seconds": row.step_seconds,
                "step_bytes": row.step_bytes,
                "scores": {name: vars(score) for name, score in row.scores.items()},
                "against_baseline": {
                    name: {
                        "difference": d.mean,
                        "ci_low": d.ci_low,
                        "ci_high": d.ci_high,
                        "n": d.n,
                        "p": d.p,
                        "p_holm": d.p_holm,
                    }
                    for name, d in row.against.items()
                },
            }
            for row in tables.rows
        ],
        "friedman": [
            {"metric": p.measure.name, "n": p.n, "p": p.p, "critical_difference": p.critical}
            for p in rank_plots(tables.ground)
        ],
    }
    return json.dumps(finite(content), indent=1, default=str) + "\n"
