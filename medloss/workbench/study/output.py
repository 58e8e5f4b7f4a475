"""Everything that a study writes when its runs have ended."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss._version import __version__
from medloss.evaluation.compare.paired import Difference
from medloss.evaluation.outputs.formats import p_value
from medloss.evaluation.outputs.pages import MINUS
from medloss.evaluation.records import Measure
from medloss.runtime.files import finite, write_text
from medloss.workbench.study.folder import RUNS, SUMMARY, TABLES, StudyFolder
from medloss.workbench.study.report import write_report
from medloss.workbench.study.results import read_results, write_tables
from medloss.workbench.study.runs import StudyRun
from medloss.workbench.study.tables import LossRow, LossScore, Tables, make_tables
from medloss.workbench.study.tuning import TuningLine, read_tuning


def write_all(folder: StudyFolder, runs: Sequence[StudyRun], baseline: str) -> list[Path]:
    """Write the tables, ``summary.json``, ``tables.md`` and the report.

    Where the runs themselves are gone, the two CSV files are taken as they are.

    Args:
        folder: of the study.
        runs: all of them, in the order of the tables.
        baseline: loss that the others are compared with.

    Returns:
        The files.
    """
    written = list(write_tables(folder, runs)) if (folder.path / RUNS).is_dir() else []
    settings = folder.read()
    tables = make_tables(read_results(folder.path), baseline)
    tuning = read_tuning(folder.path)
    texts = markdown(tables) + (f"\n{tuning_markdown(tuning)}" if tuning else "")
    for name, text in ((SUMMARY, summary(tables, settings, tuning)), (TABLES, texts)):
        write_text(folder.path / name, text)
        written.append(folder.path / name)
    return [*written, write_report(folder, tables, settings)]


_OF_A_LOSS = ("loss", "place", "mean_rank", "broken", "step_seconds", "step_bytes")
_OF_A_TEST = ("ci_low", "ci_high", "n", "p", "p_holm")


def summary(tables: Tables, settings: Mapping[str, Any], tuning: Sequence[TuningLine] = ()) -> str:
    """Everything in numbers, as JSON; NaN is null."""
    content = {
        "medloss": __version__,
        "settings": dict(settings),
        "baseline": tables.baseline,
        "cases": len(tables.ground.cases),
        "losses": [
            {
                **{key: getattr(row, key) for key in _OF_A_LOSS},
                "scores": {name: vars(score) for name, score in row.scores.items()},
                "against_baseline": {
                    name: {"difference": d.mean, **{key: getattr(d, key) for key in _OF_A_TEST}}
                    for name, d in row.against.items()
                },
            }
            for row in tables.rows
        ],
        "tuning": [vars(line) for line in tuning],
        "friedman": [
            {"metric": p.measure.name, "n": p.n, "p": p.p, "critical_difference": p.critical}
            for p in tables.rank_plots
        ],
    }
    return json.dumps(finite(content), indent=1, default=str) + "\n"


_SHORT = {
    "dice": "Dice",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "hausdorff95": "HD95",
    "normalized_surface_dice": "NSD",
    "lesion_f1": "lesion F1",
    "lesion_dice": "lesion Dice",
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
                    _name(row.loss, tables.baseline),
                    f"{row.mean_rank:.2f}",
                    *(_score(row.scores[measure.name], measure) for measure in measures),
                    "baseline" if against is None else _difference(against),
                    p_value(against.p_holm) if against and against.n > 1 else "",
                    _broken(row),
                ]
            )
        )
    return "\n".join(lines) + "\n"


def tuning_markdown(lines: Sequence[TuningLine]) -> str:
    """What each candidate reached on the tuning cases; the chosen ones are bold."""
    found = [_line(["loss", "fold", "candidate", lines[0].metric, "tuning cases"])]
    found.append(_line(["---", "--:", "---", "--:", "--:"]))
    for line in lines:
        candidate = f"`{line.candidate}`"
        candidate = f"**{candidate}**" if line.chosen else candidate
        value = f"{line.value:.4g}" if line.value == line.value else line.status
        loss = line.loss.replace("|", "\\|")
        found.append(_line([f"`{loss}`", str(line.fold), candidate, value, str(line.cases)]))
    return "\n".join(found) + "\n"


def _head(measure: Measure) -> str:
    name, bracket, options = measure.name.partition("[")
    short = _SHORT.get(name, name.replace("_", " "))
    tolerance = options.rstrip("]").removeprefix("tolerance_mm=") if bracket else ""
    if tolerance and "tolerance_mm" in options:
        short += f" at {tolerance} mm"
    return f"{short} ({measure.unit})" if measure.unit else short


def _name(loss: str, baseline: str) -> str:
    shown = loss.replace("|", "\\|")  # of values to choose among; a table has bars of its own
    return f"**{shown}**" if loss == baseline else shown


def _score(score: LossScore, measure: Measure) -> str:
    digits = 2 if measure.unit else 3
    text = "" if math.isnan(score.seed_sd) else f" ± {score.seed_sd:.{digits}f}"
    return f"{score.mean:.{digits}f}{text}"


def _difference(against: Difference) -> str:
    if math.isnan(against.ci_low):
        return _signed(against.mean)
    return f"{_signed(against.mean)} ({_signed(against.ci_low)} to {_signed(against.ci_high)})"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", MINUS)


def _broken(row: LossRow) -> str:
    found = [f"{count} {status.replace('_', ' ')}" for status, count in row.broken.items()]
    return ", ".join(found) or "0"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
