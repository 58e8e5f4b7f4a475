"""``medloss suggest``: a loss to begin with, from what the labels are like."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from medloss.cli.options import AXES, PATH, SPACING, Whole, usage_errors
from medloss.cli.terminal import make_console, say
from medloss.runtime.progress import tracked


@click.command("suggest")
@click.argument("paths", metavar="LABELS...", nargs=-1, required=True, type=PATH)
@click.option(
    "--labels",
    metavar="LABELS",
    help="1,2 or 1=core,2=oedema,whole=1+2 or a JSON file: names and labels, a dataset.json, "
    "a bundle's metadata.json.  [default: every label found in any file]",
)
@click.option(
    "--cases",
    type=Whole(min=1),
    default=50,
    show_default=True,
    help="Measure at most so many, evenly spread over their names.",
)
@click.option(
    "--patch-size",
    metavar="X,Y,Z",
    default="96,96,96",
    show_default=True,
    help="What a training step sees, in voxels; cut to the image.",
)
@SPACING
@AXES
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.pass_context
def suggest_command(
    context: click.Context,
    paths: tuple[Path, ...],
    labels: str | None,
    cases: int,
    patch_size: str,
    spacing: str | None,
    axes: str | None,
    as_json: bool,
) -> None:
    """Propose a loss for the label maps LABELS: files, or folders of them.

    Measures sizes, parts, thickness and shape of every class, and proposes a baseline and at most
    two changes, each with the numbers that led to it, evidence with its source, cost, and the
    block for a bundle. It reads no images and promises no gain.

    Exit code: 0 when all is well, 1 if a file could not be read, 2 for a wrong command.
    """
    from medloss.evaluation.inputs.labels import parse_labels
    from medloss.evaluation.reading.settled import parse_told
    from medloss.evaluation.reading.stored import CaseError
    from medloss.workbench.suggest.advice import advise
    from medloss.workbench.suggest.cases import find_label_maps, read_case, sample
    from medloss.workbench.suggest.facts import summarize

    with usage_errors():
        patch, told = _parse_patch(patch_size), parse_told(spacing, axes)
        classes = None if labels is None else parse_labels(labels)
        for name, names in ({} if classes is None else classes.table).items():
            if isinstance(name, str):
                raise ValueError(f"{name!r} has no number: write 1={names[-1]}, by the label")
        found = find_label_maps(paths)
    measured, failed = [], []
    for path in tracked(sample(found, cases), "label maps"):
        try:
            measured.append(read_case(path, classes, told))
        except CaseError as error:
            failed.append(str(error))
    if not measured:
        raise click.UsageError(f"no label map can be used: {failed[0]}")
    overlap = classes is not None and (bool(classes.regions) or classes.independent)
    with usage_errors():
        facts = summarize(
            measured,
            None if classes is None else classes.names,
            available=len(found),
            patch=patch,
            exclusive=not overlap and not any(case.overlap for case in measured),
        )
    advice = advise(facts)
    if as_json:
        data = {"facts": asdict(facts), **advice.as_data(), "failed": failed}
        say(json.dumps(data, indent=2))
    else:
        from rich.markup import escape

        from medloss.workbench.suggest.terminal import print_advice, print_facts

        console = make_console()
        for text in failed:
            console.print(f"[bold red]not used:[/] {escape(text)}")
        print_facts(console, facts)
        print_advice(console, advice)
    context.exit(1 if failed else 0)


def _parse_patch(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    sizes = tuple(int(part) for part in parts if part.isascii() and part.isdigit())
    if len(sizes) != len(parts) or len(sizes) not in (2, 3) or min(sizes) < 1:
        raise ValueError(f"--patch-size: expected 2 or 3 sizes such as 96,96,96, got {text!r}")
    return sizes
