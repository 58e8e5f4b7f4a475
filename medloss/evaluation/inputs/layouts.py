"""How the files of a folder are called: which case each belongs to, and which structure it holds.

A layout is a list of patterns in order of rank: a folder is read by the first of them that any of
its files has. So the same layout serves a folder of references that lie beside their images and a
flat folder of predictions.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medloss.evaluation.reading.images import case_name

Place = tuple[str, str, str]
"""A case, a structure (empty where the file holds all of them), and the folder of the case, with a
slash at its end (empty where it has none)."""

Match = Callable[[str, str], Place | None]
"""What says for the relative path of a file, and the same without its suffix, where it belongs."""

FLAT = "flat"

_PARTS = re.compile(r"(\{[^{}]*\}|\*\*/|\*)")
_NO_STRUCTURE = ("ct", "mri")
"""What TotalSegmentator's data sets call the image in the folder of a case."""

_ANY_DEPTH = ("**/", "{case:path}", "{bids}")

_DERIVED = ("desc", "space", "res", "den", "atlas", "seg", "label", "hemi", "from", "to", "mode")
"""Entities of BIDS that say how a file was made, or what it shows, and not of what it is made."""

_BIDS_KINDS = ("dseg", "mask", "probseg", "seg")


@dataclass(frozen=True)
class Layout:
    """How one side is laid out.

    Args:
        name: as the user says it.
        ranks: patterns that may be mixed, in groups; the first group that any file has counts.
    """

    name: str
    ranks: tuple[tuple[str, ...], ...]

    @property
    def flat(self) -> bool:
        """Whether it is the default: the images of a folder, by name."""
        return self.name == FLAT

    @property
    def depth(self) -> int | None:
        """How many folders deep files may lie; ``None`` for any number."""
        patterns = [pattern for rank in self.ranks for pattern in rank]
        if any(part in pattern for pattern in patterns for part in _ANY_DEPTH):
            return None
        return max(pattern.count("/") for pattern in patterns)


_LAYOUTS: dict[str, tuple[tuple[str, ...], ...]] = {
    FLAT: (("{case}",),),
    "brats": (
        ("{case}/{case}-seg", "{case}/{case}_seg"),
        ("{case}-seg", "{case}_seg"),
        ("{case}/{case}",),
        ("{case}",),
    ),
    "kits": (("{case}/segmentation",), ("{case}/{case}",), ("{case}",)),
    "autopet": (("{case:path}/SEG",),),
    "slicer": (
        tuple(f"{{case}}{end}" for end in (".seg.nrrd", ".seg.nhdr", "-label.nrrd")),
        ("{case}",),
    ),
    "nnunet": (("labelsTr/{case}", "labelsTs/{case}"), ("validation/{case}",), ("{case}",)),
    "bids": (("{bids}",), ("{case}",)),
    "totalsegmentator": (("{case}/segmentations/{label}",), ("{case}/{label}",), ("{case}",)),
    "nested": (("{case:path}",),),
}
"""In the order in which they are proposed; the last fits nearly everything."""

NAMES = tuple(_LAYOUTS)


def parse_layout(text: str) -> Layout:
    """A layout by its name, or a pattern.

    A pattern is the path of a file inside the folder, with slashes. ``{case}`` stands for a name or
    a part of it, ``{case:path}`` for folders and a name, ``{label}`` for the structure that the
    file holds alone, ``*`` for anything within a name and ``**/`` for any folders. Without a suffix
    it is that of any format.

    Raises:
        ValueError: no such name, or no pattern.

    Example:
        >>> parse_layout("brats").ranks[1], parse_layout("{case}_pred").ranks
        (('{case}-seg', '{case}_seg'), (('{case}_pred',),))
    """
    if text in _LAYOUTS:
        return Layout(text, _LAYOUTS[text])
    if "{" not in text:
        raise ValueError(
            f"{text!r} is no layout: there are {', '.join(NAMES)}, and patterns such as "
            f"'{{case}}/segmentations/{{label}}.nii.gz'"
        )
    if "\\" in text or text.startswith("/") or ".." in text.split("/"):
        raise ValueError(f"{text!r}: a pattern is a path inside the folder, with slashes")
    for part in re.findall(r"\{[^{}]*\}|[{}]", text):
        if part not in ("{case}", "{case:path}", "{label}"):
            raise ValueError(f"{text!r}: {part!r} is none of {{case}}, {{case:path}} and {{label}}")
    if "{case" not in text and "{label}" not in text:
        raise ValueError(f"{text!r} has neither {{case}} nor {{label}}")
    return Layout(text, ((text,),))


@functools.cache
def matcher(pattern: str) -> Match:
    """What a pattern makes of a path.

    Example:
        >>> find = matcher("{case}/segmentations/{label}")
        >>> find("s1/segmentations/liver.nii.gz", "s1/segmentations/liver")
        ('s1', 'liver', 's1/')
        >>> find("s1/ct.nii.gz", "s1/ct") is None
        True
    """
    if pattern == "{bids}":
        return _bids
    name = pattern.rpartition("/")[2].replace("{", "x")
    before = case_name(Path(name))
    whole = before is not None
    suffix = "" if before is None else name[len(before) :]
    forms = [_compiled(pattern.removesuffix(suffix), repeat, suffix) for repeat in ("+", "+?")]
    own_folder = re.search(r"\{case(:path)?\}/", pattern) is not None

    def find(path: str, stem: str) -> Place | None:
        text = path if whole else stem
        found = forms[0].fullmatch(text)
        if found is None:
            return None
        groups = found.groupdict(default="")
        if (other := forms[1].fullmatch(text)) is None or other.groupdict(default="") != groups:
            raise ValueError(
                f"{path} fits {pattern!r} in several ways: case and label need a text between "
                f"them that names do not have, or a folder"
            )
        label = groups.get("label", "")
        if pattern.startswith("{case}/{label}") and label.lower() in _NO_STRUCTURE:
            return None
        case = groups.get("case", "")
        return case, label, f"{text[: found.end('case')]}/" if own_folder else ""

    return find


def _compiled(pattern: str, repeat: str, suffix: str) -> re.Pattern[str]:
    """A regular expression in which everything takes as much as it can, or as little.

    How a suffix is written is of no matter.
    """
    within = f"[^/]{repeat}"
    stands_for = {
        "{case}": f"(?P<case>{within})",
        "{case:path}": f"(?P<case>.{repeat})",
        "{label}": f"(?P<label>{within})",
        "*": within.replace("+", "*"),
        "**/": f"(?:[^/]+/){repeat.replace('+', '*')}",
    }
    parts, met = [], set()
    for part in _PARTS.split(pattern):
        name = part.strip("{}").partition(":")[0]
        if part in stands_for and name in met:
            parts.append(f"(?P={name})")  # the same again
            continue
        met.add(name if part.startswith("{") else "")
        parts.append(stands_for.get(part) or re.escape(part))
    end = f"(?i:{re.escape(suffix)})"
    return re.compile("".join(parts) + end, re.DOTALL)


def _bids(path: str, stem: str) -> Place | None:
    """``sub-01/anat/sub-01_space-T1w_dseg.nii.gz``: entities of the case, and of the structure."""
    *entities, kind = PurePosixPath(stem).name.split("_")
    pairs = [entity.partition("-") for entity in entities]
    if kind not in _BIDS_KINDS or not pairs or not all(dash and value for _, dash, value in pairs):
        return None
    if pairs[0][0] != "sub":
        return None
    case = "_".join(f"{key}-{value}" for key, _, value in pairs if key not in _DERIVED)
    label = next((value for key, _, value in pairs if key == "label"), "")
    return case, label, ""


def affix_pattern(names: Iterable[str], others: Iterable[str]) -> tuple[str, str] | None:
    """Patterns by which names belong together that differ by what all of one side have.

    Returns:
        A pattern for each side, ``None`` where there is none.

    Example:
        >>> affix_pattern(["a_pred", "b_pred"], ["a", "b", "c"])
        ('{case}_pred', '{case}')
        >>> affix_pattern(["a_0000"], ["a_gt"]), affix_pattern(["a", "b"], ["c"])
        (('{case}_0000', '{case}_gt'), None)
    """
    sides = list(names), list(others)
    best: tuple[int, int, tuple[str, str]] | None = None
    for form in ("{case}%s", "%s{case}"):
        ends = [_shared(side, first=form.startswith("%")) for side in sides]
        for one in ends[0]:
            for other in ends[1]:
                stripped = [
                    {_without(name, end, first=form.startswith("%")) for name in side}
                    for side, end in zip(sides, (one, other), strict=True)
                ]
                many = len(stripped[0] & stripped[1])
                found = many, -len(one + other), (form % one, form % other)
                if many and (best is None or found[:2] > best[:2]):
                    best = found
    return None if best is None else best[2]


def _shared(names: list[str], *, first: bool) -> list[str]:
    """Ends of names that all have, from a sign between words on; the empty one too."""
    found, name = [""], names[0]
    for at, sign in enumerate(name):
        if sign in "-_." and 0 < at < len(name) - 1:
            end = name[: at + 1] if first else name[at:]
            if all(other.startswith(end) if first else other.endswith(end) for other in names):
                found.append(end)
    return found


def _without(name: str, end: str, *, first: bool) -> str:
    return name.removeprefix(end) if first else name.removesuffix(end)
