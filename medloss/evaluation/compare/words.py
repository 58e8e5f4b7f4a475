"""What the numbers of a comparison mean, in sentences that the terminal and the page share."""

from __future__ import annotations

import math
from collections.abc import Sequence

from medloss.evaluation.compare.paired import Difference
from medloss.evaluation.compare.runs import Ground
from medloss.evaluation.outputs.statistics import Bootstrap
from medloss.evaluation.outputs.ties import SHARE

RULES = (
    f"pairs of equal numbers are left out, equal differences share the mean of their ranks, and "
    f"numbers are equal if they differ by at most {SHARE:g} of the largest"
)
"""Of the signed-rank test."""

LEVEL = 0.05
"""Of the sentence that counts small p values; every p value is given as it is."""


def heading(ground: Ground) -> str:
    """How many runs on how many cases."""
    cases = len(ground.cases)
    return f"{len(ground.runs)} runs on {cases} {'case' if cases == 1 else 'cases'}"


def notes(ground: Ground, found: Sequence[Difference], bootstrap: Bootstrap) -> list[str]:
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
    policy = str(ground.runs[0].folder.settings["policies"]["meaning"])
    said.append(f"Preset: {ground.runs[0].folder.preset}. {policy[:1].upper()}{policy[1:]}.")
    unpaired = [each for each in found if each.only_first or each.only_second]
    if unpaired:
        said.append(
            f"In {len(unpaired)} of {len(found)} comparisons some cases have a number in one run "
            f"only and are in no pair: see unpaired in the table of --csv."
        )
    return said
