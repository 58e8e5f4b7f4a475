"""Writes down the terms of a loss and steps its schedules, in any training loop."""

from __future__ import annotations

import csv as comma_separated
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import nn

from medloss.compound.breakdown import TermValue, as_columns

Unit = Literal["epoch", "iteration"]
EPOCH, ITERATION = "epoch", "iteration"


@runtime_checkable
class VisibleLoss(Protocol):
    """What a loss of any library has to offer."""

    def breakdown(self, *, training: bool = False) -> Mapping[str, TermValue]:
        """Terms of the last forward pass, or of the last that had a gradient."""

    def step_schedule(self, step: int | None = None) -> None:
        """Bring the weights to a step."""


class LossCallback:
    """Writes the terms of a compound loss to CSV and TensorBoard, and steps its schedules.

    Call its four methods where their names say; ``medloss.integrations.handlers.LossHandler`` does
    it in MONAI and ignite, ``medloss.integrations.lightning.LossCallback`` in Lightning. Of several
    ranks the first writes; on every rank the schedules are stepped, so every rank needs it.

    Args:
        loss: a loss with ``breakdown()`` and ``step_schedule()``, or a module that holds one, such
            as MONAI's ``DeepSupervisionLoss``.
        csv: path of a table; a resumed training continues it.
        tensorboard: a folder for TensorBoard, or a ``SummaryWriter``.
        rows: ``"epoch"``: means over the training passes of the epoch; ``"iteration"``.
        every: with ``rows="iteration"``, one of so many.
        step: what a step of the schedules is: ``"epoch"``, ``"iteration"``, or None: somebody else
            steps them.
        overwrite: whether ``csv`` may replace the table of another training.

    Raises:
        TypeError: ``loss`` holds no such loss.
        ValueError: it holds several, or an option that is not meant.
        ImportError: ``tensorboard`` names a folder and the package is not installed.

    Example:
        >>> import medloss
        >>> from tempfile import mkdtemp
        >>> ramp = {"schedule": "ramp", "start": 0.1, "end": 0.3, "steps": 2}
        >>> loss = medloss.loss("dice_ce", softmax=True, lambda_ce=ramp)
        >>> logits = torch.randn(2, 3, 8, 8, requires_grad=True)
        >>> labels = torch.randint(0, 3, (2, 1, 8, 8))
        >>> callback = LossCallback(loss, csv=mkdtemp() + "/terms.csv")
        >>> for epoch in (1, 2, 3):
        ...     callback.epoch_started(epoch)
        ...     for _ in range(4):
        ...         callback.iteration_started()
        ...         value = loss(logits, labels)
        ...         callback.iteration_completed()
        ...     callback.epoch_completed()
        >>> from csv import DictReader
        >>> for row in DictReader(callback.table.path.read_text().splitlines()):
        ...     print(row["epoch"], row["iteration"], row["cross_entropy/weight"])
        1 4 0.1
        2 8 0.2
        3 12 0.3
    """

    def __init__(
        self,
        loss: nn.Module,
        csv: str | os.PathLike[str] | None = None,
        tensorboard: Any = None,
        *,
        rows: Unit = "epoch",
        every: int = 1,
        step: Unit | None = "epoch",
        overwrite: bool = False,
    ) -> None:
        if rows not in ("epoch", "iteration"):
            raise ValueError(f"rows: expected 'epoch' or 'iteration', got {rows!r}")
        if step not in ("epoch", "iteration", None):
            raise ValueError(f"step: expected 'epoch', 'iteration' or None, got {step!r}")
        if not isinstance(every, int) or every < 1 or (rows == "epoch" and every != 1):
            raise ValueError(
                f"every: expected a whole number from 1 on, and 1 with rows='epoch', got {every!r}"
            )
        self.loss = visible_loss(loss)
        self.rows, self.every, self.step = rows, every, step
        self.epoch = self.iteration = 0
        first = _rank() == 0
        self.table = TermTable(csv, overwrite=overwrite) if csv is not None and first else None
        self.writer = summary_writer(tensorboard) if first else None
        self._begun = False
        self._means: dict[str, tuple[float, int]] = {}

    def epoch_started(self, epoch: int, iteration: int | None = None) -> None:
        """An epoch begins.

        Args:
            epoch: counted from 1.
            iteration: how many are done, where the loop knows.
        """
        if not self._begun:
            kept = self.table.begin(epoch, iteration) if self.table is not None else 0
            self.iteration, self._begun = kept, True
        self.epoch = epoch
        self.iteration = self.iteration if iteration is None else iteration
        self._means = {}
        if self.step == "epoch":
            self.loss.step_schedule(epoch - 1)

    def iteration_started(self, iteration: int | None = None) -> None:
        """An iteration begins.

        Args:
            iteration: counted from 1 over all epochs; by default one more than the last.
        """
        self.iteration = self.iteration + 1 if iteration is None else iteration
        if self.step == "iteration":
            self.loss.step_schedule(self.iteration - 1)

    def iteration_completed(self) -> None:
        """The loss was computed."""
        if self.table is None and self.writer is None:
            return
        if self.rows == "epoch":
            for name, number in as_columns(self.loss.breakdown(training=True)).items():
                total, count = self._means.get(name, (0.0, 0))
                seen = not math.isnan(number)
                self._means[name] = (total + number, count + 1) if seen else (total, count)
        elif self.iteration % self.every == 0:
            self._write(as_columns(self.loss.breakdown(training=True)), self.iteration)

    def epoch_completed(self) -> None:
        """An epoch is over."""
        if self._means:
            means = {k: total / n if n else math.nan for k, (total, n) in self._means.items()}
            self._write(means, self.epoch)
            self._means = {}
        if self.writer is not None:
            self.writer.flush()

    def _write(self, columns: dict[str, float], step: int) -> None:
        if self.table is not None:
            self.table.add(self.epoch, self.iteration, columns)
        if self.writer is not None:
            for name, number in columns.items():
                if not math.isnan(number):
                    self.writer.add_scalar(f"loss_terms/{name}", number, step)


def visible_loss(loss: Any) -> VisibleLoss:
    """The loss with a breakdown that a module is or holds.

    Raises:
        TypeError: there is none.
        ValueError: there are several.
    """
    found: list[VisibleLoss] = []
    inside: set[int] = set()
    for module in loss.modules() if isinstance(loss, nn.Module) else [loss]:
        if isinstance(module, VisibleLoss) and id(module) not in inside:
            found.append(module)
            inside |= {id(each) for each in getattr(module, "modules", list)()}
    if not found:
        raise TypeError(
            f"loss: expected a compound loss, one with breakdown() and step_schedule(), "
            f"got {type(loss).__name__}"
        )
    if len(found) > 1:
        names = ", ".join(type(each).__name__ for each in found)
        raise ValueError(f"loss: expected one compound loss, got several ({names})")
    return found[0]


def scheduled_terms(loss: nn.Module) -> list[str]:
    """Terms whose weights follow a schedule, in whatever loss inside this one.

    Example:
        >>> import medloss
        >>> ramp = {"schedule": "ramp", "start": 0.0, "end": 1.0, "steps": 2}
        >>> loss = medloss.loss("dice_ce", softmax=True, lambda_ce=ramp)
        >>> scheduled_terms(nn.Sequential(loss))
        ['cross_entropy']
    """
    found: dict[str, None] = {}
    for each in _steppable(loss):
        if hasattr(each, "scheduled"):
            found.update(dict.fromkeys(each.scheduled()))
    return list(found)


def step_schedules(loss: nn.Module, step: int) -> None:
    """Bring every schedule to a step, counted from 0; to stay changes nothing.

    Raises:
        ValueError: ``step`` is no whole number from 0 on.
    """
    for each in _steppable(loss):
        each.step_schedule(step)


def _steppable(loss: nn.Module) -> Iterator[Any]:
    return (each for each in loss.modules() if hasattr(each, "step_schedule"))


class TermTable:
    """Rows of numbers in a CSV file, which a resumed training continues.

    Each row is written and closed at once, so that a training that dies leaves whole rows behind;
    a last line without its end is dropped when the file is continued.

    Args:
        path: of the file; its folder is made.
        overwrite: begin anew where the file holds rows of another training.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = Path(path)
        self.overwrite = overwrite
        self._header: list[str] | None = None

    def begin(self, epoch: int, iteration: int | None = None) -> int:
        """Keep the rows of what this training continues, drop those that it will write again.

        Args:
            epoch: the one that begins now, counted from 1.
            iteration: how many are done, where the loop knows; otherwise epochs decide.

        Returns:
            The last iteration that is kept, 0 where none is.

        Raises:
            FileExistsError: the file has rows, and none precedes this training.
            ValueError: the file is no such table.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            return 0
        *whole, torn = self.path.read_text(encoding="utf-8").split("\n")
        rows = list(comma_separated.reader(whole))
        if not rows:
            header: list[str] = []
        else:
            header, *rows = rows
        if header[:2] != [EPOCH, ITERATION] or any(len(row) != len(header) for row in rows):
            raise ValueError(f"csv: {self.path} holds something else than a table of loss terms")
        kept = [row for row in rows if _precedes(row, epoch, iteration)]
        if rows and not kept and not self.overwrite:
            raise FileExistsError(
                f"csv: {self.path} holds {len(rows)} rows of another training; expected rows "
                f"before epoch {epoch} to continue, another path, or overwrite=True"
            )
        if not kept:
            self.path.unlink()
            return 0
        self._header = header
        if len(kept) < len(rows) or torn:
            self._replace([header, *kept])
        return int(kept[-1][1])

    def add(self, epoch: int, iteration: int, columns: Mapping[str, float]) -> None:
        """Append a row; what is not finite leaves its cell empty if NaN.

        Raises:
            ValueError: other columns than the rows before.
        """
        header = [EPOCH, ITERATION, *columns]
        if self._header is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write("w", [header])
            self._header = header
        if header != self._header:
            odd = sorted(set(header) ^ set(self._header)) or header
            raise ValueError(
                f"csv: {self.path} has other columns than this loss ({', '.join(odd)}); "
                f"give another path"
            )
        cells = ["" if math.isnan(number) else f"{number:.9g}" for number in columns.values()]
        self._write("a", [[str(epoch), str(iteration), *cells]])

    def _write(self, mode: str, rows: list[list[str]], path: Path | None = None) -> None:
        with open(path or self.path, mode, encoding="utf-8", newline="") as file:
            comma_separated.writer(file, lineterminator="\n").writerows(rows)

    def _replace(self, rows: list[list[str]]) -> None:
        """All at once: whoever stops the process meets the old file or the new one."""
        beside = self.path.with_name(f"{self.path.name}.part")
        self._write("w", rows, beside)
        os.replace(beside, self.path)


def _precedes(row: list[str], epoch: int, iteration: int | None) -> bool:
    return int(row[0]) < epoch if iteration is None else int(row[1]) <= iteration


def summary_writer(given: Any) -> Any:
    """A ``SummaryWriter`` for a folder; one that is given, or None, stays.

    Raises:
        ImportError: TensorBoard is not installed.
    """
    if not isinstance(given, str | os.PathLike):
        return given
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "tensorboard: a folder needs the package tensorboard (pip install tensorboard)"
        ) from error
    return SummaryWriter(log_dir=os.fspath(given))


def _rank() -> int:
    distributed = torch.distributed
    ranks = distributed.is_available() and distributed.is_initialized()
    return distributed.get_rank() if ranks else 0
