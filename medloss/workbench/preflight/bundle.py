"""The first step of a bundle's training, as far as the loss: its own data, network and loss."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medloss.integrations.bundle.choice import bundle_to_train
from medloss.integrations.bundle.config import BundleConfig, read_bundle_config
from medloss.integrations.bundle.roles import Roles, training_roles
from medloss.integrations.bundle.settings import (
    ConfigReader,
    OtherKindError,
    located,
    make_parser,
    reason,
    refuse_prompted_class,
    refuse_prompts,
)
from medloss.integrations.bundle.weights import load_weights
from medloss.workbench.preflight.batch import mapped, plain, tensors
from medloss.workbench.preflight.fractions import explain_fractions
from medloss.workbench.preflight.trial import Surroundings


@dataclass(frozen=True, eq=False)
class FirstStep:
    """What the loss of a bundle is called with in its first training step.

    Args:
        loss: of the trainer.
        input: what the network gave.
        target: what the trainer's ``prepare_batch`` gave.
        around: network and precision.
        source: bundle, configuration and weights, as names and values.
    """

    loss: nn.Module
    input: Any
    target: Any
    around: Surroundings
    source: Mapping[str, str]


def first_step(
    folder: Path,
    *,
    configs: Sequence[str] = (),
    checkpoint: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> FirstStep:
    """Load one batch by a bundle's training data loader and run its network on it.

    The bundle must be one that you trust: MONAI executes the Python in its configuration (values
    that begin with ``$``, classes under ``_target_``, the bundle's own ``scripts``). Only the
    trainer's loss, network, data loader, ``prepare_batch`` and inferer are built; its handlers,
    ``initialize`` and ``run`` are not. A ``CacheDataset`` caches nothing, so that one batch does
    not cost a whole data set.

    Args:
        folder: of the bundle, with ``configs`` in it.
        configs: names of files there, later ones over earlier ones; ``train`` by default.
        checkpoint: weights of the network; by default those that it begins with.
        overrides: values by id, such as ``{"dataset_dir": "/data"}``.
        seed: of torch's random numbers: order of the data, random transforms, initial weights.

    Raises:
        ValueError: a file or an entry is missing, or cannot be used; says which.
    """
    roles = bundle_to_train(folder, configs=configs, checkpoint=checkpoint, overrides=overrides)
    return step_of(roles, checkpoint=checkpoint, overrides=overrides, seed=seed)


def step_of(
    roles: Roles,
    *,
    checkpoint: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> FirstStep:
    """The same of roles that are known already."""
    folder = roles.config.folder
    with _imports_from(folder), torch.random.fork_rng():
        torch.manual_seed(seed)
        reader = TrainingReader(roles.config, make_parser(_without_cache(roles.config)))
        refuse_prompted_class(roles.config, reader.parser, roles.need("network"))
        reader.refuse_own_iteration(roles)
        loss, network = (reader.module(roles, name) for name in ("loss_function", "network"))
        if checkpoint is not None:
            load_weights(network, checkpoint)
        device = torch.device(reader.role(roles, "device") or "cpu")
        loader = reader.build(roles.need("train_data_loader"))
        step = _Step(reader, roles, network.to(device).train(), device)
        try:
            batch = next(iter(loader))
            inputs, target = step.prepared(batch)
            output = step.forward(inputs)
        except OtherKindError:
            raise
        # A bundle's own code may raise anything.
        except Exception as error:
            raise ValueError(f"{folder}: no batch comes through: {reason(error)}") from error
        _refuse_other_tasks(folder, output, target)
    source = {
        "bundle": str(folder),
        "configuration": ", ".join(file.name for file in roles.config.files),
        **{f"override {name}": str(value) for name, value in (overrides or {}).items()},
        "weights": "as training begins" if checkpoint is None else str(checkpoint),
        "seed": str(seed),
    }
    around = Surroundings(
        raw_output=_largest(output),
        network_step=lambda: step.both_ways(inputs),
        amp=step.amp,
        amp_dtype=step.amp_dtype,
        fractions=lambda: explain_fractions(loader, batch, target),
    )
    logits = mapped(output, lambda one: plain(one).detach().float())
    return FirstStep(loss, logits, target, around, source)


def bundle_loss(folder: Path) -> nn.Module:
    """The loss of a bundle's training, without its data and its network.

    Raises:
        ValueError: the ``train`` configuration cannot be read, or has no loss that can be built.
    """
    with _imports_from(folder):
        roles = training_roles(read_bundle_config(folder, ("train",)))
        return TrainingReader(roles.config, make_parser(roles.config)).module(
            roles, "loss_function"
        )


class _Step:
    """The trainer's way from a batch of its loader to the network's output."""

    def __init__(
        self, reader: TrainingReader, roles: Roles, network: nn.Module, device: torch.device
    ) -> None:
        from monai.engines.utils import default_prepare_batch
        from monai.inferers import SimpleInferer

        self.folder, self.network, self.device = roles.config.folder, network, device
        self.prepare = reader.role(roles, "prepare_batch") or default_prepare_batch
        self.inferer = reader.role(roles, "inferer") or SimpleInferer()
        self.to_kwargs = reader.role(roles, "to_kwargs") or {}
        self.amp = bool(reader.role(roles, "amp"))
        amp_kwargs = reader.role(roles, "amp_kwargs") or {}
        self.amp_dtype: torch.dtype = amp_kwargs.get("dtype", torch.float16)
        self.arguments: tuple[tuple[Any, ...], dict[str, Any]] = (), {}

    def prepared(self, batch: Any) -> tuple[Any, Any]:
        """Input of the network, and target of the loss."""
        made = self.prepare(batch, self.device, False, **self.to_kwargs)
        if len(made) == 4:
            self.arguments = made[2:]
        refuse_prompts(self.folder, self.network, *self.arguments)
        return made[0], made[1]

    def forward(self, inputs: Any) -> Any:
        """Output of the network; in mixed precision on a GPU, as MONAI's trainer has it."""
        amp = self.amp and self.device.type == "cuda"
        with torch.autocast(self.device.type, dtype=self.amp_dtype, enabled=amp):
            args, kwargs = self.arguments
            return self.inferer(inputs, self.network, *args, **kwargs)

    def both_ways(self, inputs: Any) -> None:
        """Forward and backward."""
        self.network.zero_grad(set_to_none=True)
        means = [plain(one).float().mean() for one in tensors(self.forward(inputs))]
        torch.autograd.backward(torch.stack(means).sum())


class TrainingReader(ConfigReader):
    """Builds entries of a training."""

    def module(self, roles: Roles, name: str) -> nn.Module:
        """Build a torch module.

        Raises:
            ValueError: there is none, or it cannot be built.
        """
        id = roles.need(name)
        module = self.build(id)
        if not isinstance(module, nn.Module):
            raise ValueError(
                f"{self.config.folder}: {name} ({id}) is no torch module but a "
                f"{type(module).__name__}"
            )
        return module

    def refuse_own_iteration(self, roles: Roles) -> None:
        """Refuse a trainer that calls network and loss in a way of its own.

        Raises:
            ValueError: it does, and nobody outside knows what with.
        """
        from monai.engines import SupervisedTrainer

        if roles.engine is None or not self.config.target(roles.engine):
            return
        found = located(self.parser, self.config.get(roles.engine), roles.engine)
        own = isinstance(found, type) and (
            not issubclass(found, SupervisedTrainer)
            or getattr(found, "_iteration", None) is not SupervisedTrainer._iteration
        )
        if own:
            raise ValueError(
                f"{self.config.folder}: its trainer {roles.engine} is a {found.__name__} with an "
                f"iteration of its own, which decides what the network and the loss are called "
                f"with; save the input and label of its loss in one step, and try a loss on "
                f"them: medloss check NAME --batch FILE"
            )


def _refuse_other_tasks(folder: Path, output: Any, target: Any) -> None:
    """Refuse what is no segmentation: classes of images, boxes, several answers by name."""
    label = target.get("label") if isinstance(target, Mapping) else target
    found = list(tensors(output))
    reason = ""
    if isinstance(target, Mapping) and not isinstance(label, torch.Tensor):
        keys = ", ".join(map(str, target))
        reason = f"the target of its loss is several things ({keys}) and no label"
    elif not isinstance(label, torch.Tensor):
        reason = f"the target of its loss is a {type(label).__name__}, not one label map"
    elif not found:
        reason = f"its network gives a {type(output).__name__} without a tensor"
    elif found[0].ndim < 3 or label.ndim < 3:
        shapes = f"{list(found[0].shape)} for a label of {list(label.shape)}"
        reason = f"its network gives {shapes}: classes or numbers, not voxels"
    if reason:
        raise ValueError(f"{folder}: {reason}; a preflight is for segmentation")


def _largest(output: Any) -> torch.Tensor | None:
    """The output of full resolution, with its history."""
    found = list(tensors(output))
    return max(found, key=lambda one: one.numel()) if found else None


_CACHES = {
    *("CacheDataset", "SmartCacheDataset", "PersistentDataset", "CacheNTransDataset"),
    "LMDBDataset",
}


def _without_cache(config: BundleConfig) -> BundleConfig:
    """The configuration with plain data sets: nothing is cached, on disk neither."""
    content = copy.deepcopy(config.content)
    found = BundleConfig(config.folder, config.files, content)
    for _, block in [*found.components()]:
        if str(block["_target_"]).rpartition(".")[2] in _CACHES and isinstance(block, dict):
            plain = {key: block[key] for key in ("data", "transform") if key in block}
            block.clear()
            block |= {"_target_": "monai.data.Dataset", **plain}
    return found


@contextlib.contextmanager
def _imports_from(folder: Path) -> Iterator[None]:
    """A bundle's own code is imported from its root, as MONAI does it."""
    root = str(folder.resolve())
    sys.path.insert(0, root)
    try:
        yield
    finally:
        sys.path.remove(root)
