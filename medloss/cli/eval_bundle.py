"""The options of ``medloss eval --bundle``: a bundle predicts what is scored."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from medloss.runtime.config_text import parse_overrides

if TYPE_CHECKING:
    from medloss.cli.eval_inputs import InputOptions
    from medloss.cli.eval_outputs import OutputOptions
    from medloss.evaluation.inputs.pairing import Pair
    from medloss.evaluation.records import CaseResult
    from medloss.evaluation.score import EvalPlan
    from medloss.integrations.bundle import BundleInference

_Command = TypeVar("_Command", bound=Callable[..., Any])
_PREDICTIONS = "predictions"


@dataclass(frozen=True)
class BundleOptions:
    """What the options below were given."""

    bundle: Path | None
    bundle_config: tuple[str, ...]
    checkpoint: Path | None
    override: tuple[str, ...]

    def open(
        self,
        reference: Path | None,
        other: Path | None,
        inputs: InputOptions,
        outputs: OutputOptions,
    ) -> BundleCases | None:
        """The bundle's cases, or None where no bundle is asked for.

        Args:
            reference: first argument of the command: a folder of references, or None.
            other: second argument, of which there is none.
            inputs: options for files, some of which mean nothing here.
            outputs: options for what comes out; predictions are written into a folder inside its
                folder.

        Raises:
            ValueError: the bundle or the command cannot be used.
        """
        if self.bundle is None:
            given = ("bundle_config", "checkpoint", "override")
            for name in given:
                if getattr(self, name):
                    raise ValueError(f"--{name.replace('_', '-')} belongs to --bundle")
            return None
        if other is not None:
            raise ValueError("--bundle predicts: give REF alone, or nothing")
        for name in ("manifest", "only_predicted", "probabilities"):
            if getattr(inputs, name):
                raise ValueError(
                    f"--{name.replace('_', '-')} names predictions; --bundle makes them"
                )
        if (outputs.workers or 1) > 1 or outputs.scheduler is not None:
            raise ValueError("--bundle predicts in this process; drop --workers and --scheduler")
        overrides = parse_overrides(self.override)

        from medloss.integrations.bundle import bundle_pairs, read_bundle  # MONAI

        bundle = read_bundle(
            self.bundle,
            configs=self.bundle_config,
            checkpoint=self.checkpoint,
            overrides=overrides,
        )
        predictions = None if outputs.folder is None else outputs.folder / _PREDICTIONS
        source = (
            *bundle.source,
            *((f"override {name}", str(value)) for name, value in overrides.items()),
        )
        return BundleCases(bundle, bundle_pairs(bundle, reference, predictions), source)


@dataclass(frozen=True)
class BundleCases:
    """The cases of a bundle, to be predicted and scored.

    Args:
        bundle: says how.
        pairs: the cases.
        source: what predicts, to be written into the results.
    """

    bundle: BundleInference
    pairs: tuple[Pair, ...]
    source: tuple[tuple[str, str], ...]

    def extend(self, plan: EvalPlan) -> EvalPlan:
        """The study with what predicts.

        Raises:
            ValueError: a loss cannot be had from this bundle.
        """
        import dataclasses

        from medloss.integrations.bundle import check_losses

        check_losses(self.bundle, plan)
        return dataclasses.replace(plan, source=self.source)

    def evaluate(self, pairs: Sequence[Pair], plan: EvalPlan) -> Iterator[CaseResult]:
        """Predict and score these cases, in order."""
        from medloss.integrations.bundle import evaluate_bundle

        return evaluate_bundle(self.bundle, pairs, plan)


_OPTIONS = (
    click.option(
        "--bundle",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="A MONAI bundle predicts, by sliding windows, what is scored; REF is then a folder of "
        "references.  [default: those of the bundle's list of cases]  The Python in a bundle is "
        "executed: only for bundles that you trust.",
    ),
    click.option(
        "--bundle-config",
        metavar="NAME",
        multiple=True,
        help="File in the bundle's configs; repeatable, later ones win.  [default: inference, "
        "else train and evaluate]",
    ),
    click.option(
        "--checkpoint",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="Weights of the bundle's network.  [default: what its configuration loads]",
    ),
    click.option(
        "--override",
        metavar="ID=VALUE",
        multiple=True,
        help="Entry of the bundle's configuration, such as dataset_dir=/data; repeatable.",
    ),
)


def bundle_options(command: _Command) -> _Command:
    """Give a command the options above, as one argument ``bundle``."""
    names = tuple(BundleOptions.__dataclass_fields__)

    @functools.wraps(command)
    def with_bundle(*args: Any, **options: Any) -> Any:
        bundle = BundleOptions(**{name: options.pop(name) for name in names})
        return command(*args, bundle=bundle, **options)

    for option in reversed(_OPTIONS):
        with_bundle = option(with_bundle)
    return with_bundle  # type: ignore[return-value]
