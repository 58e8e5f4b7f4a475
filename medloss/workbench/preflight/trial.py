"""What is tried with a loss and a batch: each pass once, for every check that needs it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn

from medloss.workbench.preflight.batch import Batch
from medloss.workbench.preflight.outputs import Output, output_of
from medloss.workbench.preflight.passes import Pass, run


@dataclass(frozen=True, eq=False)
class Surroundings:
    """Where the batch came from, as far as it is known.

    Args:
        raw_output: of the network with its history, which tells its last operation.
        network_step: the network forward and backward, to compare the cost with.
        amp: whether training runs in mixed precision.
        amp_dtype: which.
    """

    raw_output: torch.Tensor | None = None
    network_step: Callable[[], object] | None = None
    amp: bool = False
    amp_dtype: torch.dtype = torch.float16


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
