"""A bundle's configuration as MONAI reads it, without MONAI: nothing is built, nothing executed.

Ids have ``#`` or ``::`` between their parts. Files after the first change entries of those before,
``+`` in front of an id adds to what is there, ``@id`` refers to an entry, ``%id`` stands for a copy
of one, and ``$`` begins a Python expression. What MONAI makes of all that is left to MONAI; here
the entries are told apart, so that what is missing is known before anything heavy is imported.
"""

from __future__ import annotations

import ast
import copy
import difflib
import hashlib
import operator
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.runtime.config_text import parse_file, read_text

SUFFIXES = (".json", ".yaml", ".yml")
PLACEHOLDER = "???"
"""What ``init_bundle`` writes for what the author has to fill in."""

UNKNOWN: Any = object()
"""The value of an entry that only MONAI can tell."""

_REFERENCE = re.compile(r"@\w*(?:#\w+)*")
_DEEPEST = 50
"""References that lead further than this lead in a circle."""


@dataclass(frozen=True, eq=False)
class BundleConfig:
    """The entries of a bundle's configuration.

    Args:
        folder: of the bundle.
        files: that were read, in order.
        content: all entries, those of later files and the overrides over the earlier ones.
    """

    folder: Path
    files: tuple[Path, ...]
    content: dict[str, Any]

    def __contains__(self, id: str) -> bool:
        return self.get(id, UNKNOWN) is not UNKNOWN

    def get(self, id: str, otherwise: Any = None) -> Any:
        """An entry as it is written."""
        return _at(self.content, id, otherwise)

    def follow(self, id: str) -> str:
        """The id of the entry that a chain of plain references ends at."""
        for _ in range(_DEEPEST):
            value = self.get(id)
            if not isinstance(value, str) or not _REFERENCE.fullmatch(_hashed(value)):
                return id
            there = _hashed(value)[1:]
            if there not in self:
                return id
            id = there
        raise ValueError(f"{self.folder}: the reference @{id} leads in a circle")

    def target(self, id: str) -> str:
        """``_target_`` of the entry that an id leads to, or nothing."""
        block = self.get(self.follow(id))
        found = block.get("_target_") if isinstance(block, Mapping) else None
        return found if isinstance(found, str) else ""

    def argument(self, engine: str, name: str) -> str | None:
        """Where an argument of a component is written, references followed; None: it is not."""
        id = f"{engine}#{name}"
        return self.follow(id) if self.get(id) is not None else None

    def components(self, id: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Everything with a ``_target_`` that is written in an entry, outermost first."""
        value = self.get(id) if id else self.content
        if isinstance(value, Mapping) and isinstance(value.get("_target_"), str):
            yield id, value
        if isinstance(value, Mapping | list):
            for key in value if isinstance(value, Mapping) else range(len(value)):
                yield from self.components(f"{id}#{key}" if id else str(key))

    def reached(self, ids: Iterable[str]) -> list[str]:
        """These entries, and all that they refer to, in the order in which they are met."""
        found: dict[str, None] = {}
        left = [self.follow(id) for id in ids]
        while left:
            id = left.pop(0)
            if id in found or id not in self:
                continue
            found[id] = None
            left += [ref for text in _texts(self.get(id)) for ref in references(text)]
        return list(found)

    def value(self, id: str) -> Any:
        """The value of an entry, if it follows from constants and paths alone.

        Returns:
            :data:`UNKNOWN` where it takes more.
        """
        return self._value(id, _DEEPEST)

    def _value(self, id: str, left: int) -> Any:
        if left == 0 or id not in self:
            return UNKNOWN
        return self.evaluated(self.get(id), left)

    def evaluated(self, written: Any, left: int = _DEEPEST) -> Any:
        """What is written, or what a plain expression of it gives."""
        if not isinstance(written, str):
            return written if isinstance(written, bool | int | float | None) else UNKNOWN
        text = _hashed(written)
        if _REFERENCE.fullmatch(text):
            return self._value(text[1:], left - 1)
        if not text.startswith("$"):
            return UNKNOWN if text.startswith("%") else written
        tree = _expression(text)
        if tree is None:
            return UNKNOWN
        return _Plain(lambda ref: self._value(ref, left - 1)).attempt(tree)


def references(text: str) -> list[str]:
    """Ids that a text refers to: all of an expression, or itself where it is a reference.

    Example:
        >>> references("$@bundle_root + '/' + @train#name"), references("@loss"), references("a@b")
        (['bundle_root', 'train#name'], ['loss'], [])
    """
    text = _hashed(text)
    if text.startswith("$") or _REFERENCE.fullmatch(text):
        return [found[1:] for found in _REFERENCE.findall(text) if len(found) > 1]
    return []


def _hashed(id: str) -> str:
    return id.replace("::", "#")


def _at(content: Any, id: str, otherwise: Any) -> Any:
    for key in _hashed(id).split("#"):
        if isinstance(content, Mapping) and key in content:
            content = content[key]
        elif isinstance(content, list) and key.isdigit() and int(key) < len(content):
            content = content[int(key)]
        else:
            return otherwise
    return content


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(each)


def read_bundle_config(
    folder: Path, names: Sequence[str], overrides: Mapping[str, Any] | None = None
) -> BundleConfig:
    """Read configurations of a bundle, later ones over earlier ones.

    Args:
        folder: of the bundle.
        names: of files in its ``configs``, with or without suffix.
        overrides: values by id.

    Raises:
        ValueError: there is no such folder or file, it cannot be read, or an override does not fit
            what is written there; says which.
    """
    files = config_files(folder, names)
    content: dict[str, Any] = {}
    for file in files:
        read = parse_file(read_text(file), file)
        if not isinstance(read, dict):
            raise ValueError(f"{file}: expected an object with the entries of a bundle")
        for id, value in read.items():
            _merge(content, str(id), value, file)
    content["bundle_root"] = str(folder)
    for id, value in (overrides or {}).items():
        _override(content, id, value)
    expanded: dict[str, Any] = _expanded(content, content, "", _DEEPEST)
    return BundleConfig(folder, tuple(files), expanded)


def config_file(folder: Path, name: str) -> Path | None:
    """The file of a configuration, by its name with or without suffix; None where there is none."""
    candidates = [folder / "configs" / f"{name}{suffix}" for suffix in ("", *SUFFIXES)]
    return next((file for file in candidates if file.is_file()), None)


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
            there = sorted(p.stem for p in folder.glob("configs/*") if p.suffix in SUFFIXES)
            raise ValueError(
                f"{folder / 'configs'} holds no configuration called {name!r}"
                + (f"; it has {', '.join(there)} (--bundle-config)" if there else "")
            )
        found.append(file)
    return found


def digest(folder: Path, files: Iterable[Path]) -> str:
    """Of the configuration and the bundle's own code."""
    found = hashlib.sha256()
    for file in (*files, *sorted(folder.glob("scripts/**/*.py"))):
        found.update(file.name.encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


def missing_files(config: BundleConfig, ids: Iterable[str]) -> list[tuple[str, Path]]:
    """Files that entries read and that are not there: the id that reads it, and the path.

    Only what an expression is sure to read is looked for: ``torch.load(@path)``, not
    ``torch.load(@path) if os.path.exists(@path) else None``.
    """
    found = []
    for id in config.reached(ids):
        for text in _texts(config.get(id)):
            tree = _expression(_hashed(text)) if text.startswith("$") else None
            for read in [] if tree is None else _read_by(tree):
                path = _Plain(config.value).attempt(read)
                if isinstance(path, str) and path and not Path(path).exists():
                    found.append((id, Path(path)))
    return found


def placeholders(config: BundleConfig, ids: Iterable[str]) -> list[str]:
    """Ids of the entries that the author of the bundle has not filled in yet."""
    return [
        f"{id}#{key}" if key else id
        for id in config.reached(ids)
        for key, text in _leaves(config.get(id))
        if text == PLACEHOLDER
    ]


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(value, Mapping | list):
        yield key, value
        return
    for one in value if isinstance(value, Mapping) else range(len(value)):
        yield from _leaves(value[one], f"{key}#{one}" if key else str(one))


def _merge(content: dict[str, Any], id: str, value: Any, file: Path) -> None:
    """Put an entry of a file over what was read before, as MONAI does it."""
    adds = id.startswith("+")
    id = _hashed(id.removeprefix("+"))
    old = _at(content, id, UNKNOWN)
    if adds and old is not UNKNOWN:
        if isinstance(old, dict) and isinstance(value, dict):
            old.update(value)
        elif isinstance(old, list) and isinstance(value, list):
            old.extend(value)
        else:
            raise ValueError(f"{file}: +{id} adds to an object or a list, {id} is {old!r:.60}")
        return
    _put(content, id, value, f"{file}: {id}")


def _put(content: dict[str, Any], id: str, value: Any, what: str) -> None:
    parent, _, last = id.rpartition("#")
    there = _at(content, parent, UNKNOWN) if parent else content
    if isinstance(there, dict):
        there[last] = value
    elif isinstance(there, list) and last.isdigit() and int(last) < len(there):
        there[int(last)] = value
    else:
        is_text = isinstance(there, str)
        reason = f"{parent} is {there!r}; change what that names" if is_text else f"no {parent}"
        raise ValueError(f"{what} is no entry of the configuration: {reason}")


def _override(content: dict[str, Any], id: str, value: Any) -> None:
    """Change an entry that is there, or add an argument to a component.

    A text in place of a number or an object is a value that was not understood, and an entry that
    nothing refers to is a slip of the pen: MONAI would take both without a word.
    """
    id = _hashed(id)
    what = f"--override: {id}"
    old = _at(content, id, UNKNOWN)
    if old is UNKNOWN and "#" not in id:
        used = {ref.partition("#")[0] for text in _texts(content) for ref in references(text)}
        if id not in used:
            near = difflib.get_close_matches(id, [*content, *used], 1)
            hint = f"; {near[0]!r} is meant?" if near else ""
            raise ValueError(f"{what} is no entry of the configuration{hint}")
    plain = isinstance(value, str) and not value.startswith(("$", "@", "%"))
    if plain and isinstance(old, bool | int | float | list | dict):
        kinds = {bool: "true or false", dict: "an object", list: "a list"}
        expected = kinds.get(type(old), "a number")
        raise ValueError(
            f"{what}: expected {expected} as in the configuration, or an expression that begins "
            f"with $, got the text {value!r}"
        )
    _put(content, id, value, what)


def _expanded(value: Any, content: dict[str, Any], id: str, left: int) -> Any:
    """Entries with copies in place of ``%id``, and with whole ids in place of relative ones."""
    if isinstance(value, dict):
        return {
            key: _expanded(each, content, f"{id}#{key}" if id else str(key), left)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [
            _expanded(each, content, f"{id}#{n}" if id else str(n), left)
            for n, each in enumerate(value)
        ]
    if not isinstance(value, str):
        return value
    text = _absolute(value, id)
    if text.startswith("%") and left:
        there = _at(content, _hashed(text[1:]), UNKNOWN)
        if there is not UNKNOWN:  # else one of another file, which is MONAI's
            return _expanded(copy.deepcopy(there), content, _hashed(text[1:]), left - 1)
    return text


def _absolute(text: str, id: str) -> str:
    """A text with the ids of ``@#a`` (of the same level) and ``@##a`` (above it) written out."""
    if not text.startswith(("$", "@", "%")) or not re.search(r"[@%]#", _hashed(text)):
        return text
    parts = id.split("#")

    def whole(found: re.Match[str]) -> str:
        level = len(found[2])
        if level > len(parts):
            raise ValueError(f"{id}: the relative id in {text!r} leads out of the configuration")
        return found[1] + "".join(f"{part}#" for part in parts[:-level])

    return re.sub(r"([@%])(#+)", whole, _hashed(text))


class _NotPlainError(Exception):
    """An expression takes more than constants and paths."""


_REF = "__reference_"

_BINARY: Mapping[type[ast.AST], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Mod: operator.mod,
    ast.Div: operator.truediv,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Gt: operator.gt,
    ast.Lt: operator.lt,
}
_OF_PATHS = {
    name: getattr(os.path, name)
    for name in ("join", "exists", "isfile", "isdir", "dirname", "basename", "abspath")
}
_OF_TEXTS = ("replace", "format", "strip", "lower", "upper")
_READERS = ("load", "load_config_file")
"""Functions whose first argument is a file that must be there: weights, or a configuration."""


def _expression(text: str) -> ast.expr | None:
    """The tree of an expression, with names for its references; None for a statement."""

    def named(found: re.Match[str]) -> str:
        return f"{_REF}{found[0][1:].encode().hex()}"

    try:
        return ast.parse(_REFERENCE.sub(named, text[1:].strip()), mode="eval").body
    except (SyntaxError, ValueError):
        return None


@dataclass(frozen=True)
class _Plain:
    """Evaluates constants, conditions and paths; whatever else there is is not plain."""

    value: Callable[[str], Any]

    def attempt(self, node: ast.expr) -> Any:
        """The value, or :data:`UNKNOWN`."""
        try:
            return self.of(node)
        except (_NotPlainError, TypeError, ValueError, KeyError, IndexError):
            return UNKNOWN

    def of(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value):
                return value
            case ast.Name(name) if name.startswith(_REF):
                found = self.value(bytes.fromhex(name.removeprefix(_REF)).decode())
                if found is not UNKNOWN:
                    return found
            case ast.BinOp(left, op, right) if type(op) in _BINARY:
                return _BINARY[type(op)](self.of(left), self.of(right))
            case ast.Compare(left, [op], [right]) if type(op) in _BINARY:
                return _BINARY[type(op)](self.of(left), self.of(right))
            case ast.UnaryOp(ast.Not(), operand):
                return not self.of(operand)
            case ast.IfExp(test, body, other):
                return self.of(body if self.of(test) else other)
            case ast.Call(ast.Attribute(ast.Attribute(ast.Name("os"), "path"), name), args, []):
                if name in _OF_PATHS:
                    return _OF_PATHS[name](*map(self.of, args))
            case ast.Call(ast.Attribute(text, name), args, []) if name in _OF_TEXTS:
                value = self.of(text)
                if isinstance(value, str):
                    return getattr(value, name)(*map(self.of, args))
            case ast.Call(ast.Name("str"), [one], []):
                return str(self.of(one))
        raise _NotPlainError


def _read_by(node: ast.AST) -> Iterator[ast.expr]:
    """Arguments that an expression is sure to read as files."""
    if isinstance(node, ast.IfExp | ast.BoolOp | ast.Lambda | ast.ListComp | ast.GeneratorExp):
        return
    if isinstance(node, ast.Call):
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.func.id if isinstance(node.func, ast.Name) else name
        if name in _READERS:
            yield from [*node.args, *(keyword.value for keyword in node.keywords)][:1]
    for child in ast.iter_child_nodes(node):
        yield from _read_by(child)
