"""``medloss bench``: time and memory of losses beside others'."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medloss.cli import bench_suites

if TYPE_CHECKING:
    from medloss.workbench.bench.results import Report

_RIVALS = ("monai", "nnunet", "torch", "exacta")
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
        if len(shape) < 3 or min(shape) < 1:
            raise click.BadParameter(f"expected B,C,*spatial, such as 2,14,96,96,96, got {text!r}")
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
    help="Of the logits or masks; the second number is the classes; repeatable. "
    "[default: 2,14,96,96,96; on CUDA also 2,2,128,128,128 and 1,105,128,128,128]",
)
@click.option(
    "--dtype",
    "dtypes",
    type=click.Choice(["float32", "bfloat16", "float16", "float64"]),
    multiple=True,
    help="Of the logits; repeatable. [default: float32; on CUDA also bfloat16]",
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
    "--rounds",
    type=click.IntRange(min=1),
    help=f"Of time measurements. [default: {_ROUNDS}; on CUDA 20]",
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
@click.option(
    "--compiled", is_flag=True, help="Also torch.compile of plain dice_ce and cross_entropy."
)
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
    "--distances",
    is_flag=True,
    help="Measure the distance transform of masks instead of losses, beside other packages.",
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
    distances: bool,
    cases: tuple[str, ...],
) -> None:
    """Measure time and memory of losses, forward plus backward, beside other libraries'.

    All run in one process, alternating, on the same random logits, and every value is compared
    with ours where the definitions are equal. Without LOSS the seven most used are measured.
    --metrics and --distances measure surface metrics and the distance transform instead.

    Exit code: 0 when all is well, 1 when values disagree or ours failed, 2 for a wrong command.
    """
    with _usage_errors():
        _check_outputs(json_path, markdown_path, plot_path, force=force)
        if cases and not metrics:
            raise ValueError("--case is an option of --metrics")
        if metrics and distances:
            raise ValueError("--metrics and --distances are two benchmarks, expected one")
        if source is not None:
            _refuse_others(context, _SHOWN, "--from measures nothing")
            report = _read(source)
        else:
            asked = bench_suites.Asked(
                shapes=shapes,
                rounds=rounds,
                rivals=sources,
                device=device,
                seed=seed,
                memory=memory,
                quick=quick,
            )
            if metrics:
                _refuse_others(context, _FILES | _METRICS, "--metrics measures no loss")
                prepared = bench_suites.metrics(asked, cases)
            elif distances:
                _refuse_others(context, _FILES | _DISTANCES, "--distances measures no loss")
                prepared = bench_suites.distances(asked)
            else:
                prepared = bench_suites.losses(
                    asked, (*names, *more), dtypes, labels_dtype, threads, spread, compiled=compiled
                )
                if warm_heap:
                    _restart_warm()
    if source is None:
        with _status() as tell:
            report = prepared(tell)
    _show(report)
    _write(report, json_path, markdown_path, plot_path)
    if report.wrong:
        context.exit(1)


_SHOWN = {"source", "json_path", "markdown_path", "plot_path", "force"}
_FILES = {"json_path", "markdown_path", "force", "rounds", "sources", "memory", "quick"}
_METRICS = {"metrics", "cases"}
_DISTANCES = {"distances", "shapes", "device", "seed"}


def _check_outputs(*paths: Path | None, force: bool) -> None:
    """Nothing is measured for a file that cannot be written."""
    from medloss.evaluation.outputs.files import check_output
    from medloss.workbench.bench.plot import check_plot

    given = [path for path in paths if path]
    if len({path.resolve() for path in given}) != len(given):
        raise ValueError("two outputs name the same file")
    for path in given:
        check_output(path, force=force)
    plot = paths[-1]
    if plot:
        check_plot(plot)


def _refuse_others(context: click.Context, allowed: set[str], why: str) -> None:
    """Refuse what would be ignored."""
    default = click.core.ParameterSource.DEFAULT
    for parameter in context.command.params:
        name = parameter.name
        if name and name not in allowed and context.get_parameter_source(name) != default:
            raise ValueError(f"{why}, so {parameter.opts[0]} has no use")


def _read(path: Path) -> Report:
    from medloss.workbench.bench.results import loads

    if not path.is_file():
        raise ValueError(f"--from: {path} does not exist")
    return loads(path.read_text(encoding="utf-8"))


def _restart_warm() -> None:
    from medloss.workbench.bench.restart import WARM_HEAP, is_warm, with_warm_heap

    if not is_warm():
        settings = " ".join(f"{name}={value}" for name, value in WARM_HEAP.items())
        click.echo(f"Starting again with {settings}.", err=True)
        with_warm_heap()


def _show(report: Report) -> None:
    from rich.console import Console

    from medloss.workbench.bench.terminal import WIDTH, print_report

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    print_report(console, report)


def _write(
    report: Report, json_path: Path | None, markdown_path: Path | None, plot_path: Path | None
) -> None:
    from medloss.workbench.bench.markdown import markdown
    from medloss.workbench.bench.plot import save_plot
    from medloss.workbench.bench.results import dumps

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
    from medloss.offers.host import PluginError

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
