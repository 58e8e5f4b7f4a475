"""docs/preflight.md says what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "preflight.md").read_text(encoding="utf-8")


def test_the_example_runs() -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["report"].terms


def test_every_check_is_on_the_page() -> None:
    table = PAGE.partition("| check |")[2].partition("\n\n")[0]
    told = set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE))
    made = set()
    for file in (ROOT / "medloss" / "workbench" / "preflight").glob("*.py"):
        found = re.findall(
            r'Finding\(\s*"?[^,]*?,\s*"(\w+)",', file.read_text(encoding="utf-8"), flags=re.DOTALL
        )
        made |= set(found)
    assert told == made
