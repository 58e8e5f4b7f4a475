"""Training: MONAI's trainer, mixed precision, several ranks."""

from __future__ import annotations

import atexit
import functools
import os
import pickle
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import IO, Any

import torch
from torch import Tensor, nn

from medloss.testing.loss_subject import (
    Answer,
    LossSubject,
    demand_pair,
    value,
    value_and_gradient,
)
from medloss.testing.registry import ExemptError, contract, demand, load_monai
from medloss.testing.scenes import Scene, meta_tensor

SPLIT = (slice(0, 1), slice(1, 4))
"""Samples of each rank: uneven, as the last batch of an epoch is."""


@contract("loss", excusable=False)
def autocast_changes_nothing(subject: LossSubject) -> None:
    """Inside ``torch.autocast`` the value is the same: sums must not fall to half precision."""
    loss, scene = subject.build(), subject.scene()
    expected = value(loss, scene)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = value(loss, scene)
    demand(
        torch.equal(inside, expected),
        f"inside the value is {float(inside):.8g}, outside {float(expected):.8g}",
    )


@contract("loss", excusable=False)
def monai_trainer_steps(subject: LossSubject) -> None:
    """MONAI's SupervisedTrainer makes a step with it that changes the network, in bfloat16 too.

    With MetaTensors as they come from a loader, and with a mapping as target.
    """
    if find_spec("ignite") is None:
        raise ExemptError("not tried: MONAI's trainers need ignite; pip install 'medloss[bundle]'")
    for amp in (False, True):
        for as_mapping in (False, True):
            how = f"with {'a mapping' if as_mapping else 'MetaTensors'}, {'AMP' if amp else 'fp32'}"
            loss_value, moved = _trainer_step(subject, amp=amp, as_mapping=as_mapping)
            demand(loss_value.isfinite(), f"{how} the loss is {float(loss_value)}")
            demand(moved.isfinite().all(), f"{how} the network's weights became NaN")
            demand(moved.any(), f"{how} the network did not change")


class _Network(nn.Module):
    """One convolution, in bfloat16 where mixed precision is asked for."""

    def __init__(self, classes: int, *, amp: bool) -> None:
        super().__init__()
        self.convolution = nn.Conv3d(1, classes, 3, padding=1)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.convolution.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.amp = amp

    def forward(self, image: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.amp):
            logits: Tensor = self.convolution(image)
        return logits


def _trainer_step(subject: LossSubject, *, amp: bool, as_mapping: bool) -> tuple[Tensor, Tensor]:
    """The loss, and how far a step of the trainer moved the network's weights."""
    load_monai()
    from monai.engines.trainer import SupervisedTrainer

    scene = subject.scene(shape=(8, 7, 6))
    network = _Network(subject.classes, amp=amp)
    before = network.convolution.weight.detach().clone()
    loss = subject.build()

    def autocast_loss(prediction: Tensor, target: Any) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=amp):
            result: Tensor = loss(prediction, target)
        return result

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MONAI and ignite about torch's deprecations
        trainer = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=1,
            train_data_loader=[{"image": scene.logits[:, :1], "label": scene.target}],
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), 0.1),
            loss_function=autocast_loss,
            prepare_batch=_batches(scene, as_mapping=as_mapping),
            decollate=False,
        )
        trainer.run()
    moved = network.convolution.weight.detach() - before
    return torch.as_tensor(trainer.state.output["loss"]).detach(), moved


def _batches(scene: Scene, *, as_mapping: bool) -> Callable[..., tuple[Tensor, Any]]:
    def prepare(batch: Any, device: Any, non_blocking: bool, **_: Any) -> tuple[Tensor, Any]:
        image, label = batch["image"], batch["label"]
        if as_mapping:
            return image, {"label": label, **scene.extras}
        needed = scene.given(spacing_mm=None).extras  # what the loss cannot do without
        label = meta_tensor(label)
        return meta_tensor(image), {"label": label, **needed} if needed else label

    return prepare


@contract("loss", excusable=False)
def ranks_equal_one_rank(subject: LossSubject) -> str:
    """With ``batch="world"`` two ranks with uneven batches have value and gradient of one rank.

    Terms that are added after the pooling see one rank alone. Reductions of every kind, with and
    without classes that are not annotated.
    """
    scene = subject.ready_scene(batch=4, shape=(3, 4, 2), dtype=torch.float64)
    present = torch.ones(4, subject.classes, dtype=torch.bool)
    present[1:, -1] = False
    worlds, crossed = [], []
    for reduction in ("mean", "sum"):
        for extras in ({}, {"present": present}) if subject.classes > 1 else ({},):
            whole = scene.given(**extras)
            try:
                worlds.append(subject.build(batch="world", reduction=reduction))
                value_and_gradient(worlds[-1], whole)
            except ValueError as error:
                demand(
                    "batch" in str(error), f"batch='world' is refused without naming it: {error}"
                )
                raise ExemptError(str(error)) from error
            crossed.append((subject.build(batch=True, reduction=reduction), whole))
    found = _ranks()(worlds, [whole for _, whole in crossed])
    for (joined, whole), answers in zip(crossed, found, strict=True):
        expected, gradient = value_and_gradient(joined, whole)
        for rank, (own, slope) in zip(SPLIT, answers, strict=True):
            # averaged over ranks, as data-parallel training does, the gradient is the joined one
            when = f"of {rank.stop - rank.start} of 4 samples, reduction={joined.reduction!r}"
            demand_pair((own, slope / len(SPLIT)), (expected, gradient[rank]), when)
    return f"{len(crossed)} crossings"


class Ranks:
    """Two processes that stay, as starting them takes longer than a check."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="medloss-ranks-")
        meeting = f"file://{self._folder.name}/meeting"
        code = f"import sys; sys.path[:] = {sys.path!r}; import {__name__} as here; here.serve"
        self._processes = [
            # no fork of this process and no second run of its main module
            subprocess.Popen(
                [sys.executable, "-c", f"{code}({rank}, {meeting!r})"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            for rank in range(len(SPLIT))
        ]
        atexit.register(self.close)

    def __call__(self, losses: list[Any], scenes: list[Scene]) -> list[list[Answer]]:
        """Value and gradient on each rank, for each loss and scene.

        Raises:
            RuntimeError: a loss raised on a rank.
        """
        for process in self._processes:
            pickle.dump((losses, scenes), _pipe(process.stdin))
            _pipe(process.stdin).flush()
        answers = [pickle.load(_pipe(process.stdout)) for process in self._processes]
        for answer in answers:
            if isinstance(answer, str):
                raise RuntimeError(f"on a rank: {answer}")
        return [list(each) for each in zip(*answers, strict=True)]

    def close(self) -> None:
        """End both processes."""
        for process in self._processes:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                _pipe(pipe).close()
            process.wait()
        self._folder.cleanup()


@functools.cache
def _ranks() -> Ranks:
    return Ranks()


def serve(rank: int, meeting: str) -> None:
    """Answer as one of the ranks, until the other side is gone."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a loss prints is no answer
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=meeting, rank=rank, world_size=len(SPLIT)
    )
    while True:
        try:
            losses, scenes = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_on_rank(rank, losses, scenes), answers)
        answers.flush()


def _on_rank(rank: int, losses: list[Any], scenes: list[Scene]) -> list[Answer] | str:
    try:
        return [
            value_and_gradient(loss, scene.moved(lambda t: t[SPLIT[rank]]))
            for loss, scene in zip(losses, scenes, strict=True)
        ]
    except Exception as error:  # noqa: BLE001 told on the other side
        return f"{type(error).__name__}: {error}"


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise RuntimeError("a rank has no pipe")
    return pipe
