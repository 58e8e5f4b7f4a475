"""The first step of a bundle's training, as far as the loss: its own data, network and loss."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from medloss.integrations.bundle.files import config_files, load_weights
from medloss.integrations.bundle.settings import ConfigReader, parse_configs, reason
from medloss.workbench.preflight.batch import mapped, plain, tensors
from medloss.workbench.preflight.trial import Surroundings

_TRAINER = "train#trainer"


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
    files = config_files(folder, configs or ("train",))
    with _imports_from(folder), torch.random.fork_rng():
        torch.manual_seed(seed)
        parser = parse_configs(folder, files, overrides)
        _without_cache(parser.get())
        entries = _TrainerReader(folder, parser, f"{_TRAINER}#")
        loss, network = (
            entries.module("loss_function", "loss"),
            entries.module("network", "network"),
        )
        if checkpoint is not None:
            load_weights(network, checkpoint)
        device = torch.device(entries.trainer("device", "device", "cpu"))
        loader = entries.trainer("train_data_loader", "train#dataloader")
        step = _Step(entries, network.to(device).train(), device)
        try:
            inputs, target = step.prepared(next(iter(loader)))
            output = step.forward(inputs)
        # A bundle's own code may raise anything.
        except Exception as error:
            raise ValueError(f"{folder}: no batch comes through: {reason(error)}") from error
    source = {
        "bundle": str(folder),
        "configuration": ", ".join(file.name for file in files),
        **{f"override {name}": str(value) for name, value in (overrides or {}).items()},
        "weights": "as training begins" if checkpoint is None else str(checkpoint),
        "seed": str(seed),
    }
    around = Surroundings(
        raw_output=_largest(output),
        network_step=lambda: step.both_ways(inputs),
        amp=step.amp,
        amp_dtype=step.amp_dtype,
    )
    logits = mapped(output, lambda one: plain(one).detach().float())
    return FirstStep(loss, logits, target, around, source)


def bundle_loss(folder: Path) -> nn.Module:
    """The loss of a bundle's training, without its data and its network.

    Raises:
        ValueError: the ``train`` configuration cannot be read, or has no loss that can be built.
    """
    with _imports_from(folder):
        parser = parse_configs(folder, config_files(folder, ("train",)))
        entries = _TrainerReader(folder, parser, f"{_TRAINER}#")
        return entries.module("loss_function", "loss")


class _Step:
    """The trainer's way from a batch of its loader to the network's output."""

    def __init__(self, entries: _TrainerReader, network: nn.Module, device: torch.device) -> None:
        from monai.engines.utils import default_prepare_batch
        from monai.inferers import SimpleInferer

        self.network, self.device = network, device
        self.prepare = entries.trainer("prepare_batch", otherwise=default_prepare_batch)
        self.inferer = entries.trainer("inferer", otherwise=None) or SimpleInferer()
        self.to_kwargs = entries.trainer("to_kwargs", otherwise=None) or {}
        self.amp = bool(entries.trainer("amp", otherwise=False))
        amp_kwargs = entries.trainer("amp_kwargs", otherwise=None) or {}
        self.amp_dtype: torch.dtype = amp_kwargs.get("dtype", torch.float16)
        self.arguments: tuple[tuple[Any, ...], dict[str, Any]] = (), {}

    def prepared(self, batch: Any) -> tuple[Any, Any]:
        """Input of the network, and target of the loss."""
        made = self.prepare(batch, self.device, False, **self.to_kwargs)
        if len(made) == 4:
            self.arguments = made[2:]
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


class _TrainerReader(ConfigReader):
    """Arguments of the trainer, or the entries that they are usually made of."""

    def trainer(self, name: str, fallback: str = "", otherwise: Any = ...) -> Any:
        """Build an argument of the trainer; or another entry; or a default.

        Raises:
            ValueError: there is none, or it cannot be built.
        """
        for entry in (self.prefix + name, fallback):
            if entry and entry in self.parser:
                return self.required(entry, plain=True)
        if otherwise is ...:
            raise ValueError(
                f"{self.folder}: its configuration has neither {self.prefix}{name} nor {fallback}"
            )
        return otherwise

    def module(self, name: str, fallback: str) -> nn.Module:
        """Build a torch module."""
        module = self.trainer(name, fallback)
        if not isinstance(module, nn.Module):
            raise ValueError(
                f"{self.folder}: {name} of the trainer is no torch module but a "
                f"{type(module).__name__}"
            )
        return module


def _largest(output: Any) -> torch.Tensor | None:
    """The output of full resolution, with its history."""
    found = list(tensors(output))
    return max(found, key=lambda one: one.numel()) if found else None


def _without_cache(config: Any) -> None:
    if isinstance(config, dict):
        if str(config.get("_target_", "")).split(".")[-1] == "CacheDataset":
            config["cache_rate"] = 0.0
        for value in config.values():
            _without_cache(value)
    elif isinstance(config, list):
        for value in config:
            _without_cache(value)


@contextlib.contextmanager
def _imports_from(folder: Path) -> Iterator[None]:
    """A bundle's own code is imported from its root, as MONAI does it."""
    root = str(folder.resolve())
    sys.path.insert(0, root)
    try:
        yield
    finally:
        sys.path.remove(root)
