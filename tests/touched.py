"""The tests that a change touches: what `make check` runs.

A change is what git sees since the branch left main, untracked files included. Of a test file it
touches the file; of any other Python file its doctests, the test files that import it, or else its
package, or else the folder that mirrors it, and those that have its name
(tests/sums/test_engine*.py for medloss/sums/engine.py). Of a module in plugins/ also the tests of
its family and the contract of what it offers. What is further away is for `make test`.

python tests/touched.py    # prints what to give to pytest
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).parents[1]
FOLDERS = {
    "bundles": "tests/bundles",
    "docs/hooks": "tests/docs",
    "docs/study": "tests/workbench/study",
}
"""Folders without packages, and their tests."""


def changed() -> list[PurePosixPath]:
    """Files of the repository that differ from where this branch left main."""
    known = _git("for-each-ref", "--format=%(refname:short)", "refs/heads/main", "refs/remotes")
    main = next((name for name in ("main", "origin/main") if name in known), None)
    if main is None:
        raise SystemExit(
            "expected a branch main or origin/main to compare with: git fetch origin main"
        )
    start = _git("merge-base", "HEAD", main)[0]
    tracked = _git("diff", "--name-only", "--diff-filter=d", start)
    new = _git("ls-files", "--others", "--exclude-standard")
    return [PurePosixPath(path) for path in (*tracked, *new)]


def _git(*arguments: str) -> list[str]:
    command = ["git", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    return done.stdout.splitlines()


def module_of(path: PurePosixPath) -> str:
    """The name under which a file is imported.

    >>> module_of(PurePosixPath("plugins/medloss_region/dice.py"))
    'medloss_region.dice'
    >>> module_of(PurePosixPath("medloss/sums/__init__.py"))
    'medloss.sums'
    """
    parts = path.with_suffix("").parts
    first = 1 if parts[0] in ("plugins", "tests") else 0
    return ".".join(part for part in parts[first:] if part != "__init__")


def imports(text: str, module: str) -> bool:
    """Whether the text of a Python file imports a module by its name.

    >>> imports("from medloss.sums import class_sums, head", "medloss.sums.head")
    True
    >>> imports("import medloss.sums.header", "medloss.sums.head")
    False
    """
    package, _, name = module.rpartition(".")
    whole = rf"^\s*(import|from) {re.escape(module)}\b(?!\.)"
    part = rf"^\s*from {re.escape(package)} import (\([^)]*|.*)\b{re.escape(name)}\b"
    return bool(re.search(f"{whole}|{part}", text, flags=re.MULTILINE))


def tests_of(path: PurePosixPath, tests: dict[str, str]) -> Iterator[str]:
    """Test files that a changed file touches, out of all with their texts."""
    for folder, of_folder in FOLDERS.items():
        if path.is_relative_to(folder):
            yield of_folder
            return
    if path.suffix != ".py" or path.parts[0] not in ("medloss", "plugins", "tests"):
        return
    if str(path) in tests:
        yield str(path)
        return
    if path.parts[0] != "tests":
        yield str(path)
    module = module_of(path)
    folder, name = "/".join(["tests", *path.parts[1:-1]]), path.stem
    if path.parts[0] == "plugins":
        folder, name = "tests/plugins", path.parts[1].removeprefix("medloss_")
        yield from contract_of(module)
    yield from (test for test in tests if test.startswith(f"{folder}/test_{name}"))
    package = module.rpartition(".")[0]
    for wanted in (module, package) if "." in package else (module,):
        if near := [test for test, text in tests.items() if imports(text, wanted)]:
            yield from near
            return
    if path.parts[0] == "medloss" and any(test.startswith(f"{folder}/") for test in tests):
        yield folder


def contract_of(module: str) -> Iterator[str]:
    """The contract's checks of what a plugin's module offers."""
    from medloss.testing import contract_checks

    for check in contract_checks(plugin="medloss"):
        if check.offer.record.target.startswith(f"{module}:"):
            yield f"tests/plugins/test_contract_suite.py::test_contract[{check}]"


def main() -> None:
    """Print one argument for pytest a line, each once."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    tests = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in files}
    found = dict.fromkeys(test for path in changed() for test in tests_of(path, tests))
    print("\n".join(found))


if __name__ == "__main__":
    main()
