"""SVG of curves and of a gradient, in the page's own colours so that it reads in light and dark."""

from __future__ import annotations

import base64
import html
import math
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from curves import Curve
from scenes import HEIGHT, WIDTH, Scene, mask_of

_UP, _DOWN = (230, 120, 20), (40, 120, 220)
"""Orange: the prediction is pushed up; blue: down. Both are read on white and on black."""

_W, _H = 300, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 12, 36


def curve_svg(curve: Curve, name: str) -> str:
    """A line of values over places."""
    finite = [v for v in curve.values if math.isfinite(v)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    if low == high:
        high = low + 1
    ticks = _ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    first, last = curve.places[0], curve.places[-1]

    def x(place: float) -> float:
        return _LEFT + (place - first) / (last - first) * (_W - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low) * (_H - _TOP - _BOTTOM)

    parts = [
        f'<line class="rule" x1="{_LEFT}" x2="{_W - _RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in ticks
    ]
    parts += [
        f'<text x="{x(t):.1f}" y="{_H - _BOTTOM + 16}" text-anchor="middle">{t:g}</text>'
        for t in _ticks(first, last)
        if first <= t <= last
    ]
    parts.append(
        f'<line class="mark" x1="{x(curve.mark):.1f}" x2="{x(curve.mark):.1f}" y1="{_TOP}" '
        f'y2="{_H - _BOTTOM}"/>'
    )
    points = " ".join(
        f"{x(place):.1f},{y(value):.1f}"
        for place, value in zip(curve.places, curve.values, strict=True)
        if math.isfinite(value)
    )
    parts.append(f'<polyline class="curve" points="{points}"/>')
    parts.append(
        f'<text x="{(_LEFT + _W - _RIGHT) / 2}" y="{_H - 4}" text-anchor="middle">'
        f"{html.escape(curve.title)}</text>"
    )
    unit = f" ({curve.unit})" if curve.unit else ""
    label = f"{name}{unit} by: {curve.title}; from {min(finite):.3g} to {max(finite):.3g}"
    return _svg(_W, _H, label, parts)


def push_svg(scene: Scene, push: np.ndarray, name: str) -> str:
    """Where a step of descent pushes the prediction, with both outlines."""
    largest = float(abs(push).max()) or 1.0
    strength = np.sqrt(abs(push) / largest)  # so that weak pushes are seen too
    pixels = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    pixels[..., :3] = np.where((push > 0)[..., None], _UP, _DOWN)
    pixels[..., 3] = np.round(255 * strength)
    parts = [
        f'<image width="{WIDTH}" height="{HEIGHT}" image-rendering="pixelated" '
        f'href="data:image/png;base64,{base64.b64encode(png(pixels)).decode()}"/>',
        f'<path class="target" d="{outline(mask_of(scene.depth))}"/>',
        f'<path class="prediction" d="{outline(mask_of(scene.shown))}"/>',
    ]
    return _svg(WIDTH, HEIGHT, f"direction of descent of {name} at each voxel", parts)


def png(pixels: np.ndarray) -> bytes:
    """An RGBA image as a PNG file."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
        + chunk(b"IEND", b"")
    )


def outline(mask: np.ndarray) -> str:
    """The edges between voxels inside and outside."""
    wide = np.pad(mask, 1)
    rows, columns = np.nonzero(wide[1:] != wide[:-1])
    lines = [f"M{c - 1},{r}h1" for r, c in zip(rows, columns, strict=True)]
    rows, columns = np.nonzero(wide[:, 1:] != wide[:, :-1])
    lines += [f"M{c},{r - 1}v1" for r, c in zip(rows, columns, strict=True)]
    return "".join(lines)


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers that cover a range."""
    step = 10.0 ** math.floor(math.log10((high - low) / 2))
    step = next(s for s in (step, 2 * step, 5 * step, 10 * step) if (high - low) / s <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * k, 12) for k in range(first, last + 1)]


def _svg(width: float, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(label)}" '
        f'data-search-exclude="">'
        f"{''.join(parts)}</svg>"
    )
