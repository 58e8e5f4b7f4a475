"""A profile beside what a user says: it fills in what nobody said, and gives way only as it says.

Nothing is overruled in silence: what a user says that the profile says otherwise is refused, unless
the profile allows it, and then stands in every result; so does what is asked for beside it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from medloss.evaluation.profiles.reading import ReadProfile, read_profile
from medloss.evaluation.requests import (
    OfferRequest,
    options_of,
    parse_request,
    parse_requests,
    resolve,
)
from medloss.evaluation.settings import InputSettings, option_text
from medloss.offers.host import PluginError

_BESIDE = (
    *("labels", "ignore_label", "remap", "remap_prediction", "remap_reference", "threshold"),
    *("decode", "instances", "resample", "channels", "contours", "missed", "both_empty", "preset"),
)
"""Options that decide about numbers."""


_GROUPS = ("cluster", "by", "accept")
"""Options of what is made of the numbers."""


@dataclass(frozen=True)
class UsedProfile:
    """The profile that results were made by.

    Args:
        name: with its variants.
        sha256: of its content.
        content: of the profile, resolved.
        changed: what the user said beside it, in words.
    """

    name: str
    sha256: str
    content: Mapping[str, Any]
    changed: tuple[str, ...] = ()

    def record(self) -> dict[str, Any]:
        """As results hold it."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "changed": list(self.changed),
            "content": dict(self.content),
        }


@dataclass(frozen=True)
class Filled:
    """What a user said with what the profile says where nothing was said.

    Args:
        inputs: of the files.
        asked: the other options that profiles know, by name.
        metrics: of the profile, then those that were asked for beside it.
        used: what is told of it.
    """

    inputs: InputSettings
    asked: Mapping[str, Any]
    metrics: tuple[OfferRequest, ...]
    used: UsedProfile


def apply_profile(
    asked: str | Any,
    inputs: InputSettings,
    said: Mapping[str, Any],
    metrics: tuple[str | OfferRequest, ...],
) -> Filled:
    """Fill in what a profile says.

    Args:
        asked: name, file or content of the profile.
        inputs: what was said of the files.
        said: ``preset``, ``missed``, ``both_empty``, and what outputs have options for: None or
            nothing where nothing was said.
        metrics: that are asked for beside those of the profile.

    Raises:
        ValueError: there is no such profile, or something said contradicts it.
    """
    profile = read_profile(asked)
    allowed = set(profile.content.get("allow", ()))
    own = {
        "labels": profile.content.get("labels"),
        "preset": profile.content.get("preset"),
        **profile.part("policies"),
        **profile.part("inputs"),
        "cluster": profile.part("cluster").get("by"),
        "by": tuple(profile.part("subgroups").get("by", ())) or None,
        "accept": tuple(profile.part("acceptance").get("rules", ())) or None,
    }
    given = {**vars(inputs), **said}
    changed: list[str] = []
    filled = dict(given)
    defaults = {field.name: field.default for field in dataclasses.fields(InputSettings)}
    for name in (*_BESIDE, *(each for each in _GROUPS if each in said)):
        theirs, mine = own.get(name), given[name]
        if mine == defaults.get(name) or mine == ():
            filled[name] = mine if theirs is None else theirs
        elif theirs is not None and not _same(name, theirs, mine):
            if name not in allowed:
                raise ValueError(
                    f"{option_text(name)}: the profile {profile.name} says {_shown(theirs)}, and "
                    f"does not allow {_shown(mine)}; drop one of the two, or say it in a profile "
                    f"of your own"
                )
            changed.append(f"{name} is {_shown(mine)} instead of {_shown(theirs)}")
        elif theirs is None and name not in _GROUPS:
            changed.append(f"{name} is {_shown(mine)}, of which the profile says nothing")
    theirs_requests = _requests(profile)
    asked_for = [(x.name, x.options) for x in theirs_requests]  # an option may be a mapping: no set
    more = tuple(
        request
        for request in map(resolve, parse_requests(metrics))
        if (request.name, request.options) not in asked_for
    )
    if theirs_requests and more:
        changed.append(f"beside its metrics: {', '.join(request.column for request in more)}")
    names = {field.name for field in dataclasses.fields(InputSettings)}
    return Filled(
        InputSettings(**{name: value for name, value in filled.items() if name in names}),
        {name: filled[name] for name in said},
        (*theirs_requests, *more),
        UsedProfile(profile.name, profile.sha256, profile.content, tuple(changed)),
    )


def _requests(profile: ReadProfile) -> tuple[OfferRequest, ...]:
    """Metrics with their options: their own, then those of the profile for all that have them."""
    found: list[OfferRequest] = []
    matching, used = profile.part("matching"), set[str]()
    tolerance = _tolerance(profile)
    for entry in profile.content.get("metrics", ()):
        try:
            request = resolve(parse_request(entry) if isinstance(entry, str) else _request(entry))
            known = set(options_of(request.name))
        except (PluginError, ValueError) as error:
            raise ValueError(f"{profile.origin}: metrics: {error}") from error
        options = {name: value for name, value in matching.items() if name in known}
        used |= options.keys()
        if tolerance is not None and "tolerance_mm" in known:
            options["tolerance_mm"] = tolerance
        own = {} if isinstance(entry, str) else entry
        called = str(own.get("column", ""))
        options |= dict(request.options)
        # What holds for all metrics need not stand in each of their columns.
        called = called or request.column
        spurious = own.get("spurious", "count")
        found.append(OfferRequest(request.name, tuple(options.items()), called, spurious))
    if lost := sorted(matching.keys() - used):
        raise ValueError(f"{profile.origin}: matching.{lost[0]}: no metric here has that option")
    return tuple(found)


def _request(entry: Mapping[str, Any]) -> OfferRequest:
    return OfferRequest(str(entry["name"]), tuple(entry.get("options", {}).items()))


def _tolerance(profile: ReadProfile) -> Any:
    """One for all labels, or one for each."""
    said = profile.part("tolerances")
    own = {int(key) if key.isdigit() else key: mm for key, mm in said.get("by_label", {}).items()}
    if not own or "mm" not in said:
        return own or said.get("mm")
    from medloss.evaluation.inputs.labels import labels_of, same_name

    if "labels" not in profile.content:
        raise ValueError(
            f"{profile.origin}: tolerances.mm: beside by_label it is for the other labels, and the "
            f"profile has no [labels]"
        )
    given = {same_name(key) if isinstance(key, str) else key for key in own}
    for label, name in labels_of(profile.content["labels"]).names.items():
        keys = {label, same_name(name or str(label))}
        if not keys & given:
            own[label] = said["mm"]
    return own


def _same(name: str, theirs: Any, mine: Any) -> bool:
    if name != "labels":
        return bool(theirs == mine)
    from medloss.evaluation.inputs.labels import labels_of

    return labels_of(theirs) == labels_of(mine)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        lists = {key: each if isinstance(each, list) else [each] for key, each in value.items()}
        return ",".join(f"{key}={'+'.join(map(str, each))}" for key, each in lists.items())
    return str(value).lower() if isinstance(value, bool) else str(value)
