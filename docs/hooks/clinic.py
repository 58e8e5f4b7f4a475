"""Pictures of docs/clinicians.md, drawn of scores that are computed here.

python docs/hooks/clinic.py      # writes docs/pictures/*.svg again
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from drawing import outline

from medloss.scoring import Case

PICTURES = Path(__file__).parents[1] / "pictures"
SPACING_MM = 0.5
SIDE = 112
_MIDDLE = SIDE / 2 - 0.5
_GREY, _BLUE, _ORANGE = "#7a7a7a", "#2878dc", "#e07814"
"""Read on white and on black; the two colours are told apart by any colour vision."""


@dataclass(frozen=True)
class Scene:
    """A reference and a prediction in 3D, and what is said of them.

    Args:
        title: what is wrong with the prediction.
        reference: mask.
        prediction: mask.
    """

    title: str
    reference: np.ndarray
    prediction: np.ndarray

    def numbers(self) -> dict[str, str]:
        """The scores as a report shows them."""
        case = Case(
            self.reference.astype(np.uint8),
            self.prediction.astype(np.uint8),
            labels=[1],
            spacing_mm=SPACING_MM,
        )
        counts, surfaces = case.counts(1), case.surfaces(1)
        dice = 2 * counts.tp / (counts.reference + counts.prediction)
        return {
            "Dice": f"{dice:.2f}",
            "HD95": f"{surfaces.percentile(95):.1f} mm",
            "HD": f"{surfaces.percentile(100):.1f} mm",
            "NSD at 2 mm": f"{surfaces.share_within(2.0):.2f}",
            "volume": f"{100 * (counts.prediction / counts.reference - 1):+.0f} %",
        }


def ball(radius_mm: float, right_mm: float = 0.0, up_mm: float = 0.0) -> np.ndarray:
    """The voxels within a distance of a point, given from the middle of the image."""
    x, y, z = np.ogrid[:SIDE, :SIDE, :SIDE]
    steps = (x - _MIDDLE) ** 2, (y - _MIDDLE + up_mm * 2) ** 2, (z - _MIDDLE - right_mm * 2) ** 2
    return sum(steps) * SPACING_MM**2 <= radius_mm**2


def size_scenes() -> list[Scene]:
    """The same error on structures of four sizes."""
    return [
        Scene(f"{2 * radius:g} mm across", ball(radius), ball(radius + 1))
        for radius in (20.0, 10.0, 5.0, 2.5)
    ]


def distance_scenes() -> list[Scene]:
    """Three predictions of one structure."""
    whole, far = ball(12.0), ball(2.5, 22.0, 16.0)
    return [
        Scene("1 mm too large everywhere", whole, ball(13.0)),
        Scene("exact, and one far speck", whole, whole | far),
        Scene("exact, and two far specks", whole, whole | far | ball(2.5, 22.0, -16.0)),
    ]


def scenes_svg(scenes: Sequence[Scene], shown: Sequence[str]) -> str:
    """Middle slices side by side, with numbers below."""
    width, height = SIDE + 12, SIDE + 24 + 14 * len(shown)
    parts = []
    for number, scene in enumerate(scenes):
        left, middle = number * width, number * width + SIDE / 2
        slices = scene.reference[SIDE // 2], scene.prediction[SIDE // 2]
        for mask, colour, wide in zip(slices, (_BLUE, _ORANGE), (2.2, 1), strict=True):
            parts.append(
                f'<path transform="translate({left})" d="{outline(mask)}" fill="none" '
                f'stroke="{colour}" stroke-width="{wide}"/>'
            )
        found = scene.numbers()
        texts = [scene.title, *(f"{name} {found[name]}" for name in shown)]
        parts += [_text(middle, SIDE + 14 + 14 * row, text) for row, text in enumerate(texts)]
    told = "; ".join(
        f"{scene.title}: " + ", ".join(f"{name} {scene.numbers()[name]}" for name in shown)
        for scene in scenes
    )
    return _svg(
        len(scenes) * width, height, f"Blue the reference, orange a prediction. {told}", parts
    )


HIDDEN = {
    "all alike": [0.73, 0.74, 0.75, 0.76, 0.77] * 4,
    "three missed": [
        0.93,
        *[0.92, 0.91, 0.9, 0.89, 0.88, 0.86] * 2,
        0.87,
        0.85,
        0.84,
        0.82,
        0,
        0,
        0,
    ],
}
"""Dice of twenty cases, twice."""


def mean_svg() -> str:
    """Two studies with one mean: each case a point."""
    left, wide, row = 90, 320, 46

    def x(value: float) -> float:
        return left + value * wide

    parts = []
    for number, (name, values) in enumerate(HIDDEN.items()):
        y = 26 + number * row
        mean = math.fsum(values) / len(values)
        parts.append(_text(left - 10, y + 4, name, "end"))
        parts.append(
            f'<line x1="{x(0)}" x2="{x(1)}" y1="{y}" y2="{y}" stroke="{_GREY}" stroke-width="0.5"/>'
            f'<line x1="{x(mean):.1f}" x2="{x(mean):.1f}" y1="{y - 14}" y2="{y + 14}" '
            f'stroke="{_ORANGE}" stroke-width="2"/>'
        )
        parts.append(_text(x(mean), y - 18, f"mean {mean:.2f}"))
        seen: dict[float, int] = {}
        for value in values:
            seen[value] = seen.get(value, 0) + 1
            parts.append(
                f'<circle cx="{x(value):.1f}" cy="{y - 5 * (seen[value] - 1)}" r="2.5" '
                f'fill="{_BLUE}" fill-opacity="0.6"/>'
            )
    bottom = 26 + len(HIDDEN) * row
    parts += [_text(x(tick), bottom, f"{tick:g}") for tick in (0, 0.25, 0.5, 0.75, 1)]
    parts.append(_text(x(0.5), bottom + 16, "Dice of each case"))
    label = "Dice of twenty cases in two studies with one mean; in one three are 0"
    return _svg(left + wide + 20, bottom + 22, label, parts)


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    where = f'x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{_GREY}"'
    return f"<text {where}>{html.escape(text)}</text>"


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{1.5 * width:g}" role="img" aria-label="{html.escape(label)}" '
        f'font-family="sans-serif" font-size="9">{"".join(parts)}</svg>\n'
    )


def pictures() -> dict[str, str]:
    """Each picture by the name of its file."""
    return {
        "dice-and-size.svg": scenes_svg(size_scenes(), ("Dice", "HD95")),
        "distances.svg": scenes_svg(
            distance_scenes(), ("Dice", "HD95", "HD", "NSD at 2 mm", "volume")
        ),
        "what-a-mean-hides.svg": mean_svg(),
    }


if __name__ == "__main__":
    PICTURES.mkdir(exist_ok=True)
    for name, svg in pictures().items():
        (PICTURES / name).write_text(svg, encoding="utf-8")
