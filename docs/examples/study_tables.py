"""Write the tables of the pages on studies again, from the results in docs/study.

python docs/examples/study_tables.py
"""

from __future__ import annotations

import csv
import json
import re
import statistics
from pathlib import Path

import numpy as np

from medloss.evaluation.outputs.pages import MINUS
from medloss.evaluation.outputs.statistics import BOOTSTRAP, mean_interval
from medloss.workbench.study.output import markdown, tuning_markdown
from medloss.workbench.study.results import read_results
from medloss.workbench.study.tables import Tables, make_tables
from medloss.workbench.study.tuning import read_tuning

DOCS = Path(__file__).resolve().parents[1]
PAGES, RESULTS = sorted(DOCS.glob("study-*.md")), DOCS / "study"
KINDS = ("table", "beside", "tuning", "calibration")
BLOCK = re.compile(rf"(<!-- ({'|'.join(KINDS)}) (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
BESIDE = "hippocampus"
"""The study that published tables are set beside."""


def tables_of(name: str) -> Tables:
    """A stored study.

    Args:
        name: of its folder in docs/study.
    """
    folder = RESULTS / name
    settings = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    return make_tables(read_results(folder), settings["baseline"])


def beside(name: str) -> str:
    """A published table with two columns of ours: place and Dice of the same loss.

    Args:
        name: of a CSV file in docs/study.
    """
    ours = {row.loss: row for row in tables_of(BESIDE).rows}
    with (RESULTS / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [column for column in rows[0] if column not in ("published", "loss", "remark")]
    heads = ["published row", *(n.replace("_", " ") for n in numbers), "here", "place", "Dice"]
    lines = [[*heads, "known of the published row"], ["---", *["--:"] * len(numbers)]]
    lines[1] += ["---", "--:", "--:", "---"]
    for row in rows:
        own = ours.get(row["loss"])
        found = [row["loss"], str(own.place), f"{own.scores['dice'].mean:.3f}"] if own else [""] * 3
        lines.append([row["published"], *(row[n] for n in numbers), *found, row["remark"]])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def calibration(name: str) -> str:
    """Calibration errors of the held-out cases, ± their standard deviation from seed to seed.

    The last column is the difference from the first loss in the last error, with its interval.

    Args:
        name: of a folder in docs/study with ``calibration.csv`` of study_calibration.py.
    """
    with (RESULTS / name / "calibration.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    metrics = [column for column in rows[0] if column not in ("loss", "seed", "case")]
    heads = [metric.replace("_", " ") for metric in metrics]
    lines = [["loss", *heads, f"Δ {heads[-1]} (95% interval)"]]
    lines.append(["---", *["--:"] * (len(metrics) + 1)])
    losses = [*dict.fromkeys(row["loss"] for row in rows)]
    by_case = {
        loss: np.array([_means(rows, metrics[-1], loss=loss, case=case) for case in _cases(rows)])
        for loss in losses
    }
    for loss in losses:
        cells = [loss.replace("|", "\\|")]
        for metric in metrics:
            seeds = dict.fromkeys(row["seed"] for row in rows)
            by_seed = [_means(rows, metric, loss=loss, seed=seed) for seed in seeds]
            spread = statistics.stdev(by_seed)
            cells.append(f"{statistics.mean(by_seed):.4f} ± {spread:.4f}")
        interval = mean_interval(by_case[loss] - by_case[losses[0]], BOOTSTRAP)
        numbers = [f"{x:+.3f}".replace("-", MINUS) for x in (interval.low, interval.high)]
        mean = f"{(by_case[loss] - by_case[losses[0]]).mean():+.3f}".replace("-", MINUS)
        cells.append("baseline" if loss == losses[0] else f"{mean} ({' to '.join(numbers)})")
        lines.append(cells)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _cases(rows: list[dict[str, str]]) -> list[str]:
    return [*dict.fromkeys(row["case"] for row in rows)]


def _means(rows: list[dict[str, str]], metric: str, **only: str) -> float:
    """Mean over the rows that have these values."""
    return statistics.mean(
        float(row[metric]) for row in rows if all(row[k] == v for k, v in only.items())
    )


def filled(page: str) -> str:
    """The page with every table as the files give it."""

    def fill(found: re.Match[str]) -> str:
        kind, name = found[2], found[3]
        if kind == "table":
            made = markdown(tables_of(name))
        elif kind == "tuning":
            made = tuning_markdown(read_tuning(RESULTS / name))
        else:
            made = beside(name) if kind == "beside" else calibration(name)
        return f"{found[1]}{made}{found[5]}"

    return BLOCK.sub(fill, page)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
