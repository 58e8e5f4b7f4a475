from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from medloss.cli.eval import eval_command

PAGE = Path(__file__).parents[2] / "docs" / "evaluate.md"


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"no {language} block in {PAGE.name}"
    return found[1]


def test_the_example_prints_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    subprocess.run([sys.executable, "-c", block("python")], check=True, cwd=tmp_path)
    command, _, output = block("console").partition("\n")
    words = shlex.split(command.removeprefix("$ medloss eval "))
    result = CliRunner().invoke(eval_command, words)
    assert result.exit_code == 0, result.output
    printed = "\n".join(line.rstrip() for line in result.stdout.rstrip().splitlines())
    assert printed == output.rstrip()
    assert (tmp_path / "values.csv").exists()
