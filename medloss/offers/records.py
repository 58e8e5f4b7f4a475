"""The hooks that a plugin may implement, any of them, and the records that they yield.

A plugin is any importable module named by an entry point in the group ``medloss``:

    # pyproject.toml
    [project.entry-points.medloss]
    topk = "medloss_topk"

    # medloss_topk/__init__.py
    from medloss import Loss, hookimpl

    @hookimpl
    def medloss_losses():
        yield Loss(
            name="topk_margin",
            target="medloss_topk.margin:TopKMarginLoss",
            family="distribution",
        )

The module itself should stay light: name the class in ``target`` instead of importing it, so that
``medloss list`` needs neither torch nor your code. What the class is in a line, and its sources,
are read from its docstring, which is not imported for that either.
"""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import pluggy

from medloss.offers.cards import first_line_and_sources, written_docstring

GROUP = "medloss"
"""Entry-point group of plugins written for API 1; API n > 1 is the group ``medloss.n``."""

API = 1
"""The plugin API that this host speaks."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)

_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_FILE_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[\w./-]+\.(toml|json)")

Kind = Literal["loss", "metric", "detection", "reader", "profile"]
KINDS: tuple[Kind, ...] = get_args(Kind)
Fact = Literal[
    "counts",
    "surfaces",
    "components",
    "cells",
    "topology",
    "skeletons",
    "contours",
    "probabilities",
    "candidates",
]
Extra = Literal["distance_map", "skeleton", "components"]
Role = Literal["box_loss", "objectness_loss", "detection_loss", "assigner", "detector"]
FACTS: tuple[Fact, ...] = get_args(Fact)
EXTRAS: tuple[Extra, ...] = get_args(Extra)
ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What everything on offer says about itself.

    Args:
        name: lower-case words of the field joined by ``_``: ``focal_tversky``.
        target: where the object is, ``"package.module:Attribute"``; imported only when it is used.
        family: the group it is listed under, for example ``region``.
        summary: one line, equal to the first line of the target's docstring, from which it is read
            where it is not given.
        aliases: other names that it is found by, as ``nsd``; results have its own. A name of
            something else goes before an alias.
        cites: sources as ``"arXiv:..."`` or ``"doi:..."``; without a ``summary`` they are read from
            the section ``Source`` of that docstring.
        example: options of a typical bundle config, as JSON would hold them.
        exempt: checks of ``medloss.testing`` that its mathematics cannot meet, with the reasons.
    """

    kind: ClassVar[Kind]
    builder: ClassVar[str]
    """Name of the function of ``medloss`` that builds it."""
    module: ClassVar[str]
    """The module that has its classes as attributes; with ``_`` the hook that yields it."""
    form: ClassVar[tuple[re.Pattern[str], str]] = (_TARGET, "'module:Attribute'")
    """Of its target, and that in words."""

    name: str
    target: str
    family: str
    summary: str = ""
    aliases: tuple[str, ...] = ()
    cites: tuple[str, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict, hash=False)
    exempt: Mapping[str, str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for name in ("name", "target", "family", "summary"):
            value = getattr(self, name)
            _check(type(value) is str, name, "a string", value)
        _check(bool(_NAME.fullmatch(self.name)), "name", "lower_case_words", self.name)
        pattern, words = self.form
        _check(bool(pattern.fullmatch(self.target)), "target", words, self.target)
        _check(bool(_NAME.fullmatch(self.family)), "family", "lower_case_words", self.family)
        _check_strings("aliases", self.aliases)
        for alias in self.aliases:
            _check(bool(_NAME.fullmatch(alias)), "aliases", "lower_case_words", alias)
        if not self.summary:
            self._read_docstring()
        # A lone half of a character can be written nowhere.
        summary = self.summary.encode("utf-8", "backslashreplace").decode("utf-8")
        object.__setattr__(self, "summary", summary)
        one_line = bool(self.summary.strip()) and "\n" not in self.summary
        _check(one_line, "summary", "one non-empty line", self.summary)
        _check_strings("cites", self.cites)
        for name in ("example", "exempt"):
            value = getattr(self, name)
            named = isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
            _check(named, name, "a mapping with strings as keys", value)
            _check(_is_json(value), name, "what JSON can hold", value)

    def _read_docstring(self) -> None:
        try:
            docstring = written_docstring(self.target)
        except Exception as error:  # a target may raise anything
            raise ValueError(
                f"summary: the docstring of {self.target} cannot be read: "
                f"{type(error).__name__}: {error}"
            ) from error
        _check(bool(docstring), "summary", f"a docstring of {self.target}, or a line here", "none")
        summary, cites = first_line_and_sources(docstring)
        object.__setattr__(self, "summary", summary)
        object.__setattr__(self, "cites", self.cites or cites)

    @property
    def attribute(self) -> str:
        """Name of the target object inside its module."""
        return self.target.partition(":")[2]

    @property
    def noun(self) -> str:
        """What it is, in words."""
        return self.builder.replace("_", " ")

    def classes(self) -> dict[str, str]:
        """Targets by the names of the classes that the module of its kind has for it."""
        return {self.attribute: self.target}


@dataclass(frozen=True, kw_only=True)
class Loss(Record):
    """A loss on offer.

    Args:
        needs: extra inputs it cannot do without, of ``distance_map``, ``skeleton``, ``components``.
        alone: whether a model can be trained with this loss alone.
        breaks_graph: why ``torch.compile`` cannot take the loss into one graph, in words; empty
            where it can (``fullgraph=True``), which the contract holds it to.
        also: targets of further classes of it, under names and with arguments that others use, as
            MONAI does; attributes of ``medloss.losses`` too.
    """

    kind = "loss"
    builder = "loss"
    module = "medloss.losses"

    needs: tuple[Extra, ...] = ()
    alone: bool = True
    breaks_graph: str = ""
    also: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_strings("needs", self.needs, EXTRAS)
        in_words = isinstance(self.breaks_graph, str)
        _check(in_words, "breaks_graph", "the reason, in words", self.breaks_graph)
        _check_strings("also", self.also)
        for target in self.also:
            _check(bool(_TARGET.fullmatch(target)), "also", "'module:Attribute'", target)

    def classes(self) -> dict[str, str]:
        """Targets by the names of the classes in ``medloss.losses``."""
        return {target.partition(":")[2]: target for target in (self.target, *self.also)}


@dataclass(frozen=True, kw_only=True)
class Metric(Record):
    """A metric on offer: a pure function of facts about one class of one case.

    Args:
        facts: what the function takes, in order, of ``counts``, ``surfaces``, ``components``,
            ``cells``, ``topology``, ``skeletons``, ``contours``, ``probabilities``, ``candidates``.
        unit: ``"mm"``, ``"mm3"`` or ``""``.
        better: whether ``"higher"`` or ``"lower"`` values are better.
    """

    kind = "metric"
    builder = "metric"
    module = "medloss.metrics"

    facts: tuple[Fact, ...]
    unit: Literal["mm", "mm3", ""] = ""
    better: Literal["higher", "lower"]

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_strings("facts", self.facts, FACTS)
        _check(bool(self.facts), "facts", f"at least one of {FACTS}", self.facts)
        _check(self.unit in ("mm", "mm3", ""), "unit", "'mm', 'mm3' or ''", self.unit)
        _check(self.better in ("higher", "lower"), "better", "'higher' or 'lower'", self.better)

    @property
    def of_probabilities(self) -> bool:
        """Whether label maps alone do not suffice."""
        return bool({"probabilities", "candidates"} & {*self.facts})

    @property
    def class_name(self) -> str:
        """Name of its MONAI form: ``hausdorff95`` is ``medloss.metrics.Hausdorff95Metric``."""
        return "".join(word.capitalize() for word in self.name.split("_")) + "Metric"

    def classes(self) -> dict[str, str]:
        """The target by the name of its MONAI form in ``medloss.metrics``."""
        return {self.class_name: self.target}


@dataclass(frozen=True, kw_only=True)
class Detection(Record):
    """A part of a detector on offer.

    Args:
        role: what it does. ``"box_loss"``: a module that compares (N, 4) or (N, 6) predicted with
            true boxes, pair by pair. ``"objectness_loss"``: a module for logits that say whether an
            anchor holds an object. ``"detection_loss"``: the whole loss of a detector.
            ``"assigner"``: decides which anchor answers for which true box. ``"detector"``: takes a
            network and an anchor generator, and is called as MONAI's ``RetinaNetDetector``.
    """

    kind = "detection"
    builder = "detection_part"
    module = "medloss.detection"

    role: Role

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.role in ROLES, "role", f"one of {', '.join(ROLES)}", self.role)

    @property
    def noun(self) -> str:
        """Its role, in words."""
        return self.role.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class Reader(Record):
    """A reader of a file format on offer: a function of a path, for ``medloss eval``.

    The function returns what ``medloss.readers`` has the classes of, and raises
    ``medloss.readers.CaseError`` for what it cannot read. At least one of ``suffixes`` and
    ``claims`` says which files are its own.

    Args:
        suffixes: ends of the names of its files, or folders, in small letters: ``".mgz"``.
        claims: the function, ``"package.module:function"``, that is asked of a file without a known
            suffix, or of a folder, whether it is of this format; it takes the path.
    """

    kind = "reader"
    builder = "reader"
    module = "medloss.readers"

    family: str = "format"
    suffixes: tuple[str, ...] = ()
    claims: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_strings("suffixes", self.suffixes)
        for suffix in self.suffixes:
            good = len(suffix) > 1 and suffix[0] == "." and suffix == suffix.lower()
            _check(good, "suffixes", "small letters after a dot, such as '.mgz'", suffix)
        known = not self.claims or bool(_TARGET.fullmatch(self.claims))
        _check(known, "claims", "'module:function'", self.claims)
        _check(bool(self.suffixes or self.claims), "suffixes, claims", "one of them", "neither")

    def classes(self) -> dict[str, str]:
        """Nothing: a reader is a function, and no attribute of a module."""
        return {}


@dataclass(frozen=True, kw_only=True)
class Profile(Record):
    """A profile on offer: a file that says what is scored how, for ``medloss eval --profile``.

    Its ``target`` is the file, ``"package:folder/name.toml"`` (or ``.json``), in a package that is
    installed; the file has the same ``name``, and its ``summary`` is read from there.
    """

    kind = "profile"
    builder = "profile"
    module = "medloss.profiles"
    form = (_FILE_TARGET, "'package:folder/name.toml' or '.json'")

    family: str = "definition"

    def path(self) -> Path:
        """Where the file lies.

        Raises:
            ValueError: the package is not installed, or has no such file.
        """
        package, _, name = self.target.partition(":")
        spec = importlib.util.find_spec(package)
        for folder in (spec and spec.submodule_search_locations) or ():
            if (path := Path(folder, name)).is_file():
                return path
        raise ValueError(f"{self.target}: there is no such file")

    def _read_docstring(self) -> None:
        """Its summary; the rest is read when somebody uses it."""
        text = self.path().read_text(encoding="utf-8")
        found = re.search(r'(?m)^\s*"?summary"?\s*[=:]\s*"((?:[^"\\]|\\.)*)"', text)
        _check(found is not None, "summary", f"one in {self.target}", "none")
        object.__setattr__(self, "summary", found[1] if found else "")

    def classes(self) -> dict[str, str]:
        """Nothing: a profile is a file."""
        return {}


@hookspec
def medloss_losses() -> Iterable[Loss]:
    """Yield one :class:`Loss` for each loss that the plugin offers."""
    return ()


@hookspec
def medloss_metrics() -> Iterable[Metric]:
    """Yield one :class:`Metric` for each metric that the plugin offers."""
    return ()


@hookspec
def medloss_detection() -> Iterable[Detection]:
    """Yield one :class:`Detection` for each part of a detector that the plugin offers."""
    return ()


@hookspec
def medloss_readers() -> Iterable[Reader]:
    """Yield one :class:`Reader` for each file format that the plugin reads for ``medloss eval``."""
    return ()


@hookspec
def medloss_profiles() -> Iterable[Profile]:
    """Yield one :class:`Profile` for each definition that the plugin offers as a file."""
    return ()


def _check(good: bool, field: str, expected: str, got: object) -> None:
    if not good:
        raise ValueError(f"{field}: expected {expected}, got {got!r}")


def _is_json(value: Mapping[str, Any]) -> bool:
    try:
        return bool(json.dumps(dict(value)))
    except (TypeError, ValueError):
        return False


def _check_strings(field: str, values: tuple[str, ...], allowed: tuple[str, ...] = ()) -> None:
    tuple_of_strings = isinstance(values, tuple) and all(type(v) is str for v in values)
    _check(tuple_of_strings, field, "a tuple of strings", values)
    if allowed:
        bad = [v for v in values if v not in allowed]
        _check(not bad, field, f"names out of {', '.join(allowed)}", bad)
