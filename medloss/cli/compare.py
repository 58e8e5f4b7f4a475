"""``medloss compare``: several runs on the same cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from medloss.cli.options import (
    CSV_SAFE,
    FILE,
    SectionedCommand,
    Whole,
    check_outputs,
    completed,
    tell_written,
    usage_errors,
)
from medloss.cli.terminal import make_console

if TYPE_CHECKING:
    from medloss.evaluation.compare.paired import Missing


_SECTIONS = {
    "What is compared": (
        *("names", "metrics", "common_cases", "common_labels", "common_metrics"),
        *("allow_different_definitions", "profile", "agreement"),
    ),
    "Statistics": (*("cluster", "by", "margins", "primary", "missing", "resamples", "seed"),),
    "What comes out": (
        *("csv_path", "csv_safe", "ranking_path", "json_path", "html_path", "methods_path"),
        "force",
    ),
}


@click.command("compare", cls=SectionedCommand, sections=_SECTIONS)
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
    shell_complete=completed("metric", several=True),
    help="Compare by this one; repeatable.  [default: all]",
)
@click.option(
    "--profile",
    metavar="NAME|FILE",
    shell_complete=completed("profile"),
    help="Also rank as this profile says in its [ranking]: what counts, by which weights, what a "
    "missing case costs; with a map of significance. Of more than 8 runs the differences are those "
    "with the first.",
)
@click.option(
    "--agreement",
    is_flag=True,
    help="How far readers, models, scans and rescans agree on volumes, none of them a reference: "
    "two or more folders of label maps or of eval, or one CSV file with case, perhaps label, and a "
    "column for each. Limits of agreement, ICC, repeatability.",
)
@click.option("--common-cases", is_flag=True, help="Compare on the cases that all runs have.")
@click.option("--common-labels", is_flag=True, help="Compare on the labels that all runs have.")
@click.option("--common-metrics", is_flag=True, help="Compare by the metrics that all runs have.")
@click.option(
    "--allow-different-definitions",
    is_flag=True,
    help="Compare numbers that were made by different presets, policies or options.",
)
@click.option(
    "--cluster",
    metavar="COLUMN|PATTERN",
    help="Several cases of one patient: a column of eval's manifest, or a regular expression with "
    "one group for the names of cases, '^(patient\\d+)_'. Intervals and tests count patients.  "
    "[default: what eval was given]",
)
@click.option(
    "--by",
    multiple=True,
    metavar="COLUMN,...",
    help="Subgroups, listed beforehand, as in 'medloss eval': differences in each, and differences "
    "of these; repeatable.",
)
@click.option(
    "--margin",
    "margins",
    metavar="METRIC[LABEL]=X",
    multiple=True,
    help="Fixed beforehand: by how much a run may be worse. Non-inferiority and equivalence are "
    "tested as well; without [LABEL] for all labels; repeatable.",
)
@click.option(
    "--primary",
    metavar="METRIC[LABEL]",
    multiple=True,
    help="The tests that support the claim, fixed beforehand: Holm's rule adjusts for these, and "
    "the others are descriptive; repeatable.  [default: all tests are one family]",
)
@click.option(
    "--missing",
    type=click.Choice(["worst", "leave-out"]),
    default="worst",
    show_default=True,
    help="What a case counts that failed in one run, or a label that it missed and a policy left "
    "out: the worst value, with the complete cases beside it, or nothing.",
)
@click.option(
    "--resamples",
    type=Whole(min=100),
    default=2000,
    show_default=True,
    help="Of the bootstrap.",
)
@click.option("--seed", type=Whole(min=0), default=0, show_default=True, help="Of the bootstrap.")
@click.option("--csv", "csv_path", metavar="FILE", type=FILE, help="Every difference.")
@CSV_SAFE
@click.option(
    "--ranking",
    "ranking_path",
    metavar="FILE",
    type=FILE,
    help="The ranking of --profile, a line for each run, as CSV.",
)
@click.option("--json", "json_path", metavar="FILE", type=FILE, help="Everything.")
@click.option("--html", "html_path", metavar="FILE", type=FILE, help="A page with figures.")
@click.option(
    "--methods",
    "methods_path",
    metavar="FILE",
    type=FILE,
    help="A methods paragraph and a table for a paper; LaTeX where the suffix is .tex.",
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.pass_context
def compare_command(
    context: click.Context,
    folders: tuple[Path, ...],
    names: tuple[str, ...],
    metrics: tuple[str, ...],
    profile: str | None,
    agreement: bool,
    common_cases: bool,
    common_labels: bool,
    common_metrics: bool,
    allow_different_definitions: bool,
    cluster: str | None,
    by: tuple[str, ...],
    margins: tuple[str, ...],
    primary: tuple[str, ...],
    missing: Missing,
    resamples: int,
    seed: int,
    csv_path: Path | None,
    csv_safe: bool,
    ranking_path: Path | None,
    json_path: Path | None,
    html_path: Path | None,
    methods_path: Path | None,
    force: bool,
) -> None:
    """Compare runs: output folders of 'medloss eval --output' on the same cases.

    Paired differences with intervals and a verdict in words, Wilcoxon's signed-rank test with
    Holm's correction, non-inferiority and equivalence with --margin, and a ranking with its
    stability. Runs whose cases, labels, metrics or definitions differ are refused, and what
    differs is said.

    Exit code: 0 when all is well, 2 for a wrong command and for runs that cannot be compared, 4
    when the machine failed or medloss itself did, 130 after Ctrl-C or SIGTERM.
    """
    outputs = csv_path, json_path, html_path, methods_path
    with usage_errors():
        check_outputs(*outputs, ranking_path, force=force)
        if csv_safe and not (csv_path or ranking_path):
            raise ValueError("--csv-safe needs --csv FILE or --ranking FILE")
        if agreement:
            _check_agreement(context)
    if agreement:
        _agreement(folders, names, outputs, csv_safe=csv_safe)
        return
    from medloss.evaluation.compare.grouping import grouped_cases
    from medloss.evaluation.compare.margins import parse_margin, parse_target
    from medloss.evaluation.compare.outputs import (
        WIDTH,
        print_comparison,
        write_csv,
        write_json,
    )
    from medloss.evaluation.compare.paired import Decisions, differences
    from medloss.evaluation.compare.ranking import rankings
    from medloss.evaluation.compare.runs import Allowed, ComparedRun, compared_table, run_names
    from medloss.evaluation.outputs.results import read_folder
    from medloss.evaluation.outputs.statistics import Bootstrap

    with usage_errors():
        if len(folders) < 2:
            raise ValueError(f"expected at least 2 folders, got {len(folders)}")
        _check_names(names, len(folders))
        titles = run_names(folders)
        runs = [
            ComparedRun(name, read_folder(folder))
            for name, folder in zip(names or titles, folders, strict=True)
        ]
        allowed = Allowed(common_cases, common_labels, common_metrics, allow_different_definitions)
        compared, grouping, pairs = grouped_cases(
            compared_table(runs, metrics=metrics, allowed=allowed), cluster, by
        )
        bootstrap = Bootstrap(resamples=resamples, seed=seed)
        known = compared.measures, compared.every_label
        decisions = Decisions(
            bootstrap,
            missing,
            grouping.clusters(pairs),
            grouping.cluster,
            tuple(parse_margin(text, *known) for text in margins),
            tuple(parse_target("--primary", text, *known) for text in primary),
            subgroups=grouping.variables(pairs),
        )
        challenged = None
        if profile is not None:
            from medloss.evaluation.compare.challenge import MANY, challenge
            from medloss.evaluation.profiles.reading import read_profile

            challenged = challenge(
                compared,
                read_profile(profile),
                bootstrap,
                clusters=decisions.clusters,
                other=allow_different_definitions,
            )
            if len(runs) > MANY:
                first = compared.runs[challenged.order[0]].name
                decisions = dataclasses.replace(decisions, baseline=first)
        elif ranking_path is not None:
            raise ValueError("--ranking needs --profile NAME|FILE")
    found = differences(compared, decisions)
    ranked = rankings(compared, bootstrap, decisions.clusters)
    console = make_console()
    if console.width < WIDTH:  # wrapped by the terminal: cutting would hide numbers
        console = make_console(width=WIDTH)
    if challenged is None or len(runs) <= MANY:
        print_comparison(console, compared, found, ranked, decisions)
    if challenged is not None:
        from medloss.evaluation.compare.challenge_outputs import print_challenge, write_ranking

        print_challenge(console, compared, challenged, ranked[0])
        if ranking_path:
            write_ranking(ranking_path, compared, challenged, safe=csv_safe)
    if csv_path:
        write_csv(csv_path, found, safe=csv_safe)
    if json_path:
        write_json(json_path, compared, found, ranked, decisions, challenged)
    if html_path:
        from medloss.evaluation.compare.page import write_comparison  # jinja2

        write_comparison(html_path, compared, found, ranked, decisions, challenged)
    if methods_path:
        from medloss.evaluation.compare.methods import write_comparison_methods

        write_comparison_methods(methods_path, compared, found, decisions)
    tell_written(*outputs, ranking_path)


def _check_names(names: Sequence[str], wanted: int) -> None:
    if names and (len(names) != wanted or len(set(names)) != len(names)):
        raise ValueError(
            f"--name: expected {wanted} different names, one for each folder, "
            f"got {', '.join(names)}"
        )


_OF_AGREEMENT = {
    *("folders", "names", "agreement", "csv_path", "csv_safe", "json_path", "html_path"),
    *("methods_path", "force"),
}


def _check_agreement(context: click.Context) -> None:
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE
        if given and parameter.name not in _OF_AGREEMENT:
            raise ValueError(f"{parameter.opts[-1]} is for runs with a reference, not --agreement")


def _agreement(
    paths: Sequence[Path],
    names: Sequence[str],
    outputs: tuple[Path | None, ...],
    *,
    csv_safe: bool,
) -> None:
    from medloss.evaluation.compare import agreement
    from medloss.evaluation.compare.runs import run_names
    from medloss.evaluation.compare.volumes import volumes_of_folders, volumes_of_table

    with usage_errors():
        if len(paths) == 1 and not paths[0].is_dir():
            if names:
                raise ValueError("--name: the columns of the file are the names")
            rated = volumes_of_table(paths[0])
        elif len(paths) < 2:
            raise ValueError(f"expected at least 2 folders or one CSV file, got {len(paths)}")
        else:
            _check_names(names, len(paths))
            rated = volumes_of_folders(paths, names or run_names(paths))
    found = agreement.agreements_of(rated)
    agreement.print_agreement(make_console(), rated, found)
    csv_path, json_path, html_path, methods_path = outputs
    if csv_path:
        agreement.write_agreement_csv(csv_path, found, safe=csv_safe)
    if json_path:
        agreement.write_agreement_json(json_path, rated, found)
    if html_path:
        agreement.write_agreement_page(html_path, rated, found)
    if methods_path:
        agreement.write_agreement_methods(methods_path, rated, found)
    tell_written(*outputs)
