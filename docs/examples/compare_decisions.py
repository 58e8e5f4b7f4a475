"""Likeliest class, expected Dice and thresholds on the same probabilities, case by case.

    python docs/examples/compare_decisions.py OUT NAME=PROBABILITIES,LABELS ...

writes OUT/cases.csv (and .gz), a row for each case, label, metric and decision, and OUT/gains.csv,
what each decision changes against the likeliest class: the mean of the paired differences and its
95 % interval. Thresholds are found for Dice on the other cases: each fifth of the cases is decided
by those of the other four fifths, so that a set of one case has none.

    python docs/examples/compare_decisions.py --table

prints the table of docs/decision.md from the stored docs/study/decision.
"""

from __future__ import annotations

import csv
import dataclasses
import gzip
import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from medloss.decision import Decoding
from medloss.evaluation.outputs.statistics.means import mean_interval
from medloss.evaluation.planning import Definition, make_plan
from medloss.evaluation.run import evaluate_all
from medloss.evaluation.settings import InputSettings
from medloss.evaluation.thresholds import FOLDS, find_thresholds
from medloss.runtime.files import write_rows

METRICS = ("dice", "hausdorff95", "volume_difference", "false_lesions")
CASES = ("data", "case", "label", "metric", "decision", "value")
HEADS = {
    "dice": "Dice",
    "hausdorff95": "HD95, mm",
    "volume_difference": "volume error, mm³",
    "false_lesions": "false lesions",
}
STORED = Path(__file__).parents[1] / "study" / "decision"
GAINS = ("data", "label", "metric", "decision", "cases", "argmax", "mean", "change", "low", "high")


def decided(name: str, predictions: Path, references: Path) -> Iterator[tuple[str, ...]]:
    """A row for each value."""
    inputs = InputSettings()
    found = inputs.cases(predictions, references)
    plan = make_plan(inputs, Definition(metrics=METRICS), found)
    search = make_plan(inputs, Definition(metrics=("dice",)), found)
    pairs = sorted(found.pairs, key=lambda pair: pair.name)
    parts = [pairs[first::FOLDS] for first in range(FOLDS)] if len(pairs) >= FOLDS else []
    ways = [("argmax", Decoding(kind="argmax"), pairs), ("dice", Decoding(kind="dice"), pairs)]
    for part in parts:
        others = [pair for pair in pairs if pair not in part]
        own = find_thresholds(others, search, folds=0).content["thresholds"]
        ways.append(("thresholds", Decoding(kind="thresholds", thresholds=tuple(own)), part))
        print(name, "thresholds of", len(others), "cases:", own)
    for decision, decoding, some in ways:
        by = dataclasses.replace(plan, inputs=dataclasses.replace(plan.inputs, decode=decoding))
        for case in evaluate_all(some, by):
            if case.error:
                raise SystemExit(case.error)
            for row in case.results:
                yield name, case.name, str(row.label), row.column, decision, repr(float(row.value))


def gains(rows: list[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """What each decision changes, for each set, label and metric."""
    values = {row[:5]: float(row[5]) for row in rows}
    keys = dict.fromkeys((data, label, metric, way) for data, _, label, metric, way in values)
    for data, label, metric, way in keys:
        if way == "argmax":
            continue
        names = dict.fromkeys(key[1] for key in values if key[0] == data)
        both = np.array(
            [[values[data, name, label, metric, own] for own in ("argmax", way)] for name in names]
        )
        both = both[np.isfinite(both).all(1)]
        change = both[:, 1] - both[:, 0]
        interval = mean_interval(change)
        numbers = (*both.mean(0), change.mean(), interval.low, interval.high)
        yield data, label, metric, way, str(len(both)), *(repr(float(x)) for x in numbers)


def table(lines: Iterable[Mapping[str, str]]) -> str:
    """The value of the likeliest class, and what each decision changes, in Markdown.

    Args:
        lines: of gains.csv.
    """
    found = ["| probabilities | label | decision | " + " | ".join(HEADS.values()) + " |"]
    found.append("|" + " --- |" * (3 + len(HEADS)))
    kept: dict[tuple[str, str, str], dict[str, Mapping[str, str]]] = {}
    for line in lines:
        key = line["data"], line["label"], line["decision"]
        kept.setdefault(key, {})[line["metric"]] = line
    for (data, label, way), own in kept.items():
        cells = []
        for metric in HEADS:
            digits = 4 if metric == "dice" else 2 if metric == "hausdorff95" else 1
            change, low, high = (float(own[metric][key]) for key in ("change", "low", "high"))
            ends = "" if math.isnan(low) else f" ({low:+.{digits}f} to {high:+.{digits}f})"
            cells.append(f"{float(own[metric]['argmax']):.{digits}f}: {change:+.{digits}f}{ends}")
        found.append(f"| {data} | {label} | {way} | {' | '.join(cells)} |")
    return "\n".join(found) + "\n"


def main() -> None:
    """Write both tables."""
    if sys.argv[1:] == ["--table"]:
        with STORED.joinpath("gains.csv").open() as file:
            print(table(csv.DictReader(file)))
        return
    out, *sets = sys.argv[1:]
    rows: list[tuple[str, ...]] = []
    for each in sets:
        name, _, paths = each.partition("=")
        predictions, _, references = paths.partition(",")
        rows += decided(name, Path(predictions), Path(references))
    Path(out).mkdir(parents=True, exist_ok=True)
    write_rows(Path(out, "cases.csv"), [CASES, *rows])
    text = Path(out, "cases.csv").read_bytes()
    Path(out, "cases.csv.gz").write_bytes(gzip.compress(text, mtime=0))
    write_rows(Path(out, "gains.csv"), [GAINS, *gains(rows)])
    with Path(out, "gains.csv").open() as file:
        print(table(csv.DictReader(file)))


if __name__ == "__main__":
    main()
