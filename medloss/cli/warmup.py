"""``medloss warmup``: compile beforehand what would be compiled at the first use."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medloss.cli.options import completed, read_shapes
from medloss.cli.terminal import make_console
from medloss.runtime.progress import work

if TYPE_CHECKING:
    from medloss.workbench.warmup import WarmupCall


@click.command("warmup")
@click.argument(
    "names",
    metavar="[NAME]...",
    nargs=-1,
    shell_complete=completed("loss", "metric", also=("all", "eval")),
)
@click.option(
    "--bundle",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What a bundle needs: the loss of its training, and 'eval'.",
)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    default="cpu",
    show_default=True,
    help="Where the losses are to run; 'cuda' needs --shape.",
)
@click.option(
    "--shape",
    "shapes",
    multiple=True,
    callback=read_shapes,
    help="Of the logits in training, B,C,*spatial: the kernels for a GPU are compiled for it.",
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(["float32", "bfloat16", "float16", "float64"]),
    help="Of the logits, with --shape. [default: float32]",
)
@click.pass_context
def warmup_command(
    context: click.Context,
    names: tuple[str, ...],
    bundle: Path | None,
    device: str,
    shapes: tuple[tuple[int, ...], ...],
    dtypes: tuple[str, ...],
) -> None:
    """Compile now what would be compiled at the first use, and keep it on disk.

    NAME is a loss or metric of 'medloss list', or 'eval' for what 'medloss eval' computes by
    default, or 'all'. For the image of a container, or once on a cluster before many jobs start.
    The machine code is for this kind of processor; it is kept beside the package or, if that
    cannot be written, in the user's cache, or where NUMBA_CACHE_DIR says.

    Kernels for a GPU depend on what a loss is called with: each NAME then takes a forward and a
    backward pass of zeros of each --shape and --dtype, with the options of its example, and Triton
    keeps what it compiled where TRITON_CACHE_DIR says. Once, before the ranks of a training start.

    Exit status: 0 if all is compiled and kept, 1 if something could not be.
    """
    if bool(names) == bool(bundle):
        raise click.UsageError("expected NAMEs, 'eval' or 'all', or --bundle DIR")
    if device == "cuda" and not shapes:
        raise click.UsageError(
            "--device cuda: expected --shape B,C,*spatial, such as that of a patch"
        )
    if shapes and (bundle or {"all", "eval"} & set(names)):
        raise click.UsageError("--shape: expected names of losses")
    if dtypes and not shapes:
        raise click.UsageError("--dtype: expected --shape with it")
    from rich.markup import escape

    from medloss.runtime.keeping import record

    started, before = time.perf_counter(), record()
    console = make_console()
    failed = False
    if shapes:
        steps = list(_passes(names, device, shapes, dtypes or ("float32",)))
    else:
        steps = list(_steps(names, bundle))
    with work("", len(steps)) as compiling:
        for step in steps:
            compiling.says(step.name)
            try:
                step.run()
            except Exception as error:  # noqa: BLE001 - a plugin may raise anything
                failed = True
                console.print(f"[bold red]{escape(step.name)}:[/] {escape(str(error))}")
            compiling.step()
    done = record()
    if device == "cuda":
        took_s = time.perf_counter() - started
        console.print(f"{len(steps)} training steps; {took_s:.1f} s; kept by Triton.")
        context.exit(1 if failed else 0)
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
                    yield warmup.of_loss(offer, classes=2)
                elif isinstance(offer.record, Metric):
                    yield warmup.of_metric(offer)
                else:
                    raise click.UsageError(f"{name} is part of a detector: nothing is compiled")


def _passes(
    names: tuple[str, ...], device: str, shapes: tuple[tuple[int, ...], ...], dtypes: Sequence[str]
) -> Iterator[WarmupCall]:
    import torch

    from medloss.offers.host import host
    from medloss.offers.records import Loss
    from medloss.workbench import warmup

    if device == "cuda" and not torch.cuda.is_available():
        raise click.UsageError(
            f"--device cuda: torch {torch.__version__} finds no CUDA device here"
        )
    for name in names:
        for offer in host().find(name):
            if not isinstance(offer.record, Loss):
                raise click.UsageError(f"--shape: expected names of losses, got {name}")
            for shape in shapes:
                for dtype in dtypes:
                    yield warmup.of_training_step(offer, device, shape, getattr(torch, dtype))
