"""What a bundle's configuration says about inference."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.transforms import Compose
from torch import nn

from medloss.integrations.bundle.files import (
    checkpoint_of,
    config_file,
    config_files,
    digest,
    load_weights,
)
from medloss.integrations.bundle.postprocessing import Decision, read_postprocessing
from medloss.integrations.sliding_window import SlidingWindowScore

_FILES = (("inference",), ("train", "evaluate"))


@dataclass(frozen=True, eq=False)
class BundleInference:
    """Everything that inference on the cases of a bundle needs.

    Args:
        folder: of the bundle.
        cases: one mapping with the files of each case.
        transform: turns such a mapping into one with the image, (C, *spatial).
        network: with its weights, on its device, in evaluation mode.
        device: of the network.
        score: sliding windows with the bundle's settings.
        decision: how the network's output becomes labels.
        amp: whether the network runs in mixed precision.
        source: configuration and weights, as names and values, to be written into results.
    """

    folder: Path
    cases: Sequence[Mapping[str, Any]]
    transform: Any
    network: nn.Module
    device: torch.device
    score: SlidingWindowScore
    decision: Decision
    amp: bool = False
    source: tuple[tuple[str, str], ...] = ()


def read_bundle(
    folder: Path,
    *,
    configs: Sequence[str] = (),
    checkpoint: Path | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> BundleInference:
    """Read a bundle's configuration, build its network and load its weights.

    The bundle must be one that you trust: MONAI executes the Python in its configuration (values
    that begin with ``$``, classes under ``_target_``, the bundle's own ``scripts``). Of the
    configuration only what inference needs is built; handlers, evaluator, ``initialize`` and
    ``run`` are not. Weights are loaded without executing anything.

    Args:
        folder: of the bundle, with ``configs`` in it.
        configs: names of files there, later ones over earlier ones; by default ``inference``, or
            ``train`` and ``evaluate`` where there is none.
        checkpoint: weights; by default those that the configuration names, or ``models/model.pt``.
        overrides: values by id, such as ``{"dataset_dir": "/data"}``.

    Raises:
        ValueError: a file or an entry is missing, or cannot be used; says which.
    """
    files = _files(folder, configs)
    _see_scripts(folder)
    parser = parse_configs(folder, files, overrides)
    reader = ConfigReader(folder, parser, "" if "dataset" in parser else "validate#")
    network = reader.required("network_def", plain=True)
    if not isinstance(network, nn.Module):
        raise ValueError(f"{folder}: network_def is no network but {type(network).__name__}")
    weights = checkpoint or checkpoint_of(reader, folder)
    load_weights(network, weights)
    source = (
        ("bundle", str(folder)),
        ("configuration", ", ".join(file.name for file in files)),
        ("configuration_digest", digest(folder, files)),
        ("checkpoint", str(weights)),
        ("checkpoint_sha256", _sha256(weights)),
    )
    return read_inference(reader, network, source)


def parse_configs(
    folder: Path, files: Sequence[Path], overrides: Mapping[str, Any] | None = None
) -> ConfigParser:
    """The entries of a bundle's configuration; nothing is built yet.

    Raises:
        ValueError: a file or a value cannot be used; says why.
    """
    parser = ConfigParser()
    try:
        parser.read_config([str(file) for file in files])
        parser.update({"bundle_root": str(folder), **(overrides or {})})
    # A bundle's own code may raise anything.
    except Exception as error:
        raise unusable(folder, "its configuration", error) from error
    return parser


def read_inference(
    reader: ConfigReader, network: nn.Module, source: tuple[tuple[str, str], ...]
) -> BundleInference:
    """How a bundle predicts, with a network that has its weights.

    Args:
        reader: of the configuration.
        network: whose weights are used.
        source: where configuration and weights come from, to be written into results.

    Raises:
        ValueError: an entry is missing, or cannot be used; says which.
    """
    folder = reader.folder
    device = torch.device(reader.optional("device", "cpu", plain=True))
    inferer = reader.required("inferer")
    if type(inferer) is SimpleInferer:  # the whole image is one window
        inferer = SlidingWindowInferer(roi_size=-1)
    try:
        score = SlidingWindowScore.like(inferer)
    except TypeError as error:
        raise ValueError(f"{folder}: {error}") from error
    cases = reader.required("dataset#data")
    if not isinstance(cases, Sequence) or not all(isinstance(case, Mapping) for case in cases):
        raise ValueError(f"{folder}: {reader.prefix}dataset#data is no list of cases")
    return BundleInference(
        folder=folder,
        cases=cases,
        transform=Compose(reader.required("dataset#transform")),
        network=network.to(device).eval(),
        device=device,
        score=score,
        decision=read_postprocessing(folder, reader.optional("postprocessing", None)),
        amp=bool(reader.optional("evaluator#amp", False)),
        source=source,
    )


@dataclass(frozen=True)
class ConfigReader:
    """Entries of a configuration, those of validation where there is no inference."""

    folder: Path
    parser: ConfigParser
    prefix: str

    def required(self, name: str, *, plain: bool = False) -> Any:
        """Build an entry.

        Raises:
            ValueError: it is missing, or cannot be built.
        """
        name = name if plain else self.prefix + name
        if name not in self.parser:
            raise ValueError(f"{self.folder}: its configuration has no {name}")
        try:
            return self.parser.get_parsed_content(name)
        # A bundle's own code may raise anything.
        except Exception as error:
            raise unusable(self.folder, name, error) from error

    def optional(self, name: str, otherwise: Any, *, plain: bool = False) -> Any:
        """Build an entry, if there is one."""
        present = (name if plain else self.prefix + name) in self.parser
        return self.required(name, plain=plain) if present else otherwise

    def raw(self, name: str) -> Any:
        """An entry as it is written, or None."""
        return self.parser.get(self.prefix + name, None)


def _files(folder: Path, configs: Sequence[str]) -> list[Path]:
    if configs or not folder.is_dir():
        return config_files(folder, configs)
    for names in _FILES:
        found = [config_file(folder, name) for name in names]
        if all(found):
            return config_files(folder, names)
    raise ValueError(
        f"{folder / 'configs'} holds neither inference.json (.yaml, .yml) nor train.json with "
        f"evaluate.json"
    )


def _see_scripts(folder: Path) -> None:
    """A bundle's own code is imported from its root, as MONAI does it."""
    root = str(folder.resolve())
    if root not in sys.path:
        sys.path.insert(0, root)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unusable(folder: Path, what: str, error: BaseException) -> ValueError:
    """The error of an entry or file of a bundle, with what caused it."""
    return ValueError(f"{folder}: {what} cannot be used: {reason(error)}")


def reason(error: BaseException) -> str:
    """What went wrong, with what caused it."""
    causes = [error, *([error.__cause__] if error.__cause__ else [])]
    return "; ".join(" ".join(f"{type(e).__name__}: {e}".split()) for e in causes)
