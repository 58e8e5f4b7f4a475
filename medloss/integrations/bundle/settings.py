"""What a bundle's configuration says about inference."""

from __future__ import annotations

import copy
import functools
import hashlib
import inspect
import pydoc
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigComponent, ConfigParser
from monai.inferers import SimpleInferer, SlidingWindowInferer
from monai.transforms import Compose
from torch import nn

from medloss.integrations.bundle.config import BundleConfig, digest
from medloss.integrations.bundle.postprocessing import Decision, read_postprocessing
from medloss.integrations.bundle.roles import Roles, weights_of
from medloss.integrations.bundle.weights import load_weights
from medloss.integrations.sliding_window import SlidingWindowScore


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


def open_bundle(roles: Roles, checkpoint: Path | None = None) -> BundleInference:
    """Build the network of a bundle, load its weights, and read how it predicts.

    The bundle must be one that you trust: MONAI executes the Python in its configuration (values
    that begin with ``$``, classes under ``_target_``, the bundle's own ``scripts``). Of the
    configuration only what inference needs is built; handlers, evaluator, ``initialize`` and
    ``run`` are not. Weights are loaded without executing anything.

    Args:
        roles: of :func:`~medloss.integrations.bundle.choice.bundle_to_predict`.
        checkpoint: weights; by default those that the configuration names, or ``models/model.pt``.

    Raises:
        ValueError: a file or an entry is missing, or cannot be used; says which.
    """
    config = roles.config
    see_scripts(config.folder)
    reader = ConfigReader(config, make_parser(config))
    network = reader.build(roles.need("network"))
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"{config.folder}: {roles.need('network')} is no network but {type(network).__name__}"
        )
    refuse_prompts(config.folder, network)
    found = weights_of(roles)
    weights = checkpoint or found.path or Path(reader.build(found.id))
    load_weights(network, weights, found.key)
    source = (
        ("bundle", str(config.folder)),
        ("configuration", ", ".join(file.name for file in config.files)),
        ("configuration_digest", digest(config.folder, config.files)),
        ("checkpoint", str(weights)),
        ("checkpoint_sha256", _sha256(weights)),
    )
    return read_inference(reader, roles, network, source)


def make_parser(config: BundleConfig, **given: Any) -> ConfigParser:
    """MONAI's parser of a configuration; nothing is built yet.

    Args:
        config: what it parses; it is not changed.
        given: objects that expressions may name.
    """
    return ConfigParser(copy.deepcopy(config.content), globals=given or None)


def read_inference(
    reader: ConfigReader, roles: Roles, network: nn.Module, source: tuple[tuple[str, str], ...]
) -> BundleInference:
    """How a bundle predicts, with a network that has its weights.

    Args:
        reader: of the configuration.
        roles: in it.
        network: whose weights are used.
        source: where configuration and weights come from, to be written into results.

    Raises:
        ValueError: an entry is missing, or cannot be used; says which.
    """
    folder = roles.config.folder
    device = torch.device(reader.role(roles, "device") or "cpu")
    inferer = reader.role(roles, "inferer")
    if inferer is None or type(inferer) is SimpleInferer:  # the whole image is one window
        inferer = SlidingWindowInferer(roi_size=-1)
    try:
        score = SlidingWindowScore.like(inferer)
    except TypeError as error:
        raise ValueError(f"{folder}: {error}") from error
    data = roles.of_dataset("data")
    cases = reader.build(data)
    if not isinstance(cases, Sequence) or not all(isinstance(case, Mapping) for case in cases):
        raise ValueError(
            f"{folder}: {data} is no list of cases with files but a {type(cases).__name__}"
        )
    return BundleInference(
        folder=folder,
        cases=cases,
        transform=Compose(reader.build(roles.of_dataset("transform"))),
        network=network.to(device).eval(),
        device=device,
        score=score,
        decision=read_postprocessing(folder, reader.role(roles, "postprocessing")),
        amp=bool(reader.role(roles, "amp")),
        source=source,
    )


@dataclass(frozen=True)
class ConfigReader:
    """Builds entries of a configuration."""

    config: BundleConfig
    parser: ConfigParser

    def build(self, id: str) -> Any:
        """Build an entry.

        Raises:
            ValueError: it cannot be built.
        """
        try:
            return self.parser.get_parsed_content(id)
        # A bundle's own code may raise anything.
        except Exception as error:
            raise unusable(self.config.folder, id, error) from error

    def role(self, roles: Roles, name: str) -> Any:
        """Build what plays a role; None where nothing does."""
        id = roles.find(name)
        return None if id is None else self.build(id)


class OtherKindError(ValueError):
    """A bundle is of another kind than segmentation by one network and one label for an image."""


def refuse_prompts(
    folder: Path, network: nn.Module, args: Sequence[Any] = (), kwargs: Mapping[str, Any] = {}
) -> None:
    """Refuse a network that is called with more than an image.

    Args:
        folder: of the bundle, for the error text.
        network: to be called.
        args: what it is given behind the image.
        kwargs: likewise, by name.

    Raises:
        OtherKindError: it needs more, such as points.
    """
    _refuse_prompts(folder, type(network).__name__, network.forward, args, kwargs)


def refuse_prompted_class(config: BundleConfig, parser: ConfigParser, network: str) -> None:
    """The same of what an entry will build, without building it.

    Raises:
        OtherKindError: it needs more than an image.
    """
    for id in config.reached([network]):
        if config.target(id):
            made = located(parser, config.get(id), id)
            if isinstance(made, type) and issubclass(made, nn.Module):
                forward = functools.partial(made.forward, None)
                _refuse_prompts(config.folder, made.__name__, forward, (), {})
                return


def _refuse_prompts(
    folder: Path, name: str, forward: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    try:
        signature = inspect.signature(forward)
    except (TypeError, ValueError):  # of compiled code nobody knows the arguments
        return
    try:
        signature.bind(None, *args, **kwargs)
    except TypeError:
        needed = [
            name
            for name, one in signature.parameters.items()
            if one.default is one.empty and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
        ]
        raise OtherKindError(
            f"{folder}: its network ({name}) is prompted: it is called with {', '.join(needed)}, "
            f"and nothing says what with beside the image"
        ) from None


def located(parser: ConfigParser, block: Mapping[str, Any], id: str) -> Any:
    """What ``_target_`` of a component names, None where MONAI does not find it."""
    target = ConfigComponent(dict(block), id, parser.locator).resolve_module_name()
    return pydoc.locate(target) if isinstance(target, str) else target


def see_scripts(folder: Path) -> None:
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
