"""From which source files a loop is compiled."""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

_IMPORT = re.compile(rb"^(?:from ([\w.]+) )?import (\([^)]*\)|[\w., ]+)", re.MULTILINE)


def stamp(function: Callable[..., Any]) -> str:
    """A digest of the module of a function and of those of its package that it is made of.

    Machine code that is kept must not outlive a change in a module that was compiled into it.
    """
    package = function.__module__.partition(".")[0]
    found: dict[str, bytes] = {}
    waiting = [function.__module__]
    while waiting:
        name = waiting.pop()
        file = getattr(sys.modules.get(name), "__file__", None)
        if name in found or not file:
            continue
        found[name] = _content(file)
        waiting += [each for each in _imported(found[name]) if each.partition(".")[0] == package]
    if not found:  # a function of no file that is known by its module
        found[""] = inspect.getsource(function).encode()
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(name.encode() + found[name])
    return digest.hexdigest()


@cache
def _content(file: str) -> bytes:
    return Path(file).read_bytes()


def _imported(source: bytes) -> Iterator[str]:
    """Modules that the imports at the left margin may mean.

    Example:
        >>> sorted(_imported(b"from a.b import c, d"))
        ['a.b', 'a.b.c', 'a.b.d']
    """
    for module, names in _IMPORT.findall(source):
        if module:
            yield module.decode()
        for name in names.decode().strip("()").split(","):
            word = name.split(" as ")[0].strip()
            if word:
                yield f"{module.decode()}.{word}" if module else word
