"""Pages that stand alone: one HTML file with its style, figures and script inside.

Python says where things lie, the templates draw them; every text passes jinja2's autoescape.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from medloss.evaluation.outputs.layout import number
from medloss.evaluation.outputs.writers import whole_file

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


def render(template: str, context: dict[str, Any]) -> str:
    """The page of a template; what the context holds is text, never markup."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("medloss.evaluation.outputs.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(value=value, px=pixels, share=share, p=p_value)
    environment.globals.update(between=between)
    return environment.get_template(template).render(context)


def write_page(path: Path, text: str) -> Path:
    """Write a page, which appears under its name only when it is complete."""
    with whole_file(path) as file:
        # A file name may hold bytes that are no text; they are shown as a replacement sign.
        file.write(text.encode("utf-8", "replace").decode("utf-8"))
    return path


def value(found: float, unit: str = "") -> str:
    """A number to read, with a real minus; a dash where there is none.

    Example:
        >>> value(0.98765), value(-2.5, "mm"), value(float("nan")), value(float("inf"), "mm")
        ('0.9877', '−2.500', '–', '∞')
    """
    if math.isnan(found):
        return DASH
    if math.isinf(found):
        return "∞" if found > 0 else f"{MINUS}∞"
    return number(found, unit).replace("-", MINUS)


def between(low: float, high: float, unit: str = "") -> str:
    """Two ends; one dash where there are none.

    Example:
        >>> between(0.25, 0.5), between(float("nan"), float("nan"))
        ('0.2500 to 0.5000', '–')
    """
    if math.isnan(low) and math.isnan(high):
        return DASH
    return f"{value(low, unit)} to {value(high, unit)}"


def p_value(found: float) -> str:
    """A p value as papers print it.

    Example:
        >>> p_value(0.0123456), p_value(0.00002), p_value(0.6)
        ('0.012', '< 0.001', '0.60')
    """
    if math.isnan(found):
        return DASH
    if found < 0.001:
        return "< 0.001"
    return f"{found:.3f}" if found < 0.1 else f"{found:.2f}"


def share(found: float) -> str:
    """A share in percent.

    Example:
        >>> share(0.123), share(0.999)
        ('12%', '100%')
    """
    return DASH if math.isnan(found) else f"{100 * found:.0f}%"


def pixels(found: float) -> str:
    """A place in a figure, as short as it can be said.

    Example:
        >>> pixels(12.0), pixels(3.14159)
        ('12', '3.1')
    """
    return f"{found:.1f}".removesuffix(".0")
