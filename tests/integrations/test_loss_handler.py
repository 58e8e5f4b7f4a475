"""Terms and schedules in MONAI's trainer, from a bundle config."""

from __future__ import annotations

import csv
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedTrainer
from monai.handlers import CheckpointSaver, IgniteMetricHandler, StatsHandler, from_engine
from monai.metrics import LossMetric

import medloss
from medloss.integrations.handlers import LossHandler

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*GradScaler:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*CUDA is not available"),
]

LOSS = {
    "_target_": "medloss.losses.CompoundLoss",
    "softmax": True,
    "terms": ["dice", {"_target_": "monai.losses.FocalLoss", "to_onehot_y": True}, "cross_entropy"],
    "weights": [
        1.0,
        0.5,
        {"schedule": "ramp", "start": 0.0, "end": 1.0, "steps": 4, "begin": 1},
    ],
    "gradient_share": 2,
}


def items() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "image": torch.randn(1, 8, 8, 8, generator=generator),
            "label": torch.randint(0, 3, (1, 8, 8, 8), generator=generator),
        }
        for _ in range(6)
    ]


def config(folder: Path, handlers: list[dict[str, Any]], epochs: int = 5) -> dict[str, Any]:
    """What a bundle has in train.json."""
    return {
        "imports": ["$import torch"],
        "output_dir": str(folder),
        "loss": LOSS,
        "network": {"_target_": "torch.nn.Conv3d", "in_channels": 1, "out_channels": 3,
                    "kernel_size": 3, "padding": 1},
        "trainer": {
            "_target_": "SupervisedTrainer",
            "max_epochs": epochs,
            "device": "$torch.device('cpu')",
            "train_data_loader": DataLoader(Dataset(items()), batch_size=2),
            "network": "@network",
            "optimizer": {
                "_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": 0.1,
            },
            "loss_function": "@loss",
            "train_handlers": handlers,
        },
    }  # fmt: skip


def run(config: dict[str, Any]) -> ConfigParser:
    parser = ConfigParser(config)
    parser.parse()
    parser.get_parsed_content("trainer").run()
    return parser


HANDLER = {
    "_target_": "medloss.integrations.handlers.LossHandler",
    "csv": "$@output_dir + '/terms.csv'",
}


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_bundle_config_shows_the_ramp(tmp_path: Path) -> None:
    parser = run(config(tmp_path, [HANDLER]))
    seen = rows(tmp_path / "terms.csv")
    assert [row["epoch"] for row in seen] == list("12345")
    assert [row["iteration"] for row in seen] == ["3", "6", "9", "12", "15"]
    assert [float(row["cross_entropy/weight"]) for row in seen] == [0, 0, 0.25, 0.5, 0.75]
    assert {"FocalLoss/value", "dice/class 2", "dice/gradient_share"} <= set(seen[0])
    assert float(seen[0]["cross_entropy/gradient_share"]) == 0
    assert float(seen[4]["cross_entropy/gradient_share"]) > 0
    assert parser.get_parsed_content("loss").term_weights["cross_entropy"] == 0.75


def test_steps_and_rows_of_iterations(tmp_path: Path) -> None:
    run(config(tmp_path, [{**HANDLER, "step": "iteration", "rows": "iteration"}], epochs=2))
    seen = rows(tmp_path / "terms.csv")
    assert [float(row["cross_entropy/weight"]) for row in seen] == [0, 0, 0.25, 0.5, 0.75, 1]


def test_a_trainer_without_the_handler_is_stopped_where_the_loss_knows_its_length(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    made = config(tmp_path, [])
    made["loss"] = {**LOSS, "forwards_per_step": 3}  # batches of an epoch
    parser = ConfigParser(made)
    parser.parse()
    trainer = parser.get_parsed_content("trainer")
    with pytest.raises(RuntimeError, match="a schedule that nothing steps: forwards_per_step=3"):
        trainer.run()
    assert (trainer.state.epoch, trainer.state.iteration) == (2, 4)


@pytest.mark.parametrize("saver_is", ["before", "after"])
def test_a_resumed_trainer_goes_on_whatever_the_order_of_handlers(
    tmp_path: Path, saver_is: str
) -> None:
    def trainer(epochs: int, folder: Path) -> SupervisedTrainer:
        torch.manual_seed(0)
        network = torch.nn.Conv3d(1, 3, 3, padding=1)
        loss = medloss.loss(
            "dice_ce",
            softmax=True,
            lambda_ce={"schedule": "equal_value", "start": 0.3},
        )
        saved = {"net": network, "loss": loss}
        handlers = [
            CheckpointSaver(str(folder), saved, save_interval=1, n_saved=9),
            LossHandler(csv=folder / "terms.csv"),
        ]
        made = SupervisedTrainer(
            device=torch.device("cpu"),
            max_epochs=epochs,
            train_data_loader=DataLoader(Dataset(items()), batch_size=2),
            network=network,
            optimizer=torch.optim.SGD(network.parameters(), 0.1),
            loss_function=loss,
            train_handlers=handlers if saver_is == "before" else handlers[::-1],
        )
        saved["trainer"] = made
        return made

    trainer(5, tmp_path / "whole").run()
    trainer(3, tmp_path / "parts").run()
    again = trainer(5, tmp_path / "parts")
    (path,) = (tmp_path / "parts").glob("*epoch=2.pt")
    state = torch.load(path, weights_only=False)
    again.network.load_state_dict(state["net"])
    again.loss_function.load_state_dict(state["loss"])
    again.load_state_dict(state["trainer"])
    again.state.max_epochs = 5
    again.run()
    expected = (tmp_path / "whole" / "terms.csv").read_text()
    assert (tmp_path / "parts" / "terms.csv").read_text() == expected


def test_monais_stats_and_loss_metric_keep_working(tmp_path: Path) -> None:
    """One loss trains and is a metric; what is told of training is of training."""
    loss = medloss.loss(
        "dice_ce", softmax=True, gradient_share=True, lambda_ce={"schedule": "ramp", "steps": 2}
    )
    metric = IgniteMetricHandler(loss_fn=loss, output_transform=from_engine(["pred", "label"]))
    assert isinstance(metric.metric_fn, LossMetric)
    stats = StatsHandler(output_transform=from_engine("loss", first=True), name="told_stats")
    network = torch.nn.Conv3d(1, 3, 3, padding=1)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=3,
        train_data_loader=DataLoader(Dataset(items()), batch_size=2),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=loss,
        key_train_metric={"loss_as_metric": metric},
        train_handlers=[LossHandler(csv=tmp_path / "terms.csv", rows="iteration"), stats],
    )
    told: list[str] = []
    listener = logging.Handler()
    listener.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    stats.logger.addHandler(listener)
    trainer.run()
    told = [line for line in told if "Loss: " in line]
    seen = rows(tmp_path / "terms.csv")
    assert len(told) == len(seen) == 9
    for line, row in zip(told, seen, strict=True):
        assert f"Loss: {float(row['loss']):.4f}" in line
        assert 0 < float(row["dice/gradient_share"]) <= 1
    assert trainer.state.metrics["loss_as_metric"] > 0
    assert loss.term_weights["cross_entropy"] == 1


def test_a_loss_without_terms_is_refused() -> None:
    with pytest.raises(TypeError, match=r"expected a compound loss.*got DiceLoss"):
        LossHandler(medloss.losses.DiceLoss(softmax=True))
    network = torch.nn.Conv3d(1, 3, 3, padding=1)
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(items())),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=medloss.losses.DiceLoss(softmax=True),
        train_handlers=[LossHandler()],
    )
    with pytest.raises(TypeError, match=r"expected a compound loss.*got DiceLoss"):
        trainer.run()
