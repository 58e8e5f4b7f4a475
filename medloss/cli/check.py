"""``medloss check``: hold losses and metrics to the contract, or a loss to a real batch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medloss.cli.options import PATH, Number, SectionedCommand, completed, usage_errors
from medloss.cli.preflight import (
    PREFLIGHT_OPTIONS,
    PreflightOptions,
    preflight_options,
    show_report,
)
from medloss.cli.terminal import make_console, say
from medloss.evaluation.reading.formats import with_own_readers
from medloss.offers.folders import as_if_installed
from medloss.offers.host import Offer
from medloss.offers.records import KINDS, Kind, Reader
from medloss.runtime.progress import work

if TYPE_CHECKING:
    from medloss.testing import Outcome

STYLE = {"passed": "green", "failed": "bold red", "exempt": "yellow"}


_SECTIONS = {
    "The contract": ("plugin", "kind", "seconds", "sample"),
    "A loss on a real batch": PREFLIGHT_OPTIONS,
    "What comes out": ("as_json", "json_file"),
}


@click.command("check", cls=SectionedCommand, sections=_SECTIONS)
@click.argument("names", metavar="[NAME | FOLDER]...", nargs=-1, shell_complete=completed(*KINDS))
@click.option("--plugin", help="Everything that this plugin or distribution offers.")
@click.option("--kind", type=click.Choice(KINDS), help="Only one of these kinds.")
@click.option(
    "--seconds",
    type=Number(min=0),
    help="For each check that crosses the options of a loss; 2 by default.",
)
@click.option("--sample", type=PATH, help="A file of the format that a reader NAME reads.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@preflight_options
@click.pass_context
def check_command(
    context: click.Context,
    names: tuple[str, ...],
    plugin: str | None,
    kind: Kind | None,
    seconds: float | None,
    sample: Path | None,
    as_json: bool,
    preflight: PreflightOptions,
) -> None:
    """Hold what is called NAME, or all that a plugin offers, to the contract.

    FOLDER is that of a plugin with a pyproject.toml, "." for example, which need not be installed.

    Each is built with the options of its record's example and must be finite, differentiable,
    symmetric, indifferent to what is masked, and usable in MONAI; its options are crossed with each
    other and with every form of the inputs. It takes up to half a minute for a loss.

    With --bundle, or with --batch (or --prediction and --label) and one NAME or --config: a
    preflight. It tries that loss on a real batch and tells what would spoil the training: dead
    terms, an activation twice or none, labels out of range, half precision, empty patches.

    Exit status: 0 if nothing failed, 1 if something failed or a defect was found, 2 if there is
    nothing to check.
    """
    if preflight.asked:
        if plugin is not None or kind is not None or seconds is not None:
            raise click.UsageError(
                "--plugin, --kind and --seconds belong to the contract, not to a batch"
            )
        if sample is not None:
            raise click.UsageError("--sample belongs to the contract, not to a batch")
        report = preflight.report(names)
        show_report(report, as_json=as_json, path=preflight.json_file)
        context.exit(1 if report.defects else 0)
    preflight.refuse_alone()
    if bool(names) == bool(plugin):
        raise click.UsageError("expected a NAME, a FOLDER or --plugin NAME")
    folders = [name for name in names if _is_folder(name)]
    if folders and [*names] != folders[:1]:
        raise click.UsageError(f"expected the folder {folders[0]!r} alone, got {' '.join(names)}")
    if folders:
        with usage_errors():
            plugin = context.with_resource(as_if_installed(Path(folders[0])))
    offers = _chosen(names, plugin, kind)
    for remark in with_own_readers().remarks(offers):
        say(f"Remark: {remark}", err=True)
    if sample is not None and not any(isinstance(each.record, Reader) for each in offers):
        raise click.UsageError("--sample is a file for a reader, and none is to be checked")
    checked = _checked(offers, seconds=seconds, sample=sample)
    outcomes = _print_json(checked) if as_json else _print_tables(checked)
    if any(outcome.verdict == "failed" for outcome in outcomes):
        context.exit(1)


def _is_folder(name: str) -> bool:
    """Whether a folder is meant: a name of medloss has no separator."""
    return (
        Path(name, "pyproject.toml").is_file()
        or name in (".", "..")
        or any(sign in name for sign in "/\\")
    )


def _chosen(names: tuple[str, ...], plugin: str | None, kind: Kind | None) -> list[Offer[Any]]:
    if plugin is None:
        return list(dict.fromkeys(o for name in names for o in with_own_readers().find(name, kind)))
    offers = [o for o in with_own_readers().of_plugin(plugin) if kind in (None, o.record.kind)]
    if not offers:
        raise click.UsageError(f"--kind: the plugin {plugin!r} offers no {kind}")
    return offers


def _checked(
    offers: Iterable[Offer[Any]], *, seconds: float | None, sample: Path | None
) -> Iterator[tuple[Offer[Any], list[Outcome]]]:
    from medloss.testing import contract_checks

    for offer in offers:
        outcomes = []
        given: dict[str, Any] = (
            {"sample": sample} if sample and isinstance(offer.record, Reader) else {}
        )
        checks = contract_checks(offer, seconds=seconds, **given)
        with work(offer.full_name, len(checks)) as checking:
            for check in checks:
                checking.says(f"{offer.full_name}: {check.check}")
                outcomes.append(check.outcome())
                checking.step()
        yield offer, outcomes


def _print_json(checked: Iterable[tuple[Offer[Any], list[Outcome]]]) -> list[Outcome]:
    rows, everything = [], []
    for offer, outcomes in checked:
        checks = [asdict(outcome) for outcome in outcomes]
        rows.append({"name": offer.full_name, "kind": offer.record.kind, "checks": checks})
        everything += outcomes
    say(json.dumps({"checked": rows, **_counts(everything)}, indent=2))
    return everything


def _print_tables(checked: Iterable[tuple[Offer[Any], list[Outcome]]]) -> list[Outcome]:
    from rich.markup import escape
    from rich.table import Table

    console = make_console()
    everything: list[Outcome] = []
    for offer, outcomes in checked:
        title = f"{offer.record.kind} {offer.full_name} ({offer.plugin.version})"
        table = Table(title=escape(title), title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in ("check", "verdict", "sentence"):
            table.add_column(column, header_style="bold", no_wrap=column != "sentence")
        for outcome in outcomes:
            verdict = f"[{STYLE[outcome.verdict]}]{outcome.verdict}[/]"
            table.add_row(outcome.check, verdict, escape(outcome.message))
        console.print(table)
        console.print()
        everything += outcomes
    counts = ", ".join(f"{number} {verdict}" for verdict, number in _counts(everything).items())
    seconds = sum(outcome.seconds for outcome in everything)
    console.print(f"[bold]{len(everything)} checks in {seconds:.0f} s: {counts}[/]")
    for outcome in everything:
        if outcome.verdict == "failed":
            console.print(f"[bold red]failed[/] {escape(outcome.offer)}: {outcome.check}")
    return everything


def _counts(outcomes: Iterable[Outcome]) -> dict[str, int]:
    verdicts: list[str] = [outcome.verdict for outcome in outcomes]
    return {verdict: verdicts.count(verdict) for verdict in STYLE}
