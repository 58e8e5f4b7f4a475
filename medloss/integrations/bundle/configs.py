"""The configuration files of a bundle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from medloss.runtime.config_text import parse_file

SUFFIXES = (".json", ".yaml", ".yml")


def config_file(folder: Path, name: str) -> Path | None:
    """The file of a configuration, by its name with or without suffix; None where there is none."""
    candidates = [folder / "configs" / f"{name}{suffix}" for suffix in ("", *SUFFIXES)]
    return next((file for file in candidates if file.is_file()), None)


def check_keys(file: Path) -> None:
    """Refuse a configuration in which a key stands twice; MONAI would take the last.

    Raises:
        ValueError: names the key, or says why the file cannot be read.
    """
    try:
        parse_file(file.read_text(encoding="utf-8"), file)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror or error}") from error


def config_files(folder: Path, names: Sequence[str]) -> list[Path]:
    """Files of several configurations.

    Raises:
        ValueError: the folder is none, or holds no configuration of a name.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder of a bundle")
    found = []
    for name in names:
        file = config_file(folder, name)
        if file is None:
            raise ValueError(f"{folder / 'configs'} holds no configuration called {name!r}")
        check_keys(file)
        found.append(file)
    return found


def digest(folder: Path, files: Iterable[Path]) -> str:
    """Of the configuration and the bundle's own code."""
    found = hashlib.sha256()
    for file in (*files, *sorted(folder.glob("scripts/**/*.py"))):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]
