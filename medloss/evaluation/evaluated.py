"""What ``medloss.evaluate`` returns: the tables of a study, for notebooks."""

from __future__ import annotations

import contextlib
import dataclasses
import html
import importlib.util
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from medloss.evaluation.inputs.labels import Label
from medloss.evaluation.outputs import folder as places
from medloss.evaluation.outputs.averages import Average, averages
from medloss.evaluation.outputs.formats import number
from medloss.evaluation.outputs.lesions import lesion_entries
from medloss.evaluation.outputs.results import csv_columns, rows, summary_entry
from medloss.evaluation.profiles.telling import profile_sentences
from medloss.evaluation.records import CaseResult, ResultTable, label_key
from medloss.evaluation.requests import named_columns
from medloss.runtime.files import check_output

_IN_PAGE = ("mean", "median", "min", "max")


@dataclasses.dataclass(frozen=True, eq=False)
class Evaluation:
    """The results of a study.

    Args:
        table: all that is known; what the properties are views of.
    """

    table: ResultTable

    @property
    def cases(self) -> Any:
        """A row for each case, label and metric, as ``cases.csv``: a DataFrame with pandas."""
        columns = csv_columns(self.table)
        return _frame(dict(zip(columns, row, strict=True)) for row in rows(self.table))

    @property
    def summary(self) -> Any:
        """A row for each label and metric over all cases, likewise."""
        return _frame(summary_entry(line, self.table) for line in self.table.lines)

    @property
    def lesions(self) -> Any:
        """A row for each lesion, as ``lesions.csv``; none where they were not asked for."""
        return _frame(lesion_entries(self.table))

    @property
    def averages(self) -> tuple[Average, ...]:
        """Means over several labels, where a profile asks for them."""
        return averages(self.table)

    @property
    def failed(self) -> tuple[CaseResult, ...]:
        """Cases without values, each with its error."""
        return self.table.failed

    def mean(self, metric: str, label: int | str | None = None) -> float:
        """The mean of a metric over the cases.

        Args:
            metric: its column, or its name or an alias where that is one column; ``"dice[liver]"``
                names the label too.
            label: number or name; not needed where there is one.

        Raises:
            ValueError: there is no such value, or several.
        """
        columns, own_label = named_columns(metric, [line.column.name for line in self.table.lines])
        asked = [each for each in (label, own_label) if each not in (None, "")]
        lines = [
            line
            for line in self.table.lines
            if line.column.name in columns
            and all(each in (line.label, *self._called(line.label)) for each in asked)
        ]
        if len(lines) != 1:
            has = ", ".join(
                f"{line.column.name}[{label_key(line.label)}]" for line in self.table.lines
            )
            raise ValueError(
                f"metric, label: expected one of {has or 'none'}, got {metric!r}, {label!r}"
            )
        return lines[0].mean

    def _called(self, label: Label | None) -> tuple[str, str]:
        return label_key(label), self.table.label(label_key(label)).name

    def report(self, path: str | Path, *, force: bool = False) -> Path:
        """Write the page of the study, one HTML file.

        Args:
            path: of the page.
            force: replace what is there.

        Raises:
            ValueError: it cannot be written, or is there.
        """
        from medloss.evaluation.outputs.pages import write_page
        from medloss.evaluation.outputs.report import report_page

        page = Path(path)
        with _said_in_python():
            check_output(page, force=force)
        return write_page(page, report_page(self.table, pictures=self._files))

    def save(
        self,
        folder: str | Path,
        *,
        tables: Sequence[str] = (),
        report: bool = True,
        force: bool = False,
    ) -> tuple[Path, ...]:
        """Write what ``medloss eval --output`` writes; ``medloss compare`` reads it.

        Args:
            folder: made if it is not there.
            tables: of ``latex``, ``markdown`` and ``parquet``.
            report: whether the page is written.
            force: replace what an earlier study left there.

        Returns:
            The files.

        Raises:
            ValueError: the folder cannot be written to, or is not empty.
        """
        for name in tables:
            if name not in places.TABLES:
                raise ValueError(f"tables: expected of {', '.join(places.TABLES)}, got {name!r}")
        path = Path(folder)
        with _said_in_python(), places.prepared(path, resume=False, force=force):
            written = places.write_tables(path, self.table, tables)
            if report:
                from medloss.evaluation.outputs.report import write_report

                table = places.placed(self.table, path)
                written.append(write_report(path, table, pictures=self._files))
        return tuple(written)

    @property
    def _files(self) -> bool:
        """Whether pictures can be read from files."""
        return all(case.pair.prediction and case.pair.reference for case in self.table.cases)

    def __repr__(self) -> str:
        means = ", ".join(
            f"{line.column.name}[{self.table.label(label_key(line.label)).title}] "
            f"{number(line.mean, line.column.unit)}"
            for line in self.table.lines[:6]
        )
        more = ", ..." if len(self.table.lines) > 6 else ""
        return f"Evaluation of {len(self.table.cases)} cases: {means}{more}"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{each}</th>" for each in ("metric", "label", "n", *_IN_PAGE))
        body = "".join(
            _row(
                line.column.title,
                self.table.label(label_key(line.label)).title,
                str(line.n),
                *(
                    number(value, line.column.unit)
                    for value in (line.mean, line.median, line.minimum, line.maximum)
                ),
            )
            for line in self.table.lines
        )
        said = [
            *profile_sentences(self.table.profile),
            f"{len(self.table.cases)} cases, {len(self.failed)} failed. Preset: "
            f"{self.table.preset}. {self.table.policy[:1].upper()}{self.table.policy[1:]}",
            *(f"{case.name}: {case.error}" for case in self.failed[:6]),
            *(finding.sentence for finding in self.table.findings[:6]),
        ]
        notes = "".join(f"<p>{html.escape(sentence)}.</p>" for sentence in said)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"


@contextlib.contextmanager
def _said_in_python() -> Iterator[None]:
    """Refusals of the command, with the arguments here."""
    try:
        yield
    except ValueError as error:
        said = str(error).replace("--resume goes on with it, --force begins", "force=True begins")
        said = said.replace("--force overwrites", "force=True overwrites")
        raise ValueError(said.replace("--output names", "give")) from error


def _row(*cells: str) -> str:
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


def _frame(records: Iterable[dict[str, Any]]) -> Any:
    """A DataFrame where pandas is installed, else the records."""
    found = list(records)
    if importlib.util.find_spec("pandas") is None:
        return found
    import pandas

    return pandas.DataFrame(found)
