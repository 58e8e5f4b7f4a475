"""``medloss list``: what is on offer, without importing any of it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import click

from medloss.cli.options import completed
from medloss.cli.terminal import make_console, say
from medloss.evaluation.reading.formats import with_own_readers
from medloss.offers.bundle import bundle_block
from medloss.offers.host import OURS, Host, Offer
from medloss.offers.records import KINDS, Profile, Reader, Record

_NAMES = 36
"""Columns for names; a longer one pushes its summary to the right."""

_WIDE = 110
"""Columns of a terminal from which on summaries stand in a table."""


@click.command("list")
@click.argument("names", nargs=-1, shell_complete=completed(*KINDS))
@click.option("--kind", type=click.Choice(KINDS), help="Only one of these kinds.")
@click.option("--family", help="Only this family, for example region.")
@click.option("--long", is_flag=True, help="With whole summaries, plugins and their versions.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--bundle", is_flag=True, help="Print blocks to paste into a MONAI bundle config.")
def list_command(
    names: tuple[str, ...],
    kind: str | None,
    family: str | None,
    long: bool,
    as_json: bool,
    bundle: bool,
) -> None:
    """List every loss, metric, part of a detector, reader and profile on offer, or only NAMES.

    Aliases stand in brackets behind a name, and what is not of medloss itself has the name of its
    distribution before its own. 'medloss info NAME' shows all of one. Plugins that cannot be used
    are listed too, with the reason.
    """
    given = {"--long": long, "--json": as_json, "--bundle": bundle}
    if len(asked := [option for option, on in given.items() if on]) > 1:
        raise click.UsageError(f"{' and '.join(asked)}: expected one of them")
    found = with_own_readers()
    offers = _chosen(found, names, kind, family)
    if as_json:
        say(json.dumps(_as_data(offers, found), indent=2))
    elif bundle:
        for offer in offers:
            if isinstance(offer.record, Reader | Profile):
                continue  # no part of a training
            say(f"# {offer.record.noun} {offer.full_name}: {offer.record.summary}")
            say(bundle_block(offer) + "\n")
    else:
        (_print_tables if long else _print_lines)(offers, found)
        _print_unusable(found)


def _chosen(
    host: Host, names: tuple[str, ...], kind: str | None, family: str | None
) -> list[Offer[Any]]:
    offers = [offer for offer in host if kind in (None, offer.record.kind)]
    if names:
        offers = list(dict.fromkeys(o for name in names for o in host.find(name, kind)))
    if family is not None:
        families = sorted({o.record.family for o in offers})
        if family not in families:
            raise click.BadParameter(
                f"expected one of {', '.join(families)}, got {family!r}", param_hint="--family"
            )
        offers = [o for o in offers if o.record.family == family]
    return offers


def _as_data(offers: list[Offer[Any]], host: Host) -> dict[str, Any]:
    def row(offer: Offer[Any]) -> dict[str, Any]:
        whence = {"plugin": offer.plugin.name, "distribution": offer.plugin.distribution}
        return {**asdict(offer.record), **whence, "version": offer.plugin.version}

    return {
        **{kind: [row(each) for each in found] for kind, found in _by_kind(offers, host)},
        "plugins": [asdict(plugin) for plugin in host.plugins],
    }


def _by_kind(offers: list[Offer[Any]], host: Host) -> Iterator[tuple[str, list[Offer[Any]]]]:
    for catalogue in host.catalogues:
        plural = catalogue.kind.module.rpartition(".")[2]
        yield plural, [each for each in offers if isinstance(each.record, catalogue.kind)]


def _print_lines(offers: list[Offer[Any]], host: Host) -> None:
    """A line for each, which a terminal cuts at its edge, and a pipe does not."""
    from rich.text import Text

    console = make_console()
    groups = itertools.groupby(
        (offer for _, chosen in _by_kind(offers, host) for offer in chosen), key=_heading
    )
    for heading, group in groups:
        rows = [(_called(offer), _in_short(offer.record)) for offer in group]
        width = min(max(len(called) for called, _ in rows), _NAMES)
        console.print(f"[bold]{heading}[/]")
        for called, summary in rows:
            line = f"  {called:{width}}  {summary}"
            if console.is_terminal:
                console.print(Text(line), no_wrap=True, overflow="ellipsis")
            else:
                say(line)


def _heading(offer: Offer[Any]) -> str:
    kind, family = offer.record.kind, offer.record.family
    own = {"loss": f"{family} losses", "metric": f"{family} metrics"}
    heading = own.get(kind, "parts of detectors" if kind == "detection" else f"{kind}s")
    return heading[0].upper() + heading[1:].replace("_", " ")


def _called(offer: Offer[Any]) -> str:
    record = offer.record
    name = record.name if offer.plugin.distribution == OURS else offer.full_name
    return f"{name} ({', '.join(record.aliases)})" if record.aliases else name


def _in_short(record: Record) -> str:
    """The summary, before which a reader has the ends of the names of its files."""
    files = ", ".join(record.suffixes) if isinstance(record, Reader) else ""
    return f"{files}: {record.summary}" if files else record.summary


def _print_tables(offers: list[Offer[Any]], host: Host) -> None:
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    console = make_console()
    for title, chosen in _by_kind(offers, host):
        title = title.capitalize()
        table = Table(
            title=title.capitalize(), title_justify="left", box=None, padding=(0, 2, 0, 0)
        )
        of_files = title == "Readers"
        for column in ("name", "files" if of_files else "family", "plugin", "summary"):
            table.add_column(column, header_style="bold", no_wrap=column != "summary")
        for offer in chosen:
            record, plugin = offer.record, offer.plugin
            where = f"{plugin.distribution} {plugin.version}"
            files = isinstance(record, Reader) and (", ".join(record.suffixes) or "by content")
            row = (record.name, files or record.family, where, record.summary)
            cells = [escape(cell) for cell in row]
            if console.width >= _WIDE:
                table.add_row(*cells)
                continue
            # Beside three columns a summary would be a tower of words: it goes below.
            console.print(f"[bold]{cells[0]}[/]  {cells[1]} {record.noun}, {cells[2]}")
            console.print(Padding(cells[3], (0, 0, 0, 4)))
        if table.row_count:
            console.print(table)
        if chosen:
            console.print()


def _print_unusable(host: Host) -> None:
    from rich.markup import escape

    console = make_console()
    for plugin in host.plugins:
        if plugin.state != "ok":
            console.print(f"[bold red]{plugin.state}[/]: {escape(f'{plugin}: {plugin.reason}')}")
