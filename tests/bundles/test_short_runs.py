"""However short a training is, its last epoch is validated and weights are left."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bundles.tiny import BUNDLES, Bundle, write_case
from ignite.engine import Events
from monai.bundle import ConfigWorkflow
from monai.utils import set_determinism

NAMES = (
    "brain_tissue_mr",
    "hippocampus_mr",
    "small_lesions_synthetic",
    "thin_tubes_synthetic",
)


@pytest.fixture
def made(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Bundle, dict[str, Any]]]:
    """A bundle, and the entries that give it two tiny cases."""
    data = tmp_path / "data"
    for seed, name in enumerate(("a", "b")):
        write_case(data, "Tr", name, seed, labels=1 if "synthetic" in request.param else 2)
    cases = [
        {kind: str(data / f"{kind}sTr" / f"{name}.nii.gz") for kind in ("image", "label")}
        for name in ("a", "b")
    ]
    monkeypatch.syspath_prepend(BUNDLES / request.param)
    yield (
        Bundle(BUNDLES / request.param, data, tmp_path, ("b.nii.gz",), "labelsTr"),
        {"train_cases": cases[:1], "val_cases": cases[1:], "steps_per_epoch": 1},
    )
    for module in [name for name in sys.modules if name.split(".")[0] == "scripts"]:
        del sys.modules[module]
    set_determinism(seed=None)


def validated(workflow: ConfigWorkflow) -> list[int]:
    """Train, and tell the epochs that were validated."""
    seen: list[int] = []
    workflow.evaluator.add_event_handler(
        Events.COMPLETED, lambda engine: seen.append(engine.state.epoch)
    )
    workflow.run()
    return seen


def weights(path: Path) -> dict[str, Any]:
    return torch.load(path, map_location="cpu", weights_only=True)


ONE_EPOCH = [(name, 1, 5, [1]) for name in NAMES]
LONGER = [("hippocampus_mr", 3, 2, [2, 3]), ("hippocampus_mr", 2, 1, [1, 2])]


@pytest.mark.parametrize(
    ("made", "epochs", "interval", "expected"), [*ONE_EPOCH, *LONGER], indirect=["made"]
)
def test_the_last_epoch_is_validated_once_and_both_weights_are_left(
    made: tuple[Bundle, dict[str, Any]], epochs: int, interval: int, expected: list[int]
) -> None:
    bundle, cases = made
    workflow = bundle.workflow("train", epochs=epochs, val_interval=interval, **cases)
    assert validated(workflow) == expected
    models = bundle.out / "models"
    assert sorted(path.name for path in models.iterdir()) == ["model.pt", "model_last.pt"]
    last, now = weights(models / "model_last.pt"), workflow.trainer.network.state_dict()
    assert all(torch.equal(last[name], now[name].cpu()) for name in now)
    if epochs > 1:
        return
    best = weights(models / "model.pt")
    assert all(torch.equal(last[name], best[name]) for name in last)
    predictions = bundle.out / "predictions"
    bundle.workflow(
        "inference", kind="infer", output_dir=str(predictions), cases=cases["val_cases"]
    ).run()
    assert [path.name for path in predictions.iterdir()] == ["b.nii.gz"]


@pytest.mark.parametrize("made", ["hippocampus_mr"], indirect=True)
def test_a_run_that_is_stopped_leaves_the_weights_of_that_moment(
    made: tuple[Bundle, dict[str, Any]],
) -> None:
    bundle, cases = made
    workflow = bundle.workflow("train", epochs=2, val_interval=5, **cases)

    def stop() -> None:
        raise KeyboardInterrupt

    workflow.trainer.add_event_handler(Events.EPOCH_STARTED, stop)
    with pytest.raises(KeyboardInterrupt):
        workflow.run()
    assert [path.name for path in (bundle.out / "models").iterdir()] == ["model_last.pt"]


@pytest.mark.parametrize("made", ["hippocampus_mr"], indirect=True)
def test_the_overlay_with_a_boundary_loss_leaves_weights_too(
    tmp_path: Path, made: tuple[Bundle, dict[str, Any]]
) -> None:
    bundle, cases = made
    workflow = bundle.workflow("train", "boundary", epochs=3, val_interval=2, **cases)
    assert validated(workflow) == [2, 3]
    names = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert names == ["model.pt", "model_last.pt"]
