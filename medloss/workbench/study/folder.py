"""The folder of a study: its settings, its journal, and a folder for each run."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medloss._version import __version__
from medloss.runtime.config_text import DuplicateKeyError, parse_file, parse_json
from medloss.runtime.files import delete_unfinished, make_folder, write_text
from medloss.work.journal import append_line, differences
from medloss.work.lock import LOCKS, locked
from medloss.workbench.study.runs import StudyConditions, StudyLoss, StudyRun

SETTINGS, JOURNAL, RUNS = "study.json", "journal.jsonl", "runs"
RUN_TABLE, CASE_TABLE, SUMMARY = "study.csv", "cases.csv", "summary.json"
TUNING_TABLE = "tuning.csv"
REPORT, TABLES = "report.html", "tables.md"
RESULT, CURVE, LOG, CONFIG = "result.json", "curve.csv", "log.txt", "config.json"
WEIGHTS, EVALUATION, PREDICTIONS = "model.pt", "evaluation", "predictions"
"""Of a run, in a folder of its own."""

FORMAT = 1
_OWN = (SETTINGS, JOURNAL, RUN_TABLE, CASE_TABLE, TUNING_TABLE, SUMMARY, REPORT, TABLES)


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

    @contextlib.contextmanager
    def prepared(self, *, force: bool) -> Iterator[None]:
        """Make the folder, or make sure that what is in it is a study; then hold it.

        Args:
            force: delete what an earlier study left there, and nothing else.

        Raises:
            ValueError: it is no folder, cannot be written to, holds something else, or another
                process writes to it.
        """
        make_folder(self.path)
        with locked(self.path):
            delete_unfinished(self.path)
            if force and self.begun:
                for name in _OWN:
                    (self.path / name).unlink(missing_ok=True)
                shutil.rmtree(self.path / RUNS, ignore_errors=True)
            elif not self.begun and any(p.name not in LOCKS for p in self.path.iterdir()):
                raise ValueError(f"{self.path} is not empty and holds no study ({SETTINGS})")
            yield

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
        conditions: StudyConditions,
        losses: Sequence[StudyLoss],
        seeds: Sequence[int],
        facts: Mapping[str, Any],
    ) -> None:
        """Keep the settings."""
        content = {
            "format": FORMAT,
            "medloss": __version__,
            "conditions": conditions.as_json(),
            "losses": {loss.name: loss.as_json() for loss in losses},
            "seeds": list(seeds),
            **facts,
        }
        write_text(self.path / SETTINGS, json.dumps(content, indent=1, default=str) + "\n")

    def run(self, run: StudyRun) -> Path:
        """Folder of a run."""
        return self.path / RUNS / run.name

    def facts(self, run: StudyRun) -> dict[str, Any] | None:
        """The result of a run; None as long as it has not ended.

        Raises:
            ValueError: it is damaged.
        """
        file = self.run(run) / RESULT
        try:
            found: dict[str, Any] = parse_file(file.read_text("utf-8"), file)
        except FileNotFoundError:
            return None
        return found

    def done(self, run: StudyRun) -> bool:
        """Whether a run has ended otherwise than by an error, which may be gone by now.

        A run of a candidate that is no longer the chosen one has not.
        """
        try:
            facts = self.facts(run)
        except (OSError, ValueError):
            return False
        if facts is None or facts.get("status") == "failed":
            return False
        return run.loss.chosen in ("", facts.get("chosen"))

    def note(self, event: str, **facts: Any) -> None:
        """Append a line to the journal; it is on the disk when this returns."""
        line = {"time": time.strftime("%Y-%m-%dT%H:%M:%S"), "event": event, **facts}
        with (self.path / JOURNAL).open("ab", buffering=0) as file:
            append_line(file, line)


def check_same(
    path: Path,
    there: Mapping[str, Any],
    conditions: StudyConditions,
    losses: Sequence[StudyLoss],
    tuned_by: str | None = None,
) -> None:
    """Refuse to go on with a study under other conditions.

    Losses and seeds may come or go: every run is one more under the same conditions.

    Args:
        path: of the study, for the error text.
        there: settings of the study that is there.
        conditions: of the command; with 0 epochs where the study's own are wanted.
        losses: of the command.
        tuned_by: column of the metric that chooses; None where nothing is tuned.

    Raises:
        ValueError: says everything that differs.
    """
    was, now = dict(there["conditions"]), json.loads(json.dumps(conditions.as_json(), default=str))
    if not conditions.epochs:
        now["epochs"] = was.get("epochs")
    differ = [f"{name} is {both}" for name, both in differences(was, now)]
    by = (there.get("tuning") or {}).get("metric")
    if by and tuned_by and by != tuned_by:
        differ.append(f"--tune-by is {by} there, {tuned_by} now")
    blocks = json.loads(json.dumps({loss.name: loss.as_json() for loss in losses}))
    known = there["losses"]
    shared = {name: block for name, block in blocks.items() if name in known}
    before = {name: known[name] for name in shared}
    differ += [f"the loss {name} is {both}" for name, both in differences(before, shared)]
    if differ:
        raise ValueError(
            f"{path} holds a study under other conditions: {'; '.join(differ)}; --force begins anew"
        )
