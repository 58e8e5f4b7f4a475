"""``medloss warmup``: compile beforehand what would be compiled at the first use."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medloss.cli.terminal import make_console

if TYPE_CHECKING:
    from medloss.workbench.warmup import WarmupCall


@click.command("warmup")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "--bundle",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What a bundle needs: the loss of its training, and 'eval'.",
)
@click.pass_context
def warmup_command(context: click.Context, names: tuple[str, ...], bundle: Path | None) -> None:
    """Compile now what would be compiled at the first use, and keep it on disk.

    NAME is a loss or metric of 'medloss list', or 'eval' for what 'medloss eval' computes by
    default, or 'all'. For the image of a container, or once on a cluster before many jobs start.
    The machine code is for this kind of processor; it is kept beside the package or, if that
    cannot be written, in the user's cache, or where NUMBA_CACHE_DIR says.

    Exit status: 0 if all is compiled and kept, 1 if something could not be.
    """
    if bool(names) == bool(bundle):
        raise click.UsageError("expected NAMEs, 'eval' or 'all', or --bundle DIR")
    from rich.markup import escape

    from medloss.runtime.keeping import record

    started, before = time.perf_counter(), record()
    console = make_console()
    failed = False
    for step in _progress(list(_steps(names, bundle))):
        try:
            step.run()
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            failed = True
            console.print(f"[bold red]{escape(step.name)}:[/] {escape(str(error))}")
    done = record()
    console.print(
        f"{done.compiled - before.compiled} kernels compiled, "
        f"{done.loaded - before.loaded} were kept already; {time.perf_counter() - started:.1f} s."
    )
    for folder in sorted(done.folders):
        console.print(f"kept in {escape(folder)}", soft_wrap=True)
    if done.lost:
        failed = True
        console.print("[bold red]Not all of it is kept:[/] NUMBA_CACHE_DIR names a folder for it.")
    context.exit(1 if failed else 0)


def _steps(names: tuple[str, ...], bundle: Path | None) -> Iterator[WarmupCall]:
    from medloss.offers.host import host
    from medloss.offers.records import Loss, Metric
    from medloss.workbench import warmup

    if bundle is not None:
        try:
            yield from warmup.of_bundle(bundle)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
    for name in names:
        if name == "all":
            yield from warmup.everything()
        elif name == "eval":
            yield from warmup.of_eval()
        else:
            for offer in host().find(name):
                if isinstance(offer.record, Loss):
                    yield warmup.of_loss(offer)
                elif isinstance(offer.record, Metric):
                    yield warmup.of_metric(offer)
                else:
                    raise click.UsageError(f"{name} is part of a detector: nothing is compiled")


def _progress(steps: list[WarmupCall]) -> Iterable[WarmupCall]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = make_console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("", total=len(steps))
        for step in steps:
            progress.update(task, description=step.name)
            yield step
            progress.advance(task)
