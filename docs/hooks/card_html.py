"""Text of docstrings as HTML: nothing in it is read as Markdown, sources become links."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

_SOURCES = (
    (re.compile(r"\barXiv:(\d{4}\.\d{4,5})"), "https://arxiv.org/abs/"),
    (re.compile(r"\bdoi:(10\.\S+?)(?=[,;.:)]*(?:\s|$))"), "https://doi.org/"),
)
_ROLE = re.compile(r":(?:func|class|data|meth|mod|attr):(?=`)")


_SUB = re.compile(r"(?<![^\W_])([^\W\d_])_(\w+|\{[^}]*\})")
_SUP = re.compile(r"\^(\w+|\([^)]*\)|\{[^}]*\})")


def formula(text: str) -> str:
    """As :func:`inline`, with indices and exponents set as such.

    Example:
        >>> formula("Σ_k d_g^alpha + smooth_nr")
        'Σ<sub>k</sub> d<sub>g</sub><sup>alpha</sup> + smooth&#95;nr'
    """
    return inline(text, indices=True)


def inline(text: str, *, indices: bool = False) -> str:
    r"""Escaped, with code and links.

    Example:
        >>> inline("``x < y`` and a_b_c")
        '<code>x &lt; y</code> and a&#95;b&#95;c'
    """
    parts = re.split(r"``(.+?)``|`(.+?)`", _ROLE.sub("", text).replace("\\*", "*"))
    out = []
    for index in range(0, len(parts), 3):
        plain = html.escape(parts[index], quote=False)
        out.append(_indexed(plain) if indices else _linked(plain))
        code = next((each for each in parts[index + 1 : index + 3] if each), None)
        if code is not None:
            out.append(f"<code>{html.escape(code, quote=False)}</code>")
    return re.sub(r"[*_\\\[\]]", lambda found: f"&#{ord(found[0])};", "".join(out))


def paragraphs(text: str) -> str:
    """Each line of a card a paragraph."""
    return "".join(f"<p>{inline(line)}</p>" for line in lines(text))


def span(text: str) -> str:
    """The same inside of a Markdown paragraph."""
    return f"<span>{'<br/>'.join(inline(line) for line in lines(text))}</span>"


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
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    body = "".join(
        f"<tr>{''.join(f'<td>{inline(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def example(docstring: str) -> str:
    """The example of a docstring as it stands there, in a fence; empty where there is none."""
    kept = []
    for line in docstring.partition("Example:\n")[2].splitlines():
        if line and not line.startswith(" "):
            break
        kept.append(line.removeprefix("    "))
    text = "\n".join(kept).strip()
    return f"```pycon\n{text}\n```" if text else ""


def _indexed(text: str) -> str:
    text = _SUB.sub(lambda found: f"{found[1]}<sub>{found[2].strip('{}')}</sub>", text)
    return _SUP.sub(lambda found: f"<sup>{found[1].strip('{}')}</sup>", text)


def _linked(text: str) -> str:
    for pattern, address in _SOURCES:
        text = pattern.sub(
            lambda found, address=address: f'<a href="{address}{found[1]}">{found[0]}</a>', text
        )
    return text
