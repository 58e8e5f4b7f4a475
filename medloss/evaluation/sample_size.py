"""From a pilot study to the number of cases, in sentences."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medloss.evaluation.grouping import Grouping
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.outputs.results import CASES, CSV_COLUMNS
from medloss.evaluation.outputs.statistics import sample_size as sizes
from medloss.evaluation.outputs.statistics.clusters import design_effect, likeness
from medloss.evaluation.requests import named_columns
from medloss.runtime.config_text import read_text

LEAST_PILOT = 3
_FEW_PILOT = 20


@dataclass(frozen=True)
class Question:
    """What the study is to show; one of the first three.

    Args:
        half_width: of the 95% interval of a mean or of a share.
        non_inferiority: margin.
        equivalence: margin.
        share: expected, of acceptable cases.
        advantage: true mean difference, in favour of the new run.
        power: of the test.
        alpha: one-sided level; by default 0.025 for non-inferiority and 0.05 for equivalence.
    """

    half_width: float | None = None
    non_inferiority: float | None = None
    equivalence: float | None = None
    share: float | None = None
    advantage: float = 0.0
    power: float = 0.9
    alpha: float | None = None

    def check(self) -> None:
        """Refuse what contradicts itself.

        Raises:
            ValueError: says what.
        """
        asked = [self.half_width, self.non_inferiority, self.equivalence]
        if sum(each is not None for each in asked) != 1:
            raise ValueError("give one of --half-width, --non-inferiority and --equivalence")
        if self.share is not None and self.half_width is None:
            raise ValueError("--share belongs to --half-width")
        if self.half_width is not None and self.alpha is not None:
            raise ValueError("--alpha belongs to a test; --half-width is of the 95% interval")
        if self.advantage and self.non_inferiority is None:
            raise ValueError("--advantage belongs to --non-inferiority")
        if self.non_inferiority is not None and self.advantage <= -self.non_inferiority:
            raise ValueError(
                f"--advantage: expected more than -{self.non_inferiority:g}, or no number of cases "
                f"is enough, got {self.advantage:g}"
            )


@dataclass(frozen=True)
class PilotSpread:
    """Of a pilot study.

    Args:
        what: whose.
        n: cases.
        clusters: of so many patients; 0 where each case stands for itself.
        mean: of the values, or of the differences.
        sd: sample standard deviation.
        design_effect: of the clusters; 1 without any.
        paired: whether these are differences of two runs.
    """

    what: str
    n: int
    clusters: int
    mean: float
    sd: float
    design_effect: float
    paired: bool

    def check(self, question: Question) -> None:
        """Refuse the spread of something else.

        Raises:
            ValueError: differences are needed and there is one run, or the other way round.
        """
        wants_pairs = question.half_width is None
        if wants_pairs and not self.paired:
            raise ValueError(
                "a margin is about paired differences: give two PILOTs on the same cases, or their "
                "--sd"
            )

    def sentences(self) -> Iterator[str]:
        """What was found."""
        of = f" of {self.clusters} clusters" if self.clusters else ""
        yield (
            f"Pilot: {self.what}, n = {self.n}{of}, mean {self.mean:.4g}, standard deviation "
            f"{self.sd:.4g}."
        )
        if self.clusters:
            yield (
                f"Design effect of the clusters: {self.design_effect:.4g} (1 + (mA - 1) ICC; the "
                f"study is taken to have as many cases in each)."
            )
        if self.n < _FEW_PILOT:
            high = self.sd * _upper_factor(self.n)
            yield (
                f"The standard deviation of {self.n} cases is uncertain: with 80% confidence it is "
                f"at most {high:.4g}; --sd {high:.4g} is the careful choice."
            )


def _upper_factor(n: int) -> float:
    """By how much the true spread may be larger, one-sided 80% (Browne 1995)."""
    from scipy.special import chdtri  # of the upper tail

    return math.sqrt((n - 1) / float(chdtri(n - 1, 0.8)))


def pilot_spread(paths: Sequence[Path], metric: str | None, cluster: str | None) -> PilotSpread:
    """The spread of a metric in one pilot, or of its differences in two.

    Args:
        paths: one or two folders of ``medloss eval --output``, or their ``cases.csv``.
        metric: ``METRIC`` or ``METRIC[LABEL]``; by default the only one.
        cluster: as ``medloss eval --cluster`` takes it.

    Raises:
        ValueError: says what is wrong.
    """
    if len(paths) > 2:
        raise ValueError(f"expected one or two PILOTs, got {len(paths)}")
    pilots = [_Pilot.read(path) for path in paths]
    key = pilots[0].chosen(metric)
    values = [pilot.values(key) for pilot in pilots]
    names = [name for name in values[0] if all(name in own for own in values)]
    numbers = np.array([[own[name] for name in names] for own in values])
    used = np.isfinite(numbers).all(axis=0)
    names = [name for name, here in zip(names, used, strict=True) if here]
    found = numbers[:, used]
    d = found[-1] - found[0] if len(pilots) == 2 else found[0]
    if len(d) < LEAST_PILOT:
        raise ValueError(
            f"{key[0]} of {key[1]}: {len(d)} finite values are too few for a spread (at least "
            f"{LEAST_PILOT})"
        )
    sd = float(d.std(ddof=1))
    if not sd > 0:
        raise ValueError(f"{key[0]} of {key[1]}: all {len(d)} values are equal; give --sd")
    what = f"{key[0]} of label {key[1]}"
    what += f", {paths[1]} minus {paths[0]}" if len(pilots) == 2 else f" in {paths[0]}"
    whose = Grouping(cluster or "").clusters([pilots[0].pairs[name] for name in names])
    alike = None if whose is None else likeness(d, [whose[name] for name in names])
    effect = 1.0
    if alike is not None and whose is not None:
        effect = alike.design_effect
        if not effect > 0:
            effect = design_effect(d, [whose[name] for name in names])
    return PilotSpread(
        what=what,
        n=len(d),
        clusters=0 if whose is None else len(set(whose.values())),
        mean=float(d.mean()),
        sd=sd,
        design_effect=max(1.0, effect),
        paired=len(pilots) == 2,
    )


@dataclass(frozen=True)
class _Pilot:
    """A ``cases.csv``: rows by metric and label, and what the manifest said of the cases."""

    path: Path
    rows: dict[tuple[str, str, str], dict[str, float]]
    pairs: dict[str, Pair]

    @classmethod
    def read(cls, path: Path) -> _Pilot:
        where = path / CASES if path.is_dir() else path
        if not where.exists():
            raise ValueError(f"{where} does not exist; give a folder of medloss eval --output")
        reader = csv.DictReader(read_text(where).splitlines(), strict=True)
        columns = tuple(reader.fieldnames or ())
        if not {"case", "label", "metric", "value"} <= set(columns):
            raise ValueError(
                f"{where}: expected the columns case, label, metric and value, got "
                f"{', '.join(columns) or 'nothing'}"
            )
        rows: dict[tuple[str, str, str], dict[str, float]] = {}
        pairs: dict[str, Pair] = {}
        try:
            for row in reader:
                more = tuple((c, row[c] or "") for c in columns if c not in CSV_COLUMNS)
                pairs.setdefault(row["case"], Pair(row["case"], None, None, columns=more))
                if row["metric"]:
                    key = row["metric"], row["label"], row.get("name") or ""
                    rows.setdefault(key, {})[row["case"]] = float(row["value"])
        except (csv.Error, ValueError, TypeError) as error:
            raise ValueError(f"{where} line {reader.line_num}: {error}") from error
        return cls(path, rows, pairs)

    def chosen(self, asked: str | None) -> tuple[str, str]:
        """The metric and the label.

        Raises:
            ValueError: there is none such, or several.
        """
        known = [metric for metric, _, _ in self.rows]
        columns, label = (known, "") if asked is None else named_columns(asked, known)
        fitting = [
            (metric, key)
            for metric, key, title in self.rows
            if metric in columns and label in ("", key, title)
        ]
        if len(fitting) != 1:
            there = ", ".join(f"{metric}[{title or key}]" for metric, key, title in self.rows)
            wrong = "is none of the" if not fitting else "may be several of the"
            raise ValueError(
                f"--metric: {repr(asked) if asked else 'what is meant'} {wrong} values of "
                f"{self.path}, which has {there or 'none'}"
            )
        return fitting[0]

    def values(self, wanted: tuple[str, str]) -> dict[str, float]:
        for (metric, label, _), values in self.rows.items():
            if (metric, label) == wanted:
                return values
        raise ValueError(f"{self.path} has no {wanted[0]} of label {wanted[1]}")


def answer(
    question: Question, sd: float | None, *, design_effect: float = 1.0, dropout: float = 0.0
) -> list[str]:
    """The number of cases, in sentences.

    Args:
        question: checked.
        sd: of the metric or of the differences; ``None`` for a share.
        design_effect: how many times as many cases clusters need.
        dropout: share of cases that will be lost.

    Raises:
        ValueError: no study has so many cases.

    Example:
        >>> answer(Question(half_width=0.02), 0.08)[0]
        '64 cases: the 95% interval of the mean reaches 0.02 to either side (62 by the normal distribution).'
    """  # noqa: E501
    if question.half_width is not None and question.share is not None:
        found = sizes.for_share(question.share, question.half_width)
        side = "the other side" if question.share in (0, 1) else "either side"
        what = (
            f"the 95% interval of a share of {question.share:g} reaches {question.half_width:g} to "
            f"{side}"
        )
    elif question.half_width is not None and sd is not None:
        found = sizes.for_half_width(sd, question.half_width)
        what = f"the 95% interval of the mean reaches {question.half_width:g} to either side"
    elif question.non_inferiority is not None and sd is not None:
        alpha = 0.025 if question.alpha is None else question.alpha
        found = sizes.for_non_inferiority(
            sd,
            question.non_inferiority,
            advantage=question.advantage,
            alpha=alpha,
            power=question.power,
        )
        truth = f"a true advantage of {question.advantage:g}" if question.advantage else "no true"
        truth += "" if question.advantage else " difference"
        what = (
            f"non-inferiority by {question.non_inferiority:g} is shown with power "
            f"{question.power:g} at the one-sided level {alpha:g}, for {truth}"
        )
    elif question.equivalence is not None and sd is not None:
        alpha = 0.05 if question.alpha is None else question.alpha
        found = sizes.for_equivalence(sd, question.equivalence, alpha=alpha, power=question.power)
        what = (
            f"equivalence within {question.equivalence:g} is shown with power {question.power:g}, "
            f"both one-sided tests at the level {alpha:g}, for no true difference"
        )
    else:
        raise ValueError("a standard deviation is needed")
    normal = math.ceil(found.normal - 1e-9)
    beside = "" if normal == found.n else f" ({normal} by the normal distribution)"
    said = [f"{found.n} cases: {what}{beside}."]
    total = found.cases(design_effect, dropout)
    if total != found.n:
        said.append(
            f"{total} cases with a design effect of {design_effect:.4g} and {100 * dropout:g}% "
            f"lost ({found.n} x {design_effect:.4g} / {1 - dropout:g})."
        )
    return said
