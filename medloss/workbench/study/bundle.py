"""A bundle's configuration, changed for one run: its loss, seed, cases, epochs and folders."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from medloss.evaluation.inputs.labels import Classes
from medloss.integrations.bundle.choice import bundle_to_train
from medloss.integrations.bundle.postprocessing import read_postprocessing
from medloss.integrations.bundle.roles import check_roles, prediction_roles
from medloss.integrations.bundle.settings import (
    ConfigReader,
    make_parser,
    refuse_prompted_class,
    unusable,
)
from medloss.runtime.config_text import DuplicateKeyError, parse_json
from medloss.workbench.study.runs import StudyConditions, StudyRun

LEFT_OUT = (
    *("ValidationHandler", "CheckpointSaver", "CheckpointLoader", "EarlyStopHandler"),
    *("TensorBoardStatsHandler", "TensorBoardImageHandler", "MLFlowHandler"),
)
"""Handlers of a trainer that a study leaves out: they would choose weights by the held-out cases,
or begin from other weights, or write outside the folder of a run."""

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
        overrides = dict(conditions.overrides)
        if conditions.device:
            overrides["device"] = f"$torch.device('{conditions.device}')"
        self.roles = bundle_to_train(self.folder, configs=conditions.configs, overrides=overrides)
        self.config = self.roles.config
        self.held_out = prediction_roles(self.config)
        check_roles(self.held_out, ())
        for roles in (self.roles, self.held_out):  # raises where there are none
            roles.of_dataset("data"), roles.of_dataset("transform")
        if self.roles.engine is None:
            raise ValueError(f"{self.folder}: its configuration has no trainer; a study needs one")
        self.trainer = self.roles.engine
        self.roles.need("max_epochs")
        root = str(self.folder)
        if root not in sys.path:  # its own code is imported from there, as MONAI does it
            sys.path.insert(0, root)
        refuse_prompted_class(self.config, self.parser(), self.roles.need("network"))

    def parser(self, changes: Mapping[str, Any] | None = None, **given: Any) -> ConfigParser:
        """The configuration as the bundle and the overrides have it.

        Args:
            changes: entries by id that a run changes.
            given: objects that expressions may name.
        """
        parser = make_parser(self.config, **given)
        parser.update(dict(changes or {}))
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
        return int(self.build(self.parser(), f"{self.trainer}#max_epochs"))

    def activation(self) -> str:
        """What makes probabilities of the network's output: ``softmax`` or ``sigmoid``.

        Raises:
            ValueError: the bundle's postprocessing cannot be used.
        """
        reader = ConfigReader(self.config, self.parser())
        made = reader.role(self.held_out, "postprocessing")
        return read_postprocessing(self.folder, made).activation or "softmax"

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
        data, held = self.roles.of_dataset("data"), self.held_out.of_dataset("data")
        cases = list(self.build(self.parser(), data))
        texts = _texts(cases)
        if len(set(texts)) < len(texts):
            raise ValueError(
                f"{self.folder}: {data} lists a case more than once; "
                f"{'--folds' if folds else 'tuning'} would put it on both sides"
            )
        train, held_out = self._folded(cases, fold) if folds else (cases, None)
        if not tuning:
            return train, held_out or []
        reported = held_out or list(self.build(self.parser(), held))
        if both := {*_texts(train)} & {*_texts(reported)}:
            raise ValueError(
                f"{self.folder}: {len(both)} cases are in {data} and in {held}, so that a loss "
                f"would be tuned on cases that are reported; --folds divides the training list "
                f"instead"
            )
        if len(train) < 2:
            raise ValueError(
                f"{self.folder}: tuning needs at least 2 training cases, there is {len(train)}"
            )
        return [x for n, x in enumerate(train) if n % TUNING_PART], train[::TUNING_PART]

    def _folded(self, cases: list[BundleCase], fold: int) -> BundleSplit:
        folds, data = self.conditions.folds, self.roles.of_dataset("data")
        if len(cases) < 2 * folds:
            raise ValueError(
                f"{self.folder}: {folds} folds need at least {2 * folds} training cases, "
                f"{data} has {len(cases)}"
            )
        return [x for n, x in enumerate(cases) if n % folds != fold], cases[fold::folds]

    def changes(self, run: StudyRun, folder: Path, split: BundleSplit | None) -> dict[str, Any]:
        """What a run changes in the configuration, beyond the overrides of the study."""
        config = self.config
        made: dict[str, Any] = {}
        made[self.roles.need("loss_function")] = dict(run.loss.block)
        made[self.roles.need("max_epochs")] = self.conditions.epochs
        if "epochs" in config:
            made["epochs"] = self.conditions.epochs
        for name in ("ckpt_dir", "output_dir"):
            if name in config:
                made[name] = str(folder)
        if split is not None:
            made[self.roles.of_dataset("data")] = list(split[0])
            made[self.held_out.of_dataset("data")] = list(split[1])
        made["initialize"] = [f"$monai.utils.set_determinism(seed={run.seed})"]
        for entry in config.reached([f"{self.trainer}#train_handlers"]):
            handlers = config.get(entry)
            for number in range(len(handlers) if isinstance(handlers, list) else 0):
                id = f"{entry}#{number}"
                if config.target(id).rpartition(".")[2] in LEFT_OUT:
                    # what a disabled component refers to would leave a None in the list
                    made[id] = {"_target_": config.target(id), "_disabled_": True}
        return made

    def classes(self) -> Classes:
        """What is scored on the held-out cases: what the network tells apart.

        Names are those of ``metadata.json``; without it, every label that is found. Where the
        bundle makes BraTS's regions of its labels, those are scored.

        Raises:
            ValueError: the metadata has a key twice.
        """
        names = self._channel_names()
        conversion = "ConvertToMultiChannelBasedOnBratsClassesd"
        for id in self.config.reached([self.held_out.of_dataset("transform")]):
            for place, block in self.config.components(id):
                if str(block["_target_"]).rpartition(".")[2] == conversion:
                    enhancing = int(self.build(self.parser(), place).converter.et_label)
                    regions = ((1, enhancing), (1, 2, enhancing), (enhancing,))
                    called = [*names.values()] if len(names) == 3 else ["TC", "WT", "ET"]
                    return Classes(
                        dict.fromkeys(called, ""), dict(zip(called, regions, strict=True))
                    )
        if self.activation() == "sigmoid":  # without a background channel
            return Classes({number + 1: name for number, name in names.items()})
        return Classes({number: name for number, name in names.items() if number > 0})

    def _channel_names(self) -> dict[int, str]:
        file = self.folder / "configs" / "metadata.json"
        try:
            content = parse_json(file.read_text(encoding="utf-8"))
            channels = content["network_data_format"]["outputs"]["pred"]["channel_def"]
            return {int(number): str(channels[number]) for number in sorted(channels, key=int)}
        except DuplicateKeyError as error:
            raise ValueError(f"{file}: {error}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}


def _texts(cases: Sequence[BundleCase]) -> list[str]:
    """What tells cases apart: their images, whatever else is listed with them."""
    images = [case.get("image", case) if isinstance(case, Mapping) else case for case in cases]
    return [json.dumps(image, sort_keys=True, default=str) for image in images]
