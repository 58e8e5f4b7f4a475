"""What is known of a case once it is scored: the one record that every output is a view of.

``cases.csv``, ``summary.json`` and the lines of the journal hold these records, and are read back
into them; pages, tables on the terminal and comparisons are made of nothing else.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

from medloss._version import __version__
from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.opened import Opened
from medloss.scoring.facts import Counts

WHOLE_CASE = "all"
"""What the files write where a value is that of no label."""


def label_key(label: Label | None) -> str:
    """A label as the files write it: ``all`` for the whole case."""
    return WHOLE_CASE if label is None else str(label)


@dataclass(frozen=True)
class Result:
    """One value: of a metric for a label, or of a loss for the whole case (label ``None``).

    Args:
        label: of the maps, or a region.
        column: name of the metric or loss.
        value: NaN where the policies leave it out.
        unit: of the value.
        status: where the label occurs.
    """

    label: Label | None
    column: str
    value: float
    unit: str
    status: str

    @property
    def used(self) -> bool:
        """Whether it is a number, infinity included."""
        return not math.isnan(self.value)


LesionSide = Literal["reference", "prediction"]
LesionStatus = Literal["found", "split", "merged", "merged_split", "missed", "false"]
LesionSpace = Literal["RAS", "grid"]


@dataclass(frozen=True)
class LesionRow:
    """One lesion of a case: a component of a label in the reference or in the prediction.

    Args:
        label: that it is a lesion of.
        side: ``"reference"`` or ``"prediction"``.
        number: from 1 for each label and side; with ``--instances`` the number in the file.
        status: ``"found"`` if it and its only partner have no other; of the reference ``"missed"``
            and of the prediction ``"false"`` without a partner. Else the lesions that are partners
            of partners all have one status: ``"split"`` (one of the reference, several of the
            prediction), ``"merged"`` (several, one) or ``"merged_split"``.
        voxels: that count.
        volume_mm3: of these; in 2D their area in mm².
        centroid_mm: their centre of mass.
        space: what ``centroid_mm`` is in: ``"RAS"``, the coordinates of the scanner, or ``"grid"``,
            mm along the axes of the image from the centre of its first voxel.
        partners: numbers of the lesions of the other side that it is matched with.
        dice: of the lesion and its partners together; NaN without a partner.
        iou: intersection over union, likewise.
        hausdorff95_mm: between their surfaces, likewise.
        assd_mm: average symmetric surface distance, likewise.
    """

    label: Label
    side: LesionSide
    number: int
    status: LesionStatus
    voxels: int
    volume_mm3: float
    centroid_mm: tuple[float, ...]
    space: LesionSpace
    partners: tuple[int, ...] = ()
    dice: float = math.nan
    iou: float = math.nan
    hausdorff95_mm: float = math.nan
    assd_mm: float = math.nan


@dataclass(frozen=True)
class Reliability:
    """What the probabilities of a label say in a case, beside how often they are right.

    Bins have equal width: bin b of M holds the voxels whose probability is in (b/M, (b+1)/M], and
    the first those of probability 0 too.

    Args:
        label: whose probability it is, by itself.
        voxels: of each bin.
        probability: their mean; NaN in an empty bin.
        frequency: share of them that the reference gives the label; NaN in an empty bin.
    """

    label: Label
    voxels: tuple[int, ...]
    probability: tuple[float, ...]
    frequency: tuple[float, ...]


@dataclass(frozen=True)
class CandidateRow:
    """How surely the lesions of a label were found in a case, for the curve over all cases.

    Args:
        label: that they are lesions of.
        column: of the metric that asked, whose options say what a candidate is.
        lesions: see :class:`medloss.scoring.LesionCandidates`.
        false: see there.
    """

    label: Label
    column: str
    lesions: tuple[float, ...]
    false: tuple[float, ...]


@dataclass(frozen=True)
class Confusion:
    """Which labels a case's prediction has where the reference has a certain one.

    Of labels that exclude one another, in one map. That voxels have the same label in both is in
    the counts.

    Args:
        label: of the reference; ``""`` is none of those that were scored.
        predicted: the other labels that the prediction has there, ``""`` likewise.
        voxels: of each.
    """

    label: Label
    predicted: tuple[Label, ...]
    voxels: tuple[int, ...]


_Row = TypeVar("_Row", LesionRow, Reliability, CandidateRow, Confusion)


def row_of(kind: type[_Row], values: Iterable[Any]) -> _Row:
    """A row from its values in order, as JSON has them."""
    plain: list[Any] = [tuple(x) if isinstance(x, list) else x for x in values]
    return kind(*plain)


@dataclass(frozen=True)
class CaseResult:
    """All values of a case, or the sentence that says why there are none.

    Args:
        pair: the case.
        spacing_mm: voxel size.
        shape: of the reference, in voxels.
        results: by label and metric, then the losses.
        error: why there are none.
        trace: where that was found, for whoever looks for a defect.
        counts: voxels of each label.
        definitions: results by the plan's other presets.
        notes: what was done to this case before it was scored, such as resampling.
        signs: that its files are not what they seem (:mod:`medloss.evaluation.signs`).
        lesions: of the reference and of the prediction, label by label, where they were asked for.
        reliability: of each label, where a metric takes probabilities.
        candidates: of each label and FROC score that was asked for.
        confusion: which label is taken for which, where there are two that exclude one another.
        files: every file that it is made of, as it was when it was opened.
    """

    pair: Pair
    spacing_mm: tuple[float, ...] = ()
    shape: tuple[int, ...] = ()
    results: tuple[Result, ...] = ()
    error: str = ""
    trace: str = ""
    counts: tuple[tuple[Label, Counts], ...] = ()
    definitions: tuple[tuple[str, tuple[Result, ...]], ...] = ()
    notes: tuple[str, ...] = ()
    signs: tuple[dict[str, Any], ...] = ()
    lesions: tuple[LesionRow, ...] = ()
    reliability: tuple[Reliability, ...] = ()
    candidates: tuple[CandidateRow, ...] = ()
    confusion: tuple[Confusion, ...] = ()
    files: tuple[Opened, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """Of the case."""
        return self.pair.name

    @cached_property
    def values(self) -> Mapping[tuple[str, str], Result]:
        """By the label's key and the name of the metric or loss."""
        return {(label_key(result.label), result.column): result for result in self.results}

    @cached_property
    def statuses(self) -> dict[str, str]:
        """Where each label occurs, by its key."""
        found: dict[str, str] = {}
        for result in self.results:
            if result.label is not None:
                found.setdefault(str(result.label), result.status)
        return found

    @cached_property
    def voxels(self) -> dict[str, tuple[int, int]]:
        """Of the reference and of the prediction, by the label's key."""
        return {str(label): (each.reference, each.prediction) for label, each in self.counts}

    def to_json(self) -> dict[str, Any]:
        """All but the files. NaN and infinity stay, in Python's spelling.

        Example:
            >>> value = Result(1, "dice", 1.0, "", "ok")
            >>> lesion = LesionRow(1, "reference", 1, "missed", 8, 8.0, (1.5, 1.5, 1.5), "RAS")
            >>> case = CaseResult(Pair("a", None, None), results=(value,), lesions=(lesion,))
            >>> case.to_json()["results"]
            [(1, 'dice', 1.0, '', 'ok')]
            >>> case.to_json()["lesions"][0][:6]
            (1, 'reference', 1, 'missed', 8, 8.0)
        """
        return {
            "case": self.name,
            **{name: getattr(self, name) for name in _PLAIN_FIELDS},
            "results": [dataclasses.astuple(result) for result in self.results],
            "counts": [[label, *dataclasses.astuple(counts)] for label, counts in self.counts],
            "definitions": [
                [preset, [dataclasses.astuple(result) for result in results]]
                for preset, results in self.definitions
            ],
            **row_fields(lambda name: [dataclasses.astuple(row) for row in getattr(self, name)]),
        }

    @classmethod
    def from_json(cls, line: Mapping[str, Any], pair: Pair) -> CaseResult:
        """What :meth:`to_json` wrote, of the case that ``pair`` is now."""
        plain: dict[str, Any] = {}
        for name in _PLAIN_FIELDS:
            if name in line:  # a field may be younger than the journal
                plain[name] = tuple(line[name]) if isinstance(line[name], list) else line[name]
        return cls(
            pair,
            **plain,
            results=tuple(Result(*values) for values in line["results"]),
            counts=tuple((label, Counts(*counts)) for label, *counts in line["counts"]),
            definitions=tuple(
                (preset, tuple(Result(*values) for values in results))
                for preset, results in line["definitions"]
            ),
            **row_fields(
                lambda name: tuple(row_of(ROW_FIELDS[name], row) for row in line.get(name, ()))
            ),
        )


ROW_FIELDS: Mapping[str, type[Any]] = {
    "lesions": LesionRow,
    "reliability": Reliability,
    "candidates": CandidateRow,
    "confusion": Confusion,
}
"""The fields of :class:`CaseResult` that hold rows, each with its label."""


def row_fields(of: Callable[[str], Any]) -> dict[str, Any]:
    """What is made of each of :data:`ROW_FIELDS`, by its name."""
    return {name: of(name) for name in ROW_FIELDS}


_PLAIN_FIELDS = tuple(
    each.name
    for each in dataclasses.fields(CaseResult)
    if each.name not in ("pair", "results", "counts", "definitions", "files", *ROW_FIELDS)
)


@dataclass(frozen=True)
class Measure:
    """A metric of a label, or a loss of a whole case.

    Args:
        name: with the options that were asked for.
        unit: of its values.
        better: ``"higher"`` or ``"lower"``.
        options: every option with its value.
    """

    name: str
    unit: str
    better: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name and unit.

        Example:
            >>> Measure("hausdorff95", "mm", "lower").title
            'hausdorff95 (mm)'
        """
        return f"{self.name} ({self.unit})" if self.unit else self.name


@dataclass(frozen=True)
class ScoredLabel:
    """A label by its key: a number as text, the name of a region, or ``all`` for a whole case.

    Args:
        key: as in the files.
        name: empty where it has none.
        members: the numbers of the labels that a region is made of.
    """

    key: str
    name: str = ""
    members: tuple[int, ...] = ()

    @property
    def title(self) -> str:
        """Number and name.

        Example:
            >>> ScoredLabel("1", "liver").title, ScoredLabel("tumour", "tumour").title
            ('1 liver', 'tumour')
        """
        return self.key if self.name in ("", self.key) else f"{self.key} {self.name}"


@dataclass(frozen=True)
class Summary:
    """A metric of a label over all cases.

    Args:
        label: ``None`` for the whole case.
        column: metric or loss.
        n: values that the statistics are made of.
        mean: and the others: NaN where ``n`` is 0; infinite where a value is.
        sd: sample standard deviation (n - 1), NaN for fewer than two values or an infinite one.
        q1: lower quartile, between two values as numpy's default; NaN where a value is infinite.
        median: middle value.
        q3: upper quartile.
        minimum: smallest value.
        maximum: largest value.
        worst_case: the first case with the worst value.
        statuses: how many cases have each status; together ``n + not_used``.
        not_used: cases whose value the policies leave out (NaN).
        failed: cases without any value.
        ci_low: lower end of the 95% interval of the mean
            (:func:`medloss.evaluation.outputs.statistics.mean_interval`).
        ci_high: upper end.
        ci_method: how it was made; empty where there is none.
        clusters: patients, or what else the values are of; 0 where each case stands for itself.
        median_low: lower end of the 95% interval of the median, two of the sorted values.
        median_high: upper end.
    """

    label: Label | None
    column: Measure
    n: int
    mean: float
    sd: float
    q1: float
    median: float
    q3: float
    minimum: float
    maximum: float
    worst_case: str
    statuses: Mapping[str, int]
    not_used: int
    failed: int
    ci_low: float
    ci_high: float
    ci_method: str = ""
    clusters: int = 0
    median_low: float = math.nan
    median_high: float = math.nan

    @property
    def key(self) -> str:
        """Of the label."""
        return label_key(self.label)

    @property
    def worst(self) -> float:
        """The largest value where lower is better, else the smallest."""
        return self.maximum if self.column.better == "lower" else self.minimum


@dataclass(frozen=True)
class DataFinding:
    """Something about the data that the user should look at, and no score says.

    Args:
        kind: ``crossed``, ``moved``, ``grid``, ``nowhere``, ``missed`` or ``spurious``.
        sentence: without an end.
        cases: in which it was found; none where it is of the whole study.
        labels: that it is about.
    """

    kind: str
    sentence: str
    cases: tuple[str, ...] = ()
    labels: tuple[Label, ...] = ()


@dataclass(frozen=True)
class Subgroup:
    """A metric of a label in some of the cases.

    Args:
        level: which cases.
        cases: that belong there.
        n: of these, with a value.
        clusters: they are of so many patients; 0 where each case stands for itself.
        mean: NaN without values; infinite where one is.
        sd: NaN for fewer than two values or an infinite one.
        median: middle value.
        ci_low: lower end of the interval of the mean; NaN for fewer than 10 cases or patients.
        ci_high: upper end.
        ci_method: how it was made.
        values: where there are fewer than 10, each of them.
    """

    level: str
    cases: int
    n: int
    clusters: int
    mean: float
    sd: float
    median: float
    ci_low: float
    ci_high: float
    ci_method: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class SubgroupContrast:
    """A subgroup minus the one that it is compared with.

    Args:
        level: which.
        against: the largest subgroup of its list.
        mean: difference of the means.
        ci_low: lower end of its interval; NaN where one of the two has fewer than 10.
        ci_high: upper end.
        p: of no difference, by Welch's t test.
        p_holm: adjusted for all subgroups of this metric and label.
    """

    level: str
    against: str
    mean: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float


@dataclass(frozen=True)
class SubgroupTable:
    """One list of subgroups in one metric of one label.

    Args:
        variable: what the subgroups differ in.
        label: of the values.
        measure: metric or loss.
        groups: in the order of the list.
        contrasts: each group but the largest minus the largest.
    """

    variable: str
    label: ScoredLabel
    measure: Measure
    groups: tuple[Subgroup, ...]
    contrasts: tuple[SubgroupContrast, ...]


@dataclass(frozen=True)
class ResultTable:
    """Cases by labels and metrics: what was just scored, or what a folder holds.

    Args:
        measures: metrics, then losses.
        labels: that were scored.
        cases: each with a value for every label and metric, or failed.
        lines: the summary; empty where nobody asked for one.
        settings: what the values are defined by, as JSON has it.
        version: of medloss that made it.
        findings: what the user should look at before the numbers.
        path: of the folder, if it lies in one.
        written: when the folder was last changed.
        subgroups: values by subgroup, and how far these are apart.
    """

    measures: tuple[Measure, ...]
    labels: tuple[ScoredLabel, ...]
    cases: tuple[CaseResult, ...]
    lines: tuple[Summary, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    version: str = __version__
    findings: tuple[DataFinding, ...] = ()
    path: Path = Path()
    written: str = ""
    subgroups: tuple[SubgroupTable, ...] = ()

    @property
    def inputs(self) -> dict[str, Any]:
        """What was asked to be done to all files before they were scored."""
        return dict(self.settings.get("inputs", {}))

    @property
    def left_out(self) -> tuple[str, ...]:
        """References that are no cases, because nobody predicted them."""
        return tuple(map(str, self.inputs.get("left_out", ())))

    @property
    def passed_over(self) -> tuple[str, ...]:
        """Paths in the two folders that belong to no case."""
        return tuple(map(str, self.inputs.get("passed_over", ())))

    @property
    def unscored(self) -> tuple[str, ...]:
        """Those of the paths that belong to no case that look like images."""
        return tuple(map(str, self.inputs.get("unscored", ())))

    @property
    def profile(self) -> dict[str, Any]:
        """What the results were made by, if by a profile: its name, hash and content."""
        return dict(self.settings.get("profile", {}))

    @property
    def preset(self) -> str:
        """Definition of the surface metrics."""
        return str(self.settings["preset"])

    @property
    def policy(self) -> str:
        """What labels count that are missing somewhere, as a sentence without an end."""
        return str(self.settings["policies"]["meaning"])

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """Cases without any value."""
        return tuple(case for case in self.cases if case.error)

    def label(self, key: str) -> ScoredLabel:
        """A label by its key."""
        return self._labels.get(key) or ScoredLabel(key)

    def measure(self, name: str) -> Measure:
        """A metric or loss by its name.

        Raises:
            KeyError: there is none of that name.
        """
        for measure in self.measures:
            if measure.name == name:
                return measure
        raise KeyError(name)

    def lines_of(self, measure: Measure) -> list[Summary]:
        """The lines of a metric or loss, label by label."""
        return [line for line in self.lines if line.column.name == measure.name]

    @cached_property
    def _labels(self) -> dict[str, ScoredLabel]:
        return {label.key: label for label in self.labels}
