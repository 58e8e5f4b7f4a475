"""What a comparison says: on the terminal, as JSON and CSV, and in words that all of them share."""

from __future__ import annotations

import dataclasses
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medloss import __version__
from medloss.evaluation.compare.challenge import Challenge
from medloss.evaluation.compare.challenge_outputs import challenge_json
from medloss.evaluation.compare.missing import worst_value
from medloss.evaluation.compare.paired import Decisions, Difference
from medloss.evaluation.compare.ranking import Ranking
from medloss.evaluation.compare.runs import ComparedTable
from medloss.evaluation.compare.verdicts import LEVEL, is_better, verdict
from medloss.evaluation.grouping import Grouping
from medloss.evaluation.outputs.formats import number, p_value
from medloss.evaluation.outputs.pages import share
from medloss.evaluation.outputs.statistics import SHARE
from medloss.evaluation.outputs.statistics.means import interval_rules
from medloss.evaluation.outputs.subgroups import RULE, subgroup_entries
from medloss.evaluation.outputs.terminal import print_subgroups
from medloss.runtime.files import write_json_file, write_rows

WIDTH = 80
"""The tables on the terminal need so many columns."""

_WIDE = 150

RULES = (
    f"zeros are ranked and their ranks left out (Pratt), equal differences share the mean of their "
    f"ranks, every pattern of signs is counted for up to 50 pairs, and numbers are equal if they "
    f"differ by at most {SHARE:g} of the largest"
)
"""Of the signed-rank test."""

TESTS = {"wilcoxon": "Wilcoxon's signed-rank test", "sign_flip": "the sign-flip test by cluster"}

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
    "ci_method": "interval.method",
    "median_difference": "median",
    "hodges_lehmann": "hodges_lehmann",
    "sd": "sd",
    "effect": "effect",
    "second_better": "wins",
    "equal": "ties",
    "first_better": "losses",
    **{name: name for name in ("clusters", "worst_first", "worst_second", "test", "primary")},
    **{name: name for name in ("p", "p_holm", "favours")},
}
"""What the files call the facts of a difference."""

_MARGIN = {
    name: name
    for name in (
        *("margin", "non_inferior", "p_non_inferior", "low90", "high90"),
        *("equivalent", "equivalent95", "p_equivalent"),
    )
}
_COMPLETE = {
    "complete_n": "n",
    "complete_difference": "mean",
    "complete_ci_low": "interval.low",
    "complete_ci_high": "interval.high",
    "complete_median": "median",
    "complete_p": "p",
}
"""Beside, where there is a margin, and where missing values count as the worst."""


def print_comparison(
    console: Console,
    compared: ComparedTable,
    found: Sequence[Difference],
    ranked: Sequence[Ranking],
    decisions: Decisions,
) -> None:
    """Print what the differences say, every difference, the ranking, and what the numbers mean."""
    for note in compared.notes:
        console.print(Text(f"Note: {note}.", style="yellow"))
    console.print(Text(heading(compared, decisions), style="bold"))
    console.print()
    for measure, group in itertools.groupby(found, key=lambda each: each.measure):
        title = f"{measure.title}, {measure.better} is better"
        console.print(Text(title, style="bold cyan"), soft_wrap=True)
        own = list(group)
        parts = (_EVERY,) if console.width >= _WIDE else (_EVERY[:7], (*_EVERY[:3], *_EVERY[7:]))
        for columns in parts:
            console.print(_differences_table(own, columns))
        for each in own:
            style = "bold" if is_better(each) else ""
            console.print(Text(f"  {each.label.title}: {verdict(each)}.", style=style))
        console.print()
    print_subgroups(
        console,
        [(f"{each.second} - {each.first}: ", own) for each in found for own in each.subgroups],
    )
    console.print(_ranking_table(compared, ranked[0]))
    console.print()
    for sentence in notes(compared, found, decisions):
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


_Cell = Callable[[Difference], str]
_TEXT = ("label", "runs")


def _in_unit(*names: str) -> _Cell:
    """Numbers as they are read, the first before the others, which stand in brackets."""

    def cell(each: Difference) -> str:
        first, *rest = (number(getattr(each, name), each.measure.unit) for name in names)
        return f"{first} [{', '.join(rest)}]" if rest else first

    return cell


_EVERY: tuple[tuple[str, _Cell], ...] = (
    ("label", lambda each: each.label.title),
    ("runs", lambda each: f"{each.second} - {each.first}"),
    ("n", lambda each: f"{each.n} ({each.clusters})" if each.clusters else str(each.n)),
    ("difference [95% CI]", _in_unit("mean", "ci_low", "ci_high")),
    ("+/=/-", lambda each: f"{each.wins}/{each.ties}/{each.losses}"),
    ("p", lambda each: p_value(each.p)),
    ("p (Holm)", lambda each: p_value(each.p_holm)),
    ("means", lambda each: f"{_in_unit('mean_second')(each)} - {_in_unit('mean_first')(each)}"),
    ("median", _in_unit("median")),
    ("HL", _in_unit("hodges_lehmann")),
    ("d", lambda each: f"{each.effect:.2f}" if math.isfinite(each.effect) else "-"),
    ("worst", lambda each: f"{each.worst_second} - {each.worst_first}"),
)
"""Columns of the table of differences."""


def _differences_table(found: Sequence[Difference], columns: Sequence[tuple[str, _Cell]]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for head, _ in columns:
        text = head in _TEXT
        table.add_column(
            head,
            overflow="fold",
            justify="left" if text else "right",
            no_wrap=not text,
            min_width=5 if text else None,
        )
    for each in found:
        table.add_row(*(Text(cell(each)) for _, cell in columns))
    return table


# Files


def write_csv(path: Path, found: Sequence[Difference], *, safe: bool = False) -> None:
    """Write a line for each metric, label and pair of runs.

    Args:
        path: of the file.
        found: differences.
        safe: texts are escaped that a spreadsheet would run.
    """
    lines: list[Sequence[Any]] = [(*_COLUMNS, *_MARGIN, *_COMPLETE, "verdict")]
    for each in found:
        rest = [
            "" if holder is None else operator.attrgetter(where)(holder)
            for columns, holder in ((_MARGIN, each.margin), (_COMPLETE, each.complete))
            for where in columns.values()
        ]
        lines.append((*_difference(each).values(), *rest, verdict(each)))
    write_rows(path, lines, safe=safe)


def write_json(
    path: Path,
    compared: ComparedTable,
    found: Sequence[Difference],
    ranked: Sequence[Ranking],
    decisions: Decisions,
    challenged: Challenge | None = None,
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
        "bootstrap": dataclasses.asdict(decisions.bootstrap),
        "test": {
            "name": "Wilcoxon signed-rank, two-sided; with clusters sign flips of whole clusters",
            "zeros": "ranked, and their ranks left out (Pratt)",
            "ties": "share the mean of their ranks",
            "equal_within_share_of_largest": SHARE,
        },
        "decisions": record(compared, found, decisions),
        "rankings": [_ranking(each, names) for each in ranked],
        **({"challenge": challenge_json(compared, challenged)} if challenged else {}),
        "differences": [
            {
                **_difference(each),
                "verdict": verdict(each),
                "caution": each.interval.caution,
                "margin": each.margin and dataclasses.asdict(each.margin),
                **({"subgroups": subgroup_entries(each.subgroups)} if each.subgroups else {}),
                "complete_cases": each.complete and dataclasses.asdict(each.complete),
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


def record(
    compared: ComparedTable, found: Sequence[Difference], decisions: Decisions
) -> dict[str, Any]:
    """Everything that was decided, for whoever makes the comparison again."""
    clusters = decisions.clusters
    return {
        "missing": decisions.missing,
        "worst_values": {m.name: worst_value(m, compared.missed).words for m in compared.measures},
        "cluster": decisions.cluster or None,
        "clusters": clusters and len({clusters[name] for name in compared.cases}),
        "cases": len(compared.cases),
        "margins": {str(target): margin for target, margin in decisions.margins},
        "subgroups": {x.name: x.levels for x in decisions.subgroups},
        "primary": [str(target) for target in decisions.primary],
        "family": "primary tests" if decisions.primary else "all tests",
        "tests_in_family": len(family(found)),
        "level": LEVEL,
        "intervals": _rules(decisions),
        "seed": decisions.bootstrap.seed,
    }


def family(found: Sequence[Difference]) -> list[Difference]:
    """The tests that are adjusted for one another."""
    return [each for each in found if each.primary and not math.isnan(each.p)]


def _rules(decisions: Decisions) -> str:
    noun = "" if decisions.clusters is None else Grouping(decisions.cluster).noun
    return interval_rules(decisions.bootstrap, noun=noun)


def heading(compared: ComparedTable, decisions: Decisions | None = None) -> str:
    """How many runs on how many cases, of how many patients."""
    cases = len(compared.cases)
    said = f"{len(compared.runs)} runs on {cases} {'case' if cases == 1 else 'cases'}"
    if decisions is None or decisions.clusters is None:
        return said
    many = len({decisions.clusters[name] for name in compared.cases})
    return f"{said} of {many} {Grouping(decisions.cluster).noun} (by {decisions.cluster})"


def notes(compared: ComparedTable, found: Sequence[Difference], decisions: Decisions) -> list[str]:
    """What was done, for whoever reads the numbers."""
    tests = family(found)
    small = sum(each.p_holm < LEVEL for each in tests)
    of = (
        f"the primary tests ({', '.join(map(str, decisions.primary))}); the others are descriptive"
        if decisions.primary
        else "all tests here (--primary names those that support a claim)"
    )
    said = [
        f"Differences are second minus first run. 95% intervals of their mean: "
        f"{_rules(decisions)}. Where tests and intervals are many, the intervals are not "
        f"adjusted. +/=/- counts the pairs where the second run is better, equal and worse; HL is "
        f"the Hodges-Lehmann estimate (median of the means of all pairs of differences), d the "
        f"mean over the standard deviation of the differences, worst how many values of each run "
        f"were put in as the worst.",
        f"P values are two-sided, of {TESTS['wilcoxon']} ({RULES}); with clusters of "
        f"{TESTS['sign_flip']}. Holm's rule adjusts for {of}: {len(tests)} "
        f"{'test' if len(tests) == 1 else 'tests'}, of which {small} "
        f"{'is' if small == 1 else 'are'} below {LEVEL}. A run is called better only where the "
        f"interval does not hold 0 and the adjusted p is below {LEVEL}.",
    ]
    if decisions.subgroups:
        names = ", ".join(x.name for x in decisions.subgroups)
        said.append(f"Subgroups by {names}: {RULE}. These are differences of differences.")
    if decisions.margins:
        said.append(
            "Margins: a run is not worse than another (non-inferior) where the 95% interval of its "
            "gain lies above minus the margin, and two are equivalent where the 90% interval lies "
            "within the margin on both sides (two one-sided tests). A p value above 0.05 for a "
            "difference is no equivalence."
        )
    if decisions.missing == "worst":
        words = (f"{m.name} {worst_value(m, compared.missed).words}" for m in compared.measures)
        worst = ", ".join(words)
        said.append(
            f"A case that failed in one run, or a label that it missed and a policy left out, "
            f"counts as the worst value: {worst}; complete cases stand beside it."
        )
    said.append(
        "Ranks are made for each case and then averaged (rank, then aggregate), over all metrics "
        "and labels with the same weight. A run without a number ranks last in a case that failed "
        "or whose label is missed or spurious, and first where it rightly found nothing. "
        "The share is that of bootstrap resamples of the cases in which the run comes first."
    )
    policy = str(compared.runs[0].table.settings["policies"]["meaning"])
    said.append(f"Preset: {compared.runs[0].table.preset}. {policy[:1].upper()}{policy[1:]}.")
    unpaired = [
        each
        for each in found
        if each.only_first > each.worst_second or each.only_second > each.worst_first
    ]
    if unpaired:
        said.append(
            f"In {len(unpaired)} of {len(found)} comparisons some cases have a number in one run "
            f"only and are in no pair: see unpaired in the table of --csv."
        )
    return said
