"""The options of ``medloss check`` that try a loss on a real batch."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from medloss.cli.options import OVERRIDE, PATH, grouped, usage_errors
from medloss.cli.terminal import make_console, say
from medloss.evaluation.settings import refuse_given
from medloss.runtime.config_text import parse_overrides

if TYPE_CHECKING:
    from torch import nn

    from medloss.workbench.preflight import Report

_OF_BUNDLE = ("bundle_config", "checkpoint", "override", "seed")


@dataclass(frozen=True)
class PreflightOptions:
    """What the options below were given."""

    bundle: Path | None
    bundle_config: tuple[str, ...]
    checkpoint: Path | None
    override: tuple[str, ...]
    seed: int
    config: Path | None
    batch: Path | None
    prediction: Path | None
    label: Path | None
    device: str
    json_file: Path | None

    @property
    def asked(self) -> bool:
        """Whether there is a batch to try a loss on."""
        given = (self.bundle, self.config, self.batch, self.prediction, self.label)
        return any(given)

    def refuse_alone(self) -> None:
        """Refuse options that mean nothing without a batch.

        Raises:
            click.UsageError: there is one.
        """
        with usage_errors():
            refuse_given(self, (*_OF_BUNDLE, "json_file"), "belongs to --bundle or --batch")

    def report(self, names: tuple[str, ...]) -> Report:
        """Try the loss.

        Args:
            names: the loss on offer, where no configuration gives one.

        Raises:
            click.UsageError: options that do not go together, or files that cannot be used.
        """
        with usage_errors(TypeError):
            return self._of_files(names) if self.bundle is None else self._of_bundle(names)

    def _of_bundle(self, names: tuple[str, ...]) -> Report:
        if names or self.config or self.batch or self.prediction or self.label:
            raise ValueError("--bundle brings its own loss and batch; drop the others")
        from medloss.integrations.bundle.choice import bundle_to_train

        overrides = parse_overrides(self.override)
        roles = bundle_to_train(
            self.bundle or Path(),
            configs=self.bundle_config,
            checkpoint=self.checkpoint,
            overrides=overrides,
        )

        from medloss.workbench.preflight import preflight  # MONAI
        from medloss.workbench.preflight.bundle import step_of

        step = step_of(roles, checkpoint=self.checkpoint, overrides=overrides, seed=self.seed)
        return preflight(step.loss, step.input, step.target, around=step.around, source=step.source)

    def _of_files(self, names: tuple[str, ...]) -> Report:
        refuse_given(self, _OF_BUNDLE, "belongs to --bundle")
        if (self.config is None) == (len(names) != 1):
            raise ValueError("expected one loss to try: a NAME or --config FILE")
        volumes = self.prediction is not None and self.label is not None
        if (self.batch is None) != volumes or bool(self.prediction) != bool(self.label):
            raise ValueError("expected --batch FILE, or --prediction FILE and --label FILE")
        from medloss.workbench.preflight import preflight
        from medloss.workbench.preflight.batch import mapped
        from medloss.workbench.preflight.files import read_batch, read_loss, read_volumes

        loss = _named(names[0]) if self.config is None else read_loss(self.config)
        source = {"config": str(self.config)} if self.config else {}
        if self.batch is not None:
            input, target = read_batch(self.batch)
            source["batch"] = str(self.batch)
        else:
            prediction, label = self.prediction or Path(), self.label or Path()
            input, target = read_volumes(prediction, label)
            source |= {"prediction": str(prediction), "label": str(label)}
        input, target = (mapped(each, lambda one: one.to(self.device)) for each in (input, target))
        return preflight(loss, input, target, source=source)


def show_report(report: Report, *, as_json: bool, path: Path | None) -> None:
    """Print a report, and write it where a file is named."""
    text = json.dumps(report.as_json(), indent=2)
    if path is not None:
        from medloss.runtime.files import write_text

        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text + "\n")
    if as_json:
        say(text)
        return

    from medloss.workbench.preflight.terminal import show

    show(report, make_console())


def _named(name: str) -> nn.Module:
    from medloss.offers.host import host

    offer = host().losses.find(name)
    loss: nn.Module = offer.load()(**offer.record.example)
    return loss


_OPTIONS = (
    click.option(
        "--bundle",
        metavar="DIR",
        type=PATH,
        help="Try the loss of a MONAI bundle on the first batch of its training.  The Python in a "
        "bundle is executed: only for bundles that you trust.",
    ),
    click.option(
        "--bundle-config",
        metavar="NAME",
        multiple=True,
        help="File in the bundle's configs; repeatable, later ones win.  [default: train]",
    ),
    click.option(
        "--checkpoint",
        metavar="FILE",
        type=PATH,
        help="Weights of the bundle's network.  [default: those that training begins with]",
    ),
    OVERRIDE,
    click.option("--seed", type=int, default=0, help="Of the bundle's batch.  [default: 0]"),
    click.option(
        "--config",
        metavar="FILE",
        type=PATH,
        help="Try the loss of a JSON or YAML file (_target_, or an entry loss); the Python in it "
        "is executed.",
    ),
    click.option(
        "--batch",
        metavar="FILE",
        type=PATH,
        help="What torch.save wrote of {'input': ..., 'label': ...}: output of the network, and "
        "labels.",
    ),
    click.option(
        "--prediction",
        metavar="FILE",
        type=PATH,
        help="Instead: one case of logits or probabilities, the classes as last axis, or .npz.",
    ),
    click.option("--label", metavar="FILE", type=PATH, help="And its label map."),
    click.option(
        "--device", metavar="NAME", default="cpu", help="Where files are tried.  [default: cpu]"
    ),
    click.option(
        "--json-file", metavar="FILE", type=PATH, help="Write the findings on a batch as JSON."
    ),
)

PREFLIGHT_OPTIONS = tuple(
    field.name for field in dataclasses.fields(PreflightOptions) if field.name != "json_file"
)
"""That say what is tried, in the order of the help."""

preflight_options = grouped("preflight", PreflightOptions, _OPTIONS)
"""Gives a command the options above, as one argument ``preflight``."""
