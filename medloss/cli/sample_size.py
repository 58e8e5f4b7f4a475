"""``medloss sample-size``: how many cases a study needs, from a pilot."""

from __future__ import annotations

from pathlib import Path

import click

from medloss.cli.options import PATH, Number, SectionedCommand, completed, usage_errors
from medloss.cli.terminal import say

_SECTIONS = {
    "What is to be shown": ("half_width", "share", "non_inferiority", "equivalence", "advantage"),
    "What is known": ("metric", "sd", "cluster", "design_effect", "dropout"),
    "Statistics": ("power", "alpha"),
}


@click.command("sample-size", cls=SectionedCommand, sections=_SECTIONS)
@click.argument("pilots", metavar="[PILOT [PILOT]]", nargs=-1, type=PATH)
@click.option(
    "-m",
    "--metric",
    metavar="METRIC[LABEL]",
    shell_complete=completed("metric"),
    help="Whose spread counts.  [default: the only one of the pilot]",
)
@click.option(
    "--sd",
    type=Number(0, min_open=True),
    metavar="S",
    help="The standard deviation, instead of a pilot: of the metric for --half-width, of the "
    "paired differences for a margin.",
)
@click.option(
    "--half-width",
    type=Number(0, min_open=True),
    metavar="H",
    help="The 95% interval of a mean is to reach so far to either side; of a share with --share.",
)
@click.option(
    "--non-inferiority",
    type=Number(0, min_open=True),
    metavar="MARGIN",
    help="A run is to be shown not worse than another by this.",
)
@click.option(
    "--equivalence",
    type=Number(0, min_open=True),
    metavar="MARGIN",
    help="Two runs are to be shown alike within this.",
)
@click.option(
    "--share",
    type=Number(0, 1),
    metavar="P",
    help="With --half-width: the expected share of acceptable cases.",
)
@click.option(
    "--advantage",
    type=float,
    default=0.0,
    show_default=True,
    metavar="X",
    help="By how much the new run is truly better, for --non-inferiority.",
)
@click.option(
    "--power",
    type=Number(0, 1, min_open=True, max_open=True),
    default=0.9,
    show_default=True,
    help="Chance to show it where it is so.",
)
@click.option(
    "--alpha",
    type=Number(0, 0.5, min_open=True, max_open=True),
    help="One-sided level of each test.  [default: 0.025 for non-inferiority, 0.05 for "
    "equivalence]",
)
@click.option(
    "--cluster",
    metavar="COLUMN|PATTERN",
    help="Several cases of one patient in the pilot, as in 'medloss eval': its design effect "
    "counts.",
)
@click.option(
    "--design-effect",
    type=Number(0, min_open=True),
    metavar="DE",
    help="How many times as many cases clusters need.  [default: of --cluster, else 1]",
)
@click.option(
    "--dropout",
    type=Number(0, 1, max_open=True),
    default=0.0,
    show_default=True,
    help="Share of cases that will be lost.",
)
def sample_size_command(
    pilots: tuple[Path, ...],
    metric: str | None,
    sd: float | None,
    half_width: float | None,
    non_inferiority: float | None,
    equivalence: float | None,
    share: float | None,
    advantage: float,
    power: float,
    alpha: float | None,
    cluster: str | None,
    design_effect: float | None,
    dropout: float,
) -> None:
    """How many cases a study needs: for an interval so wide, or to show what a margin asks.

    PILOT is a folder of 'medloss eval --output' or its cases.csv; two of them, of two models on
    the same cases, give the spread of the paired differences.

    Exit code: 0, 2 for a wrong command.
    """
    from medloss.evaluation.sample_size import Question, answer, pilot_spread

    with usage_errors():
        question = Question(
            half_width, non_inferiority, equivalence, share, advantage, power, alpha
        )
        question.check()
        spread = None
        if share is not None:
            if pilots or sd is not None or metric or cluster:
                raise ValueError("--share needs no pilot and no --sd")
        elif sd is not None:
            if pilots or metric or cluster:
                raise ValueError("--sd is instead of a pilot; drop PILOT, --metric and --cluster")
        elif not pilots:
            raise ValueError("give a PILOT, or --sd S, or --share P")
        else:
            spread = pilot_spread(pilots, metric, cluster)
            spread.check(question)
        if spread is not None and design_effect is None:
            design_effect = spread.design_effect
        sentences = answer(
            question,
            spread.sd if spread else sd,
            design_effect=1.0 if design_effect is None else design_effect,
            dropout=dropout,
        )
    for sentence in (*(spread.sentences() if spread else ()), *sentences):
        say(sentence)
