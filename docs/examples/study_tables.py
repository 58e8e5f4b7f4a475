"""Write the tables of docs/study-results.md again, from the results that are stored beside it.

python docs/examples/study_tables.py
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

from medloss.workbench.study.output import markdown
from medloss.workbench.study.results import read_results
from medloss.workbench.study.tables import Tables, make_tables

DOCS = Path(__file__).resolve().parents[1]
PAGE, RESULTS = DOCS / "study-results.md", DOCS / "study"
BLOCK = re.compile(r"(<!-- (table|beside) (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
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


def filled(page: str) -> str:
    """The page with every table as the files give it."""

    def fill(found: re.Match[str]) -> str:
        kind, name = found[2], found[3]
        made = markdown(tables_of(name)) if kind == "table" else beside(name)
        return f"{found[1]}{made}{found[5]}"

    return BLOCK.sub(fill, page)


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
