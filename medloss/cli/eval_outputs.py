"""The options of ``medloss eval`` that say what comes out, and who does the work."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medloss.cli.options import CSV_SAFE, PATH, Whole, check_outputs, grouped

if TYPE_CHECKING:
    from medloss.evaluation.inputs.pairing import Pair
    from medloss.evaluation.lesions import LesionTable
    from medloss.evaluation.outputs.thresholds import Threshold
    from medloss.evaluation.planning import Definition
    from medloss.evaluation.records import ResultTable
    from medloss.evaluation.score import EvalPlan
    from medloss.scoring.lesions import Connectivity


@dataclass(frozen=True)
class OutputOptions:
    """What the options below were given."""

    folder: Path | None
    csv_path: Path | None
    csv_safe: bool
    lesions_path: Path | None
    lesion_matching: str | None
    lesion_connectivity: Connectivity | None
    lesion_sizes: str | None
    json_path: Path | None
    tables: tuple[str, ...]
    error_maps: bool
    report: bool
    title: str | None
    force: bool
    per_case: bool
    cluster: str | None
    by: tuple[str, ...]
    compare_definitions: bool
    fail_under: tuple[str, ...]
    fail_over: tuple[str, ...]
    accept: tuple[str, ...]
    workers: int | None
    scheduler: str | None
    device: str
    resume: bool

    @property
    def files(self) -> list[Path]:
        """The single files that were asked for."""
        return [path for path in (self.csv_path, self.lesions_path, self.json_path) if path]

    @property
    def defined(self) -> dict[str, Any]:
        """Those that a profile may state."""
        return {"cluster": self.cluster, "by": self.by, "accept": self.accept}

    def check(self) -> None:
        """Raise before any work is done for what cannot be written.

        Raises:
            ValueError: says what is wrong.
        """
        check_outputs(*self.files, force=self.force)
        if self.workers is not None and self.scheduler is not None:
            raise ValueError("--scheduler has workers of its own; drop --workers")
        if self.device != "cpu" and self.scheduler is not None:
            raise ValueError("--scheduler: its workers score on the CPU; drop --device")
        if self.csv_safe and not (self.csv_path or self.lesions_path) and self.folder is None:
            raise ValueError("--csv-safe needs --csv FILE, --lesions FILE or --output DIR")
        if self.lesions_path is None:
            for option, value in (
                ("--lesion-matching", self.lesion_matching),
                ("--lesion-connectivity", self.lesion_connectivity),
                ("--lesion-sizes", self.lesion_sizes),
            ):
                if value is not None:
                    raise ValueError(f"{option} needs --lesions FILE")
        if self.folder is None:
            for option, given in (
                ("--table", self.tables),
                ("--error-maps", self.error_maps),
                ("--no-report", not self.report),
                ("--title", self.title),
                ("--resume", self.resume),
            ):
                if given:
                    raise ValueError(f"{option} needs --output DIR")
        if "parquet" in self.tables:
            from medloss.evaluation.outputs.formats import check_parquet

            check_parquet()

    def prepared(self) -> AbstractContextManager[None]:
        """Make the folder and hold it, so that nobody else writes to it.

        Raises:
            ValueError: it holds something, cannot be made, or somebody else writes to it.
        """
        if self.folder is None:
            return nullcontext()
        from medloss.evaluation.outputs.folder import prepared

        return prepared(self.folder, resume=self.resume, force=self.force)

    @property
    def again(self) -> str:
        """The sentence that says how to go on, where anything is kept."""
        if self.folder is None:
            return ""
        how = "--resume instead of --force" if self.force else "--resume"
        return f"The same command with {how} goes on with {self.folder}."

    def extend(self, plan: EvalPlan, pairs: Sequence[Pair], definition: Definition) -> EvalPlan:
        """The study with what the outputs need to be computed as well, and where that is done.

        Raises:
            ValueError: the device is not there, or the cases cannot be grouped as asked.
        """
        from medloss.evaluation.grouping import checked_grouping
        from medloss.evaluation.score import check_options
        from medloss.work.devices import chosen_device

        grouping = checked_grouping(self.cluster, self.by, pairs)
        plan = dataclasses.replace(plan, device=chosen_device(self.device), grouping=grouping)
        if self.lesions_path is not None:
            plan = dataclasses.replace(plan, lesions=self._lesions(plan))
            check_options(plan)
        if self.compare_definitions:
            from medloss.evaluation.outputs.tables import every_definition

            plan = dataclasses.replace(
                plan, definitions=every_definition(definition.missed, definition.both_empty)
            )
        if self.error_maps and self.folder is not None:
            from medloss.evaluation.outputs.folder import ERROR_MAPS

            # Absolute: who writes them may have another working directory.
            plan = dataclasses.replace(plan, error_maps=self.folder.absolute() / ERROR_MAPS)
        return plan

    def _lesions(self, plan: EvalPlan) -> LesionTable:
        from medloss.evaluation.lesions import LesionTable

        if self.lesion_connectivity is not None and plan.inputs.instances:
            raise ValueError(
                "--lesion-connectivity: with --instances the objects are those of the files"
            )
        try:
            sizes = tuple(float(text) for text in (self.lesion_sizes or "").split(",") if text)
        except ValueError as error:
            raise ValueError(
                f"--lesion-sizes: expected volumes in mm³ such as 100,1000, got "
                f"{self.lesion_sizes!r}"
            ) from error
        own = LesionTable()
        return LesionTable(
            self.lesion_matching or own.matching,
            self.lesion_connectivity or own.connectivity,
            sizes,
        )

    def thresholds(self, plan: EvalPlan) -> tuple[Threshold, ...]:
        """What means must reach.

        Raises:
            ValueError: a threshold that is none.
        """
        if not self.fail_under and not self.fail_over:
            return ()
        from medloss.evaluation.outputs.thresholds import parse_threshold

        return (
            *(parse_threshold(text, "under", plan) for text in self.fail_under),
            *(parse_threshold(text, "over", plan) for text in self.fail_over),
        )

    def checked(self, plan: EvalPlan) -> None:
        """Raise before any work is done for a limit of acceptance that none can be.

        Raises:
            ValueError: says which, and why.
        """
        if not self.accept:
            return
        from medloss.evaluation.outputs.acceptance import parse_limits
        from medloss.evaluation.outputs.tables import columns, known_labels

        parse_limits(self.accept, columns(plan), known_labels(plan))

    def noted(self, table: ResultTable) -> ResultTable:
        """The table with what its page is called and what it must reach."""
        given = {"title": self.title, "acceptance": [*self.accept]}
        said = {name: value for name, value in given.items() if value}
        return dataclasses.replace(table, settings={**table.settings, **said}) if said else table

    def worker_count(self, pairs: tuple[Pair, ...]) -> int:
        """Processes that score; by default a GPU has one, for each takes memory of it."""
        from medloss.evaluation.run import default_workers

        if self.workers is None:
            return default_workers(pairs) if self.device == "cpu" else 1
        return self.workers


TITLE = click.option(
    "--title", metavar="TEXT", help="The heading of report.html.  [default: what was evaluated]"
)
ACCEPT = click.option(
    "--accept",
    multiple=True,
    metavar="LIMIT",
    help="Exit code 3 unless it is met: 'tumour: sensitivity>=0.9' by the mean, 'all: dice>=0.7 in "
    "90% of cases' by each label in so many of its cases; repeatable.",
)
"""Of report.html, in two commands."""

_OPTIONS = (
    click.option(
        "--output",
        "folder",
        metavar="DIR",
        type=PATH,
        help="A folder for everything: cases.csv, summary.json, report.html, and what an "
        "interrupted run needs to go on.",
    ),
    click.option(
        "--table",
        "tables",
        multiple=True,
        type=click.Choice(["latex", "markdown", "parquet"]),
        help="Also write summary.tex, summary.md or cases.parquet there; repeatable.",
    ),
    click.option(
        "--error-maps", is_flag=True, help="Also write where each case is wrong, as NIfTI."
    ),
    click.option("--report/--no-report", default=True, help="Write report.html.  [default: yes]"),
    TITLE,
    click.option("--csv", "csv_path", metavar="FILE", type=PATH, help="Every value."),
    CSV_SAFE,
    click.option(
        "--lesions",
        "lesions_path",
        metavar="FILE",
        type=PATH,
        help="Every lesion of references and predictions as CSV: volume, place, partners, overlap, "
        "distances. With --output also there.",
    ),
    click.option(
        "--lesion-matching",
        metavar="RULE",
        help="Who matches whom in that table, as of the metric lesion_f1.  [default: overlap]",
    ),
    click.option(
        "--lesion-connectivity",
        type=click.Choice(["faces", "edges", "corners"]),
        help="Across what voxels of one lesion are joined there.  [default: corners]",
    ),
    click.option(
        "--lesion-sizes",
        metavar="MM3,...",
        help="Edges between sizes, such as 100,1000: recall and precision of each.",
    ),
    click.option(
        "--json",
        "json_path",
        metavar="FILE",
        type=PATH,
        help="Settings, every value and the summary.",
    ),
    click.option("--force", is_flag=True, help="Replace what --output, --csv and --json name."),
    click.option("--per-case", is_flag=True, help="Show every case, however many there are."),
    click.option(
        "--cluster",
        metavar="COLUMN|PATTERN",
        help="Several cases of one patient: a column of the manifest, or a regular expression with "
        "one group for the names of cases, '^(patient\\d+)_'. Intervals count patients.",
    ),
    click.option(
        "--by",
        multiple=True,
        metavar="COLUMN,...",
        help="Subgroups, listed beforehand: columns of the manifest (site,sex), ranges of one "
        "(age:40,65) or a part of the names (site=^([A-Z]+)_); repeatable.",
    ),
    click.option(
        "--compare-definitions", is_flag=True, help="Every metric by every preset, side by side."
    ),
    click.option(
        "--fail-under",
        multiple=True,
        metavar="METRIC[LABEL]=X",
        help="Exit code 3 if the mean is smaller; without [LABEL], of all labels; repeatable.",
    ),
    click.option(
        "--fail-over",
        multiple=True,
        metavar="METRIC[LABEL]=X",
        help="Exit code 3 if the mean is larger, where lower is better; repeatable.",
    ),
    ACCEPT,
    click.option(
        "--workers",
        type=Whole(min=1),
        metavar="N",
        help="Processes that score; 1 is this one.  [default: one for each processor, 1 for a "
        "study of a few MB and with --device cuda]",
    ),
    click.option(
        "--scheduler",
        metavar="ADDRESS",
        help="Let the workers of a Dask cluster score: tcp://host:port.",
    ),
    click.option(
        "--device",
        default="cpu",
        show_default=True,
        metavar="[cpu|cuda|cuda:N]",
        help="What counts voxels and measures surfaces; workers share cuda, of several in turn.",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on with the study in --output; cases that are done and whose files have not "
        "changed are kept.",
    ),
)

WORK_OPTIONS = ("workers", "scheduler", "device", "resume")
STATISTICS_OPTIONS = (
    *("cluster", "by", "compare_definitions", "fail_under", "fail_over", "accept"),
)
RESULT_OPTIONS = tuple(
    field.name
    for field in dataclasses.fields(OutputOptions)
    if field.name not in (*WORK_OPTIONS, *STATISTICS_OPTIONS)
)
"""What the options are about, in the order of the help."""

output_options = grouped("outputs", OutputOptions, _OPTIONS)
"""Gives a command the options above, as one argument ``outputs``."""
