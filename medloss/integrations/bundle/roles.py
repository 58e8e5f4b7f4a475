"""Which entry of a bundle plays which role, whatever the bundle calls it; needs no MONAI.

A role is found where MONAI itself looks: among the arguments of the trainer or the evaluator,
references followed. Only of a bundle without one are the usual names tried. A bundle that trains or
predicts in another way than network, loss and one label for one image is told apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medloss.integrations.bundle.config import BundleConfig, missing_files, placeholders

_NETWORK = ("network", "net", "network_def", "net_def", "model")
_TRAINERS = ("train#trainer", "trainer")
_EVALUATORS = ("evaluator", "validate#evaluator", "infer#evaluator", "val#evaluator")

_NAMES: Mapping[str, tuple[str, ...]] = {
    "network": _NETWORK,
    "device": ("device",),
    "loss_function": ("loss", "lossfn", "loss_function", "loss_fn", "train#loss", "criterion"),
    "train_data_loader": (
        *("train#dataloader", "train_dataloader", "train_data_loader", "train_loader"),
        *("train#data_loader", "dataloader"),
    ),
    "val_data_loader": ("validate#dataloader", "val_dataloader", "eval_dataloader", "dataloader"),
    "inferer": ("validate#inferer", "inferer"),
    "postprocessing": ("validate#postprocessing", "postprocessing"),
}
"""What a role is called where no engine says which entry it is."""

_DATASETS = {
    "train_data_loader": ("train#dataset", "train_dataset", "dataset"),
    "val_data_loader": ("validate#dataset", "val_dataset", "eval_dataset", "dataset"),
}


@dataclass(frozen=True, eq=False)
class Roles:
    """Ids of what an engine works with.

    Args:
        config: where they are.
        engine: the trainer or evaluator; None where there is none.
        kind: what the engine is called in a sentence.
    """

    config: BundleConfig
    engine: str | None
    kind: str

    def find(self, name: str) -> str | None:
        """The id of an argument of the engine, or of what is usually called so."""
        if self.engine is not None:
            found = self.config.argument(self.engine, name)
            # of MONAI's engines the rest is a default, and what the file calls so is another's
            if found or (name != "device" and self.config.argument(self.engine, self.loader)):
                return found
        return self._named(_NAMES.get(name, ()))

    def need(self, name: str) -> str:
        """The id of an argument.

        Raises:
            ValueError: nothing plays this role; says what was looked for.
        """
        found = self.find(name)
        if found is None:
            names = ", ".join(_NAMES.get(name, (name,)))
            where = (
                f"its {self.kind} {self.engine} has none"
                if self.engine is not None
                else f"it has no {self.kind}, and no {names}"
            )
            files = ", ".join(file.name for file in self.config.files)
            raise ValueError(f"{self.config.folder}: nothing is the {name} in {files}: {where}")
        return found

    @property
    def loader(self) -> str:
        """``train_data_loader`` or ``val_data_loader``."""
        return "train_data_loader" if self.kind == "trainer" else "val_data_loader"

    @property
    def dataset(self) -> str:
        """The id of the data set behind the engine's data loader.

        Raises:
            ValueError: it is not written there.
        """
        loader = self.find(self.loader)
        found = None if loader is None else self.config.argument(loader, "dataset")
        found = found or self._named(_DATASETS[self.loader])
        if found is None:
            raise ValueError(
                f"{self.config.folder}: no data set is written for the {self.kind}: {self.loader} "
                f"is {loader or 'missing'}"
            )
        return found

    def of_dataset(self, name: str) -> str:
        """The id of an argument of the data set: ``data``, the cases, or ``transform``.

        Raises:
            ValueError: it has none.
        """
        id = f"{self.dataset}#{name}"
        if id not in self.config:
            target = self.config.target(self.dataset) or repr(self.config.get(self.dataset))
            raise ValueError(
                f"{self.config.folder}: {self.dataset} is {target:.60} without {name}; expected a "
                f"data set of MONAI with data, a list of cases, and transform"
            )
        return id

    def _named(self, names: tuple[str, ...]) -> str | None:
        return next((self.config.follow(name) for name in names if name in self.config), None)


def training_roles(config: BundleConfig) -> Roles:
    """Roles in a training.

    Raises:
        ValueError: there are several trainers, none of them at a usual place.
    """
    return Roles(config, _engine(config, _TRAINERS, "Trainer"), "trainer")


def prediction_roles(config: BundleConfig) -> Roles:
    """Roles in inference or validation.

    Raises:
        ValueError: there are several evaluators, none of them at a usual place.
    """
    return Roles(config, _engine(config, _EVALUATORS, "Evaluator"), "evaluator")


def check_roles(roles: Roles, names: tuple[str, ...]) -> None:
    """Refuse a bundle that is of another kind, is not filled in, or lacks a file.

    Args:
        roles: of the bundle.
        names: roles that have to be played.

    Raises:
        ValueError: says what it is, or what is missing, and what to do instead.
    """
    config = roles.config
    reason = unlike(roles)
    if reason:
        raise ValueError(f"{config.folder}: {reason}; {_way(roles, reason)}")
    check_entries(roles, tuple(roles.need(name) for name in names))


def check_entries(roles: Roles, ids: tuple[str, ...]) -> None:
    """Refuse entries that are not filled in, or read a file that is not there.

    Raises:
        ValueError: names the entry.
    """
    config = roles.config
    empty = placeholders(config, ids)
    if empty:
        raise ValueError(
            f"{config.folder}: {empty[0]} is still '???', as init_bundle writes it; fill it in, or "
            f"say --override {empty[0]}=..."
        )
    for id, path in missing_files(config, ids):
        raise ValueError(f"{config.folder}: {id} reads {path}, which does not exist")


def unlike(roles: Roles) -> str:
    """Why a bundle is none of network, loss and a label for each image, or nothing."""
    config, engine = roles.config, roles.engine
    searched = [id for id, block in config.components() if _class(block) == "TopologySearch"]
    if searched:
        return (
            f"it searches for an architecture ({searched[0]} is a TopologySearch): its loss also "
            f"weighs what the network costs, and there is no one network to try or predict with"
        )
    if engine is None:
        return ""
    block = config.get(engine)
    block = block if isinstance(block, Mapping) else {}
    name = _class(block)
    called = f"its {roles.kind} {engine} is a {name or 'component'}"
    network = config.argument(engine, "network")
    parts = [config.target(id).rpartition(".")[2] for id in config.reached([network or engine])]
    if "detector" in block or re.search("detection|retinanet", name, re.IGNORECASE):
        return f"{called} that finds boxes: a bundle of object detection, without label maps"
    if any(re.search("retinanet|detector", part, re.IGNORECASE) for part in parts):
        return f"{called} of a network that finds boxes: object detection, without label maps"
    if {"g_network", "d_network"} & block.keys():
        return f"{called} that trains two networks against each other, not one by labels"
    if "iteration_update" in block:
        how = config.target(f"{engine}#iteration_update").rpartition(".")[2]
        return (
            f"{called} with an iteration of its own (iteration_update{f': {how}' if how else ''}): "
            f"it prompts its network with simulated clicks before it calls the loss"
            if re.search("interaction|click|deepgrow|deepedit|prompt", how, re.IGNORECASE)
            else f"{called} with an iteration of its own (iteration_update), which decides what "
            f"the network and the loss are called with"
        )
    if re.search(r"vista3d|prompt|\bsam", name, re.IGNORECASE) or _prompted(roles, network):
        return f"{called} of a network that is prompted with classes or points beside the image"
    if roles.kind == "evaluator":
        clicks = _clicks(roles)
        if clicks:
            return f"its network is prompted: {clicks} makes clicks a part of the image"
    return ""


def _way(roles: Roles, reason: str) -> str:
    if "boxes" in reason:
        return "losses on boxes are parts of its detector: medloss list --kind detection"
    if roles.kind == "trainer":
        return (
            "save the input and label of its loss in one step, and try a loss on them: "
            "medloss check NAME --batch FILE"
        )
    return "run its own inference and score the files: medloss eval PRED REF"


@dataclass(frozen=True)
class Weights:
    """Where the weights of a network are.

    Args:
        path: the file; None where only MONAI can tell.
        id: of the entry that names it, or nothing.
        key: what they are called in the file, or nothing.
    """

    path: Path | None
    id: str = ""
    key: str = ""


def weights_of(roles: Roles) -> Weights:
    """What the configuration's ``CheckpointLoader`` loads, else ``models/model.pt``.

    A loader that is disabled because its file is missing still names it: a network without its
    weights predicts noise.
    """
    config = roles.config
    for id in _loaders(roles):
        written = config.get(f"{id}#_disabled_", False)
        absent = isinstance(written, str) and "exists" in written
        if config.evaluated(written) in (True, "true", "True") and not absent:
            continue
        path = config.value(f"{id}#load_path")
        names = config.get(f"{id}#load_dict")
        network = roles.find("network")
        keys = [
            str(key)
            for key, value in (names.items() if isinstance(names, Mapping) else ())
            if isinstance(value, str) and config.follow(value.removeprefix("@")) == network
        ]
        found = Path(path) if isinstance(path, str) else None
        return Weights(found, f"{id}#load_path", keys[0] if keys else "")
    return Weights(config.folder / "models" / "model.pt")


def check_weights(roles: Roles, checkpoint: Path | None) -> None:
    """Raise if the weights of the network are not there.

    Raises:
        ValueError: names the file, and what names it.
    """
    weights = Weights(checkpoint) if checkpoint is not None else weights_of(roles)
    if weights.path is None or weights.path.is_file():
        return
    where = f"; {weights.id} of {roles.config.folder} names this file" if weights.id else ""
    raise ValueError(
        f"{weights.path} does not exist; --checkpoint names the weights of the network{where}"
    )


def _loaders(roles: Roles) -> list[str]:
    """Ids of the loaders of weights: those of the evaluator, then those that stand alone."""
    config = roles.config
    lists = [
        None if roles.engine is None else config.argument(roles.engine, "val_handlers"),
        "handlers",
        "validate#handlers",
    ]
    found = []
    for id in dict.fromkeys(id for id in lists if id is not None):
        handlers = config.get(id)
        for number in range(len(handlers) if isinstance(handlers, list) else 0):
            found.append(config.follow(f"{id}#{number}"))
    found += list(config.content)
    return [id for id in found if config.target(id).endswith("CheckpointLoader")]


def _engine(config: BundleConfig, usual: tuple[str, ...], ending: str) -> str | None:
    for id in usual:
        if isinstance(config.get(config.follow(id)), Mapping):
            return config.follow(id)
    found = [id for id, block in config.components() if _class(block).endswith(ending)]
    if len(found) > 1:
        raise ValueError(
            f"{config.folder}: its configuration has several of {ending}: {', '.join(found)}; "
            f"expected one, or one called {usual[0]} or {usual[1]}"
        )
    return found[0] if found else None


def _class(block: Mapping[str, Any]) -> str:
    return str(block.get("_target_", "")).rpartition(".")[2]


def _prompted(roles: Roles, network: str | None) -> bool:
    """Whether the network is one that is known to be prompted."""
    ids = roles.config.reached([network]) if network else []
    texts = [value for id in ids if isinstance(value := roles.config.get(id), str)]
    texts += [roles.config.target(id) for id in ids]
    return any(re.search(r"vista3d|\bsam\w*\b|segment_anything", text, re.I) for text in texts)


def _clicks(roles: Roles) -> str:
    """The transform that puts clicks into the image, or nothing."""
    config = roles.config
    try:
        ids = config.reached([roles.of_dataset("transform")])
    except ValueError:
        return ""
    for id in ids:
        for _, block in config.components(id):
            if re.search("guidance|click|deepgrow|deepedit", _class(block), re.IGNORECASE):
                return _class(block)
    return ""
