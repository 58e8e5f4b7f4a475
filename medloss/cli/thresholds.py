"""``medloss thresholds``: where probabilities become labels, found on validation cases."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medloss.cli.eval_inputs import FILE_OPTIONS, VALUE_OPTIONS, undecided_options
from medloss.cli.exits import FAILED
from medloss.cli.options import (
    FILE,
    PATH,
    SectionedCommand,
    Whole,
    check_outputs,
    completed,
    usage_errors,
)
from medloss.cli.terminal import make_console, say
from medloss.evaluation.planning import Definition, make_plan
from medloss.evaluation.settings import InputSettings
from medloss.runtime.progress import work

if TYPE_CHECKING:
    from rich.console import Console

_SECTIONS = {
    "What is found": ("metric", "folds", "output", "force"),
    "Which files belong together": FILE_OPTIONS,
    "What their values mean": [
        name for name in VALUE_OPTIONS if name not in ("threshold", "decode")
    ],
}


@click.command("thresholds", cls=SectionedCommand, sections=_SECTIONS)
@click.argument("prediction", metavar="PRED", type=PATH, required=False)
@click.argument("reference", metavar="REF", type=PATH, required=False)
@click.option(
    "-m",
    "--metric",
    shell_complete=completed("metric"),
    metavar="NAME[:option=value,...]",
    default="dice",
    show_default=True,
    help="What is to be as good as possible: a metric of 'medloss list'.",
)
@click.option(
    "--folds",
    type=Whole(min=0),
    default=5,
    show_default=True,
    help="Parts of the cases that are decided by the thresholds of the other parts, to tell what "
    "these gain on cases they were not found on; 0 tells nothing.",
)
@click.option("--output", metavar="FILE", type=FILE, required=True, help="Write a JSON file.")
@click.option("--force", is_flag=True, help="Replace the file.")
@undecided_options
@click.pass_context
def thresholds_command(
    context: click.Context,
    prediction: Path | None,
    reference: Path | None,
    metric: str,
    folds: int,
    output: Path,
    force: bool,
    inputs: InputSettings,
) -> None:
    """Find, for each class, the threshold of its probability that is best for a metric.

    PRED and REF are as of 'medloss eval', and PRED holds probabilities of validation cases: not of
    those that are reported. The file is what 'medloss eval --decode FILE' and the transform
    AsDiscreteByThresholdsd decide labels by.

    Exit code: 0 when every case was used, 1 when one could not be, 2 for a wrong command.
    """
    from medloss.decision import write_thresholds
    from medloss.evaluation.thresholds import ROUNDS, find_thresholds

    with usage_errors():
        check_outputs(output, force=force)
        if not output.name.lower().endswith(".json"):
            raise ValueError(f"--output: expected a file .json, by which it is known, got {output}")
        found = inputs.cases(prediction, reference)
        plan = make_plan(inputs, Definition(metrics=(metric,)), found)
        if len(plan.metrics) != 1:
            raise ValueError(f"--metric: expected one metric, got {metric}")
        counted = plan.metrics[0].record.facts == ("counts",)
        passes = 1 + (0 if counted else ROUNDS) + (2 if folds else 0)
        with work("cases read", passes * len(found.pairs)) as cases:
            search = find_thresholds(found.pairs, plan, folds=folds, on_case=cases.step)
        written = write_thresholds(output, search.content)
    for name, reason in search.failed.items():
        say(f"not used: {name}: {reason}", err=True)
    _print(make_console(), written.content)
    say(f"Wrote {output}.")
    context.exit(FAILED if search.failed else 0)


def _print(console: Console, content: Any) -> None:
    from rich.markup import escape
    from rich.table import Table

    names, gains = content.get("names", {}), {x["label"]: x for x in content["out_of_sample"]}
    folds = content["folds"]
    table = Table(
        title=f"Thresholds for {escape(content['metric'])}, {content['cases']} cases",
        caption=f"Gain: on cases of {folds} folds, each by the thresholds of the others"
        if folds
        else None,
    )
    for head in ("label", "threshold", "95% of draws", "before", "after", "gain", "95% interval"):
        table.add_column(head, justify="left" if head == "label" else "right")
    for row in content["labels"]:
        label = row["label"]
        gain = gains.get(label)
        table.add_row(
            escape(f"{label} {names.get(str(label), '')}".strip()),
            f"{row['threshold']:g}",
            _ends(row["low"], row["high"], "g"),
            *(f"{gain[key]:.4f}" if gain else "" for key in ("before", "after")),
            f"{gain['gain']:+.4f}" if gain else "",
            _ends(gain["low"], gain["high"], "+.4f") if gain else "",
        )
    console.print(table)


def _ends(low: float | None, high: float | None, form: str) -> str:
    return "" if low is None or high is None else f"{low:{form}} to {high:{form}}"
