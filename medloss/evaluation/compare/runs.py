"""Which runs are compared on which cases, labels and metrics, and why some may not be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.evaluation.records import (
    WHOLE_CASE,
    CaseResult,
    Measure,
    Result,
    ResultTable,
    ScoredLabel,
)
from medloss.evaluation.requests import named_columns, split_requests

SPACING_TOLERANCE = 0.001
"""Largest difference of the voxel sizes of one case in two runs, as a share."""

_NO_DEFINITION = {
    *("command", "versions", "bootstrap", "labels", "metrics", "losses", "policies", "inputs"),
    *("device", "cluster", "by", "statistics", "profile"),
    *("title", "acceptance", "pictures", "lesions"),
}
"""Settings that say nothing about what a value means, or that are compared one by one."""

_NAMED = 6

_ACCEPTED_BY = {
    "cases": "--common-cases compares on the others",
    "labels": "--common-labels compares on the others",
    "metrics": "--common-metrics compares by the others, -m by those that you name",
    "definitions": "--allow-different-definitions compares all the same",
}
"""The option that accepts what differs; nothing accepts other references."""


class CompareError(ValueError):
    """Runs that may not be compared; says everything that differs."""


@dataclass(frozen=True)
class ComparedRun:
    """A table of results under a short name."""

    name: str
    table: ResultTable


@dataclass(frozen=True)
class Allowed:
    """Differences that the user accepts.

    Args:
        cases: compare on the cases that all runs have.
        labels: compare on the labels that all runs have.
        metrics: compare by the metrics that all runs have.
        definitions: compare values that are defined differently.
    """

    cases: bool = False
    labels: bool = False
    metrics: bool = False
    definitions: bool = False


@dataclass(frozen=True)
class ComparedTable:
    """What the runs are compared on.

    Args:
        runs: at least two.
        cases: names, in the order of the first run.
        labels: shared labels.
        measures: shared metrics and losses.
        notes: differences that were accepted, and those that need no acceptance.
    """

    runs: tuple[ComparedRun, ...]
    cases: tuple[str, ...]
    labels: tuple[ScoredLabel, ...]
    measures: tuple[Measure, ...]
    notes: tuple[str, ...] = ()

    @property
    def missed(self) -> object:
        """The policy for distances of missed labels; by default the diagonal of the image."""
        return self.runs[0].table.settings.get("policies", {}).get("missed", "diagonal")

    @property
    def every_label(self) -> tuple[ScoredLabel, ...]:
        """The labels, and that of what is measured on a whole case."""
        return (*self.labels, ScoredLabel(WHOLE_CASE))

    def grid(self) -> Iterator[tuple[ScoredLabel, Measure, list[list[Result | None]]]]:
        """For each metric and label the values of every run, case by case.

        A value is ``None`` where the case failed in that run.
        """
        cases = [{case.name: case for case in run.table.cases} for run in self.runs]
        for measure in self.measures:
            for label in self.every_label:
                key = label.key, measure.name
                values = [[mine[name].values.get(key) for name in self.cases] for mine in cases]
                if any(value for own in values for value in own):
                    yield label, measure, values


def compared_table(
    runs: Sequence[ComparedRun], *, metrics: Sequence[str] = (), allowed: Allowed | None = None
) -> ComparedTable:
    """Check that the runs can be compared, and say on what.

    Args:
        runs: at least two, under different names.
        metrics: compare by these only; with or without their options.
        allowed: differences that are accepted.

    Raises:
        CompareError: lists what differs and which option accepts it.
    """
    allowed, first = allowed or Allowed(), runs[0]
    chosen = [_measures(run, metrics) for run in runs]
    notes: list[str] = []
    refused: list[str] = []
    for run, measures in zip(runs[1:], chosen[1:], strict=True):
        for kind, sentences in _apart(first, run, chosen[0], measures).items():
            option = _ACCEPTED_BY.get(kind, "")
            for sentence in sentences:
                if option and getattr(allowed, kind):
                    notes.append(sentence)
                else:
                    refused.append(f"{sentence} ({option})" if option else sentence)
    if refused:
        raise CompareError(
            "the runs cannot be compared:\n" + "\n".join(f"  - {text}" for text in refused)
        )
    notes += list(_versions_apart(runs))
    shared = _shared_names([[case.name for case in run.table.cases] for run in runs])
    keys = _shared_names([[label.key for label in run.table.labels] for run in runs])
    names = _shared_names([[measure.name for measure in measures] for measures in chosen])
    for what, found in (("case", shared), ("metric", names)):
        if not found:
            raise CompareError(f"the runs have no {what} in common")
    return ComparedTable(
        runs=tuple(runs),
        cases=tuple(shared),
        labels=tuple(first.table.label(key) for key in keys),
        measures=tuple(first.table.measure(name) for name in names),
        notes=tuple(notes),
    )


def run_names(paths: Sequence[Path]) -> list[str]:
    """Names of folders: the last part of each path, and as many before it as tell them apart.

    Raises:
        CompareError: a folder is given twice.

    Example:
        >>> run_names([Path("a/fold0/out"), Path("b/fold0/out")])
        ['a/fold0/out', 'b/fold0/out']
        >>> run_names([Path("unet"), Path("swin")])
        ['unet', 'swin']
    """
    parts = [path.resolve().parts for path in paths]
    if len(set(parts)) != len(parts):
        raise CompareError("a folder is given twice")
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _measures(run: ComparedRun, wanted: Sequence[str]) -> list[Measure]:
    if not wanted:
        return list(run.table.measures)
    found = []
    for name in (part for text in wanted for part in split_requests(text)):
        columns, label = named_columns(name, [measure.name for measure in run.table.measures])
        if label:
            raise CompareError(
                f"{name}: runs are compared by a metric on all labels; expected one without "
                f"[{label}], which --primary takes"
            )
        mine = [measure for measure in run.table.measures if measure.name in columns]
        if not mine:
            has = ", ".join(measure.name for measure in run.table.measures)
            raise CompareError(f"{run.name} has no metric {name!r}; it has {has or 'none'}")
        found += [measure for measure in mine if measure not in found]
    return found


def _shared_names(found: Sequence[Sequence[str]]) -> list[str]:
    shared = set(found[0]).intersection(*found[1:])
    return [name for name in found[0] if name in shared]


def _apart(
    first: ComparedRun, second: ComparedRun, mine: list[Measure], other: list[Measure]
) -> dict[str, Iterator[str]]:
    """Sentences about what differs between two runs, by what is about it."""
    both = first.table, second.table

    def only(what: str, *names: set[str]) -> Iterator[str]:
        for run, own in zip(
            (first, second), (names[0] - names[1], names[1] - names[0]), strict=True
        ):
            if own:
                yield f"{len(own)} {what} are only in {run.name}: {_some(sorted(own))}"

    return {
        "cases": only("cases", *({case.name for case in table.cases} for table in both)),
        "labels": only("labels", *({label.key for label in table.labels} for table in both)),
        "metrics": only("metrics", *({m.name for m in measures} for measures in (mine, other))),
        "definitions": _definitions_apart(first, second, mine, other),
        "references": _references_apart(first, second),
    }


def _definitions_apart(
    first: ComparedRun, second: ComparedRun, mine: list[Measure], other: list[Measure]
) -> Iterator[str]:
    def differ(what: str, a: Any, b: Any) -> Iterator[str]:
        if a != b:
            yield f"{what} differs: {a} in {first.name}, {b} in {second.name}"

    settings = first.table.settings, second.table.settings
    for key in sorted((settings[0].keys() | settings[1].keys()) - _NO_DEFINITION):
        yield from differ(key, settings[0].get(key), settings[1].get(key))
    made = [(s.get("profile") or {}) for s in settings]
    for key in ("name", "sha256", "changed"):
        yield from differ(f"the profile's {key}", made[0].get(key), made[1].get(key))
    # which cases there are, and which are missing, is told by the cases; how probabilities became
    # labels is of the model, as its weights are
    told = dict.fromkeys(
        ("left_out", "passed_over", "unscored", "beside", "only", "layout", "decode")
    )
    done = [{**run.table.inputs, **told} for run in (first, second)]
    for key in sorted(done[0].keys() | done[1].keys()):
        yield from differ(f"{key} of the inputs", done[0].get(key), done[1].get(key))
    policies = [dict(s["policies"]) for s in settings]
    for key in sorted((policies[0].keys() | policies[1].keys()) - {"meaning"}):
        yield from differ(f"the policy {key}", policies[0].get(key), policies[1].get(key))
    theirs = {measure.name: measure for measure in other}
    for measure in mine:
        twin = theirs.get(measure.name, measure)
        for what in ("options", "unit", "better"):
            values = getattr(measure, what), getattr(twin, what)
            yield from differ(f"{measure.name}: {what}", *values)
    labels = {label.key: label for label in second.table.labels}
    for label in first.table.labels:
        same = labels.get(label.key, label)
        if label.name and same.name:
            yield from differ(f"the name of label {label.key}", label.name, same.name)
        yield from differ(f"what {label.key} is made of", label.members, same.members)


def _references_apart(first: ComparedRun, second: ComparedRun) -> Iterator[str]:
    """References that are not the same images: then a difference is no difference of models."""
    theirs = {case.name: case for case in second.table.cases}
    wrong = [
        (case.name, why)
        for case in first.table.cases
        if case.name in theirs and (why := _reference_apart(case, theirs[case.name]))
    ]
    if wrong:
        name, why = wrong[0]
        yield (
            f"the references of {first.name} and {second.name} differ in {len(wrong)} cases, "
            f"such as {name}: {why}"
        )


def _reference_apart(case: CaseResult, other: CaseResult) -> str:
    if case.error or other.error:
        return ""
    if case.shape != other.shape:
        return f"{case.shape} voxels and {other.shape}"
    sizes = zip(case.spacing_mm, other.spacing_mm, strict=True)
    if not all(math.isclose(a, b, rel_tol=SPACING_TOLERANCE) for a, b in sizes):
        return f"voxels of {case.spacing_mm} mm and {other.spacing_mm}"
    for label in case.voxels.keys() & other.voxels.keys():
        if case.voxels[label][0] != other.voxels[label][0]:
            return f"label {label} has {case.voxels[label][0]} voxels and {other.voxels[label][0]}"
    return ""


def _versions_apart(runs: Sequence[ComparedRun]) -> Iterator[str]:
    versions = {run.name: run.table.version for run in runs}
    if len(set(versions.values())) > 1:
        told = ", ".join(f"{name} by {version}" for name, version in versions.items())
        yield f"made by different versions of medloss: {told}"


def _some(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
