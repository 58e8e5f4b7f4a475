"""What ``medloss eval`` does once it knows what to do: score, write, show, judge."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medloss.cli.eval_outputs import OutputOptions

if TYPE_CHECKING:
    from rich.console import Console

    from medloss.cli.eval_bundle import BundleCases
    from medloss.evaluation.inputs.pairing import Pair
    from medloss.evaluation.outputs.thresholds import Threshold
    from medloss.evaluation.records import CaseResult, ResultTable
    from medloss.evaluation.score import EvalPlan

FAILED_CASE, WORSE_THAN_ASKED, INTERRUPTED = 1, 3, 130
_FEW_CASES = 10


class _Stopped(click.ClickException):
    exit_code = INTERRUPTED


def run(
    pairs: tuple[Pair, ...],
    plan: EvalPlan,
    outputs: OutputOptions,
    thresholds: Sequence[Threshold],
    command: str,
    *,
    debug: bool,
    bundle: BundleCases | None = None,
) -> int:
    """Score, write and show; the exit code.

    Raises:
        click.ClickException: the work cannot be done, or was interrupted.
    """
    from rich.console import Console

    from medloss.evaluation.outputs.tables import by_definition, make_table
    from medloss.evaluation.score import complete

    cases = complete(_evaluate(pairs, plan, outputs, bundle), plan)
    table, definitions = make_table(cases, plan), by_definition(cases, plan)
    written = _write(table, definitions, plan, outputs, command)
    _show(Console(highlight=False), table, definitions, plan, outputs)
    if written:
        click.echo(f"Wrote {_listed(written)}.")
    if debug:
        for case in cases:
            click.echo(case.trace, err=True, nl=False)
    return _verdict(table, thresholds)


def _evaluate(
    pairs: tuple[Pair, ...], plan: EvalPlan, outputs: OutputOptions, bundle: BundleCases | None
) -> list[CaseResult]:
    from medloss.evaluation.outputs.folder import JOURNAL
    from medloss.evaluation.run import Interrupted, evaluate_all
    from medloss.evaluation.score import evaluate

    folder = outputs.folder
    again = "" if folder is None else f" The same command with --resume goes on with {folder}."
    try:
        with _progress(len(pairs)) as (begin, advance):
            return evaluate_all(
                pairs,
                plan,
                workers=1 if bundle else outputs.worker_count(pairs),
                scheduler=outputs.scheduler,
                evaluator=bundle.evaluate if bundle else evaluate,
                journal=None if folder is None else folder / JOURNAL,
                on_begin=begin,
                on_case=advance,
            )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except Interrupted as interrupt:
        kept = f"{interrupt.done} of {len(pairs)} cases are scored"
        lost = " and kept." if folder else "; nothing is kept without --output."
        raise _Stopped(f"interrupted: {kept}{lost}{again}") from interrupt
    except (ConnectionError, RuntimeError) as error:
        raise click.ClickException(f"{error}.{again}") from error


def _write(
    table: ResultTable,
    definitions: Sequence[ResultTable],
    plan: EvalPlan,
    outputs: OutputOptions,
    command: str,
) -> list[Path]:
    written, folder = outputs.files, outputs.folder
    if not written and folder is None:
        return []
    from medloss.evaluation.outputs.results import write_csv, write_json
    from medloss.evaluation.outputs.tables import with_origin

    table = with_origin(table, plan, command)
    if outputs.csv_path:
        write_csv(outputs.csv_path, [table])
    if outputs.json_path:
        write_json(outputs.json_path, table)
    if folder is None:
        return written
    from medloss.evaluation.outputs import folder as places

    written += places.write_tables(folder, table, outputs.tables)
    if definitions:
        written += places.write_definitions(folder, definitions)
    if outputs.report:
        from medloss.evaluation.outputs.report import write_report

        written.append(write_report(folder, places.placed(table, folder)))
    if plan.error_maps is not None:
        written.append(folder / places.ERROR_MAPS)
    return written


def _show(
    console: Console,
    table: ResultTable,
    definitions: Sequence[ResultTable],
    plan: EvalPlan,
    outputs: OutputOptions,
) -> None:
    from medloss.evaluation.inputs.input_notes import input_notes
    from medloss.evaluation.outputs import terminal

    if outputs.per_case or len(table.cases) <= _FEW_CASES:
        terminal.print_cases(console, table)
    if len(table.cases) > 1:
        terminal.print_summary(console, table)
    if definitions:
        terminal.print_definitions(console, definitions)
    terminal.print_notes(console, table, plan.metrics)
    for note in input_notes(table.cases, plan):
        console.print(f"{note}.", markup=False, soft_wrap=True)
    terminal.print_failed(console, table)


def _verdict(table: ResultTable, thresholds: Sequence[Threshold]) -> int:
    from medloss.evaluation.outputs.thresholds import failures

    sentences = failures(thresholds, table)
    for sentence in sentences:
        click.echo(f"Not good enough: {sentence}.", err=True)
    if table.failed:
        return FAILED_CASE
    return WORSE_THAN_ASKED if sentences else 0


def _listed(paths: Sequence[Path]) -> str:
    *most, last = map(str, paths)
    return f"{', '.join(most)} and {last}" if most else last


_Begin = Callable[[int, int], None]
_Advance = Callable[[Any], None]


@contextlib.contextmanager
def _progress(total: int) -> Iterator[tuple[_Begin, _Advance]]:
    """A bar on a terminal, and nothing in a log file."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        "cases", *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=total)

        def begin(kept: int, outdated: int) -> None:
            # Less to do, rather than done at once: the time left is that of the others.
            progress.update(task, total=total - kept)
            if kept or outdated:
                changed = f"; files of {outdated} others have changed, which are scored anew"
                click.echo(
                    f"{kept} of {total} cases were scored before{changed if outdated else ''}.",
                    err=True,
                )

        def advance(_: CaseResult) -> None:
            progress.advance(task)

        yield begin, advance
