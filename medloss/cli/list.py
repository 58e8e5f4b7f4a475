"""``medloss list``: what is on offer, without importing any of it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import click

from medloss.cli.bundle import bundle_block
from medloss.offers.host import Host, Offer, host
from medloss.offers.kinds import KINDS, find_offers, kind_of, noun

_WIDE = 110
"""Columns of a terminal from which on summaries stand in a table."""


@click.command("list")
@click.argument("names", nargs=-1)
@click.option("--kind", type=click.Choice(KINDS), help="Only losses, metrics or detection.")
@click.option("--family", help="Only this family, for example region.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--bundle", is_flag=True, help="Print blocks to paste into a MONAI bundle config.")
def list_command(
    names: tuple[str, ...], kind: str | None, family: str | None, as_json: bool, bundle: bool
) -> None:
    """List every loss, metric and part of a detector on offer, or only NAMES.

    Plugins that cannot be used are listed too, with the reason.
    """
    if as_json and bundle:
        raise click.UsageError("--json and --bundle: expected one of them")
    offers = _chosen(host(), names, kind, family)
    if as_json:
        click.echo(json.dumps(_as_data(offers, host()), indent=2))
    elif bundle:
        for offer in offers:
            click.echo(f"# {noun(offer)} {offer.full_name}: {offer.record.summary}")
            click.echo(bundle_block(offer) + "\n")
    else:
        _print_tables(offers, host())


def _chosen(
    host: Host, names: tuple[str, ...], kind: str | None, family: str | None
) -> list[Offer[Any]]:
    everything: list[Offer[Any]] = [*host.losses(), *host.metrics(), *host.detection()]
    offers = [offer for offer in everything if kind in (None, kind_of(offer))]
    if names:
        offers = list(dict.fromkeys(o for name in names for o in find_offers(name, kind)))
    if family is not None:
        families = sorted({o.record.family for o in offers})
        if family not in families:
            raise click.BadParameter(
                f"expected one of {', '.join(families)}, got {family!r}", param_hint="--family"
            )
        offers = [o for o in offers if o.record.family == family]
    return offers


def _as_data(offers: list[Offer[Any]], host: Host) -> dict[str, Any]:
    def rows(kind: str) -> list[dict[str, Any]]:
        return [
            {
                **asdict(offer.record),
                "plugin": offer.plugin.name,
                "distribution": offer.plugin.distribution,
                "version": offer.plugin.version,
            }
            for offer in offers
            if kind_of(offer) == kind
        ]

    return {
        "losses": rows("loss"),
        "metrics": rows("metric"),
        "detection": rows("detection"),
        "plugins": [asdict(plugin) for plugin in host.plugins],
    }


def _print_tables(offers: list[Offer[Any]], host: Host) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    console = Console(highlight=False)
    for kind, title in (("loss", "Losses"), ("metric", "Metrics"), ("detection", "Detection")):
        chosen = [offer for offer in offers if kind_of(offer) == kind]
        table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in ("name", "family", "plugin", "summary"):
            table.add_column(column, header_style="bold", no_wrap=column != "summary")
        for offer in chosen:
            record, plugin = offer.record, offer.plugin
            where = f"{plugin.distribution} {plugin.version}"
            cells = [escape(cell) for cell in (record.name, record.family, where, record.summary)]
            if console.width >= _WIDE:
                table.add_row(*cells)
                continue
            # Beside three columns a summary would be a tower of words: it goes below.
            console.print(f"[bold]{cells[0]}[/]  {cells[1]} {noun(offer)}, {cells[2]}")
            console.print(Padding(cells[3], (0, 0, 0, 4)))
        if table.row_count:
            console.print(table)
        if chosen:
            console.print()
    for plugin in host.plugins:
        if plugin.state != "ok":
            console.print(f"[bold red]{plugin.state}[/]: {escape(f'{plugin}: {plugin.reason}')}")
