"""The options that say what the pictures of a report show."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medloss.cli.options import PATH, grouped

if TYPE_CHECKING:
    from medloss.evaluation.inputs.pairing import Pair
    from medloss.evaluation.outputs.report.opened_case import PictureOptions
    from medloss.evaluation.records import ResultTable

_WORST = ""


@dataclass(frozen=True)
class ImageOptions:
    """What the options below were given."""

    images: Path | None
    channel: str | None
    window: str | None
    viewer: tuple[str, ...]

    def check(self, pairs: Sequence[Pair], *, report: bool) -> None:
        """Raise before any work is done for what cannot be shown.

        Args:
            pairs: cases, perhaps with images of a manifest.
            report: whether there will be a page.

        Raises:
            ValueError: says what is wrong.
        """
        given = {name: value for name, value in vars(self).items() if value}
        if given and not report:
            first = next(iter(given))
            raise ValueError(f"--{first} is for the pictures of report.html, which are not wanted")
        images = self.images or any(pair.image or pair.image_problem for pair in pairs)
        if not images:
            for name in ("channel", "window"):
                if name in given:
                    raise ValueError(f"--{name} is of images: give --images DIR")
        if self.window:
            from medloss.evaluation.outputs.report.grey import parse_window

            parse_window(self.window)
        names = {pair.name for pair in pairs}
        for name in self.viewer:
            if name != _WORST and name not in names:
                first = ", ".join(map(repr, sorted(names)[:3]))
                raise ValueError(
                    f"--viewer: no case is called {name!r}; the first are {first or 'none'}"
                )

    def check_taken(self, reference: Path | None) -> None:
        """Raise where ``--viewer`` before an argument took it for the name of a case.

        Args:
            reference: last argument of the command.

        Raises:
            ValueError: says where to write it.
        """
        if reference is not None:
            return
        if taken := next((name for name in self.viewer if name and Path(name).exists()), ""):
            raise ValueError(
                f"Missing argument: --viewer takes {taken!r} for the name of a case; write "
                f"--viewer alone behind PRED and REF, or --viewer=CASE"
            )

    def find(self, pairs: tuple[Pair, ...]) -> tuple[Pair, ...]:
        """Cases with their images.

        Raises:
            ValueError: there are none.
        """
        if self.images is None:
            return pairs
        from medloss.evaluation.inputs.case_images import with_images

        return with_images(self.images, pairs, self.channel or "")

    def chosen(self, table: ResultTable | None = None) -> PictureOptions:
        """What is wanted of pictures.

        Args:
            table: of a folder, whose own wishes hold where nothing else is given.
        """
        from medloss.evaluation.outputs.report.opened_case import PictureOptions

        asked = PictureOptions() if table is None else PictureOptions.of(table)
        if self.images is not None:
            from medloss.evaluation.inputs.case_images import modality

            asked = dataclasses.replace(
                asked, channel="", modality=modality(self.images, self.channel or "")
            )
        return dataclasses.replace(
            asked,
            channel=self.channel or asked.channel,
            window=self.window or asked.window,
            viewer=self.viewer or asked.viewer,
        )


_OPTIONS = (
    click.option(
        "--images",
        metavar="DIR",
        type=PATH,
        help="What the labels were drawn on, below the outlines of report.html: files that are "
        "called like a case, begin with its name (case_0000, case-t1c) or lie in its folder. A "
        "manifest has a column image instead.",
    ),
    click.option(
        "--channel",
        metavar="N|WORD",
        help="Of several images of a case, nnU-Net's number or the last word of the name, such as "
        "1 or flair; of an image with a fourth axis, its place there.  [default: 0, where "
        "there is one]",
    ),
    click.option(
        "--window",
        metavar="LEVEL,WIDTH|NAME",
        help="Shades of the images: 40,400, ct-soft, ct-lung, ct-bone, ct-brain, ct-liver or "
        "percentiles.  [default: for CT by what lies below the labels, else percentiles]",
    ),
    click.option(
        "--viewer",
        metavar="[CASE]",
        multiple=True,
        is_flag=False,
        flag_value=_WORST,
        help="Scroll in report.html through the slices of the worst cases, or of a case by its "
        "name; repeatable. Alone it stands behind all arguments.",
    ),
)

PICTURE_OPTIONS = tuple(field.name for field in dataclasses.fields(ImageOptions))
"""In the order of the help."""

picture_options = grouped("shown", ImageOptions, _OPTIONS)
"""Give a command the options above, as the argument ``shown``."""
