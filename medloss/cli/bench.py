"""``medloss bench``: time and memory of losses beside others'."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import click

from medloss.cli.options import (
    FILE,
    Number,
    SectionedCommand,
    Whole,
    check_outputs,
    completed,
    grouped,
    read_shapes,
    tell_written,
    usage_errors,
)
from medloss.cli.terminal import make_console, say
from medloss.runtime.progress import work

if TYPE_CHECKING:
    from medloss.workbench.bench.results import BenchReport

Tell = Callable[[str], None]
Shapes = tuple[tuple[int, ...], ...]

_RIVALS = ("monai", "nnunet", "torch", "exacta")
_SHAPES: dict[str, Shapes] = {
    "cpu": ((2, 14, 96, 96, 96),),
    "cuda": ((2, 2, 128, 128, 128), (2, 14, 96, 96, 96), (1, 105, 128, 128, 128)),
}
_MASKS: dict[str, Shapes] = {
    "cpu": ((2, 14, 96, 96, 96),),
    "cuda": ((2, 14, 96, 96, 96), (4, 1, 256, 256, 256)),
}
_DTYPES = {"cpu": ("float32",), "cuda": ("float32", "bfloat16")}
_ROUNDS = {"cpu": 5, "cuda": 20}
_QUICK_SHAPE, _QUICK_ROUNDS, _QUICK_COPY = (1, 4, 32, 32, 32), 2, 32 << 20
_SMALL_SHAPES: Shapes = (
    (2, 2, 8, 8),
    (4, 2, 64, 64),
    (2, 3, 32, 32, 32),
    (32, 2, 128, 128),
    (8, 2, 256, 256),
)
_SMALL_ROUNDS, _SMALL_CALLS = 15, 20

_SHOWN = {"source", "json_path", "markdown_path", "plot_path", "force"}
_FILES = {"json_path", "markdown_path", "force", "rounds", "sources", "memory", "quick"}
_METRICS = {"metrics", "cases"}
_DISTANCES = {"distances", "shapes", "device", "seed"}
_NOT_SMALL = {"shapes", "memory", "quick"}


class _Measuring(TypedDict):
    rounds: int
    memory: bool
    copy_bytes: int


@dataclass(frozen=True)
class BenchOptions:
    """What the options below were given."""

    more: tuple[str, ...]
    shapes: Shapes
    dtypes: tuple[str, ...]
    labels_dtype: str
    threads: tuple[int, ...]
    rounds: int | None
    sources: tuple[str, ...]
    compiled: bool
    device: str
    spread: float
    seed: int
    memory: bool
    warm_heap: bool
    quick: bool
    source: Path | None
    json_path: Path | None
    markdown_path: Path | None
    plot_path: Path | None
    force: bool
    metrics: bool
    distances: bool
    small: bool
    cases: tuple[str, ...]

    def measuring(self) -> _Measuring:
        """Rounds, memory and the size of the copy."""
        from medloss.workbench.bench.measure import LARGE

        usual = _QUICK_ROUNDS if self.quick else _ROUNDS[self.device]
        return {
            "rounds": self.rounds or (_SMALL_ROUNDS if self.small else usual),
            "memory": self.memory and not self.small,
            "copy_bytes": _QUICK_COPY if self.quick else LARGE,
        }

    def shapes_or(self, usual: dict[str, Shapes]) -> Shapes:
        """Those given, or the usual ones of the device."""
        return self.shapes or ((_QUICK_SHAPE,) if self.quick else usual[self.device])

    def of_losses(self, names: tuple[str, ...]) -> Callable[[Tell], BenchReport]:
        """The suite of losses, ready to run.

        Raises:
            PluginError: a loss that does not exist.
            ValueError: a device that is not there, or one class.
        """
        import torch

        from medloss.offers.host import host
        from medloss.workbench.bench.devices import find_device
        from medloss.workbench.bench.loss_rivals import DEFAULT_LOSSES, SMALL_LOSSES
        from medloss.workbench.bench.losses import LossPlan, run

        names = tuple(dict.fromkeys((*names, *self.more)))
        for name in names:
            host().losses.find(name).load()  # now: not after an hour of measuring the others
        place = find_device(self.device)
        shapes = _SMALL_SHAPES if self.small else self.shapes_or(_SHAPES)
        for shape in shapes:
            if shape[1] < 2:
                raise ValueError(f"--shape: expected at least 2 classes, got {shape[1]}")
        plan = LossPlan(
            losses=names or (SMALL_LOSSES if self.small else DEFAULT_LOSSES),
            shapes=shapes,
            dtypes=tuple(dict.fromkeys(self.dtypes))
            or _DTYPES["cpu" if self.small else self.device],
            labels_dtype=self.labels_dtype,
            threads=tuple(dict.fromkeys(self.threads)) or (torch.get_num_threads(),),
            rivals=(*self.sources, *(["compiled"] if self.compiled else [])),
            calls=_SMALL_CALLS if self.small else 1,
            spread=self.spread,
            seed=self.seed,
            **self.measuring(),
        )
        return lambda tell: run(plan, place, tell)

    def of_metrics(self) -> Callable[[Tell], BenchReport]:
        """The suite of surface metrics, ready to run."""
        from medloss.workbench.bench.metrics import MetricPlan, run

        usual = ("tiny",) if self.quick else ("a", "b", "c", "d")
        plan = MetricPlan(
            cases=tuple(dict.fromkeys(self.cases)) or usual,
            rivals=bool(self.sources),
            **self.measuring(),
        )
        return lambda tell: run(plan, tell)

    def of_distances(self) -> Callable[[Tell], BenchReport]:
        """The suite of distance transforms, ready to run.

        Raises:
            ValueError: a device that is not there, or masks that are neither 2D nor 3D.
        """
        from medloss.workbench.bench.devices import find_device
        from medloss.workbench.bench.distances import DistancePlan, run

        place = find_device(self.device)
        shapes = self.shapes_or(_MASKS)
        for shape in shapes:
            if len(shape) not in (4, 5):
                raise ValueError(f"--shape: expected masks in 2D or 3D, got {shape}")
        plan = DistancePlan(
            shapes=shapes, rivals=bool(self.sources), seed=self.seed, **self.measuring()
        )
        return lambda tell: run(plan, place, tell)


def _sources(context: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    """Read ``monai,torch`` or ``none``."""
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in _RIVALS and names != ("none",):
            raise click.BadParameter(f"expected none or some of {','.join(_RIVALS)}, got {name!r}")
    return () if names == ("none",) else names


_OPTIONS = (
    click.option(
        "--loss",
        "more",
        metavar="LOSS",
        multiple=True,
        shell_complete=completed("loss"),
        help="The same; repeatable.",
    ),
    click.option(
        "--shape",
        "shapes",
        metavar="B,C,...",
        callback=read_shapes,
        multiple=True,
        help="Of the logits or masks; the second number is the classes; repeatable. "
        "[default: 2,14,96,96,96; on CUDA also 2,2,128,128,128 and 1,105,128,128,128]",
    ),
    click.option(
        "--dtype",
        "dtypes",
        type=click.Choice(["float32", "bfloat16", "float16", "float64"]),
        multiple=True,
        help="Of the logits; repeatable. [default: float32; on CUDA also bfloat16]",
    ),
    click.option(
        "--labels-dtype",
        type=click.Choice(["int64", "uint8"]),
        default="int64",
        show_default=True,
        help="Of the targets.",
    ),
    click.option(
        "--threads",
        type=Whole(min=1),
        multiple=True,
        help="For all; repeatable. [default: torch's]",
    ),
    click.option(
        "--rounds",
        type=Whole(min=1),
        help=f"Of time measurements. [default: {_ROUNDS['cpu']}; on CUDA {_ROUNDS['cuda']}; "
        f"with --small {_SMALL_ROUNDS}]",
    ),
    click.option(
        "--rivals",
        "sources",
        metavar="A,B,...",
        callback=_sources,
        default=",".join(_RIVALS),
        show_default=True,
        help="Whose losses to measure beside ours, or none.",
    ),
    click.option(
        "--compiled", is_flag=True, help="Also torch.compile of plain dice_ce and cross_entropy."
    ),
    click.option(
        "--device",
        type=click.Choice(["cpu", "cuda"]),
        default="cpu",
        show_default=True,
        help="Where all run.",
    ),
    click.option(
        "--spread",
        type=Number(min=0),
        default=4.0,
        show_default=True,
        help="Standard deviation of the logits.",
    ),
    click.option("--seed", type=int, default=0, show_default=True, help="Of the random inputs."),
    click.option(
        "--memory/--no-memory",
        default=True,
        help="Measure memory too. [default: memory; never with --small]",
    ),
    click.option(
        "--warm-heap",
        is_flag=True,
        help="Start again with an allocator that keeps what is freed (glibc).",
    ),
    click.option(
        "--quick", is_flag=True, help="A small shape and two rounds, for a first look and for CI."
    ),
    click.option(
        "--from", "source", metavar="FILE", type=FILE, help="Show a JSON file instead of measuring."
    ),
    click.option("--json", "json_path", metavar="FILE", type=FILE, help="Write everything."),
    click.option(
        "--markdown", "markdown_path", metavar="FILE", type=FILE, help="Write the tables."
    ),
    click.option(
        "--plot", "plot_path", metavar="FILE", type=FILE, help="Draw the ratios, .png or .svg."
    ),
    click.option("--force", is_flag=True, help="Overwrite files that exist."),
    click.option(
        "--metrics",
        is_flag=True,
        help="Measure HD95 + ASSD + NSD of label maps instead of losses, beside other packages.",
    ),
    click.option(
        "--distances",
        is_flag=True,
        help="Measure the distance transform of masks instead of losses, beside other packages.",
    ),
    click.option(
        "--small",
        is_flag=True,
        help="Measure the fixed cost of a call: five small shapes, five losses, in each round the "
        f"median of {_SMALL_CALLS} calls in a row.",
    ),
    click.option(
        "--case",
        "cases",
        type=click.Choice(["a", "b", "c", "d", "lesions", "tiny"]),
        multiple=True,
        help="Of --metrics: one organ, 14, 105, 14 hopeless, lesions; repeatable. [default: all]",
    ),
)


_SECTIONS = {
    "What is measured": ("more", "metrics", "distances", "small", "cases", "sources", "compiled"),
    "On what": ("shapes", "dtypes", "labels_dtype", "spread", "seed"),
    "How": ("device", "threads", "rounds", "memory", "warm_heap", "quick"),
    "What comes out": ("source", "json_path", "markdown_path", "plot_path", "force"),
}


@click.command("bench", cls=SectionedCommand, sections=_SECTIONS)
@click.argument("names", metavar="[LOSS]...", nargs=-1, shell_complete=completed("loss"))
@grouped("options", BenchOptions, _OPTIONS)
@click.pass_context
def bench_command(context: click.Context, names: tuple[str, ...], options: BenchOptions) -> None:
    """Measure time and memory of losses, forward plus backward, beside other libraries'.

    All run in one process, alternating, on the same random logits, and every value is compared
    with ours where the definitions are equal. Without LOSS the seven most used are measured.
    --small measures what a call costs whatever its size.
    --metrics and --distances measure surface metrics and the distance transform instead.

    Exit code: 0 when all is well, 1 when values disagree or ours failed, 2 for a wrong command, 4
    when the machine failed or medloss itself did, 130 after Ctrl-C or SIGTERM.
    """
    with usage_errors():
        _check_files(options)
        if options.cases and not options.metrics:
            raise ValueError("--case is an option of --metrics")
        if options.metrics and options.distances:
            raise ValueError("--metrics and --distances are two benchmarks, expected one")
        if options.source is not None:
            _refuse_others(context, _SHOWN, "--from measures nothing")
            report = _read(options.source)
        elif options.metrics:
            _refuse_others(context, _FILES | _METRICS, "--metrics measures no loss")
            measured = options.of_metrics()
        elif options.distances:
            _refuse_others(context, _FILES | _DISTANCES, "--distances measures no loss")
            measured = options.of_distances()
        else:
            if options.small:
                every = {parameter.name for parameter in context.command.params if parameter.name}
                why = "--small measures times, of shapes of its own"
                _refuse_others(context, every - _NOT_SMALL, why)
            measured = options.of_losses(names)
            if options.warm_heap:
                _restart_warm()
    if options.source is None:
        with work("measuring") as measuring:
            report = measured(measuring.says)
    _show(report)
    _write(report, options)
    if report.wrong:
        context.exit(1)


def _check_files(options: BenchOptions) -> None:
    from medloss.workbench.bench.plot import check_plot

    plot = options.plot_path
    check_outputs(options.json_path, options.markdown_path, plot, force=options.force)
    if plot:
        check_plot(plot)


def _refuse_others(context: click.Context, allowed: set[str], why: str) -> None:
    """Refuse what would be ignored."""
    default = click.core.ParameterSource.DEFAULT
    for parameter in context.command.params:
        name = parameter.name
        if name and name not in allowed and context.get_parameter_source(name) != default:
            raise ValueError(f"{why}, so {parameter.opts[0]} has no use")


def _read(path: Path) -> BenchReport:
    from medloss.workbench.bench.results import loads

    if not path.is_file():
        raise ValueError(f"--from: {path} does not exist")
    try:
        return loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"--from: {path}: {error}") from error


def _restart_warm() -> None:
    from medloss.workbench.bench.environment import WARM_HEAP, is_warm, restart_warm

    if not is_warm():
        settings = " ".join(f"{name}={value}" for name, value in WARM_HEAP.items())
        say(f"Starting again with {settings}.", err=True)
        restart_warm()


def _show(report: BenchReport) -> None:

    from medloss.workbench.bench.report import WIDTH, print_report

    console = make_console()
    if not console.is_terminal:
        console = make_console(width=WIDTH)
    print_report(console, report)


def _write(report: BenchReport, options: BenchOptions) -> None:
    from medloss.runtime.files import write_text
    from medloss.workbench.bench.plot import save_plot
    from medloss.workbench.bench.report import markdown
    from medloss.workbench.bench.results import dumps

    if options.json_path:
        write_text(options.json_path, dumps(report))
    if options.markdown_path:
        write_text(options.markdown_path, markdown(report))
    if options.plot_path:
        save_plot(report, options.plot_path)
    tell_written(options.json_path, options.markdown_path, options.plot_path)
