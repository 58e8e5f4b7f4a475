"""A new plugin: a package with a loss, a metric and their tests, to begin from.

``template/`` is such a plugin, and is checked and tested as all code here is; what is new gets
another name.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from medloss.offers.host import host

TEMPLATE = Path(__file__).parent / "template"
_CACHES = ("__pycache__", ".pytest_cache", ".ruff_cache")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def write_plugin(name: str, folder: Path) -> tuple[Path, ...]:
    """Write a plugin into a new folder of its name; the files that were written.

    Args:
        name: of the distribution, such as ``medloss-mylab``. Its loss and metric begin with what
            follows ``medloss-``.
        folder: in which the new one is made.

    Raises:
        ValueError: the name is none of a package, or that of a module that is there already.
        FileExistsError: there is such a folder.
    """
    words = _words(name)
    target = folder / name
    if target.exists():
        raise FileExistsError(f"{target} exists already; nothing was written")
    written = []
    for source in sorted(_files(TEMPLATE)):
        path = target / _renamed(str(source.relative_to(TEMPLATE)), words)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_renamed(source.read_text(encoding="utf-8"), words), encoding="utf-8")
        written.append(path)
    return tuple(written)


def _words(name: str) -> dict[str, str]:
    """What stands in the template, and what takes its place."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"NAME: expected small letters and digits, words joined by '-', such as "
            f"'medloss-mylab', got {name!r}"
        )
    package = name.replace("-", "_")
    stem = package.removeprefix("medloss_")
    if not stem[0].isalpha():
        raise ValueError(f"NAME: what follows 'medloss-' must begin with a letter, got {name!r}")
    for offer in host():
        if offer.record.name in (f"{stem}_dice", f"{stem}_f_score"):
            raise ValueError(f"NAME: {offer.record.name!r} is offered by {offer.plugin} already")
    if package in ("medloss", "test", "tests") or keyword.iskeyword(package):
        raise ValueError(f"NAME: {name!r} cannot be the name of a package of yours")
    if package in sys.stdlib_module_names or find_spec(package) is not None:
        raise ValueError(f"NAME: there is a Python module {package!r} already; take another name")
    return {
        "medloss-specimen": name,
        "medloss_specimen": package,
        "specimen": stem,
        "Specimen": "".join(word.capitalize() for word in stem.split("_")),
    }


def _renamed(text: str, words: dict[str, str]) -> str:
    return re.sub("|".join(words), lambda found: words[found[0]], text)


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not {*path.relative_to(folder).parts} & {*_CACHES}:
            yield path
