"""``medloss compare --agreement``: how far readers, models, scans and rescans agree on volumes."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from medloss import __version__
from medloss.evaluation.compare.volumes import LabelVolumes, RatedVolumes
from medloss.evaluation.grouping import Grouping, patient_findings
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.outputs.formats import number, p_value
from medloss.evaluation.outputs.methods import methods_latex, methods_markdown, table_rows
from medloss.evaluation.outputs.pages import render, write_page
from medloss.evaluation.outputs.report.figures import Agreement, most_telling, plot
from medloss.evaluation.outputs.statistics.agreement import (
    BlandAltman,
    Correlation,
    Ends,
    Icc,
    Repeatability,
    bland_altman,
    icc,
    repeatability,
    spread_grows,
)
from medloss.runtime.files import write_json_file, write_rows, write_text

_GROWS = 0.05
FORMAT = 1


@dataclass(frozen=True)
class PairAgreement:
    """Two raters on one label.

    Args:
        first: name of a rater.
        second: name of another.
        differences: second minus first.
        growth: of the size of the difference with the mean.
        ratios: second over first, of the cases where both are above 0; ``None`` below 3 of them.
    """

    first: str
    second: str
    differences: BlandAltman
    growth: Correlation
    ratios: BlandAltman | None

    @property
    def grows(self) -> bool:
        """Whether large volumes differ by more, so that the ratios are what to report."""
        return self.growth.rho > 0 and self.growth.p < _GROWS and self.ratios is not None


@dataclass(frozen=True)
class LabelAgreement:
    """All raters on one label."""

    volumes: LabelVolumes
    icc: tuple[Icc, ...]
    repeatability: Repeatability
    pairs: tuple[PairAgreement, ...]


def agreements_of(rated: RatedVolumes) -> tuple[LabelAgreement, ...]:
    """Everything, label by label."""
    return tuple(_label(each, rated.raters) for each in rated.labels)


def _label(each: LabelVolumes, raters: Sequence[str]) -> LabelAgreement:
    volumes = np.array(each.volumes, dtype=np.float64)
    pairs = []
    for i, j in itertools.combinations(range(len(raters)), 2):
        first, second = volumes[:, i], volumes[:, j]
        above = (first > 0) & (second > 0)
        ratios = None
        if above.sum() >= 3:
            ratios = bland_altman(first[above], second[above], ratios=True)
        pairs.append(
            PairAgreement(
                raters[i],
                raters[j],
                bland_altman(first, second),
                spread_grows(first, second),
                ratios,
            )
        )
    return LabelAgreement(each, icc(volumes), repeatability(volumes), tuple(pairs))


# Words


def heading(rated: RatedVolumes) -> str:
    """How many raters and cases."""
    cases = len({case for label in rated.labels for case in label.cases})
    return (
        f"{len(rated.raters)} raters ({', '.join(rated.raters)}) on {cases} "
        f"{'case' if cases == 1 else 'cases'}, none of them a reference"
    )


def sentences(each: LabelAgreement) -> Iterator[str]:
    """What the numbers of a label say, each without an end."""
    unit = f" {each.volumes.unit}" if each.volumes.unit else ""
    n = len(each.volumes.cases)
    if n < 3:
        yield f"{n} {'case is' if n == 1 else 'cases are'} too few for limits of agreement"
        return
    for pair in each.pairs:
        found = pair.differences
        yield (
            f"{pair.second} minus {pair.first}: bias {number(found.bias, 'mm')}{unit} "
            f"(95% interval {_ends(found.bias_interval)}), 95% limits of agreement "
            f"{number(found.limits[0], 'mm')} ({_ends(found.lower_interval)}) to "
            f"{number(found.limits[1], 'mm')} ({_ends(found.upper_interval)}){unit}"
        )
        if pair.grows and pair.ratios is not None:
            ratios = pair.ratios
            yield (
                f"the differences grow with the volume (Spearman {pair.growth.rho:.2f}, p "
                f"{p_value(pair.growth.p)}), so report ratios: {pair.second} over {pair.first} "
                f"{number(ratios.bias)} ({_ends(ratios.bias_interval, '')}), limits "
                f"{number(ratios.limits[0])} ({_ends(ratios.lower_interval, '')}) to "
                f"{number(ratios.limits[1])} ({_ends(ratios.upper_interval, '')}), of {ratios.n} "
                f"cases"
            )
    for form in each.icc:
        yield f"{form.form} {number(form.value)} ({_ends((form.low, form.high), '')})"
    same = each.repeatability
    yield (
        f"if all raters measure under the same conditions: within-case SD {number(same.sd, 'mm')}"
        f"{unit}, repeatability coefficient {number(same.coefficient, 'mm')} "
        f"({_ends(same.interval)}){unit}"
        + (
            f", within-case CV {100 * same.cv:.2f}%, {100 * same.relative:.2f}% as coefficient"
            if math.isfinite(same.cv)
            else ""
        )
    )


def _ends(ends: Ends, unit: str = "mm") -> str:
    return f"{number(ends[0], unit)} to {number(ends[1], unit)}"


def notes(rated: RatedVolumes) -> list[str]:
    """What was done, for whoever reads the numbers."""
    said = [
        "Limits of agreement are the bias -+ 1.96 standard deviations of the differences (n - 1); "
        "their intervals are exact for a normal spread (noncentral t), all intervals are 95%. The "
        "axis of the plots is the mean of both.",
        "ICC: ICC(A,1) absolute agreement and ICC(C,1) consistency of two-way models, ICC(1) of "
        "the one-way model, single measurements (McGraw and Wong). It rises with the spread of "
        "sizes, so that it never replaces the limits.",
        "A label that a rater did not find has the volume 0; cases where nobody found it are not "
        "counted, and ratios leave out volumes of 0.",
    ]
    cases = list(dict.fromkeys(case for label in rated.labels for case in label.cases))
    pairs = [Pair(case, None, None) for case in cases]
    for finding in patient_findings(pairs, Grouping()):
        said.append(
            f"{finding.sentence.partition(';')[0]}; keep one scan of each patient, for limits of "
            f"agreement take all cases for independent ones."
        )
    if rated.left_out:
        said.append(f"Left out: {', '.join(rated.left_out)}.")
    return said


# Outputs


def print_agreement(console: Console, rated: RatedVolumes, found: Sequence[LabelAgreement]) -> None:
    """Print a block for each label."""
    console.print(Text(heading(rated), style="bold"))
    for each in found:
        console.print()
        unit = f" ({each.volumes.unit})" if each.volumes.unit else ""
        n = len(each.volumes.cases)
        title = (
            f"{each.volumes.label.title or 'volumes'}{unit}, {n} {'case' if n == 1 else 'cases'}"
        )
        console.print(Text(title, style="bold cyan"))
        if n >= 3:
            console.print(_table(each))
        for sentence in sentences(each):
            console.print(Text(f"  {sentence}."))
    console.print()
    for sentence in notes(rated):
        console.print(Text(sentence))


_HEADS = ("second - first", "n", "bias", "limits of agreement", "ratio", "limits of the ratio")


def _cells(pair: PairAgreement) -> tuple[str, ...]:
    found, ratios = pair.differences, pair.ratios
    return (
        f"{pair.second} - {pair.first}",
        str(found.n),
        number(found.bias, "mm"),
        _ends(found.limits),
        number(ratios.bias) if ratios else "-",
        _ends(ratios.limits, "") if ratios else "-",
    )


def _table(each: LabelAgreement) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for head in _HEADS:
        text = head == _HEADS[0]
        table.add_column(head, justify="left" if text else "right", overflow="fold")
    for pair in each.pairs:
        table.add_row(*map(Text, _cells(pair)))
    return table


def write_agreement_csv(path: Path, found: Sequence[LabelAgreement], *, safe: bool = False) -> None:
    """Write a line for each label and pair of raters."""
    names = [x.name for x in dataclasses.fields(BlandAltman) if x.name not in ("n", "ratios")]

    def cells(value: BlandAltman) -> list[Any]:
        return [
            x for name in names for x in np.atleast_1d(getattr(value, name)).astype(float).tolist()
        ]

    columns = [
        *("bias", "bias_low", "bias_high", "sd", "limit_low", "limit_high"),
        *("limit_low_low", "limit_low_high", "limit_high_low", "limit_high_high"),
    ]
    head = ("label", "name", "unit", "first", "second", "n", "spearman", "spearman_p")
    lines: list[Sequence[Any]] = [(*head, *columns, *(f"ratio_{name}" for name in columns))]
    for each in found:
        label = each.volumes.label
        for pair in each.pairs:
            lines.append(
                (
                    *(label.key, label.name, each.volumes.unit, pair.first, pair.second),
                    *(pair.differences.n, pair.growth.rho, pair.growth.p),
                    *cells(pair.differences),
                    *(cells(pair.ratios) if pair.ratios else [""] * len(columns)),
                )
            )
    write_rows(path, lines, safe=safe)


def write_agreement_json(path: Path, rated: RatedVolumes, found: Sequence[LabelAgreement]) -> None:
    """Write everything. NaN and infinity become null."""
    content = {
        "medloss": __version__,
        "format": FORMAT,
        "raters": rated.raters,
        "sources": rated.sources,
        "left_out": rated.left_out,
        "labels": [
            {**dataclasses.asdict(each), "sentences": list(sentences(each))} for each in found
        ],
        "notes": notes(rated),
    }
    write_json_file(path, content)


def write_agreement_methods(
    path: Path, rated: RatedVolumes, found: Sequence[LabelAgreement]
) -> None:
    """Write a methods paragraph and a table: Markdown, or LaTeX where the suffix is ``.tex``."""
    said = [f"{heading(rated)}.", *notes(rated), f"Computed by medloss {__version__}."]
    rows = [(each.volumes.label.title, *_cells(pair)) for each in found for pair in each.pairs]
    markdown, latex = table_rows(("label", *_HEADS), rows)
    text = methods_latex(said, latex) if path.suffix == ".tex" else methods_markdown(said, markdown)
    write_text(path, text)


def write_agreement_page(path: Path, rated: RatedVolumes, found: Sequence[LabelAgreement]) -> Path:
    """Write the page: a plot for each label and pair, the table, and what it means."""
    drawn = []
    for each in found:
        for pair in each.pairs:
            i, j = rated.raters.index(pair.first), rated.raters.index(pair.second)
            drawn.append(
                Agreement(
                    dataclasses.replace(
                        each.volumes.label, name=f"{pair.second} \N{MINUS SIGN} {pair.first}"
                    ),
                    each.volumes.unit,
                    each.volumes.cases,
                    tuple(row[i] for row in each.volumes.volumes),
                    tuple(row[j] for row in each.volumes.volumes),
                    f"{pair.second} \N{MINUS SIGN} {pair.first}",
                )
            )
    context = {
        "rated": rated,
        "heading": heading(rated),
        "found": [(each, list(sentences(each))) for each in found],
        "heads": _HEADS,
        "rows": [(each, _cells(pair)) for each in found for pair in each.pairs],
        "plots": [plot(each) for each in most_telling(tuple(drawn))],
        "notes": notes(rated),
        "version": __version__,
    }
    return write_page(path, render("agreement.html", context))
