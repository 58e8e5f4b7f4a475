"""``medloss compare``: several runs on the same cases."""

from __future__ import annotations

from pathlib import Path

import click

from medloss.cli.options import CSV_SAFE, FILE, check_outputs, tell_written, usage_errors
from medloss.cli.terminal import make_console


@click.command("compare", short_help="Compare output folders of eval on the same cases.")
@click.argument("folders", metavar="FOLDER FOLDER...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--name",
    "names",
    metavar="NAME",
    multiple=True,
    help="Of a run, in the order of the folders; repeatable.  [default: the folder's]",
)
@click.option(
    "-m",
    "--metric",
    "metrics",
    metavar="NAME",
    multiple=True,
    help="Compare by this one; repeatable. Holm's rule adjusts for those that are compared.  "
    "[default: all]",
)
@click.option("--common-cases", is_flag=True, help="Compare on the cases that all runs have.")
@click.option("--common-labels", is_flag=True, help="Compare on the labels that all runs have.")
@click.option("--common-metrics", is_flag=True, help="Compare by the metrics that all runs have.")
@click.option(
    "--allow-different-definitions",
    is_flag=True,
    help="Compare numbers that were made by different presets, policies or options.",
)
@click.option("--resamples", type=click.IntRange(min=100), default=2000, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--csv", "csv_path", metavar="FILE", type=FILE, help="Every difference.")
@CSV_SAFE
@click.option("--json", "json_path", metavar="FILE", type=FILE, help="Everything.")
@click.option("--html", "html_path", metavar="FILE", type=FILE, help="A page with figures.")
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
def compare_command(
    folders: tuple[Path, ...],
    names: tuple[str, ...],
    metrics: tuple[str, ...],
    common_cases: bool,
    common_labels: bool,
    common_metrics: bool,
    allow_different_definitions: bool,
    resamples: int,
    seed: int,
    csv_path: Path | None,
    csv_safe: bool,
    json_path: Path | None,
    html_path: Path | None,
    force: bool,
) -> None:
    """Compare runs: output folders of 'medloss eval --output' on the same cases.

    Paired differences with bootstrap intervals, Wilcoxon's signed-rank test with Holm's
    correction, and a ranking with its stability. Runs whose cases, labels, metrics or definitions
    differ are refused, and what differs is said.

    Exit code: 0 when all is well, 2 for a wrong command and for runs that cannot be compared, 4
    when the machine failed or medloss itself did, 130 after Ctrl-C or SIGTERM.
    """
    from medloss.evaluation.compare.outputs import (
        WIDTH,
        print_comparison,
        write_csv,
        write_json,
    )
    from medloss.evaluation.compare.paired import differences
    from medloss.evaluation.compare.ranking import rankings
    from medloss.evaluation.compare.runs import Allowed, ComparedRun, compared_table, run_names
    from medloss.evaluation.outputs.results import read_folder
    from medloss.evaluation.outputs.statistics import Bootstrap

    with usage_errors():
        check_outputs(csv_path, json_path, html_path, force=force)
        if csv_safe and not csv_path:
            raise ValueError("--csv-safe needs --csv FILE")
        if len(folders) < 2:
            raise ValueError(f"expected at least 2 folders, got {len(folders)}")
        if names and (len(names) != len(folders) or len(set(names)) != len(names)):
            raise ValueError(
                f"--name: expected {len(folders)} different names, one for each folder, "
                f"got {', '.join(names)}"
            )
        titles = run_names(folders)
        runs = [
            ComparedRun(name, read_folder(folder))
            for name, folder in zip(names or titles, folders, strict=True)
        ]
        allowed = Allowed(common_cases, common_labels, common_metrics, allow_different_definitions)
        compared = compared_table(runs, metrics=metrics, allowed=allowed)
    bootstrap = Bootstrap(resamples=resamples, seed=seed)
    found = differences(compared, bootstrap)
    ranked = rankings(compared, bootstrap)
    console = make_console()
    if console.width < WIDTH:  # wrapped by the terminal: cutting would hide numbers
        console = make_console(width=WIDTH)
    print_comparison(console, compared, found, ranked, bootstrap)
    if csv_path:
        write_csv(csv_path, found, safe=csv_safe)
    if json_path:
        write_json(json_path, compared, found, ranked, bootstrap)
    if html_path:
        from medloss.evaluation.compare.page import write_comparison  # jinja2

        write_comparison(html_path, compared, found, ranked, bootstrap)
    tell_written(csv_path, json_path, html_path)
