"""What a plugin's author may get wrong without any error: found here, and said in words."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Collection, Iterable
from typing import Any

from medloss.offers.records import GROUP

SEEMS_OURS = re.compile(r"med[-_.]?los", re.IGNORECASE)
"""What a file of entry points has that may be meant for medloss; most have not."""

_LIKELY = (
    *("plugin", "plugins", "extension", "extensions", "entry_points", "hooks", "api", "v1"),
    *("loss", "losses", "metric", "metrics", "detection", "reader", "readers"),
    *("profile", "profiles", "region", "distribution", "boundary", "compound", "topology"),
)


def wrong_group(group: str) -> str:
    """Why the entry points of a group are read by nobody, if medloss seems to be meant.

    A group that begins with the name of another package, ``medloss_viewer.tools``, is its own.

    Example:
        >>> wrong_group("medloss.losses")
        "the entry-point group 'medloss.losses' is not read: a plugin stands in 'medloss', whatever it offers"
        >>> wrong_group("medloss"), wrong_group("medloss.2"), wrong_group("medloss_viewer.tools")
        ('', '', '')
    """  # noqa: E501  # the sentence is one line
    if re.fullmatch(rf"{GROUP}(\.\d+)?", group):
        return ""
    rest = re.fullmatch(r"(?i)med[-_.]?loss?[-_.:/ ]*(.*)", group)
    if not rest or (
        rest[1] and not difflib.get_close_matches(rest[1].lower(), _LIKELY, cutoff=0.8)
    ):
        return ""
    return (
        f"the entry-point group {group!r} is not read: a plugin stands in {GROUP!r}, "
        "whatever it offers"
    )


def check_hooks(plugin: Any, hooks: Collection[str]) -> None:
    """Refuse what would offer nothing without a word.

    Args:
        plugin: the module, or object, that an entry point names.
        hooks: the names of all hooks.

    Raises:
        ValueError: a hook without its mark, a mark on what is no hook, a name that is nearly one,
            or no hook at all.
    """
    marked, plain = _functions(plugin)
    for name in marked:
        if name not in hooks:
            raise ValueError(f"unknown hook {name!r}; {_meant(name, hooks)}")
    for name in plain:
        if name in hooks:
            raise ValueError(f"{name} has no @hookimpl (of medloss), so that nobody calls it")
        near = difflib.get_close_matches(name, hooks, n=1, cutoff=0.8)
        if near and near[0] not in marked:
            raise ValueError(
                f"{name} is no hook and has no @hookimpl; did you mean @hookimpl on {near[0]}?"
            )
    if not marked:
        raise ValueError(f"it has no hook: expected one of {', '.join(hooks)}, with @hookimpl")


def _functions(plugin: Any) -> tuple[list[str], list[str]]:
    """The names of hooks that are implemented, and those of functions without the mark."""
    marked, plain = [], []
    for name in dir(plugin):
        found = getattr(plugin, name, None)
        if not inspect.isroutine(found):
            continue
        options = getattr(found, f"{GROUP}_impl", None)
        if options is None:
            plain.append(name)
        else:
            marked.append(options.get("specname") or name)
    return marked, plain


def _meant(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(names)}"


def unknown_family(family: str, families: Collection[str]) -> str:
    """What to say of a family that nobody else has.

    Args:
        family: that a record names.
        families: of medloss itself.

    Example:
        >>> unknown_family("distributon", ("region", "distribution"))
        "family 'distributon': nobody else has it; did you mean distribution?"
    """
    if family in families:
        return ""
    return f"family {family!r}: nobody else has it; {_meant(family, sorted(families))}"
