"""What a reader of a study has to know, in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medloss.workbench.study.tables import Tables


def limits(tables: Tables, settings: Mapping[str, Any]) -> list[str]:
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
