r"""Which cases are of one patient, and which of a subgroup: as the user says, or as it looks.

A study is asked by ``--cluster`` and ``--by`` for columns of its manifest, or for parts of the
names of its cases. Nothing of it changes a value of a case; intervals and tests change.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.records import DataFinding

NOT_STATED = "not stated"
_MOST_LEVELS = 20
_NAMED = 3

_PATIENT_COLUMNS = {
    *("patient", "patientid", "subject", "subjectid", "participant", "participantid", "person"),
}

_BEGINS_WITH_PATIENT = r"^((?:patient|subject|subj|sub|pat|pt)[-_ ]?[A-Za-z]*\d+)(?=[-_. ])"
_ENDS_WITH_VISIT = (
    r"^(.*?\d[^-_. ]*)[-_. ]?"
    r"(?:rescan|scan|session|ses|visit|timepoint|time|tp|followup|fu|exam|frame|t)[-_ ]?\d+$"
)
_BRATS = r"^(BraTS-[A-Za-z]+-\d+)-\d+$"
"""Names of cases whose group is likely to be a patient."""


@dataclass(frozen=True)
class Variable:
    """A list of subgroups.

    Args:
        name: of a column, or what the user called it.
        levels: names of the subgroups, in the order in which they are shown.
        of: the subgroup of each case, by its name.
    """

    name: str
    levels: tuple[str, ...]
    of: Mapping[str, str]


@dataclass(frozen=True)
class Grouping:
    """What the user asked for.

    Args:
        cluster: a column, or a regular expression with one group that the name of a case is
            searched for; empty where each case stands for itself.
        by: for each list of subgroups a column, ``column:40,65`` for ranges of its numbers, or
            ``name=expression``.
    """

    cluster: str = ""
    by: tuple[str, ...] = ()

    def clusters(self, pairs: Sequence[Pair]) -> dict[str, str] | None:
        """The cluster of each case by its name; ``None`` where none is asked for.

        Raises:
            ValueError: there is no such column, or it says nothing for a case.
        """
        if not self.cluster:
            return None
        found = _cells("--cluster", self.cluster, pairs)
        if empty := [name for name, cell in found.items() if not cell]:
            raise ValueError(
                f"--cluster: {self.cluster!r} says nothing for {len(empty)} of {len(found)} cases, "
                f"such as {', '.join(empty[:_NAMED])}"
            )
        return found

    def variables(self, pairs: Sequence[Pair]) -> tuple[Variable, ...]:
        """The lists of subgroups.

        Raises:
            ValueError: there is no such column, a cell is no number where ranges are asked for, or
                there are not 2 to 20 subgroups.
        """
        return tuple(_variable(text, pairs) for text in self.by)

    @property
    def noun(self) -> str:
        """What the clusters are called.

        Example:
            >>> Grouping("patient_id").noun, Grouping("centre").noun
            ('patients', 'clusters')
        """
        people = re.search("patient|subject|participant|person|sub-", self.cluster, re.IGNORECASE)
        return "patients" if people else "clusters"

    def record(self) -> dict[str, Any]:
        """To be written into the results; nothing where nothing was asked for.

        Example:
            >>> Grouping("patient").record()
            {'cluster': 'patient'}
        """
        asked = {"cluster": self.cluster, "by": list(self.by)}
        return {name: value for name, value in asked.items() if value}

    @classmethod
    def of_record(cls, settings: Mapping[str, Any]) -> Grouping:
        """What :meth:`record` wrote, from the settings of a table."""
        return cls(str(settings.get("cluster", "")), tuple(map(str, settings.get("by", ()))))


def checked_grouping(
    cluster: str | None, by: Sequence[str] | None, pairs: Sequence[Pair]
) -> Grouping:
    """What was asked for, before any work is done.

    Args:
        cluster: see :class:`Grouping`.
        by: as ``--by`` takes it.
        pairs: the cases.

    Raises:
        ValueError: these cases cannot be grouped so.
    """
    grouping = Grouping(cluster or "", parse_by(by or ()))
    grouping.clusters(pairs)
    grouping.variables(pairs)
    return grouping


def parse_by(texts: Sequence[str]) -> tuple[str, ...]:
    """The lists that ``--by`` names: columns by commas, ranges and expressions one at a time.

    Raises:
        ValueError: one is there twice, or empty.

    Example:
        >>> parse_by(["site,sex", "age:40,65"])
        ('site', 'sex', 'age:40,65')
    """
    found: list[str] = []
    for text in texts:
        found += [text] if re.search(r"[:=]", text) else [part.strip() for part in text.split(",")]
    if "" in found:
        raise ValueError(f"--by: a name is empty in {', '.join(map(repr, texts))}")
    names = [column_of(text) for text in found]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"--by: {twice[0]} is there twice")
    return tuple(found)


def column_of(text: str) -> str:
    """What a list of subgroups is called: its column, where it is one.

    Example:
        >>> column_of("age:40,65"), column_of("site")
        ('age', 'site')
    """
    return re.split(r"[:=]", text, maxsplit=1)[0].strip()


def _columns(pairs: Sequence[Pair]) -> list[str]:
    return list(dict.fromkeys(name for pair in pairs for name, _ in pair.columns))


def _cells(option: str, text: str, pairs: Sequence[Pair]) -> dict[str, str]:
    """Of a column, or of what an expression finds in the names."""
    if text in _columns(pairs):
        return {pair.name: dict(pair.columns).get(text, "").strip() for pair in pairs}
    try:
        expression = re.compile(text)
    except re.error as error:
        raise ValueError(f"{option}: {text!r} is no regular expression: {error}") from error
    if expression.groups != 1:
        there = ", ".join(_columns(pairs))
        raise ValueError(
            f"{option}: {text!r} is no column of a manifest "
            f"({f'it has {there}' if there else 'there is none with further columns'}), and no "
            f"regular expression with one group in brackets, such as '^(patient\\d+)_'"
        )
    found = {pair.name: expression.search(pair.name) for pair in pairs}
    if unlike := [name for name, match in found.items() if not match]:
        raise ValueError(
            f"{option}: {text!r} does not fit {len(unlike)} of {len(found)} names of cases, such "
            f"as {', '.join(unlike[:_NAMED])}"
        )
    return {name: (match.group(1) or "") if match else "" for name, match in found.items()}


def _variable(text: str, pairs: Sequence[Pair]) -> Variable:
    name, equals, expression = text.partition("=")
    known = _columns(pairs)
    if equals:
        cells = _cells("--by", expression, pairs)
        return _checked(name.strip(), cells, sorted(set(cells.values())))
    name, colon, cuts = text.partition(":")
    if name not in known:
        raise ValueError(
            f"--by: the manifest has no column {name!r}; it has "
            f"{', '.join(known) or 'none beside the files (--manifest names cases and columns)'}"
        )
    cells = {pair.name: dict(pair.columns).get(name, "").strip() for pair in pairs}
    if not colon:
        return _checked(name, cells, sorted({cell for cell in cells.values() if cell}))
    try:
        limits = [float(cut) for cut in cuts.split(",")]
    except ValueError:
        limits = []
    if not limits or limits != sorted(set(limits)):
        raise ValueError(f"--by: expected rising numbers, such as {name}:40,65, got {text!r}")
    words = [f"below {limits[0]:g}"]
    words += [f"{low:g} to below {high:g}" for low, high in itertools.pairwise(limits)]
    words.append(f"{limits[-1]:g} and above")
    ranges: dict[str, str] = {}
    for case, cell in cells.items():
        try:
            place = sum(float(cell) >= limit for limit in limits) if cell else -1
        except ValueError:
            raise ValueError(f"--by: {name} of {case} is {cell!r} and no number") from None
        ranges[case] = words[place] if place >= 0 else ""
    return _checked(name, ranges, [word for word in words if word in ranges.values()])


def _checked(name: str, cells: Mapping[str, str], levels: Sequence[str]) -> Variable:
    levels = [level for level in levels if level]
    if not 2 <= len(levels) <= _MOST_LEVELS:
        raise ValueError(
            f"--by: {name} makes {len(levels)} subgroups of {len(cells)} cases; there must be 2 to "
            f"{_MOST_LEVELS} (numbers make ranges: {name}:40,65)"
        )
    rest = [NOT_STATED] if not all(cells.values()) else []
    return Variable(
        name, (*levels, *rest), {case: cell or NOT_STATED for case, cell in cells.items()}
    )


def patient_findings(pairs: Sequence[Pair], grouping: Grouping) -> Iterator[DataFinding]:
    """A sentence where several cases seem to be of one patient, and nobody said so."""
    if grouping.cluster:
        return
    for option, groups in _likely(pairs):
        counts = Counter(groups.values())
        several = [name for name, count in counts.items() if count > 1]
        if not several or len(counts) < 2:
            continue
        cases = tuple(case for case, group in groups.items() if counts[group] > 1)
        example = [case for case in cases if groups[case] == several[0]]
        yield DataFinding(
            "clusters",
            f"{len(pairs)} cases seem to be of {len(counts)} patients ({', '.join(example[:2])} of "
            f"one), and intervals take each case for a patient of its own; --cluster {option} "
            f"counts patients",
            cases,
        )
        return


def _likely(pairs: Sequence[Pair]) -> Iterator[tuple[str, dict[str, str]]]:
    """What to give ``--cluster``, and the groups that it makes."""
    for column in _columns(pairs):
        if re.sub(r"[^a-z]", "", column.lower()) in _PATIENT_COLUMNS:
            cells = {pair.name: dict(pair.columns).get(column, "").strip() for pair in pairs}
            if all(cells.values()):
                yield (column if re.fullmatch(r"\w+", column) else f"'{column}'"), cells
    for expression in (_BEGINS_WITH_PATIENT, _ENDS_WITH_VISIT, _BRATS):
        found = {pair.name: re.search(expression, pair.name, re.IGNORECASE) for pair in pairs}
        groups = {name: match.group(1) for name, match in found.items() if match}
        if len(groups) == len(pairs):
            yield f"'{_plain(expression, groups)}'", groups


def _plain(expression: str, groups: Mapping[str, str]) -> str:
    """A shorter expression that makes the same groups, if there is one."""
    case, group = next(iter(groups.items()))
    word, rest = re.split(r"\d", group, maxsplit=1)[0], case[len(group) :]
    for short in (
        rf"^({re.escape(word)}\d+)",
        rf"^(.+?){re.sub('[0-9]+', lambda _: '[0-9]+', re.escape(rest))}$",
    ):
        found = {name: re.search(short, name) for name in groups}
        if all(match and match.group(1) == groups[name] for name, match in found.items()):
            return short
    return f"(?i){expression}"
