"""JSON, YAML and options that a user wrote or could have edited: read strictly, in one place.

Of a key that stands twice in one object the usual readers keep the last value and say nothing.
Which of the two is meant nobody knows, so it is an error that names the key.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any


class DuplicateKeyError(ValueError):
    """A key stands twice in one object.

    Args:
        key: which.
    """

    def __init__(self, key: str) -> None:
        super().__init__(f"the key {key!r} stands twice in one object")
        self.key = key


def parse_json(text: str) -> Any:
    """What a JSON text holds.

    Raises:
        DuplicateKeyError: a key stands twice.
        ValueError: the text is no JSON.

    Example:
        >>> parse_json('{"labels": {"1": "liver"}}')
        {'labels': {'1': 'liver'}}
        >>> parse_json('{"labels": {"1": "liver", "1": "spleen"}}')
        Traceback (most recent call last):
        medloss.runtime.config_text.DuplicateKeyError: the key '1' stands twice in one object
    """
    try:
        return json.loads(text, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def parse_yaml(text: str) -> Any:
    """What a YAML text holds.

    Raises:
        DuplicateKeyError: a key stands twice.
        ValueError: the text is no YAML, or nothing that reads it is installed.
    """
    try:
        yaml: Any = import_module("yaml")
    except ImportError as error:
        raise ValueError("YAML needs pyyaml: the extra bundle of medloss; or write JSON") from error

    def construct_mapping(loader: Any, node: Any, deep: bool = False) -> Any:
        # "<<" takes in another mapping, which may stand there several times.
        nodes = [key for key, _ in node.value if not key.tag.endswith(":merge")]
        keys = [loader.construct_object(key, deep=True) for key in nodes]
        for number, key in enumerate(keys):
            if key in keys[:number]:
                raise DuplicateKeyError(str(key))
        return yaml.SafeLoader.construct_mapping(loader, node, deep)

    loader = type("EachOnce", (yaml.SafeLoader,), {"construct_mapping": construct_mapping})
    try:
        return yaml.load(text, loader)  # a SafeLoader
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def read_text(path: Path) -> str:
    """What a text file holds, in UTF-8 with or without a mark at its begin.

    Raises:
        ValueError: it cannot be read, with the path.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason}") from error


def parse_file(text: str, path: Path) -> Any:
    """What the text of a file holds: YAML where its suffix says so, else JSON.

    Raises:
        ValueError: says what is wrong, with the path.
    """
    kind = "YAML" if path.suffix.lower() in (".yaml", ".yml") else "JSON"
    try:
        return parse_yaml(text) if kind == "YAML" else parse_json(text)
    except DuplicateKeyError as error:
        raise ValueError(f"{path}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path} is not {kind}: {error}") from error


def parse_overrides(texts: Iterable[str]) -> dict[str, Any]:
    """Values by id, of every ``--override ID=VALUE`` for a bundle's configuration.

    Raises:
        ValueError: one has another form, or an id is given twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, value = parse_override(text)
        if name in found:
            raise ValueError(f"--override: {name} is given twice")
        found[name] = value
    return found


def parse_override(text: str) -> tuple[str, Any]:
    """``ID=VALUE``, the value as MONAI's command line reads it, or as JSON.

    A value is JSON, a Python literal, an expression of a bundle (``$``, ``@``, ``%``), or plain
    text. Inside brackets a bare word is text. What begins like an object, a list or a quoted text
    and is none, or like an expression and is no Python, is a slip, not a text.

    Raises:
        ValueError: it has another form.

    Example:
        >>> parse_override("inferer#overlap=0.5"), parse_override("dataset_dir=/data")
        (('inferer#overlap', 0.5), ('dataset_dir', '/data'))
        >>> parse_override("loss={'_target_': 'DiceLoss', 'softmax': True, 'batch': false}")
        ('loss', {'_target_': 'DiceLoss', 'softmax': True, 'batch': False})
        >>> parse_override("keys=[image, label]"), parse_override("amp=False")
        (('keys', ['image', 'label']), ('amp', False))
    """
    name, equals, value = text.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not name:
        raise ValueError(f"--override: {text!r} is not of the form ID=VALUE")
    try:
        return name, _override_value(value)
    except (DuplicateKeyError, SyntaxError, ValueError) as error:
        why = error.msg if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"--override: {name}: {why}") from error


def _override_value(text: str) -> Any:
    try:
        return parse_json(text)
    except DuplicateKeyError:
        raise
    except ValueError:
        pass
    if text.startswith("$"):
        _check_expression(text)
    if text.startswith(("$", "@", "%")):
        return text
    try:
        return _literal(text)
    except DuplicateKeyError:
        raise
    except (SyntaxError, ValueError, RecursionError) as error:
        if text.startswith(("{", "[", "(", "'", '"')):
            raise ValueError(f"expected JSON or a Python literal, got {text!r}") from error
        return text


def _check_expression(text: str) -> None:
    """A Python expression with references, or an import."""
    code = re.sub(r"@[\w#:]*", "_", text[1:]).strip()
    try:
        ast.parse(code, mode="exec" if code.startswith(("import ", "from ")) else "eval")
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no Python expression: {error.msg}") from error


_CONSTANTS = {"true": True, "false": False, "null": None}


def _literal(text: str) -> Any:
    """A Python literal, in which words are text, and JSON's constants are what they mean."""
    tree = ast.parse(text, mode="eval")
    if not isinstance(tree.body, ast.Name):

        class Words(ast.NodeTransformer):
            def visit_Name(self, node: ast.Name) -> ast.expr:
                return ast.Constant(_CONSTANTS.get(node.id, node.id))

            def visit_Dict(self, node: ast.Dict) -> ast.AST:
                self.generic_visit(node)
                keys = [key.value for key in node.keys if isinstance(key, ast.Constant)]
                for key in keys:
                    if keys.count(key) > 1:
                        raise DuplicateKeyError(str(key))
                return node

        tree = ast.fix_missing_locations(Words().visit(tree))
    return _as_json(ast.literal_eval(tree))


def _as_json(value: Any) -> Any:
    """Lists for tuples, since what a file has are lists.

    Raises:
        ValueError: it is of a type that no configuration can hold.
    """
    if isinstance(value, list | tuple):
        return [_as_json(each) for each in value]
    if isinstance(value, dict):
        return {key: _as_json(each) for key, each in value.items()}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(f"expected a value that JSON has, got {value!r}")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise DuplicateKeyError(key)
        found[key] = value
    return found
