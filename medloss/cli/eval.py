"""``medloss eval``: predictions against references."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from medloss.cli.eval_inputs import (
    BUNDLE_OPTIONS,
    DEFINITION_OPTIONS,
    FILE_OPTIONS,
    VALUE_OPTIONS,
    BundleOptions,
    bundle_options,
    definition_options,
    input_options,
)
from medloss.cli.eval_outputs import (
    RESULT_OPTIONS,
    STATISTICS_OPTIONS,
    WORK_OPTIONS,
    OutputOptions,
    output_options,
)
from medloss.cli.eval_pictures import PICTURE_OPTIONS, ImageOptions, picture_options
from medloss.cli.exits import FAILED, NOT_GOOD_ENOUGH, InterruptedCommand, stops
from medloss.cli.options import PATH, SectionedCommand, usage_errors
from medloss.cli.terminal import make_console, say
from medloss.evaluation.planning import Definition, Settings
from medloss.evaluation.settings import InputSettings
from medloss.runtime.progress import work

if TYPE_CHECKING:
    from rich.console import Console

    from medloss.evaluation.inputs.pairing import Pair
    from medloss.evaluation.outputs.thresholds import Threshold
    from medloss.evaluation.records import CaseResult, ResultTable
    from medloss.evaluation.score import EvalPlan
    from medloss.integrations.bundle.evaluate import BundleCases

_FEW_CASES = 10
_DECIDING = {
    *("device", "cluster", "by"),
    *("lesions_path", "lesion_matching", "lesion_connectivity", "lesion_sizes"),
}
"""Options of the outputs that what is computed depends on."""


_SECTIONS = {
    "Which files belong together": FILE_OPTIONS,
    "What their values mean": VALUE_OPTIONS,
    "What is computed": DEFINITION_OPTIONS,
    "Statistics, and limits": STATISTICS_OPTIONS,
    "What comes out": RESULT_OPTIONS,
    "What its pictures show": PICTURE_OPTIONS,
    "Who does the work": WORK_OPTIONS,
    "A bundle that predicts": BUNDLE_OPTIONS,
}


@click.command(
    "eval",
    cls=SectionedCommand,
    sections=_SECTIONS,
    short_help="Score predictions against references.",
)
@click.argument("prediction", metavar="PRED", type=PATH, required=False)
@click.argument("reference", metavar="REF", type=PATH, required=False)
@input_options
@bundle_options
@definition_options
@output_options
@picture_options
@click.pass_context
def eval_command(
    context: click.Context,
    prediction: Path | None,
    reference: Path | None,
    inputs: InputSettings,
    bundle: BundleOptions,
    definition: Definition,
    outputs: OutputOptions,
    shown: ImageOptions,
) -> None:
    """Score predictions against references, in millimetres.

    PRED and REF are two images or two folders, whose images (.nii.gz, .seg.nrrd, .nrrd, .mha,
    .mgz, .tif, .png, .npy, OME-Zarr ...; of PRED also nnU-Net's .npz) are paired by name; --layout
    says how other folders are laid out, or --manifest which files belong together. Images hold
    labels, or probabilities or masks with the classes as their last axis. With --bundle a MONAI
    bundle predicts, and PRED is left out. Of a training of nnU-Net give fold_0, or the folder of
    all folds, and nothing else.

    Exit code: 0 when every case was scored, 1 when a case failed or an image belongs to none, 2
    for a wrong command, 3 when a mean is worse than --fail-under or --fail-over, or --accept is not
    met, 4 when the machine failed (a full disk, no memory, workers that die) or medloss itself did,
    130 after Ctrl-C or SIGTERM.
    """
    with usage_errors():
        outputs.check()
        shown.check_taken(reference)
        said = Settings.of(inputs, definition, outputs.defined)
        inputs, outputs = said.inputs, dataclasses.replace(outputs, **said.outputs)
        predicted = bundle.open(prediction, reference, inputs, outputs)
        found = None if predicted else inputs.cases(prediction, reference)
        pairs = predicted.pairs if predicted else found.pairs if found else ()
        for sentence in () if found is None else inputs.overruled(found):
            say(f"Warning: {sentence}.", err=True)
        shown.check(pairs, report=outputs.folder is not None and outputs.report)
        pairs = shown.find(pairs)
        plan = outputs.extend(said.plan(found), pairs, said.definition)
        plan = predicted.extend(plan) if predicted else plan
        if plan.inputs.decode and (told := plan.inputs.decode.fitted_to(p.name for p in pairs)):
            say(f"Warning: {told}.", err=True)
        thresholds = outputs.thresholds(plan)
        outputs.checked(plan)
        context.with_resource(outputs.prepared())
    command, debug = _command_text(context), bool(context.find_root().params.get("debug"))
    with stops(outputs.again):
        code = _run(pairs, plan, outputs, shown, thresholds, command, debug=debug, bundle=predicted)
    context.exit(code)


def _command_text(context: click.Context) -> str:
    """The command that computes the same numbers: without paths of outputs and ways of working."""
    kinds = (OutputOptions, ImageOptions)
    ways = {field.name for kind in kinds for field in dataclasses.fields(kind)} - _DECIDING
    words = ["medloss", "eval"]
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        value = context.params.get(name)
        if not given or name in ways:
            continue
        if isinstance(parameter, click.Argument):
            words.append(str(value))
        elif isinstance(parameter, click.Option) and parameter.is_flag:
            words.append((parameter.opts if value else parameter.secondary_opts)[-1])
        else:
            for item in value if isinstance(value, tuple) else (value,):
                words += [parameter.opts[-1], str(item)]
    return shlex.join(words)


def _run(
    pairs: tuple[Pair, ...],
    plan: EvalPlan,
    outputs: OutputOptions,
    shown: ImageOptions,
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
    from medloss.evaluation.outputs.tables import by_definition, make_table
    from medloss.evaluation.score import complete

    cases = complete(_evaluate(pairs, plan, outputs, bundle), plan)
    table = outputs.noted(make_table(cases, plan))
    definitions = by_definition(cases, plan)
    written = _write(table, definitions, plan, outputs, shown, command)
    _show(make_console(), table, definitions, plan, outputs)
    if written:
        say(f"Wrote {_listed(written)}.")
    if debug:
        for case in cases:
            say(case.trace, err=True, nl=False)
    return _verdict(table, thresholds)


def _evaluate(
    pairs: tuple[Pair, ...], plan: EvalPlan, outputs: OutputOptions, bundle: BundleCases | None
) -> list[CaseResult]:
    from medloss.evaluation.outputs.folder import JOURNAL
    from medloss.evaluation.run import evaluate_all
    from medloss.evaluation.score import evaluate
    from medloss.work.engine import Interrupted

    folder, total = outputs.folder, len(pairs)

    def begin(kept: int, outdated: int, damaged: int) -> None:
        # Less to do, rather than done at once: the time left is that of the others.
        cases.expects(total - kept)
        if kept or outdated or damaged:
            changed = f"; files of {outdated} others have changed, which are scored anew"
            lost = f"; {damaged} lines of the journal are damaged, and those cases scored anew"
            said = f"{changed if outdated else ''}{lost if damaged else ''}"
            say(f"{kept} of {total} cases were scored before{said}.", err=True)

    try:
        with work("cases", total) as cases:
            return evaluate_all(
                pairs,
                plan,
                workers=1 if bundle else outputs.worker_count(pairs),
                scheduler=outputs.scheduler,
                evaluator=bundle.evaluate if bundle else evaluate,
                journal=None if folder is None else folder / JOURNAL,
                on_begin=begin,
                on_case=lambda _: cases.step(),
            )
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    except Interrupted as interrupt:
        kept = f"{interrupt.done} of {interrupt.of} cases are scored"
        lost = f" and kept. {outputs.again}" if folder else "; nothing is kept without --output."
        raise InterruptedCommand(f"interrupted: {kept}{lost}") from interrupt


def _write(
    table: ResultTable,
    definitions: Sequence[ResultTable],
    plan: EvalPlan,
    outputs: OutputOptions,
    shown: ImageOptions,
    command: str,
) -> list[Path]:
    written, folder = outputs.files, outputs.folder
    if not written and folder is None:
        return []
    from medloss.evaluation.outputs.results import write_csv, write_json
    from medloss.evaluation.outputs.tables import with_origin

    table = with_origin(table, plan, command)
    if pictures := shown.chosen().record():
        table = dataclasses.replace(table, settings={**table.settings, "pictures": pictures})
    if outputs.csv_path:
        write_csv(outputs.csv_path, [table], safe=outputs.csv_safe)
    if outputs.lesions_path:
        from medloss.evaluation.outputs.lesions import write_lesions

        write_lesions(outputs.lesions_path, table, safe=outputs.csv_safe)
    if outputs.json_path:
        write_json(outputs.json_path, table)
    if folder is None:
        return written
    from medloss.evaluation.outputs import folder as places

    safe = outputs.csv_safe
    written += places.write_tables(folder, table, outputs.tables, csv_safe=safe)
    if definitions:
        written += places.write_definitions(folder, definitions, csv_safe=safe)
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
    from medloss.evaluation.outputs import terminal

    if outputs.per_case or len(table.cases) <= _FEW_CASES:
        terminal.print_cases(console, table)
    if len(table.cases) > 1:
        terminal.print_summary(console, table)
    terminal.print_intervals(console, table)
    if definitions:
        terminal.print_definitions(console, definitions)
    terminal.print_averages(console, table)
    terminal.print_lesions(console, table)
    terminal.print_pooled(console, table)
    terminal.print_notes(console, table, plan.metrics)
    terminal.print_input_notes(console, table, plan)
    terminal.print_failed(console, table)
    terminal.print_findings(console, table)
    terminal.print_acceptance(console, table)


def _verdict(table: ResultTable, thresholds: Sequence[Threshold]) -> int:
    from medloss.evaluation.outputs.acceptance import acceptances
    from medloss.evaluation.outputs.thresholds import failures

    sentences = failures(thresholds, table)
    for sentence in sentences:
        say(f"Not good enough: {sentence}.", err=True)
    refused = not all(each.passed for each in acceptances(table))
    if table.failed or table.unscored:
        return FAILED
    return NOT_GOOD_ENOUGH if sentences or refused else 0


def _listed(paths: Sequence[Path]) -> str:
    *most, last = map(str, paths)
    return f"{', '.join(most)} and {last}" if most else last
