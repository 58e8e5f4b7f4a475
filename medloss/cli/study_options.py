"""The options of ``medloss study``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

_Command = TypeVar("_Command", bound=Callable[..., Any])
_FILE = click.Path(path_type=Path, dir_okay=False, exists=True)


@dataclass(frozen=True)
class StudyOptions:
    """What the options below were given."""

    output: Path
    losses: str | None
    losses_file: Path | None
    baseline: str | None
    seeds: str
    folds: int | None
    epochs: int | None
    budget: float | None
    metrics: tuple[str, ...]
    bundle_config: tuple[str, ...]
    override: tuple[str, ...]
    device: str | None
    workers: int | None
    scheduler: str | None
    dry_run: bool
    report_only: bool
    force: bool

    def seed_list(self) -> list[int]:
        """The seeds.

        Raises:
            ValueError: they are no different whole numbers.
        """
        try:
            found = [int(word) for word in self.seeds.split(",")]
        except ValueError as error:
            raise ValueError(
                f"--seeds: expected numbers such as 0,1,2, got {self.seeds!r}"
            ) from error
        if len(set(found)) != len(found) or min(found) < 0:
            raise ValueError(f"--seeds: expected different numbers from 0, got {self.seeds!r}")
        return found


_OPTIONS = (
    click.option(
        "-o",
        "--output",
        metavar="DIR",
        type=click.Path(path_type=Path),
        default=Path("study"),
        show_default=True,
        help="Of the study.",
    ),
    click.option(
        "--losses",
        metavar="A,B,C",
        help="Losses of 'medloss list', with options as eval takes them; '+' joins terms, as in "
        "dice+0.5*focal:gamma=1. One that cannot train alone is added to dice_ce with weight 0.1, "
        "and named so.  [default: dice_ce, dice, cross_entropy, dice_focal, dice_topk, tversky]",
    ),
    click.option(
        "--losses-file",
        metavar="FILE",
        type=_FILE,
        help="More losses: JSON or YAML, from names to such text or to blocks with _target_.",
    ),
    click.option(
        "--baseline", metavar="NAME", help="What the others are compared with.  [default: first]"
    ),
    click.option("--seeds", metavar="N,N", default="0,1,2", show_default=True),
    click.option(
        "--folds",
        metavar="N",
        type=click.IntRange(min=2),
        default=None,
        help="Cross-validate over the bundle's training list.  [default: the bundle's own split]",
    ),
    click.option(
        "--epochs", type=click.IntRange(min=1), help="Of every run.  [default: the bundle's]"
    ),
    click.option(
        "--budget",
        metavar="MINUTES",
        type=click.FloatRange(min=0, min_open=True),
        help="Plan the epochs, equal for all runs, so that the whole study fits.",
    ),
    click.option(
        "-m",
        "--metric",
        "metrics",
        metavar="NAME[:option=value,...]",
        multiple=True,
        help="Repeatable.  [default: dice, sensitivity, specificity, hausdorff95, "
        "normalized_surface_dice:tolerance_mm=1]",
    ),
    click.option(
        "--bundle-config",
        metavar="NAME",
        multiple=True,
        help="File in the bundle's configs; repeatable, later ones win.  [default: train]",
    ),
    click.option(
        "--override",
        metavar="ID=VALUE",
        multiple=True,
        help="Entry of the bundle's configuration, such as dataset_dir=/data; repeatable.",
    ),
    click.option(
        "--device", metavar="NAME", help="cpu, cuda or cuda:N.  [default: the bundle's choice]"
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=1),
        help="Processes.  [default: one for each processor, or 1 on a GPU]",
    ),
    click.option(
        "--scheduler", metavar="ADDRESS", help="A Dask scheduler whose workers train instead."
    ),
    click.option("--dry-run", is_flag=True, help="Show the runs and an estimate of the time."),
    click.option("--report-only", is_flag=True, help="Write tables and report of DIR again."),
    click.option("--force", is_flag=True, help="Delete an earlier study in DIR."),
)


def study_options(command: _Command) -> _Command:
    """Give a command the options above, as one argument ``options``."""
    names = tuple(StudyOptions.__dataclass_fields__)

    @functools.wraps(command)
    def with_study(*args: Any, **given: Any) -> Any:
        options = StudyOptions(**{name: given.pop(name) for name in names})
        return command(*args, options=options, **given)

    for option in reversed(_OPTIONS):
        with_study = option(with_study)
    return with_study  # type: ignore[return-value]
