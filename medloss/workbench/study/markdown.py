"""The table of a study for a document."""

from __future__ import annotations

import math

from medloss.evaluation.compare.paired import Difference
from medloss.evaluation.outputs.pages import MINUS, p_value
from medloss.evaluation.records import Measure
from medloss.workbench.study.tables import Row, Score, Tables

_SHORT = {
    "dice": "Dice",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "hausdorff95": "HD95",
    "normalized_surface_dice": "NSD",
    "lesion_f1": "lesion F1",
}


def markdown(tables: Tables) -> str:
    """Scores of every loss, the best rank first, and tests of the first metric.

    A score is the mean over cases, ± its standard deviation from seed to seed. The last columns
    are the difference from the baseline in the first metric, with its interval, and Holm's p.
    """
    measures = tables.results.measures
    heads = [
        *("place", "loss", "mean rank"),
        *(_head(measure) for measure in measures),
        f"Δ {_head(measures[0])} (95% interval)",
        "p (Holm)",
        "broken runs",
    ]
    lines = [_line(heads), _line(["--:", "---", *["--:"] * (len(heads) - 2)])]
    for row in tables.rows:
        against = row.against.get(measures[0].name)
        lines.append(
            _line(
                [
                    str(row.place),
                    f"**{row.loss}**" if row.loss == tables.baseline else row.loss,
                    f"{row.mean_rank:.2f}",
                    *(_score(row.scores[measure.name], measure) for measure in measures),
                    "baseline" if against is None else _difference(against),
                    p_value(against.p_holm) if against and against.n > 1 else "",
                    _broken(row),
                ]
            )
        )
    return "\n".join(lines) + "\n"


def _head(measure: Measure) -> str:
    name, bracket, options = measure.name.partition("[")
    short = _SHORT.get(name, name.replace("_", " "))
    tolerance = options.rstrip("]").removeprefix("tolerance_mm=") if bracket else ""
    if tolerance and "tolerance_mm" in options:
        short += f" at {tolerance} mm"
    return f"{short} ({measure.unit})" if measure.unit else short


def _score(score: Score, measure: Measure) -> str:
    digits = 2 if measure.unit else 3
    text = "" if math.isnan(score.seed_sd) else f" ± {score.seed_sd:.{digits}f}"
    return f"{score.mean:.{digits}f}{text}"


def _difference(against: Difference) -> str:
    if math.isnan(against.ci_low):
        return _signed(against.mean)
    return f"{_signed(against.mean)} ({_signed(against.ci_low)} to {_signed(against.ci_high)})"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", MINUS)


def _broken(row: Row) -> str:
    found = [f"{count} {status.replace('_', ' ')}" for status, count in row.broken.items()]
    return ", ".join(found) or "0"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
