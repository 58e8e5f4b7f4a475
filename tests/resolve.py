"""Does every extra resolve from the package registry alone, on every Python that is supported?

Asks uv three times for each extra and Python: for the newest versions, for those of
constraints.txt, and for the lowest that pyproject.toml admits, which must be the floors that it
names. For other systems than Linux on x86-64 it asks for everything at once. Wheels only, so that
nothing needs a compiler; uv reads no configuration, pip's or its own. Then holds the table of
tests/tritons.py against what each torch asks for.

make resolve
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tritons import TRITONS

ROOT = Path(__file__).parents[1]
PYTHONS = "3.11", "3.12", "3.13"
LINUX = "x86_64-manylinux_2_28"
SYSTEMS = {
    "Linux, ARM": "aarch64-manylinux_2_28",
    "macOS 14, ARM": "aarch64-apple-darwin",
    "Windows, x86-64": "x86_64-pc-windows-msvc",
}
WAYS = {
    "newest": (),
    "constraints": ("--constraint", "constraints.txt"),
    "lowest": ("--resolution", "lowest-direct"),
}
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if name not in ("UV_CONSTRAINT", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_INDEX")
} | {"MACOSX_DEPLOYMENT_TARGET": "14.0"}
Found = dict[str, str]


class NotResolvedError(Exception):
    """uv's explanation, or ours."""


def compiled(
    *options: str, python: str, system: str = LINUX, requirements: str | None = None
) -> Found:
    """Versions by name that uv chooses, for requirements or for the project."""
    command = [
        *("uv", "pip", "compile", "--quiet", "--no-config", "--no-header", "--no-annotate"),
        *("--only-binary", ":all:", "--python-platform", system),
        *("--python-version", python, *options, "-" if requirements else "pyproject.toml"),
    ]
    done = subprocess.run(
        command, input=requirements, capture_output=True, text=True, cwd=ROOT, env=ENVIRONMENT
    )
    if done.returncode:
        raise NotResolvedError(done.stderr.strip())
    return dict(re.findall(r"^(\S+)==(\S+)", done.stdout, flags=re.MULTILINE))


def floors(project: dict[str, Any], extra: str) -> Found:
    """Lowest version by name that the project, or one of its extras, names.

    >>> project = {"dependencies": ["click>=8.1"], "optional-dependencies": {
    ...     "a": ["medloss[b]", "fire>=0.7.1"], "b": ["PyYAML>=6.0.2"]}}
    >>> floors(project, "a")
    {'click': '8.1', 'pyyaml': '6.0.2', 'fire': '0.7.1'}
    """
    of_extras = project["optional-dependencies"]
    waiting = [*project["dependencies"], *of_extras.get(extra, ())]
    found: Found = {}
    while waiting:
        requirement = waiting.pop(0)
        if nested := re.fullmatch(r"medloss\[(.*)\]", requirement):
            waiting[:0] = [each for name in nested[1].split(",") for each in of_extras[name]]
            continue
        name, lowest = re.fullmatch(r"([\w.-]+)>=([\w.]+)", requirement).groups()  # type: ignore[union-attr]
        found[re.sub(r"[-_.]+", "-", name).lower()] = lowest
    return found


def same_release(one: str, other: str) -> bool:
    """Whether two versions are one, but for zeros at the end and post-releases.

    >>> same_release("8.1", "8.1.0"), same_release("0.5.0", "0.5.0.post2")
    (True, True)
    >>> same_release("18", "18.0.0"), same_release("8.1", "8.10")
    (True, False)
    """
    return _release(one) == _release(other)


def _release(version: str) -> str:
    return re.sub(r"(\.0)*(\.post\d+)?$", "", version)


def resolve(
    project: dict[str, Any], extras: tuple[str, ...], python: str, way: str, system: str
) -> Found:
    """What extras bring; an error if that is not what the project promises."""
    options = [option for extra in extras for option in ("--extra", extra)]
    found = compiled(*WAYS[way], *options, python=python, system=system)
    if way == "lowest":
        wrong = [
            f"{name}>={lowest} is not to be had, the lowest is {found[name]}"
            for extra in extras or ("",)
            for name, lowest in floors(project, extra).items()
            if not same_release(found[name], lowest)
        ]
        if wrong:
            raise NotResolvedError("\n".join(wrong))
    if way == "newest" and found["torch"] not in TRITONS:
        raise NotResolvedError(f"tests/tritons.py does not know torch {found['torch']}")
    return found


def triton(torch: str) -> Found:
    """What a release of torch brings; an error if its triton is not the one of our table."""
    found = compiled(python=PYTHONS[0], requirements=f"torch=={torch}")
    if found.get("triton") != TRITONS[torch]:
        raise NotResolvedError(f"pins triton {found.get('triton')}, not {TRITONS[torch]}")
    return found


def main() -> Iterator[str]:
    """Print the table as it comes; yield what went wrong."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    columns = [(python, way) for python in PYTHONS for way in WAYS]
    with ThreadPoolExecutor(4) as pool:
        ask = pool.submit
        extras = project["optional-dependencies"]
        wanted = {"none": ((), LINUX)} | {extra: ((extra,), LINUX) for extra in extras}
        wanted |= {f"all: {name}": (tuple(extras), system) for name, system in SYSTEMS.items()}
        rows = {
            name: [ask(resolve, project, asked, *column, system) for column in columns]
            for name, (asked, system) in wanted.items()
        }
        pins = {torch: ask(triton, torch) for torch in TRITONS}
        print("Packages that each extra brings.\n")
        print("| extra | " + " | ".join(f"{p} {way}" for p, way in columns) + " |")
        print("| --- " * (1 + len(columns)) + "|")
        for name, futures in rows.items():
            cells = []
            for (python, way), future in zip(columns, futures, strict=True):
                cell, error = outcome(future.result)
                cells.append(cell)
                if error:
                    yield f"{name} on {python}, {way}: {error}"
            print("| " + " | ".join((name, *cells)) + " |", flush=True)
        for torch, future in pins.items():
            _, error = outcome(future.result)
            if error:
                yield f"torch {torch}: {error}"
            else:
                print(f"torch {torch} pins triton {TRITONS[torch]}", flush=True)


def outcome(resolved: Callable[[], Found]) -> tuple[str, str]:
    """What the table says, and what went wrong if something did."""
    try:
        return f"{len(resolved())}", ""
    except NotResolvedError as error:
        return "FAILED", str(error)


if __name__ == "__main__":
    problems = list(main())
    sys.exit("\n\n".join(["", *problems]) if problems else 0)
