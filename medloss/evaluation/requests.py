"""What ``NAME:option=value,...`` on the command line asks for."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

from medloss.runtime.config_text import DuplicateKeyError

_WORDS = {"true": True, "false": False, "none": None}
_OPENING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Request:
    """A metric or a loss by name, with its options in the order given."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def column(self) -> str:
        """What its values are called in tables and files.

        Example:
            >>> Request("normalized_surface_dice", (("tolerance_mm", 2),)).column
            'normalized_surface_dice[tolerance_mm=2]'
            >>> Request("dice").column
            'dice'
        """
        options = ",".join(f"{name}={value}" for name, value in self.options)
        return f"{self.name}[{options}]" if options else self.name


def parse_request(text: str) -> Request:
    """Read ``NAME`` or ``NAME:option=value,option=value``.

    Values are Python literals (numbers, lists, tuples, quoted text), ``true``, ``false`` or
    ``none``; any other word is text. Nothing is executed.

    Raises:
        ValueError: the text has another form.

    Example:
        >>> parse_request("tversky:fp_weight=0.3,batch=true").options
        (('fp_weight', 0.3), ('batch', True))
        >>> parse_request("my-losses:dice:reduction=sum")
        Request(name='my-losses:dice', options=(('reduction', 'sum'),))
    """
    head, equals, tail = text.partition("=")
    # A full name has a colon of its own, "distribution:name", so the last one before "=" counts.
    name, colon, first = head.rpartition(":") if equals else (text, "", "")
    name = name.strip()
    if not name or name.endswith(":") or bool(equals) != bool(colon):
        raise ValueError(f"{text!r} is not of the form NAME or NAME:option=value,option=value")
    options: dict[str, Any] = {}
    for part in _parts(first + equals + tail) if equals else ():
        option, equals, value = (word.strip() for word in part.partition("="))
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", option) or not value:
            raise ValueError(f"{part.strip()!r} in {text!r} is not of the form option=value")
        if option in options:
            raise ValueError(f"option {option!r} is given twice in {text!r}")
        options[option] = parse_value(value)
    return Request(name, tuple(options.items()))


def split_requests(text: str) -> list[str]:
    """Split ``NAME,NAME:option=value,option=value,NAME`` at the commas between requests.

    A part of the form ``option=value`` belongs to the request before it.

    Raises:
        ValueError: a request is empty, or an option stands first.

    Example:
        >>> split_requests("dice,tversky:fp_weight=0.3,fn_weight=0.7,focal")
        ['dice', 'tversky:fp_weight=0.3,fn_weight=0.7', 'focal']
    """
    found: list[str] = []
    for part in _parts(text):
        head, equals, _ = part.partition("=")
        if equals and ":" not in head:
            if not found:
                raise ValueError(f"{part.strip()!r} is an option of no name in {text!r}")
            found[-1] += f",{part}"
        elif part.strip():
            found.append(part.strip())
        else:
            raise ValueError(f"a name is missing between two commas of {text!r}")
    return found


def parse_value(text: str) -> Any:
    """A literal, a word such as ``true``, or the text itself.

    Raises:
        DuplicateKeyError: a key stands twice in a mapping.

    Example:
        >>> [parse_value(text) for text in ("2", "1e-5", "[1, 2]", "True", "none", "mean")]
        [2, 1e-05, [1, 2], True, None, 'mean']
    """
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        tree = ast.parse(text.strip(), mode="eval")
        value = ast.literal_eval(tree)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return text
    for node in ast.walk(tree):
        if isinstance(node, ast.Dict):
            keys = [ast.literal_eval(key) for key in node.keys if key is not None]
            for number, key in enumerate(keys):
                if key in keys[:number]:
                    raise DuplicateKeyError(str(key))
    return value


def _parts(text: str) -> list[str]:
    """Split at the commas that stand in no bracket and no quotation."""
    parts, closing, quote = [""], [""], ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in _OPENING:
            closing.append(_OPENING[letter])
        elif letter == closing[-1]:
            closing.pop()
        elif letter == "," and len(closing) == 1:
            parts.append("")
            continue
        parts[-1] += letter
    return parts
