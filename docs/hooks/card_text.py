"""Text of docstrings as Markdown: nothing in it is read as Markdown, sources become links."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SOURCES = (
    (re.compile(r"\barXiv:(\d{4}\.\d{4,5})"), "https://arxiv.org/abs/"),
    (re.compile(r"\bdoi:(10\.\S+?)(?=[,;.:)]*(?:\s|$))"), "https://doi.org/"),
)
_ROLE = re.compile(r":(?:func|class|data|meth|mod|attr):(?=`)")
_MARKS = re.compile(r"[\\`*_{}\[\]<>#|$~&!+-]|(?<=\d)[.)]")


def inline(text: str) -> str:
    r"""Escaped, with code and links.

    Example:
        >>> print(inline("``x < y`` and a_b_c, arXiv:1812.07032"))
        `x < y` and a\_b\_c, [arXiv:1812.07032](https://arxiv.org/abs/1812.07032)
    """
    parts = re.split(r"``(.+?)``|`(.+?)`", _ROLE.sub("", text).replace("\\*", "*"))
    out = []
    for index in range(0, len(parts), 3):
        out.append(_linked(parts[index]))
        code = next((each for each in parts[index + 1 : index + 3] if each), None)
        if code is not None:
            out.append(f"`` {code} ``" if "`" in code else f"`{code}`")
    return "".join(out)


def paragraphs(text: str) -> str:
    """Each line of a card a paragraph."""
    return "\n\n".join(inline(line) for line in lines(text))


def span(text: str) -> str:
    """The same inside of one paragraph."""
    return "\\\n".join(inline(line) for line in lines(text))


def lines(text: str) -> list[str]:
    """The lines of a card, joined where one flows on into the next."""
    joined: list[str] = []
    for line in text.splitlines():
        if joined and joined[-1][-1:] not in ".;:":
            joined[-1] += f" {line}"
        elif line:
            joined.append(line)
    return joined


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of texts."""
    cells = [[*heads], *([inline(cell).replace("\n", " ") for cell in row] for row in rows)]
    # code keeps its backslashes, so a bar in it is escaped here; elsewhere it is already
    cells = [[re.sub(r"(?<!\\)\|", r"\|", cell) for cell in row] for row in cells]
    cells.insert(1, ["---"] * len(cells[0]))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def example(docstring: str) -> str:
    """The example of a docstring as it stands there, in a fence; empty where there is none."""
    kept = []
    for line in docstring.partition("Example:\n")[2].splitlines():
        if line and not line.startswith(" "):
            break
        kept.append(line.removeprefix("    "))
    text = "\n".join(kept).strip()
    return f"```pycon\n{text}\n```" if text else ""


def _linked(text: str) -> str:
    """Escaped, and sources as links."""
    for pattern, address in _SOURCES:
        parts = pattern.split(text)
        if len(parts) > 1:
            name = "arXiv:" if "arxiv" in address else "doi:"
            parts[::2] = [_linked(part) for part in parts[::2]]
            parts[1::2] = [f"[{name}{each}]({address}{each})" for each in parts[1::2]]
            return "".join(parts)
    return _MARKS.sub(r"\\\g<0>", text)
