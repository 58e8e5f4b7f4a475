"""A comparison as JSON and CSV."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medloss import __version__
from medloss.evaluation.compare.paired import Difference
from medloss.evaluation.compare.ranking import Ranking
from medloss.evaluation.compare.runs import Ground
from medloss.evaluation.outputs.statistics import Bootstrap
from medloss.evaluation.outputs.ties import SHARE
from medloss.evaluation.outputs.writers import whole_file

FORMAT = 1
CSV_COLUMNS = (
    *("label", "name", "metric", "unit", "better", "first", "second", "n", "unpaired_first"),
    *("unpaired_second", "neither", "mean_first", "mean_second", "difference", "ci_low"),
    *("ci_high", "median_difference", "second_better", "equal", "first_better", "p", "p_holm"),
    "favours",
)


def write_csv(path: Path, found: Sequence[Difference]) -> None:
    """Write a line for each metric, label and pair of runs."""
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV_COLUMNS)
        for each in found:
            row = _difference(each)
            cells = (row[name] for name in CSV_COLUMNS)
            writer.writerow(repr(x) if isinstance(x, float) else x for x in cells)


def write_json(
    path: Path,
    ground: Ground,
    found: Sequence[Difference],
    ranked: Sequence[Ranking],
    bootstrap: Bootstrap,
) -> None:
    """Write everything. NaN and infinity become null."""
    names = [run.name for run in ground.runs]
    content = {
        "medloss": __version__,
        "format": FORMAT,
        "runs": [
            {"name": run.name, "folder": str(run.folder.path), "medloss": run.folder.version}
            for run in ground.runs
        ],
        "cases": list(ground.cases),
        "notes": list(ground.notes),
        "preset": ground.runs[0].folder.preset,
        "policies": dict(ground.runs[0].folder.settings["policies"]),
        "bootstrap": dataclasses.asdict(bootstrap),
        "test": {
            "name": "Wilcoxon signed-rank, two-sided",
            "zeros": "left out before ranking",
            "ties": "share the mean of their ranks",
            "equal_within_share_of_largest": SHARE,
        },
        "rankings": [_ranking(each, names) for each in ranked],
        "differences": [
            {**_difference(each), "by_case": dict(zip(ground.cases, each.differences, strict=True))}
            for each in found
        ],
    }
    with whole_file(path) as file:
        json.dump(_finite(content), file, indent=1, allow_nan=False, default=str)
        file.write("\n")


def _difference(each: Difference) -> dict[str, Any]:
    return {
        "label": each.label.key,
        "name": each.label.name,
        "metric": each.measure.name,
        "unit": each.measure.unit,
        "better": each.measure.better,
        "first": each.first,
        "second": each.second,
        "n": each.n,
        "unpaired_first": each.only_first,
        "unpaired_second": each.only_second,
        "neither": each.neither,
        "mean_first": each.mean_first,
        "mean_second": each.mean_second,
        "difference": each.mean,
        "ci_low": each.ci_low,
        "ci_high": each.ci_high,
        "median_difference": each.median,
        "second_better": each.wins,
        "equal": each.ties,
        "first_better": each.losses,
        "p": each.p,
        "p_holm": each.p_holm,
        "favours": each.favours,
    }


def _ranking(each: Ranking, names: Sequence[str]) -> dict[str, Any]:
    means = each.means or (None,) * len(names)
    places = each.places_of_means or (None,) * len(names)
    return {
        "label": each.label and each.label.key,
        "metric": each.measure and each.measure.name,
        "n": each.n,
        "kendall_tau": each.tau,
        "runs": [
            {
                "name": name,
                "mean_rank": each.mean_ranks[run],
                "place": each.places[run],
                "mean": means[run],
                "place_by_mean": places[run],
                "share_of_places": each.shares[run],
            }
            for run, name in enumerate(names)
        ],
    }


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return None
    return content
