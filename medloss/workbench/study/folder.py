"""The folder of a study: its settings, its journal, and a folder for each run."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss._version import __version__
from medloss.evaluation.outputs.files import whole_file
from medloss.runtime.config_text import DuplicateKeyError, parse_file, parse_json
from medloss.workbench.study.conditions import Conditions, Run
from medloss.workbench.study.losses import StudyLoss

SETTINGS, JOURNAL, RUNS, RESULT = "study.json", "journal.jsonl", "runs", "result.json"
RUN_TABLE, CASE_TABLE, SUMMARY = "study.csv", "cases.csv", "summary.json"
REPORT, TABLES = "report.html", "tables.md"
FORMAT = 1
_OWN = (SETTINGS, JOURNAL, RUN_TABLE, CASE_TABLE, SUMMARY, REPORT, TABLES)


class StudyFolder:
    """A study on the disk.

    Args:
        path: of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def begun(self) -> bool:
        """Whether a study is there."""
        return (self.path / SETTINGS).is_file()

    def prepare(self, *, force: bool) -> None:
        """Make the folder, or make sure that what is in it is a study.

        Args:
            force: delete what an earlier study left there, and nothing else.

        Raises:
            ValueError: it is no folder, cannot be written to, or holds something else.
        """
        path = self.path
        if path.exists() and not path.is_dir():
            raise ValueError(f"{path} is a file; --output names a folder")
        if not path.exists():
            if not path.parent.is_dir():
                raise ValueError(f"{path.parent} is no folder to make {path.name} in")
            path.mkdir()
        if not os.access(path, os.W_OK):
            raise ValueError(f"{path} is not writable")
        if force and self.begun:
            for name in _OWN:
                (path / name).unlink(missing_ok=True)
            shutil.rmtree(path / RUNS, ignore_errors=True)
        elif any(path.iterdir()) and not self.begun:
            raise ValueError(f"{path} is not empty and holds no study ({SETTINGS})")

    def read(self) -> dict[str, Any]:
        """The settings of the study that is there.

        Raises:
            ValueError: there is none, or of another format.
        """
        try:
            content: dict[str, Any] = parse_json((self.path / SETTINGS).read_text("utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"{self.path} has format {content['format']}, expected {FORMAT}")
        except (OSError, KeyError, TypeError, DuplicateKeyError, json.JSONDecodeError) as error:
            raise ValueError(f"{self.path} holds no study: {error}") from error
        return content

    def write(
        self,
        conditions: Conditions,
        losses: Sequence[StudyLoss],
        seeds: Sequence[int],
        facts: Mapping[str, Any],
    ) -> None:
        """Keep the settings."""
        content = {
            "format": FORMAT,
            "medloss": __version__,
            "conditions": conditions.as_json(),
            "losses": {loss.name: dict(loss.block) for loss in losses},
            "seeds": list(seeds),
            **facts,
        }
        with whole_file(self.path / SETTINGS) as file:
            json.dump(content, file, indent=1, default=str)
            file.write("\n")

    def run(self, run: Run) -> Path:
        """Folder of a run."""
        return self.path / RUNS / run.name

    def results(self) -> list[tuple[Path, dict[str, Any]]]:
        """Every run that has ended, with its facts; by path."""
        found = []
        for file in sorted((self.path / RUNS).glob(f"*/*/{RESULT}")):
            found.append((file.parent, parse_file(file.read_text("utf-8"), file)))
        return found

    def done(self, run: Run) -> bool:
        """Whether a run has ended otherwise than by an error, which may be gone by now."""
        try:
            facts = parse_json((self.run(run) / RESULT).read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return bool(facts.get("status") != "failed")

    def note(self, event: str, **facts: Any) -> None:
        """Append a line to the journal; it is on the disk when this returns."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S"), "event": event, **facts}
        with (self.path / JOURNAL).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, default=str) + "\n")
            file.flush()
            os.fsync(file.fileno())


def check_same(
    path: Path, there: Mapping[str, Any], conditions: Conditions, losses: Sequence[StudyLoss]
) -> None:
    """Refuse to go on with a study under other conditions.

    Losses and seeds may come or go: every run is one more under the same conditions.

    Args:
        path: of the study, for the error text.
        there: settings of the study that is there.
        conditions: of the command; with 0 epochs where the study's own are wanted.
        losses: of the command.

    Raises:
        ValueError: says everything that differs.
    """
    was, now = dict(there["conditions"]), json.loads(json.dumps(conditions.as_json(), default=str))
    if not conditions.epochs:
        now["epochs"] = was.get("epochs")
    differ = [
        f"{name} is {_short(was.get(name))} there, {_short(now.get(name))} now"
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]
    blocks = json.loads(json.dumps({loss.name: dict(loss.block) for loss in losses}))
    differ += [
        f"the loss {name} is {_short(there['losses'][name])} there, {_short(block)} now"
        for name, block in blocks.items()
        if name in there["losses"] and there["losses"][name] != block
    ]
    if differ:
        raise ValueError(
            f"{path} holds a study under other conditions: {'; '.join(differ)}; --force begins anew"
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 160 else f"{text[:160]}..."
