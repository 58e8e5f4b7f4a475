"""What several commands do alike: options in groups, files that are written, wrong commands."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from medloss.cli.exits import Stopped
from medloss.cli.terminal import say
from medloss.offers.host import PluginError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

FILE = click.Path(path_type=Path, dir_okay=False)
PATH = click.Path(path_type=Path)


class Number(click.FloatRange):
    """A number without a unit, of which a share may be ``50%``; ends as of click's."""

    name = "number"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """As the help shows it."""
        return "X"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Read it."""
        if not isinstance(value, str):
            return float(value)
        from medloss.evaluation.requests import read_number

        try:
            number = read_number(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return super().convert(number, param, ctx)


def completed(*kinds: str, also: Sequence[str] = (), several: bool = False) -> Complete:
    """What completes names of what is on offer, in a shell; it imports no torch.

    Args:
        kinds: of records, such as ``"metric"``.
        also: words beside the names.
        several: whether names stand between commas.
    """

    def complete(
        context: click.Context, parameter: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from medloss.evaluation.reading.formats import with_own_readers

        before, comma, begun = incomplete.rpartition(",") if several else ("", "", incomplete)
        offers = [offer for offer in with_own_readers() if offer.record.kind in kinds]
        names = dict.fromkeys(also, "") | {
            name: offer.record.summary
            for offer in offers
            for name in (offer.record.name, *offer.record.aliases)
        }
        return [
            CompletionItem(f"{before}{comma}{name}", help=summary)
            for name, summary in names.items()
            if name.startswith(begun)
        ]

    return complete


class Whole(click.IntRange):
    """A whole number; ends as of click's."""

    name = "whole number"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """As the help shows it."""
        return "N"


OVERRIDE = click.option(
    "--override",
    metavar="ID=VALUE",
    multiple=True,
    help="Entry of the bundle's configuration, such as dataset_dir=/data; repeatable.  The value "
    "is JSON, a Python literal, an expression ($, @) or text.",
)

SPACING = click.option(
    "--spacing",
    metavar="MM,MM,MM",
    help="Voxel size of files that do not state theirs (.npy, .png, plain .tif): along x, y and z, "
    "or in the order of --axes; a file that states another one fails.",
)
AXES = click.option(
    "--axes",
    metavar="ORDER",
    help="What the axes of .npy and .npz arrays are, in their order: zyx, yx; c are classes.  "
    "[default: such a file fails]",
)

CSV_SAFE = click.option(
    "--csv-safe",
    is_flag=True,
    help="In CSV files, put ' before texts that a spreadsheet would run as a formula: those that "
    "begin with = + - @, a tab or a line break.",
)

_OF_THE_MACHINE = (
    *(errno.ENOSPC, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EROFS),
    *([errno.EDQUOT] if hasattr(errno, "EDQUOT") else []),
)
"""Errors of a full disk, a broken one, or too little of anything."""

Command = TypeVar("Command", bound=Callable[..., Any])
Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]


def grouped(
    argument: str, kind: type[Any], options: Sequence[Callable[[Any], Any]]
) -> Callable[[Command], Command]:
    """Give a command these options, as one argument: a dataclass with a field for each.

    A field without an option keeps its default.
    """
    names = [field.name for field in dataclasses.fields(kind)]

    def give(command: Command) -> Command:
        @functools.wraps(command)
        def with_group(*args: Any, **given: Any) -> Any:
            group = kind(**{name: given.pop(name) for name in names if name in given})
            return command(*args, **{argument: group}, **given)

        for option in reversed(options):
            with_group = option(with_group)
        return cast(Command, with_group)

    return give


class SectionedCommand(click.Command):
    """A command whose help lists its options by what they are about.

    Args:
        sections: names of all options by the heading above them.
    """

    def __init__(self, *args: Any, sections: Mapping[str, Sequence[str]], **given: Any) -> None:
        super().__init__(*args, **given)
        self.sections = sections

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        records = {
            param.name: record
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and (record := param.get_help_record(ctx))
        }
        for heading, names in self.sections.items():
            with formatter.section(heading):
                formatter.write_dl([records.pop(name) for name in names])
        with formatter.section("Other"):  # --help
            formatter.write_dl([*records.values()])


def check_outputs(*paths: Path | None, force: bool) -> None:
    """Nothing is computed for a file that cannot be written.

    Raises:
        ValueError: says what is wrong.
    """
    from medloss.runtime.files import check_output

    given = [path for path in paths if path]
    if len({path.resolve() for path in given}) != len(given):
        raise ValueError("two outputs name the same file")
    for path in given:
        check_output(path, force=force)


def tell_written(*paths: Path | None) -> None:
    """Say which files were written, if any."""
    written = [str(path) for path in paths if path]
    if written:
        say(f"Wrote {' and '.join(written)}.")


@contextlib.contextmanager
def usage_errors(*more: type[Exception]) -> Iterator[None]:
    """Turn what is wrong with the command into its error text and exit code 2.

    A path that cannot be looked at is a wrong one, unless the machine is what fails.
    """
    wrong: tuple[type[Exception], ...] = (PluginError, ValueError, *more)
    try:
        yield
    except wrong as error:
        raise click.UsageError(str(error)) from error
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.strerror and error.filename is None and error.errno == errno.ENOENT:
            raise click.UsageError("the current folder has been deleted; go to another") from error
        where = f"{error.filename}: " if error.filename is not None else ""
        sentence = f"{where}{error.strerror}" if error.strerror else str(error)
        if error.errno in _OF_THE_MACHINE:
            raise Stopped(sentence) from error
        raise click.UsageError(sentence) from error


def read_shapes(
    context: click.Context, parameter: click.Parameter, texts: tuple[str, ...]
) -> tuple[tuple[int, ...], ...]:
    """Shapes of words like ``2,14,96,96,96``, each once."""
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
