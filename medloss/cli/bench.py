"""``medloss bench``: time and memory of losses beside others'."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from medloss.bench.results import Report

_RIVALS = ("monai", "nnunet", "torch", "exacta")
_SHAPE = (2, 14, 96, 96, 96)
_QUICK_SHAPE, _QUICK_ROUNDS, _QUICK_COPY = (1, 4, 32, 32, 32), 2, 32 << 20
_ROUNDS = 5


def _shapes(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[int, ...], ...]:
    """Read ``2,14,96,96,96``."""
    shapes = []
    for text in texts:
        try:
            shape = tuple(int(part) for part in text.split(","))
        except ValueError:
            shape = ()
        if len(shape) < 3 or min(shape) < 1 or shape[1] < 2:
            raise click.BadParameter(
                f"expected B,C,*spatial with at least 2 classes, such as 2,14,96,96,96, "
                f"got {text!r}"
            )
        shapes.append(shape)
    return tuple(dict.fromkeys(shapes))


def _sources(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    """Read ``monai,torch`` or ``none``."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in _RIVALS and names != ("none",):
            raise click.BadParameter(f"expected none or some of {','.join(_RIVALS)}, got {name!r}")
    return () if names == ("none",) else names


_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("bench")
@click.argument("names", metavar="[LOSS]...", nargs=-1)
@click.option("--loss", "more", metavar="LOSS", multiple=True, help="The same; repeatable.")
@click.option(
    "--shape",
    "shapes",
    metavar="B,C,...",
    callback=_shapes,
    multiple=True,
    help="Of the logits; the second number is the classes; repeatable. [default: 2,14,96,96,96]",
)
@click.option(
    "--dtype",
    "dtypes",
    type=click.Choice(["float32", "bfloat16", "float16", "float64"]),
    multiple=True,
    help="Of the logits; repeatable. [default: float32]",
)
@click.option(
    "--labels-dtype", type=click.Choice(["int64", "uint8"]), default="int64", show_default=True
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    multiple=True,
    help="For all; repeatable. [default: torch's]",
)
@click.option(
    "--rounds", type=click.IntRange(min=1), help=f"Of time measurements. [default: {_ROUNDS}]"
)
@click.option(
    "--rivals",
    "sources",
    metavar="A,B,...",
    callback=_sources,
    default=",".join(_RIVALS),
    show_default=True,
    help="Whose losses to measure beside ours, or none.",
)
@click.option("--compiled", is_flag=True, help="Also plain torch under torch.compile (dice_ce).")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option(
    "--spread",
    type=click.FloatRange(min=0),
    default=4.0,
    show_default=True,
    help="Standard deviation of the logits.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random inputs.")
@click.option("--memory/--no-memory", default=True, help="Measure memory too. [default: memory]")
@click.option(
    "--warm-heap",
    is_flag=True,
    help="Start again with an allocator that keeps what is freed (glibc).",
)
@click.option(
    "--quick", is_flag=True, help="A small shape and two rounds, for a first look and for CI."
)
@click.option(
    "--from", "source", metavar="FILE", type=_FILE, help="Show a JSON file instead of measuring."
)
@click.option("--json", "json_path", metavar="FILE", type=_FILE, help="Write everything.")
@click.option("--markdown", "markdown_path", metavar="FILE", type=_FILE, help="Write the tables.")
@click.option(
    "--plot", "plot_path", metavar="FILE", type=_FILE, help="Draw the ratios, .png or .svg."
)
@click.option("--force", is_flag=True, help="Overwrite files that exist.")
@click.option(
    "--metrics",
    is_flag=True,
    help="Measure HD95 + ASSD + NSD of label maps instead of losses, beside other packages.",
)
@click.option(
    "--case",
    "cases",
    type=click.Choice(["a", "b", "c", "d", "tiny"]),
    multiple=True,
    help="Of --metrics: one organ, 14, 105, 14 hopeless; repeatable. [default: a b c d]",
)
@click.pass_context
def bench_command(
    context: click.Context,
    names: tuple[str, ...],
    more: tuple[str, ...],
    shapes: tuple[tuple[int, ...], ...],
    dtypes: tuple[str, ...],
    labels_dtype: str,
    threads: tuple[int, ...],
    rounds: int | None,
    sources: tuple[str, ...],
    compiled: bool,
    device: str,
    spread: float,
    seed: int,
    memory: bool,
    warm_heap: bool,
    quick: bool,
    source: Path | None,
    json_path: Path | None,
    markdown_path: Path | None,
    plot_path: Path | None,
    force: bool,
    metrics: bool,
    cases: tuple[str, ...],
) -> None:
    """Measure time and memory of losses, forward plus backward, beside other libraries'.

    All run in one process, alternating, on the same random logits, and every value is compared
    with ours where the definitions are equal. Without LOSS the seven most used are measured.

    Exit code: 0 when all is well, 1 when values disagree or ours failed, 2 for a wrong command.
    """
    from medloss.bench.devices import find_device

    with _usage_errors():
        _check_outputs(json_path, markdown_path, plot_path, force=force)
        if cases and not metrics:
            raise ValueError("--case is an option of --metrics")
        if source is not None:
            _refuse_measuring(context)
            report = _read(source)
        elif metrics:
            _refuse_losses(context)
            report = _metrics(cases, rounds, quick=quick, rivals=bool(sources), memory=memory)
        else:
            losses, place = _losses((*names, *more)), find_device(device)
            if warm_heap:
                _restart_warm()
    if source is None and not metrics:
        from medloss.bench.suite import Plan, run

        plan = Plan(
            losses=losses,
            shapes=shapes or (_QUICK_SHAPE if quick else _SHAPE,),
            dtypes=tuple(dict.fromkeys(dtypes)) or ("float32",),
            labels_dtype=labels_dtype,
            threads=tuple(dict.fromkeys(threads)) or (_torch_threads(),),
            sources=(*sources, *(["compiled"] if compiled else [])),
            rounds=rounds or (_QUICK_ROUNDS if quick else _ROUNDS),
            spread=spread,
            seed=seed,
            memory=memory,
            **({"copy_bytes": _QUICK_COPY} if quick else {}),
        )
        with _status() as tell:
            report = run(plan, place, tell)
    _show(report)
    _write(report, json_path, markdown_path, plot_path)
    if report.wrong:
        context.exit(1)


def _check_outputs(*paths: Path | None, force: bool) -> None:
    """Nothing is measured for a file that cannot be written."""
    from medloss.bench.plot import check_plot
    from medloss.evaluation.writers import check_output

    given = [path for path in paths if path]
    if len({path.resolve() for path in given}) != len(given):
        raise ValueError("two outputs name the same file")
    for path in given:
        check_output(path, force=force)
    plot = paths[-1]
    if plot:
        check_plot(plot)


def _refuse_measuring(context: click.Context) -> None:
    """With ``--from`` nothing is measured, so its options would be ignored."""
    shown = {"source", "json_path", "markdown_path", "plot_path", "force"}
    default = click.core.ParameterSource.DEFAULT
    for parameter in context.command.params:
        name = parameter.name
        if name and name not in shown and context.get_parameter_source(name) != default:
            raise ValueError(f"--from measures nothing, so {parameter.opts[0]} has no use")


def _refuse_losses(context: click.Context) -> None:
    """With ``--metrics`` no loss is measured, so the options of losses would be ignored."""
    loss_only = {
        *("names", "more", "shapes", "dtypes", "labels_dtype", "threads", "compiled", "device"),
        *("spread", "seed", "warm_heap", "plot_path"),
    }
    default = click.core.ParameterSource.DEFAULT
    for parameter in context.command.params:
        name = parameter.name
        if name in loss_only and context.get_parameter_source(name) != default:
            raise ValueError(f"--metrics measures no loss, so {parameter.opts[0]} has no use")


def _metrics(
    cases: tuple[str, ...], rounds: int | None, *, quick: bool, rivals: bool, memory: bool
) -> Report:
    from medloss.bench.metrics import MetricPlan, run

    plan = MetricPlan(
        cases=tuple(dict.fromkeys(cases)) or (("tiny",) if quick else ("a", "b", "c", "d")),
        rivals=rivals,
        rounds=rounds or (_QUICK_ROUNDS if quick else _ROUNDS),
        memory=memory,
        **({"copy_bytes": _QUICK_COPY} if quick else {}),
    )
    with _status() as tell:
        return run(plan, tell)


def _read(path: Path) -> Report:
    from medloss.bench.results import loads

    if not path.is_file():
        raise ValueError(f"--from: {path} does not exist")
    return loads(path.read_text(encoding="utf-8"))


def _losses(names: tuple[str, ...]) -> tuple[str, ...]:
    """Those asked for, which must exist, or the usual ones."""
    from medloss.bench.peers import DEFAULT_LOSSES
    from medloss.host import host

    for name in names:
        host().loss(name).load()  # now: not after an hour of measuring the others
    return tuple(dict.fromkeys(names)) or DEFAULT_LOSSES


def _torch_threads() -> int:
    import torch

    return torch.get_num_threads()


def _restart_warm() -> None:
    from medloss.bench.restart import WARM_HEAP, is_warm, with_warm_heap

    if not is_warm():
        settings = " ".join(f"{name}={value}" for name, value in WARM_HEAP.items())
        click.echo(f"Starting again with {settings}.", err=True)
        with_warm_heap()


def _show(report: Report) -> None:
    from rich.console import Console

    from medloss.bench.terminal import WIDTH, print_report

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    print_report(console, report)


def _write(
    report: Report, json_path: Path | None, markdown_path: Path | None, plot_path: Path | None
) -> None:
    from medloss.bench.markdown import markdown
    from medloss.bench.plot import save_plot
    from medloss.bench.results import dumps

    if json_path:
        json_path.write_text(dumps(report), encoding="utf-8")
    if markdown_path:
        markdown_path.write_text(markdown(report), encoding="utf-8")
    if plot_path:
        save_plot(report, plot_path)
    written = [str(path) for path in (json_path, markdown_path, plot_path) if path]
    if written:
        click.echo(f"Wrote {' and '.join(written)}.")


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn what is wrong with the command into its error text and exit code 2."""
    from medloss.host import PluginError

    try:
        yield
    except (PluginError, ValueError) as error:
        raise click.UsageError(str(error)) from error


@contextlib.contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """What is being done, on a terminal; nothing in a log file."""
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update
