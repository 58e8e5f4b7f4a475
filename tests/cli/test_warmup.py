"""`medloss warmup` as a user meets it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from medloss.cli import main
from medloss.runtime import keeping
from medloss.testing import loss_subject
from medloss.workbench import warmup

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "140"}).invoke(main, ["warmup", *arguments])


def test_a_metric_is_compiled_and_its_place_is_told() -> None:
    done = run("volume_difference")
    assert done.exit_code == 0, done.output
    (folder,) = [each for each in keeping.record().folders if "scoring" in each and each[-7:]][:1]
    assert "kernels compiled" in done.output
    assert f"kept in {folder}" in done.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "expected NAMEs, 'eval' or 'all', or --bundle DIR"),
        (["dice", "--bundle", "."], "expected NAMEs, 'eval' or 'all', or --bundle DIR"),
        (["dise"], "dise"),
        (["ciou"], "ciou is part of a detector: nothing is compiled"),
        (["dice", "--device", "cuda"], "--device cuda: expected --shape B,C,*spatial"),
        (["dice", "--dtype", "float16"], "--dtype: expected --shape with it"),
        (["eval", "--shape", "1,2,4,4"], "--shape: expected names of losses"),
        (["volume_difference", "--shape", "1,2,4,4"], "--shape: expected names of losses, got"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: list[str], told: str) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert told in done.output


def test_what_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ValueError("no such thing")

    monkeypatch.setattr(warmup, "of_eval", lambda: iter([warmup.WarmupCall("eval", fails)]))
    done = run("eval")
    assert done.exit_code == 1
    assert "eval: no such thing" in done.output


def test_what_cannot_be_kept_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def loses() -> None:
        keeping._note(compiled=1, lost=1)

    monkeypatch.setattr(warmup, "of_eval", lambda: iter([warmup.WarmupCall("eval", loses)]))
    done = run("eval")
    assert done.exit_code == 1
    assert "1 kernels compiled" in done.output
    assert "NUMBA_CACHE_DIR" in done.output


@pytest.mark.parametrize(
    "bundle", sorted(p.parent.parent for p in ROOT.glob("bundles/*/configs/train.json"))
)
def test_the_loss_of_every_bundle_is_called(bundle: Path) -> None:
    steps = list(warmup.of_bundle(bundle))
    assert steps[0].name == "loss of the bundle"
    assert len(steps) > 1
    before: Any = keeping.record()
    steps[0].run()
    assert keeping.record().lost == before.lost


def test_a_training_step_of_a_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits as they were asked for, labels of each dtype that is read as it is."""
    steps: list[tuple[Any, ...]] = []

    def step(loss: Any, scene: Any) -> None:
        z, y = scene.logits, scene.target
        steps.append((type(loss).__name__, tuple(z.shape), z.dtype, tuple(y.shape), y.dtype))
        assert y.sum() == 1

    monkeypatch.setattr(loss_subject, "value_and_gradient", step)
    shapes = "--shape", "1,3,4,6,8", "--shape", "2,1,5,4"
    run("dice_ce", *shapes, "--dtype", "float64")
    assert steps == [
        ("DiceCELoss", (batch, classes, *space), torch.float64, (batch, 1, *space), labels)
        for batch, classes, *space in ((1, 3, 4, 6, 8), (2, 1, 5, 4))
        for labels in (torch.uint8, torch.int64)
    ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    done = run("dice", "--device", "cuda", "--shape", "1,2,4,4")
    assert done.exit_code == 2
    assert "finds no CUDA device here" in done.output
