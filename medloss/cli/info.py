"""``medloss info NAME``: the card of a loss, metric, part of a detector, reader or profile."""

from __future__ import annotations

import inspect
from typing import Any

import click

from medloss.cli.options import completed
from medloss.cli.terminal import make_console
from medloss.evaluation.reading.formats import with_own_readers
from medloss.offers.bundle import bundle_block
from medloss.offers.cards import argument_help, read_card
from medloss.offers.host import Offer
from medloss.offers.records import KINDS, Profile, Reader


@click.command("info")
@click.argument("name", required=False, shell_complete=completed(*KINDS))
@click.option("--kind", type=click.Choice(KINDS), help="Where several have the name.")
@click.option("--env", is_flag=True, hidden=True)
def info_command(name: str | None, kind: str | None, env: bool) -> None:
    """Show the card of the loss, metric, part of a detector, reader or profile NAME.

    The card has the formula, range, source, every option with its default, what the loss is at a
    perfect, an all-wrong and an empty case (computed on the spot), and the bundle block.
    """
    if env:
        raise click.UsageError("--env: 'medloss doctor' shows versions, machine and backends")
    if name is None:
        raise click.UsageError("expected the NAME of a loss, metric, reader or profile")
    for offer in with_own_readers().find(name, kind):
        if isinstance(offer.record, Profile):
            _print_profile(offer)
        else:
            _print_card(offer)


def _print_card(offer: Offer[Any]) -> None:
    from rich.markup import escape
    from rich.padding import Padding

    record, target = offer.record, offer.load()
    card = read_card(target)
    console = make_console()
    kind = record.kind
    console.print(
        f"[bold]{record.name}[/] ({record.family} {record.noun}, {offer.plugin.distribution}"
        f" {offer.plugin.version}, {record.target})"
    )
    if record.aliases:
        console.print(f"also found as {', '.join(record.aliases)}")
    console.print(escape(card.summary) + "\n")
    for title, text in card.sections.items():
        if title not in ("Args", "Example", "Returns", "Raises"):
            console.print(f"[bold]{title}[/]")
            console.print(Padding(escape(text.replace("``", "")), (0, 0, 1, 4)))
    if kind == "loss":
        needs = ", ".join(record.needs) or "nothing beside input and target"
        alone = "yes" if record.alone else "no: put a region or distribution loss beside it"
        graph = f"breaks: {escape(record.breaks_graph)}" if record.breaks_graph else "one graph"
        console.print(f"[bold]Needs[/]  {needs}\n[bold]Trains alone[/]  {alone}")
        console.print(f"[bold]Under torch.compile[/]  {graph}\n")
    elif kind == "metric":
        console.print(
            f"[bold]Unit[/]  {record.unit or 'none'}    [bold]Better[/]  {record.better}    "
            f"[bold]Facts[/]  {', '.join(record.facts)}\n"
        )
    if isinstance(record, Reader):
        files = ", ".join(record.suffixes) or "none of its own"
        console.print(f"[bold]Suffixes[/]  {escape(files)}")
        console.print(f"[bold]Known by content[/]  {'yes' if record.claims else 'no'}\n")
        return
    options = _options(target, keyword_only=kind == "metric")
    if options.row_count:
        console.print("[bold]Options[/]")
        console.print(Padding(options, (0, 0, 1, 4)))
    behaviour = _behaviour(offer, target)
    if behaviour.row_count:
        console.print(f"[bold]{'Measured on a 5x5 image' if kind == 'loss' else 'Values'}[/]")
        console.print(Padding(behaviour, (0, 0, 1, 4)))
    console.print("[bold]In a MONAI bundle[/]")
    for line in bundle_block(offer).splitlines():
        console.print("    " + escape(line), soft_wrap=True)
    console.print()


def _print_profile(offer: Offer[Profile]) -> None:
    from rich.markup import escape
    from rich.padding import Padding
    from rich.table import Table

    from medloss.evaluation.profiles.reading import read_profile
    from medloss.evaluation.profiles.telling import lines

    profile, console = read_profile(offer.full_name), make_console()
    console.print(f"[bold]{escape(str(profile))}[/] (profile, {escape(str(offer.plugin))})")
    console.print(escape(profile.summary) + "\n")
    if profile.note:
        console.print("[bold]Note[/]")
        console.print(Padding(escape(profile.note), (0, 0, 1, 4)))
    for title, rows in (("Variants", profile.variants), ("Says", lines(profile.content))):
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
        for row in rows:
            table.add_row(*map(escape, row))
        if rows:
            console.print(f"[bold]{title}[/]")
            console.print(Padding(table, (0, 0, 1, 4)))
    console.print(f"[bold]File[/]  {escape(profile.origin)}", soft_wrap=True)
    for source in profile.content.get("sources", ()):
        console.print(f"[bold]Source[/]  {escape(source)}", soft_wrap=True)


def _options(target: Any, *, keyword_only: bool) -> Any:
    from rich.markup import escape
    from rich.table import Table

    table = Table("option", "default", "meaning", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    meaning = argument_help(target)
    for parameter in inspect.signature(target).parameters.values():
        if keyword_only and parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        any_other = parameter.kind is parameter.VAR_KEYWORD
        required = parameter.default is parameter.empty and not any_other
        default = "required" if required else "" if any_other else repr(parameter.default)
        table.add_row(parameter.name, escape(default), escape(meaning.get(parameter.name, "")))
    return table


def _behaviour(offer: Offer[Any], target: Any) -> Any:
    from rich.table import Table

    from medloss.testing.behaviour import behaviour

    last = "status" if offer.record.kind == "metric" else "largest |gradient|"
    table = Table("case", "value", last, box=None, padding=(0, 2, 0, 0))
    for row in behaviour(offer.record, target):
        table.add_row(*row)
    return table
