"""The terms of a loss in CSV and TensorBoard, from any training loop."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import medloss
from medloss.compound.breakdown import TermValue
from medloss.integrations.loss_callback import LossCallback, TermTable

RAMP = {"schedule": "ramp", "start": 0.1, "end": 0.5, "steps": 4}


def ramped(**options: Any) -> Any:
    return medloss.loss("dice_ce", softmax=True, lambda_ce=RAMP, **options)


def train(callback: LossCallback, loss: Any, epochs: range, iterations: int = 3) -> list[float]:
    """A plain loop; the values of the loss."""
    values = []
    for epoch in epochs:
        callback.epoch_started(epoch)
        for seed in range(iterations):
            generator = torch.Generator().manual_seed(10 * epoch + seed)
            z = torch.randn(2, 3, 6, 5, generator=generator).requires_grad_()
            y = torch.randint(0, 3, (2, 1, 6, 5), generator=generator)
            callback.iteration_started()
            value = loss(z, y)
            value.backward()
            values.append(float(value.detach()))
            callback.iteration_completed()
        callback.epoch_completed()
    return values


def table(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def column(path: Path, name: str) -> list[float]:
    return [float(row[name]) for row in table(path)]


def test_rows_of_epochs_are_means_and_show_the_ramp(tmp_path: Path) -> None:
    loss, path = (
        ramped(class_names=["air", "liver", "tumour, any"]),
        tmp_path / "deep" / "terms.csv",
    )
    values = train(LossCallback(loss, csv=path), loss, range(1, 6))
    assert column(path, "epoch") == [1, 2, 3, 4, 5]
    assert column(path, "iteration") == [3, 6, 9, 12, 15]
    assert column(path, "cross_entropy/weight") == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    means = [sum(values[i : i + 3]) / 3 for i in range(0, 15, 3)]
    assert column(path, "loss") == pytest.approx(means, rel=1e-6)
    classes = [column(path, f"dice/{name}") for name in ("air", "liver", "tumour, any")]
    expected = [sum(each) / 3 for each in zip(*classes, strict=True)]
    assert column(path, "dice/value") == pytest.approx(expected, rel=1e-6)


def test_rows_of_iterations_and_steps_of_iterations(tmp_path: Path) -> None:
    loss, path = ramped(gradient_share=2), tmp_path / "terms.csv"
    values = train(
        LossCallback(loss, csv=path, rows="iteration", step="iteration"), loss, range(1, 3)
    )
    assert column(path, "iteration") == [1, 2, 3, 4, 5, 6]
    assert column(path, "cross_entropy/weight") == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.5])
    assert column(path, "loss") == pytest.approx(values, rel=1e-6)
    shares = [row["dice/gradient_share"] for row in table(path)]
    assert [bool(share) for share in shares] == [True, False] * 3
    sparse = tmp_path / "sparse.csv"
    train(LossCallback(loss, csv=sparse, rows="iteration", every=2, step=None), loss, range(1, 3))
    assert column(sparse, "iteration") == [2, 4, 6]


def test_a_resumed_training_continues_its_table(tmp_path: Path) -> None:
    loss, path, whole = ramped(), tmp_path / "terms.csv", tmp_path / "whole.csv"
    train(LossCallback(loss, csv=whole), loss, range(1, 6))
    first = ramped()
    train(LossCallback(first, csv=path), first, range(1, 5))  # dies in epoch 5 ...
    with path.open("a") as file:
        file.write("5,15,0.3")  # ... while it writes
    again = ramped()
    train(LossCallback(again, csv=path), again, range(4, 6))  # from the checkpoint of epoch 3
    assert path.read_text() == whole.read_text()


def test_the_table_of_another_training_is_kept(tmp_path: Path) -> None:
    loss, path = ramped(), tmp_path / "terms.csv"
    train(LossCallback(loss, csv=path), loss, range(1, 3))
    before = path.read_text()
    with pytest.raises(FileExistsError, match="holds 2 rows of another training"):
        train(LossCallback(loss, csv=path), loss, range(1, 3))
    other = medloss.loss("dice_focal", softmax=True)
    with pytest.raises(ValueError, match=r"other columns than this loss \(.*focal/value"):
        train(LossCallback(other, csv=path), other, range(3, 4))
    assert path.read_text() == before
    train(LossCallback(loss, csv=path, overwrite=True), loss, range(1, 2))
    assert len(table(path)) == 1
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="something else than a table"):
        train(LossCallback(loss, csv=path, overwrite=True), loss, range(1, 2))


def test_a_row_is_whole_on_disk_at_once(tmp_path: Path) -> None:
    rows = TermTable(tmp_path / "terms.csv")
    assert rows.begin(1) == 0
    rows.add(1, 1, {"loss": 0.5, "a": math.nan})
    assert (tmp_path / "terms.csv").read_text() == "epoch,iteration,loss,a\n1,1,0.5,\n"
    assert TermTable(tmp_path / "terms.csv").begin(2) == 1
    assert TermTable(tmp_path / "terms.csv").begin(9, iteration=1) == 1


def test_tensorboard_gets_every_column(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loss = ramped()
    callback = LossCallback(loss, tensorboard=tmp_path)
    train(callback, loss, range(1, 4))
    callback.writer.close()
    events = EventAccumulator(str(tmp_path)).Reload()
    seen = [(e.step, e.value) for e in events.Scalars("loss_terms/cross_entropy/weight")]
    assert seen == [(1, pytest.approx(0.1)), (2, pytest.approx(0.2)), (3, pytest.approx(0.3))]
    assert "loss_terms/dice/class 2" in events.Tags()["scalars"]


def test_a_folder_without_tensorboard_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="needs the package tensorboard"):
        LossCallback(ramped(), tensorboard="runs")


class Written:
    """A writer of another kind."""

    def __init__(self) -> None:
        self.scalars: list[tuple[str, float, int]] = []

    def add_scalar(self, *scalar: Any) -> None:
        self.scalars.append(scalar)

    def flush(self) -> None:
        pass


def test_a_writer_may_be_given_and_a_loss_be_held_by_another() -> None:
    from monai.losses import DeepSupervisionLoss

    loss, writer = ramped(), Written()
    deep = DeepSupervisionLoss(loss)
    callback = LossCallback(deep, tensorboard=writer)
    assert callback.loss is loss
    train(callback, loss, range(1, 2))
    assert ("loss_terms/cross_entropy/weight", pytest.approx(0.1), 1) in writer.scalars


class Foreign(nn.Module):
    """A loss of somebody else that shows its terms."""

    def breakdown(self, *, training: bool = False) -> dict[str, TermValue]:
        return {"mine": TermValue(2.0, 3.0)}

    def step_schedule(self, step: int | None = None) -> None:
        self.step = step


def test_any_loss_with_terms_will_do(tmp_path: Path) -> None:
    loss = Foreign()
    callback = LossCallback(loss, csv=tmp_path / "terms.csv")
    callback.epoch_started(5)
    callback.iteration_started()
    callback.iteration_completed()
    callback.epoch_completed()
    assert column(tmp_path / "terms.csv", "loss") == [6]
    assert loss.step == 4


def test_nested_compounds_are_one_loss_and_two_are_not() -> None:
    nested = medloss.loss("compound", terms=["dice_ce", "focal"], softmax=True)
    assert LossCallback(nested).loss is nested
    with pytest.raises(ValueError, match="expected one compound loss, got several"):
        LossCallback(nn.ModuleList([ramped(), ramped()]))
    with pytest.raises(TypeError, match=r"expected a compound loss.*got DiceLoss"):
        LossCallback(medloss.losses.DiceLoss())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rows": "epochs"}, "rows: expected 'epoch' or 'iteration'"),
        ({"step": "batch"}, "step: expected 'epoch', 'iteration' or None"),
        ({"every": 0}, "every: expected a whole number"),
        ({"every": 5}, "every: .* and 1 with rows='epoch'"),
    ],
)
def test_wrong_options_are_refused(options: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        LossCallback(ramped(), **options)


def test_other_ranks_step_and_leave_the_writing_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medloss.integrations import loss_callback

    monkeypatch.setattr(loss_callback, "_rank", lambda: 1)
    loss = ramped()
    train(LossCallback(loss, csv=tmp_path / "terms.csv", tensorboard=tmp_path), loss, range(1, 4))
    assert loss.term_weights["cross_entropy"] == pytest.approx(0.3)
    assert not list(tmp_path.iterdir())
