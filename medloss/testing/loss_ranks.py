"""``batch="world"``: ranks that train together equal one rank with the joined batch."""

from __future__ import annotations

import atexit
import functools
import os
import pickle
import subprocess
import sys
import tempfile
from typing import IO, Any

import torch

from medloss.testing.crossing import Answer
from medloss.testing.loss_crossings import demand_pair
from medloss.testing.loss_subject import LossSubject, value_and_gradient
from medloss.testing.registry import ExemptError, contract, demand
from medloss.testing.scenes import Scene

SPLIT = (slice(0, 1), slice(1, 4))
"""Samples of each rank: uneven, as the last batch of an epoch is."""


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
