"""What everything on offer must say about itself."""

from __future__ import annotations

import doctest
import functools
import inspect
import json
import os
import subprocess
import sys
from typing import Any

from medloss.offers.cards import argument_help, read_card
from medloss.offers.records import ROLES
from medloss.testing.registry import Kind, checks_of, contract, demand, kind_of_checks

SECTIONS: dict[Kind, tuple[str, ...]] = {
    "loss": ("Formula", "Range", "Empty target", "Example", "Source"),
    "metric": ("Formula", "Range", "Empty", "Example", "Source"),
    **dict.fromkeys(ROLES, ("Empty", "Example", "Source")),
}


@contract("loss", "metric", "reader", *ROLES, excusable=False)
def summary_equals_docstring(subject: Any) -> None:
    """The record's summary is the first line of the docstring.

    ``medloss list`` shows the one, ``medloss info`` and every IDE the other.
    """
    first = (inspect.getdoc(subject.target) or "").partition("\n")[0]
    summary = subject.record.summary
    demand(first == summary, f"the summary is {summary!r} and the docstring begins with {first!r}")


@contract("loss", "metric", *ROLES, excusable=False)
def card_is_complete(subject: Any) -> None:
    """The docstring has every section of a card, and a word on every option.

    The sections are Formula, Range, Empty target (metrics: Empty), Example and Source; parts of
    detectors need Empty, Example and Source. They are what a user needs to choose, and what a
    reviewer asks for.
    """
    kind = kind_of_checks(subject.record)
    sections = read_card(subject.target).sections
    missing = [title for title in SECTIONS[kind] if not sections.get(title)]
    demand(not missing, f"these sections are missing: {', '.join(missing)}")
    told = argument_help(subject.target)
    untold = [n for n in inspect.signature(subject.target).parameters if not told.get(n)]
    demand(not untold, f"Args has no word on {', '.join(untold)}")


@contract("loss", "metric", *ROLES, excusable=False)
def card_example_is_true(subject: Any) -> None:
    """The example in the docstring runs and prints what it says.

    A worked value in the card is a promise about numbers, and here it is kept.
    """
    target = subject.target
    module = inspect.getmodule(target)
    finder = doctest.DocTestFinder(recurse=False)
    tests = finder.find(target, target.__name__, module, globs=dict(vars(module or object)))
    runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    output: list[str] = []
    for test in tests:
        runner.run(test, out=output.append)
    wrong = " ".join("".join(output).split())
    demand(not runner.failures, f"it does not: {wrong[-200:]}")


@contract("loss", "metric", *ROLES, excusable=False)
def config_example_builds(subject: Any) -> None:
    """The record's example holds options as JSON would, and builds.

    ``medloss list --bundle`` prints it for users to paste into a config.
    """
    example = dict(subject.record.example)
    try:
        same = json.loads(json.dumps(example)) == example
    except TypeError:
        same = False
    demand(same, f"the example is no JSON: {example!r}")
    subject.build()


@contract("loss", "metric", *ROLES, excusable=False)
def exemptions_are_reasoned(subject: Any) -> None:
    """Every exemption names a check that mathematics can excuse from, and says why."""
    from medloss.testing.running import exemptions

    kind = kind_of_checks(subject.record)
    excusable = {check.name for check in checks_of(kind) if check.excusable}
    for name, reason in exemptions(subject.offer).items():
        demand(name in excusable, f"exempt names {name!r}, from which nothing can be exempt")
        demand(str(reason).strip(), f"exempt gives no reason for {name!r}")


@contract("loss", "metric", "reader", "profile", *ROLES, excusable=False)
def listing_stays_light(subject: Any) -> None:
    """Importing the plugin, which is what listing does, imports no torch and no MONAI.

    ``medloss list`` takes 0.2 s with plugins that name their targets and 5 s with one that imports
    them.
    """
    module = subject.offer.plugin.module
    heavy = imports(module.partition(":")[0], ("torch", "monai"))
    demand(not heavy, f"importing {module} imports {' and '.join(heavy)}")


@functools.cache
def imports(module: str, names: tuple[str, ...]) -> list[str]:
    """Which of some modules are imported with a module, seen in a process of its own.

    Raises:
        ImportError: the module itself cannot be imported there.
    """
    code = (
        f"import importlib, sys; importlib.import_module({module!r}); "
        f"print(*[name for name in {names!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if done.returncode:
        raise ImportError(f"{module}: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.split()
