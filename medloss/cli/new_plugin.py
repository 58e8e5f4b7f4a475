"""``medloss new-plugin``: a package to begin from."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from medloss.cli.options import usage_errors
from medloss.cli.terminal import say


@click.command("new-plugin", short_help="Write a plugin to begin from.")
@click.argument("name")
@click.option(
    "--out",
    "folder",
    default=".",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder in which the one of the plugin is made.  [default: this one]",
)
def new_plugin_command(name: str, folder: Path) -> None:
    """Write a Python package NAME, medloss-mylab for example, that is a plugin of medloss.

    It has a loss, a metric, tests of their values and of the contract, a pyproject.toml, and an
    example of continuous integration; it passes "medloss check" as it is. Change it to your own.

    Exit code: 0 when it is written, 2 for a name that cannot be used and for a folder that exists.
    """
    from medloss.workbench.new_plugin import write_plugin

    with usage_errors(FileExistsError):
        files = write_plugin(name, folder)
    for path in files:
        say(f"wrote {path}")
    written = shlex.quote(str(folder / name)) if os.name == "posix" else f'"{folder / name}"'
    say(f"\nTo hold it to the contract:  medloss check {written}")
    say(f"To use it:                   pip install -e {written}")
