"""A plugin in a folder that nobody installed, found as if somebody had."""

from __future__ import annotations

import importlib
import re
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.offers.host import host
from medloss.offers.mistakes import SEEMS_OURS

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Project:
    """What the ``pyproject.toml`` of a plugin says.

    Args:
        folder: that holds it.
        name: of the distribution.
        version: of it; ``"0"`` where a build would find out.
        groups: entry points by group and name.
    """

    folder: Path
    name: str
    version: str
    groups: Mapping[str, Mapping[str, str]]

    @property
    def sources(self) -> list[Path]:
        """Where the modules of its entry points lie: in ``src``, in the folder or in one of it.

        Each builder has its own word for it, so that the modules themselves are looked for.
        """
        inner = sorted(path for path in self.folder.iterdir() if path.is_dir())
        places = [self.folder / "src", self.folder, *inner]
        targets = [target for entries in self.groups.values() for target in entries.values()]
        tops = [re.split(r"[.:\s\[]", target.strip(), maxsplit=1)[0] for target in targets]
        found = [
            place
            for top in tops
            for place in places
            if top and ((place / top).is_dir() or (place / f"{top}.py").is_file())
        ]
        return [*dict.fromkeys(found)] or [self.folder]


def read_project(folder: Path) -> Project:
    """Read the ``pyproject.toml`` of a folder.

    Raises:
        ValueError: there is none, or it names no project, or none for medloss.
    """
    path = folder / "pyproject.toml"
    if not path.is_file():
        got = "a file" if folder.is_file() else "none"
        raise ValueError(f"{folder}: expected a folder with a pyproject.toml, got {got}")
    try:
        told = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    project, poetry = _table(told, "project"), _table(told, "tool", "poetry")
    older = [each for each in ("setup.cfg", "setup.py") if (folder / each).is_file()]
    way = "; install it and name it by --plugin, for {} is not read".format(" and ".join(older))
    way = way if older else ""
    name = project.get("name", poetry.get("name"))
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(
            f"{path}: expected a name in [project], such as 'medloss-mine', got {name!r}{way}"
        )
    groups = {**_table(poetry, "plugins"), **_table(project, "entry-points")}
    wrong = [group for group, entries in groups.items() if not _are_texts(entries)]
    if wrong or not any(SEEMS_OURS.search(group) for group in groups):
        got = f"what is no table of texts in {wrong[0]!r}" if wrong else ", ".join(groups) or "none"
        raise ValueError(
            f"{path}: expected entry points, [project.entry-points.medloss] with "
            f'NAME = "package", got {got}{way}'
        )
    version = project.get("version", poetry.get("version", "0"))
    return Project(folder.resolve(), name, str(version), groups)


@contextmanager
def as_if_installed(folder: Path) -> Iterator[str]:
    """Let the host find the plugin of a folder; the name of its distribution.

    Metadata as an installer writes them are put into a temporary folder, and that and the sources
    first on the path of imports: whatever finds plugins finds this one, and what is installed under
    its name gives way.

    Raises:
        ValueError: as :func:`read_project`.
    """
    project = read_project(folder)
    with tempfile.TemporaryDirectory(prefix="medloss-") as temporary:
        _write_metadata(project, Path(temporary))
        before = [*sys.path]
        sys.path[:0] = [temporary, *map(str, project.sources)]
        _find_again()
        try:
            yield project.name
        finally:
            sys.path[:] = before
            _find_again()


def _find_again() -> None:
    importlib.invalidate_caches()
    host.cache_clear()


def _write_metadata(project: Project, folder: Path) -> None:
    info = folder / f"{project.name.replace('-', '_')}.dist-info"
    info.mkdir()
    about = f"Metadata-Version: 2.1\nName: {project.name}\nVersion: {project.version}\n"
    (info / "METADATA").write_text(about, encoding="utf-8")
    lines = [
        line
        for group, entries in project.groups.items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in entries.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _table(told: Any, *names: str) -> dict[str, Any]:
    for name in names:
        told = told.get(name, {}) if isinstance(told, dict) else {}
    return told if isinstance(told, dict) else {}


def _are_texts(entries: Any) -> bool:
    return isinstance(entries, dict) and all(isinstance(each, str) for each in entries.values())
