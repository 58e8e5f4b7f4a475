"""What a comparison says: on the terminal, as JSON and CSV, and in words that all of them share."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import math
import operator
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medloss import __version__
from medloss.evaluation.compare.paired import Difference
from medloss.evaluation.compare.ranking import Ranking
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.outputs.formats import number
from medloss.evaluation.outputs.pages import p_value, share
from medloss.evaluation.outputs.statistics import SHARE, Bootstrap
from medloss.runtime.files import safe_cell, whole_file, write_json_file

WIDTH = 80
"""The tables on the terminal need so many columns."""

_WIDE = 100

RULES = (
    f"pairs of equal numbers are left out, equal differences share the mean of their ranks, and "
    f"numbers are equal if they differ by at most {SHARE:g} of the largest"
)
"""Of the signed-rank test."""

LEVEL = 0.05
"""Of the sentence that counts small p values; every p value is given as it is."""

FORMAT = 1
_COLUMNS = {
    "label": "label.key",
    "name": "label.name",
    "metric": "measure.name",
    "unit": "measure.unit",
    "better": "measure.better",
    **{name: name for name in ("first", "second", "n")},
    "unpaired_first": "only_first",
    "unpaired_second": "only_second",
    "neither": "neither",
    "mean_first": "mean_first",
    "mean_second": "mean_second",
    "difference": "mean",
    "ci_low": "ci_low",
    "ci_high": "ci_high",
    "median_difference": "median",
    "second_better": "wins",
    "equal": "ties",
    "first_better": "losses",
    **{name: name for name in ("p", "p_holm", "favours")},
}
"""What the files call the facts of a difference."""


def print_comparison(
    console: Console,
    compared: ComparedTable,
    found: Sequence[Difference],
    ranked: Sequence[Ranking],
    bootstrap: Bootstrap,
) -> None:
    """Print the ranking, every difference, and what the numbers mean."""
    for note in compared.notes:
        console.print(Text(f"Note: {note}.", style="yellow"))
    console.print(Text(heading(compared), style="bold"))
    console.print()
    console.print(_ranking_table(compared, ranked[0]))
    console.print()
    for measure, group in itertools.groupby(found, key=lambda each: each.measure):
        title = f"{measure.title}, {measure.better} is better"
        console.print(Text(title, style="bold cyan"), soft_wrap=True)
        console.print(_differences_table(list(group), wide=console.width >= _WIDE))
        console.print()
    for sentence in notes(compared, found, bootstrap):
        console.print(Text(sentence))


def _ranking_table(compared: ComparedTable, ranking: Ranking) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("place", justify="right")
    table.add_column("run", overflow="fold")
    table.add_column("mean rank", justify="right")
    table.add_column("first in", justify="right")
    order = sorted(range(len(compared.runs)), key=lambda run: ranking.places[run])
    for run in order:
        table.add_row(
            str(ranking.places[run]),
            Text(compared.runs[run].name),
            number(ranking.mean_ranks[run], "mm"),
            share(ranking.shares[run][0]),
        )
    return table


def _differences_table(found: Sequence[Difference], *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("label", overflow="fold", min_width=5)
    table.add_column("second - first", overflow="fold", min_width=8)
    for head in ("n", "difference [interval]", "+/=/-", *(["p"] if wide else []), "p (Holm)"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("better", overflow="fold", min_width=6)
    for each in found:
        mean, low, high = (
            number(x, each.measure.unit) for x in (each.mean, each.ci_low, each.ci_high)
        )
        table.add_row(
            Text(each.label.title),
            Text(f"{each.second} - {each.first}"),
            str(each.n),
            Text(f"{mean} [{low}, {high}]"),
            f"{each.wins}/{each.ties}/{each.losses}",
            *([p_value(each.p)] if wide else []),
            p_value(each.p_holm),
            Text(each.favours or "-"),
        )
    return table


# Files


def write_csv(path: Path, found: Sequence[Difference], *, safe: bool = False) -> None:
    """Write a line for each metric, label and pair of runs.

    Args:
        path: of the file.
        found: differences.
        safe: texts are escaped that a spreadsheet would run.
    """

    def cell(value: Any) -> Any:
        if isinstance(value, float):
            return repr(value)
        return safe_cell(value) if safe and isinstance(value, str) else value

    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        for each in found:
            writer.writerow(map(cell, _difference(each).values()))


def write_json(
    path: Path,
    compared: ComparedTable,
    found: Sequence[Difference],
    ranked: Sequence[Ranking],
    bootstrap: Bootstrap,
) -> None:
    """Write everything. NaN and infinity become null."""
    names = [run.name for run in compared.runs]
    content = {
        "medloss": __version__,
        "format": FORMAT,
        "runs": [
            {"name": run.name, "folder": str(run.table.path), "medloss": run.table.version}
            for run in compared.runs
        ],
        "cases": list(compared.cases),
        "notes": list(compared.notes),
        "preset": compared.runs[0].table.preset,
        "policies": dict(compared.runs[0].table.settings["policies"]),
        "bootstrap": dataclasses.asdict(bootstrap),
        "test": {
            "name": "Wilcoxon signed-rank, two-sided",
            "zeros": "left out before ranking",
            "ties": "share the mean of their ranks",
            "equal_within_share_of_largest": SHARE,
        },
        "rankings": [_ranking(each, names) for each in ranked],
        "differences": [
            {
                **_difference(each),
                "by_case": dict(zip(compared.cases, each.differences, strict=True)),
            }
            for each in found
        ],
    }
    write_json_file(path, content)


def _difference(each: Difference) -> dict[str, Any]:
    return {name: operator.attrgetter(where)(each) for name, where in _COLUMNS.items()}


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


# Words


def heading(compared: ComparedTable) -> str:
    """How many runs on how many cases."""
    cases = len(compared.cases)
    return f"{len(compared.runs)} runs on {cases} {'case' if cases == 1 else 'cases'}"


def notes(compared: ComparedTable, found: Sequence[Difference], bootstrap: Bootstrap) -> list[str]:
    """What was done, for whoever reads the numbers."""
    tests = [each for each in found if not math.isnan(each.p)]
    small = sum(each.p_holm < LEVEL for each in tests)
    said = [
        f"Differences are second minus first, over the cases where both runs have a number; "
        f"intervals are {100 * bootstrap.level:g}% bootstrap intervals of the mean difference "
        f"(bias-corrected and accelerated, {bootstrap.resamples} resamples of the cases, "
        f"seed {bootstrap.seed}). +/=/- counts the pairs where the second run is better, equal and "
        f"worse.",
        f"P values are of Wilcoxon's signed-rank test, two-sided: {RULES}; "
        f"Holm's rule adjusts them for all {len(tests)} tests here, of which "
        f"{small} {'is' if small == 1 else 'are'} below {LEVEL}.",
        "Ranks are made for each case and then averaged (rank, then aggregate), over all metrics "
        "and labels with the same weight. A run without a number ranks last in a case that failed "
        "or whose label is missed or spurious, and first where it rightly found nothing. "
        "The share is that of bootstrap resamples of the cases in which the run comes first.",
    ]
    policy = str(compared.runs[0].table.settings["policies"]["meaning"])
    said.append(f"Preset: {compared.runs[0].table.preset}. {policy[:1].upper()}{policy[1:]}.")
    unpaired = [each for each in found if each.only_first or each.only_second]
    if unpaired:
        said.append(
            f"In {len(unpaired)} of {len(found)} comparisons some cases have a number in one run "
            f"only and are in no pair: see unpaired in the table of --csv."
        )
    return said
