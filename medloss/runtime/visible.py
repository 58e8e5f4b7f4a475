"""Texts of anyone, which can turn no line around and move no cursor where they are shown.

Names of cases and labels, texts of plugins and errors come from files; a terminal obeys the control
characters in them, and terminals, pages and papers show what stands behind a mark of direction in
another order, numbers too.
"""

from __future__ import annotations

import re

# C0 but tab and line break, DEL, C1; marks, embeddings, overrides and isolates of direction; the
# separators that some terminals break lines at; halves of characters, which no encoding has.
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def visible(text: str) -> str:
    r"""Text with the characters that are obeyed rather than shown as Python writes them.

    Example:
        >>> visible("case \x1b[2J")
        'case \\x1b[2J'
    """
    return OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
