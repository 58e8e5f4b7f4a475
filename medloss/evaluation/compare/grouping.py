"""Which of the compared cases are of one patient: as asked here, or as eval was asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from medloss.evaluation.compare.runs import ComparedTable, CompareError
from medloss.evaluation.grouping import Grouping, column_of, parse_by, patient_findings
from medloss.evaluation.inputs.pairing import Pair


def grouped_cases(
    compared: ComparedTable, cluster: str | None, by: Sequence[str] = ()
) -> tuple[ComparedTable, Grouping, list[Pair]]:
    """How cases are grouped, and the table with a note on it.

    Args:
        compared: the runs.
        cluster: what was asked for; by default what all runs were evaluated by.
        by: lists of subgroups, as ``--by`` takes them.

    Returns:
        The table, by what cases are grouped, and the cases with all that is known of them.

    Raises:
        CompareError: the runs say different things, and nobody says which counts.
        ValueError: a list of subgroups that is none.
    """
    asked = {run.name: str(run.table.settings.get("cluster", "")) for run in compared.runs}
    if cluster is None and len(set(asked.values())) > 1:
        told = ", ".join(f"{name} by {how or 'nothing'}" for name, how in asked.items())
        raise CompareError(f"the runs were grouped differently ({told}); say --cluster")
    grouping = Grouping(next(iter(asked.values())) if cluster is None else cluster, parse_by(by))
    pairs = _pairs(compared, {grouping.cluster, *map(column_of, grouping.by)})
    notes = compared.notes + tuple(x.sentence for x in patient_findings(pairs, grouping))
    return replace(compared, notes=notes), grouping, pairs


def _pairs(compared: ComparedTable, asked: set[str]) -> list[Pair]:
    """The cases with the columns that any run has kept of them, the first where they differ."""
    columns: dict[str, dict[str, str]] = {name: {} for name in compared.cases}
    for run in compared.runs:
        for case in run.table.cases:
            own = columns.get(case.name)
            for name, cell in case.pair.columns if own is not None else ():
                if own is not None and own.setdefault(name, cell) != cell and name in asked:
                    raise CompareError(
                        f"{name} of {case.name} is {own[name]!r} in one run and {cell!r} in "
                        f"{run.name}"
                    )
    return [Pair(name, None, None, columns=tuple(own.items())) for name, own in columns.items()]
