"""What is tried with a loss and a batch, and whether its input is logits or probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from medloss.workbench.preflight.batch import Batch
from medloss.workbench.preflight.passes import Pass, run

Kind = Literal["logits", "softmax", "sigmoid"]

_SUM = 0.01
"""How far the sum of probabilities over the channels may be from 1, in half precision too."""

_VIEWS = ("Alias", "View", "Slice", "Select", "Clone", "ToCopy", "Unsqueeze", "Squeeze", "Permute")
"""Operations that pass values on."""


@dataclass(frozen=True)
class Output:
    """What is known of an output.

    Args:
        kind: logits, or probabilities of which activation.
        certain: whether its history or the sums over its channels prove it.
        low: smallest value.
        high: largest value.
        why: the evidence in words.
    """

    kind: Kind
    certain: bool
    low: float
    high: float
    why: str


def output_of(logits: Tensor, raw: Tensor | None = None) -> Output:
    """What an output is, by its values, and by its last operation where the graph is there.

    Example:
        >>> import torch
        >>> z = torch.linspace(-2, 2, 24).reshape(1, 3, 2, 4)
        >>> output_of(z).kind, output_of(z.softmax(1)).kind, output_of(z.sigmoid()).kind
        ('logits', 'softmax', 'sigmoid')
        >>> output_of(z.sigmoid()).certain
        False
    """
    wide = logits.detach().float()
    low, high = (float(one) for one in wide.aminmax())
    within = f"all values lie in [{low:.3g}, {high:.3g}]"
    if not (low >= 0 and high <= 1):
        return Output("logits", True, low, high, within)
    operation = _last_operation(raw)
    if operation.startswith("Softmax"):
        return Output("softmax", True, low, high, "the network ends in a softmax")
    if operation.startswith("Sigmoid"):
        return Output("sigmoid", True, low, high, "the network ends in a sigmoid")
    if wide.shape[1] > 1 and float((wide.sum(1) - 1).abs().max()) < _SUM and low < high:
        why = f"{within} and sum to 1 over the channels at every voxel"
        return Output("softmax", True, low, high, why)
    if operation or not low < high:  # another operation, which happens to end in [0, 1]
        return Output("logits", True, low, high, within)
    return Output("sigmoid", False, low, high, within)


def _last_operation(raw: Tensor | None) -> str:
    """Name of the last operation that changed values, as autograd knows it, or nothing."""
    node: Any = None if raw is None else raw.grad_fn
    while node is not None and type(node).__name__.startswith(_VIEWS):
        parents = [parent for parent, _ in node.next_functions if parent is not None]
        node = parents[0] if len(parents) == 1 else None
    return "" if node is None else type(node).__name__


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Where the batch came from, as far as it is known.

    Args:
        raw_output: of the network with its history, which tells its last operation.
        network_step: the network forward and backward, to compare the cost with.
        amp: whether training runs in mixed precision.
        amp_dtype: which.
        fractions: names the transforms that make fractions of whole labels.
    """

    raw_output: torch.Tensor | None = None
    network_step: Callable[[], object] | None = None
    amp: bool = False
    amp_dtype: torch.dtype = torch.float16
    fractions: Callable[[], Sequence[str]] | None = None


class Trial:
    """A loss and a batch.

    Args:
        loss: left as it is; a copy in evaluation mode where it counts its passes.
        batch: to call it with.
        around: where the batch came from.
    """

    def __init__(self, loss: nn.Module, batch: Batch, around: Surroundings) -> None:
        self.loss, self.batch, self.around = loss, batch, around

    @cached_property
    def actual(self) -> Pass:
        """The batch as it is; the second pass, as the first may compile kernels."""
        run(self.loss, self.batch)
        return run(self.loss, self.batch)

    @cached_property
    def output(self) -> Output:
        """What the input is."""
        return output_of(self.batch.logits, self.around.raw_output)

    def run(self, batch: Batch) -> Pass:
        """Another batch."""
        return run(self.loss, batch)

    def answered(self, size: float) -> Pass:
        """The right answer as logits of ± size."""
        return self.run(Batch(self.batch.answered(size), self.batch.target))

    def told(self) -> Pass:
        """The right answer as probabilities."""
        return self.run(Batch(self.batch.told(), self.batch.target))

    def attempt(self, make: Callable[[], Pass]) -> Pass | str:
        """A pass, or why there is none: a loss may raise anything."""
        try:
            return make()
        except Exception as error:  # noqa: BLE001
            return f"{type(error).__name__}: {' '.join(str(error).split())}"
