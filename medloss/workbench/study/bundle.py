"""A bundle's configuration, changed for one run: its loss, seed, cases, epochs and folders."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medloss.integrations.bundle.files import config_files
from medloss.integrations.bundle.postprocessing import read_postprocessing
from medloss.integrations.bundle.settings import ConfigReader, unusable
from medloss.runtime.config_text import DuplicateKeyError, parse_json
from medloss.workbench.study.runs import StudyConditions, StudyRun

TRAINER, DATASET = "train#trainer", "train#dataset"
LEFT_OUT = (
    *("ValidationHandler", "CheckpointSaver", "CheckpointLoader", "EarlyStopHandler"),
    *("TensorBoardStatsHandler", "TensorBoardImageHandler", "MLFlowHandler"),
)
"""Handlers of a trainer that a study leaves out: they would choose weights by the held-out cases,
or begin from other weights, or write outside the folder of a run."""

NEEDED = (
    "train#dataset#data",
    "train#trainer",
    "train#trainer#loss_function",
    "train#trainer#max_epochs",
    "train#trainer#network",
    "train#trainer#train_data_loader",
    "validate#dataset#data",
    "validate#dataset#transform",
    "validate#inferer",
)

TUNING_PART = 4
"""One training case of so many is held out to choose a candidate by."""

BundleCase = Mapping[str, Any]
BundleSplit = tuple[list[BundleCase], list[BundleCase]]
"""Cases that train, and cases held out."""


class StudyBundle:
    """A bundle that a study trains; it must be one that you trust.

    Args:
        conditions: bundle, configuration files and overrides.

    Raises:
        ValueError: a file or an entry is missing or cannot be used; says which.
    """

    def __init__(self, conditions: StudyConditions) -> None:
        self.conditions = conditions
        self.folder = Path(conditions.bundle)
        self.files = config_files(self.folder, conditions.configs)
        root = str(self.folder)
        if root not in sys.path:  # its own code is imported from there, as MONAI does it
            sys.path.insert(0, root)
        parser = self.parser()
        missing = [entry for entry in NEEDED if not _has(parser, entry)]
        if missing:
            raise ValueError(
                f"{self.folder}: its configuration ({', '.join(f.name for f in self.files)}) has "
                f"no {', '.join(missing)}; a study needs {', '.join(NEEDED)}"
            )

    def parser(self, **globals: Any) -> ConfigParser:
        """The configuration as the bundle and the overrides have it."""
        parser = ConfigParser(globals=globals or None)
        try:
            parser.read_config([str(file) for file in self.files])
            parser.update({"bundle_root": str(self.folder), **self.conditions.overrides})
            if self.conditions.device:
                parser.update({"device": f"$torch.device('{self.conditions.device}')"})
        except Exception as error:
            raise unusable(self.folder, "its configuration", error) from error
        return parser

    def build(self, parser: ConfigParser, entry: str) -> Any:
        """Build an entry.

        Raises:
            ValueError: it cannot be built.
        """
        try:
            return parser.get_parsed_content(entry)
        # A bundle's own code may raise anything.
        except Exception as error:
            raise unusable(self.folder, entry, error) from error

    def own_epochs(self) -> int:
        """How long the bundle itself trains."""
        return int(self.build(self.parser(), f"{TRAINER}#max_epochs"))

    def activation(self) -> str:
        """What makes probabilities of the network's output: ``softmax`` or ``sigmoid``.

        Raises:
            ValueError: the bundle's postprocessing cannot be used.
        """
        reader = ConfigReader(self.folder, self.parser(), "validate#")
        found = read_postprocessing(self.folder, reader.optional("postprocessing", None))
        return found.activation or "softmax"

    def split(self, fold: int, *, tuning: bool = False) -> BundleSplit | None:
        """Cases that train and cases held out; None for the bundle's own split.

        Fold k holds out every case whose place in the training list is k modulo the folds. For
        tuning those are left aside, and the first of every four that remain is held out instead.

        Raises:
            ValueError: the training list cannot be divided so.
        """
        folds = self.conditions.folds
        if not folds and not tuning:
            return None
        cases = list(self.build(self.parser(), f"{DATASET}#data"))
        texts = _texts(cases)
        if len(set(texts)) < len(texts):
            raise ValueError(
                f"{self.folder}: {DATASET}#data lists a case more than once; "
                f"{'--folds' if folds else 'tuning'} would put it on both sides"
            )
        train, held_out = self._folded(cases, fold) if folds else (cases, None)
        if not tuning:
            return train, held_out or []
        reported = held_out or list(self.build(self.parser(), "validate#dataset#data"))
        if both := {*_texts(train)} & {*_texts(reported)}:
            raise ValueError(
                f"{self.folder}: {len(both)} cases are in {DATASET}#data and in "
                f"validate#dataset#data, so that a loss would be tuned on cases that are reported; "
                f"--folds divides the training list instead"
            )
        if len(train) < 2:
            raise ValueError(
                f"{self.folder}: tuning needs at least 2 training cases, there is {len(train)}"
            )
        return [x for n, x in enumerate(train) if n % TUNING_PART], train[::TUNING_PART]

    def _folded(self, cases: list[BundleCase], fold: int) -> BundleSplit:
        folds = self.conditions.folds
        if len(cases) < 2 * folds:
            raise ValueError(
                f"{self.folder}: {folds} folds need at least {2 * folds} training cases, "
                f"{DATASET}#data has {len(cases)}"
            )
        return [x for n, x in enumerate(cases) if n % folds != fold], cases[fold::folds]

    def changes(self, run: StudyRun, folder: Path, split: BundleSplit | None) -> dict[str, Any]:
        """What a run changes in the configuration, beyond the overrides of the study."""
        parser = self.parser()
        made: dict[str, Any] = {}
        loss = f"{TRAINER}#loss_function"
        made["loss" if parser.get(loss) == "@loss" else loss] = dict(run.loss.block)
        if _has(parser, "epochs"):
            made["epochs"] = self.conditions.epochs
        if parser.get(f"{TRAINER}#max_epochs") != "@epochs":
            made[f"{TRAINER}#max_epochs"] = self.conditions.epochs
        for name in ("ckpt_dir", "output_dir"):
            if _has(parser, name):
                made[name] = str(folder)
        if split is not None:
            made[f"{DATASET}#data"] = list(split[0])
            made["validate#dataset#data"] = list(split[1])
        made["initialize"] = [f"$monai.utils.set_determinism(seed={run.seed})"]
        for entry in ("train#handlers", f"{TRAINER}#train_handlers"):
            handlers = parser.get(entry, None)
            for number, handler in enumerate(handlers if isinstance(handlers, list) else ()):
                if isinstance(handler, Mapping) and _class(handler) in LEFT_OUT:
                    made[f"{entry}#{number}#_disabled_"] = True
        return made

    def labels(self) -> dict[int | str, str] | None:
        """Names of the foreground labels, as ``metadata.json`` has them; None where it has none."""
        file = self.folder / "configs" / "metadata.json"
        try:
            content = parse_json(file.read_text(encoding="utf-8"))
            channels = content["network_data_format"]["outputs"]["pred"]["channel_def"]
            named = {int(number): str(name) for number, name in channels.items()}
        except DuplicateKeyError as error:
            raise ValueError(f"{file}: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        found: dict[int | str, str] = {n: name for n, name in sorted(named.items()) if n > 0}
        return found or None


def _texts(cases: Sequence[BundleCase]) -> list[str]:
    """What tells cases apart."""
    return [json.dumps(case, sort_keys=True, default=str) for case in cases]


def _has(parser: ConfigParser, entry: str) -> bool:
    """Whether an entry is written there; one whose parent is a reference may still be missing."""
    try:
        parser[entry]
    except (KeyError, IndexError, ValueError, TypeError):
        return False
    return True


def _class(block: Mapping[str, Any]) -> str:
    return str(block.get("_target_", "")).rpartition(".")[2]
