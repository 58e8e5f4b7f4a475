"""Losses and metrics inside MONAI: configs, trainer, handlers."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from typing import Any

import monai.losses
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedTrainer
from monai.utils import LossReduction
from torch import Tensor

import medloss
from medloss.offers.bundle import bundle_block, bundle_config
from medloss.offers.host import host

OFFERS = [*host().losses, *host().metrics]


def parse(config: dict[str, Any]) -> Any:
    parser = ConfigParser(config)
    parser.parse()
    return parser.get_parsed_content("it")


@pytest.mark.parametrize("offer", OFFERS, ids=lambda o: f"{o.record.family}-{o.record.attribute}")
def test_every_bundle_block_is_json_and_builds(offer: Any) -> None:
    block = json.loads("{" + bundle_block(offer) + "}")
    (config,) = block.values()
    assert config == bundle_config(offer)
    built = parse({"it": config})
    target = getattr(built, "metric_fn", built)
    assert type(target).__module__.startswith("medloss")


@pytest.mark.parametrize(
    "config",
    [
        {"_target_": "medloss.losses.FocalTverskyLoss", "softmax": True},
        {"_target_": "medloss.loss", "name": "focal_tversky", "softmax": True},
        {"_target_": "medloss.loss", "name": "medloss:focal_tversky", "softmax": True},
        {"_target_": "$medloss.losses.FocalTverskyLoss", "softmax": True},
    ],
)
def test_ways_to_name_a_loss(config: dict[str, Any]) -> None:
    built = parse({"imports": ["$import medloss"], "it": config})
    assert type(built) is medloss.losses.FocalTverskyLoss
    assert built.softmax


def test_terms_of_a_compound_may_be_nested_targets() -> None:
    built = parse(
        {
            "it": {
                "_target_": "medloss.losses.CompoundLoss",
                "softmax": True,
                "terms": [
                    {"_target_": "medloss.losses.DiceLoss", "batch": True},
                    {"_target_": "monai.losses.TverskyLoss", "softmax": True, "to_onehot_y": True},
                    {"name": "focal", "gamma": 1.0},
                ],
                "weights": [1, 2, 0.5],
            }
        }
    )
    z, y = torch.randn(2, 3, 4, 4), torch.randint(0, 3, (2, 1, 4, 4))
    by_hand = (
        medloss.losses.DiceLoss(softmax=True, batch=True)(z, y)
        + 2 * monai.losses.TverskyLoss(softmax=True, to_onehot_y=True)(z, y)
        + 0.5 * medloss.losses.FocalLoss(softmax=True, gamma=1.0)(z, y)
    )
    torch.testing.assert_close(built(z, y), by_hand)
    assert list(built.breakdown()) == ["DiceLoss", "TverskyLoss", "focal"]


@pytest.mark.parametrize("reduction", list(LossReduction))
def test_monai_enums_are_understood(reduction: LossReduction) -> None:
    assert medloss.loss("dice", softmax=True, reduction=reduction).reduction == reduction.value


IN_ITS_OWN_PROCESS = """
from monai.bundle import ConfigParser
import monai.losses, json
original = monai.losses.DiceLoss
parser = ConfigParser({
    "imports": ["$import medloss.integrations.monai as _"],
    "bare": {"_target_": "FocalTverskyLoss", "softmax": True},
    "dotted": {"_target_": "monai.losses.FocalTverskyLoss", "softmax": True},
    "theirs": {"_target_": "DiceLoss", "softmax": True},
})
parser.parse()
import medloss, pickle, torch
from medloss.integrations import monai as bridge
bridge.register()
bare = parser.get_parsed_content("bare")
print(json.dumps({
    "bare": isinstance(bare, medloss.losses.FocalTverskyLoss),
    "dotted": isinstance(parser.get_parsed_content("dotted"), medloss.losses.FocalTverskyLoss),
    "theirs": type(parser.get_parsed_content("theirs")) is original,
    "kept": sorted(bridge.kept_by_monai),
    "untouched": medloss.losses.FocalTverskyLoss.__module__,
    "pickled": repr(pickle.loads(pickle.dumps(bare))) == repr(bare),
}))
"""


def test_opt_in_registration_gives_bare_names_and_shadows_nothing() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_ITS_OWN_PROCESS], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {
        "bare": True,
        "dotted": True,
        "theirs": True,
        "kept": [
            "BoundaryLoss",
            "DeepSupervisionLoss",
            "DiceCELoss",
            "DiceFocalLoss",
            "DiceLoss",
            "FocalLoss",
            "GeneralizedDiceLoss",
            "GeneralizedWassersteinDiceLoss",
            "HausdorffDTLoss",
            "LogHausdorffDTLoss",
            "MCCLoss",
            "NACLLoss",
            "TverskyLoss",
        ],
        "untouched": "medloss_region.tversky",
        "pickled": True,
    }


def dict_targets(
    batch: dict[str, Tensor], device: torch.device, non_blocking: bool, **_: Any
) -> tuple[Tensor, dict[str, Any]]:
    label = batch["label"]
    target = {
        "label": label,
        "mask": label < 2,
        "spacing_mm": (1.0, 1.0, 3.0),
        "skeleton": torch.cat([label == c for c in range(3)], 1).byte(),
    }
    return batch["image"].to(device), target


def labels_in_blocks(generator: torch.Generator) -> Tensor:
    """Blocks of 4: of noise, hardly any error is as thick as a loss on erosions wants it."""
    coarse = torch.randint(0, 3, (1, 2, 2, 2), generator=generator)
    return torch.kron(coarse, torch.ones(1, 4, 4, 4, dtype=coarse.dtype))


@pytest.mark.parametrize("offer", [*host().losses], ids=lambda o: o.record.name)
@pytest.mark.parametrize("prepare", ["pair of MetaTensors", "mapping as target"])
@pytest.mark.filterwarnings("ignore:.*GradScaler:FutureWarning")
@pytest.mark.filterwarnings("ignore:.*CUDA is not available")
def test_a_step_of_the_supervised_trainer(offer: Any, prepare: str) -> None:
    if offer.record.needs and prepare != "mapping as target":
        pytest.skip(f"needs {', '.join(offer.record.needs)}, which a pair does not hold")
    generator = torch.Generator().manual_seed(0)
    affine = torch.diag(torch.tensor([1.0, 1.0, 3.0, 1.0], dtype=torch.float64))
    items = [
        {
            "image": MetaTensor(torch.randn(1, 8, 8, 8, generator=generator), affine=affine),
            "label": MetaTensor(labels_in_blocks(generator), affine=affine),
        }
        for _ in range(2)
    ]
    network = torch.nn.Conv3d(1, 3, 3, padding=1)
    before = network.weight.detach().clone()
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=1,
        train_data_loader=DataLoader(Dataset(items), batch_size=2),
        network=network,
        optimizer=torch.optim.SGD(network.parameters(), 0.1),
        loss_function=medloss.loss(offer.full_name, **offer.record.example),
        **({"prepare_batch": dict_targets} if prepare == "mapping as target" else {}),
    )
    trainer.run()
    assert torch.isfinite(torch.tensor(trainer.state.output[0]["loss"]))
    assert not torch.equal(network.weight, before)


def test_metric_classes_are_found_and_pickled_by_name() -> None:
    metric = medloss.metrics.Hausdorff95Metric(include_background=False)
    assert type(metric).__module__ == "medloss.metrics"
    assert type(pickle.loads(pickle.dumps(metric))) is type(metric)
    with pytest.raises(TypeError, match="did you mean include_background"):
        medloss.metric("hausdorff95", includ_background=False)


def test_a_metric_reads_millimetres_from_the_metatensor() -> None:
    y = torch.zeros(1, 1, 8, 8, 8)
    y[:, :, 2:4, 2:4, 2:4] = 1
    moved = y.roll(1, dims=4)
    affine = torch.diag(torch.tensor([1.5, 1.5, 3.0, 1.0], dtype=torch.float64))
    metric = medloss.metrics.Hausdorff95Metric(include_background=True)
    metric(MetaTensor(moved, affine=affine), MetaTensor(y, affine=affine))
    assert float(metric.aggregate()) == pytest.approx(3.0)
