"""Trainers for nnU-Net v2: the file, and what its trainer computes inside nnU-Net."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from monai.losses import FocalLoss
from torch import Tensor, nn

import medloss
from medloss.cli import main
from medloss.integrations.nnunet import TargetsOfNnunet, build_loss, loss_of_dataset
from medloss.integrations.nnunet_file import read_config, trainer_name, write_trainer

COMPOUND = {
    "name": "compound",
    "terms": [
        {"name": "dice", "include_background": False},
        {"name": "boundary"},
        {"_target_": "monai.losses.FocalLoss", "to_onehot_y": True, "use_softmax": True},
    ],
    "weights": [1.0, {"schedule": "ramp", "start": 0.0, "end": 1.0, "steps": 4}, 0.5],
}


def written(folder: Path, config: Any, **options: Any) -> str:
    return write_trainer(config, folder, **options).read_text(encoding="utf-8")


# The file


def test_configs_are_files_bundles_json_and_names(tmp_path: Path) -> None:
    config = {"name": "tversky", "fp_weight": 0.3, "fn_weight": 0.7}
    path = tmp_path / "loss.json"
    path.write_text(json.dumps(config))
    assert read_config(str(path)) == config
    path.write_text(json.dumps({"loss": config, "epochs": 3}))
    assert read_config(str(path)) == config
    assert read_config(json.dumps(config)) == config
    assert read_config("medloss:dice") == {"name": "medloss:dice"}
    for text, message in (
        ("{", "is no JSON"),
        (str(tmp_path / "none.json"), "cannot be read: No such file"),
        ("{}", None),
    ):
        if message:
            with pytest.raises(ValueError, match=message):
                read_config(text)
    path.write_text("[1]")
    with pytest.raises(ValueError, match="expected a JSON object"):
        read_config(str(path))


def test_names_of_trainers() -> None:
    assert trainer_name({"name": "medloss:dice_focal"}) == "nnUNetTrainerMedlossDiceFocal"
    assert trainer_name({"_target_": "medloss.losses.DiceCELoss"}) == "nnUNetTrainerMedlossDiceCE"


def test_the_file_holds_the_config_and_says_how_to_use_it(tmp_path: Path) -> None:
    text = written(tmp_path / "made", COMPOUND)
    assert f'export nnUNet_extTrainer="{(tmp_path / "made").as_posix()}"' in text
    assert "-tr nnUNetTrainerMedlossCompound" in text
    scope: dict[str, Any] = {}
    exec("loss_config = " + text.partition("loss_config = ")[2], scope)
    assert scope["loss_config"] == COMPOUND
    folder = (tmp_path / "made").as_posix()  # as long as it happens to be
    assert max(map(len, text.replace(folder, "DIR").splitlines())) <= 100
    assert [path.name for path in (tmp_path / "made").iterdir()] == [
        "nnUNetTrainerMedlossCompound.py"
    ]


def test_background_is_left_out_of_the_overlap_as_in_nnunet(tmp_path: Path) -> None:
    assert '"include_background": False' in written(tmp_path, {"name": "dice_ce"})
    assert '"include_background": False' in written(tmp_path, {"name": "focal_tversky"})
    target = {"_target_": "medloss.losses.DiceLoss", "include_background": True}
    assert '"include_background": True' in written(tmp_path, target)
    assert "include_background" not in written(tmp_path, {"name": "cross_entropy"})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "either 'name' or '_target_'"),
        ({"name": "dice", "_target_": "medloss.losses.DiceLoss"}, "either 'name' or '_target_'"),
        ({"_target_": "monai.losses.DiceLoss"}, "expected a loss of medloss, got DiceLoss"),
        ({"name": "dice", "softmx": True}, "no option 'softmx'"),
        ({"name": "dice", "reduction": "none"}, "reduction: expected 'mean' or 'sum'"),
        ({"name": "dice", "other_act": "$torch.sigmoid"}, "other_act: expected softmax"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(
    tmp_path: Path, config: Any, message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        write_trainer(config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> Any:
        return CliRunner().invoke(main, ["nnunet-trainer", *arguments])

    first = run("--loss", "dice", "--out", str(tmp_path))
    assert first.exit_code == 0
    assert f"-tr {next(tmp_path.iterdir()).stem}\n" in first.output
    path = tmp_path / "nnUNetTrainerMedlossDice.py"
    path.write_text("mine")
    again = run("--loss", "dice", "--out", str(tmp_path))
    assert again.exit_code == 2
    assert "exists; it is replaced with --force" in " ".join(again.output.split())
    assert path.read_text() == "mine"
    assert run("--loss", "dice", "--out", str(tmp_path), "--force").exit_code == 0
    assert "class nnUNetTrainerMedlossDice(" in path.read_text()
    assert run("--loss", "dice", "--out", str(tmp_path), "--name", "T_1").exit_code == 0
    assert "class T_1(LossTrainer, nnUNetTrainer):" in (tmp_path / "T_1.py").read_text()
    for bad in ("1st", "a-b", "class", "../up"):
        refused = run("--loss", "dice", "--out", str(tmp_path), "--name", bad)
        assert refused.exit_code == 2
        assert "expected the name of a Python class" in refused.output
    unknown = run("--loss", "dise", "--out", str(tmp_path))
    assert unknown.exit_code == 2
    assert "did you mean dice" in unknown.output


def test_the_help_needs_no_torch() -> None:
    code = (
        "import sys; from medloss.cli import main\n"
        "try: main(['nnunet-trainer', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("False\n"), done.stderr


# The loss on datasets, without nnU-Net


def batch(channels: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, channels, 8, 6, 6, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, channels, (2, 1, 8, 6, 6), generator=generator)


def test_the_dataset_decides_what_the_config_leaves_open() -> None:
    labels = loss_of_dataset(
        {"name": "dice", "include_background": False, "to_onehot_y": True, "softmax": True},
        regions=False,
        ignore_label=3,
        batch_dice=True,
    )
    expected = {"softmax": True, "sigmoid": False, "ignore_index": 3, "batch": True}
    assert {key: getattr(labels, key) for key in expected} == expected
    assert labels.include_background is False
    assert labels.to_onehot_y is False
    regions = loss_of_dataset(
        {"name": "dice", "include_background": False},
        regions=True,
        ignore_label=3,
        batch_dice=True,
        ranks=True,
    )
    expected = {"softmax": False, "sigmoid": True, "ignore_index": None, "batch": "world"}
    assert {key: getattr(regions, key) for key in expected} == expected
    assert regions.include_background is True
    own = loss_of_dataset(
        {"name": "dice", "batch": False}, regions=False, ignore_label=None, batch_dice=True
    )
    assert own.batch is False


@pytest.mark.parametrize(
    ("config", "regions", "message"),
    [
        ({"sigmoid": True}, False, "sigmoid: expected softmax, as the dataset has labels"),
        ({"softmax": True}, True, "softmax: expected sigmoid, as the dataset has regions"),
        ({"ignore_index": 255}, False, "expected the ignore label of the dataset, 3, got 255"),
    ],
)
def test_a_config_that_contradicts_the_dataset(config: Any, regions: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        loss_of_dataset(
            {"name": "dice", **config}, regions=regions, ignore_label=3, batch_dice=False
        )


def test_terms_of_others_are_built_inside_a_compound() -> None:
    loss = build_loss(COMPOUND, softmax=True)
    assert isinstance(list(loss.losses.values())[2], FocalLoss)  # type: ignore[arg-type]


def test_the_ignore_channel_of_regions_is_the_mask() -> None:
    logits, _ = batch()
    regions = torch.rand(2, 3, 8, 6, 6, generator=torch.Generator().manual_seed(1)) > 0.6
    ignored = torch.rand(2, 1, 8, 6, 6, generator=torch.Generator().manual_seed(2)) > 0.7
    loss = medloss.loss("dice_ce", sigmoid=True)
    ours = TargetsOfNnunet(loss, ignore_channel=True)
    expected = loss(logits, regions, mask=~ignored)
    for dtype in (torch.bool, torch.int16, torch.float32):
        assert torch.equal(ours(logits, torch.cat([regions, ignored], 1).to(dtype)), expected)
    logits[ignored.expand_as(logits)] += 5
    assert torch.equal(ours(logits, torch.cat([regions, ignored], 1)), expected)


def test_voxels_are_larger_at_lower_resolutions() -> None:
    logits, label = batch()
    loss = medloss.loss("boundary", softmax=True)
    ours = TargetsOfNnunet(loss, spacing_mm=(2.0, 1.0, 1.0), patch_size=(16, 12, 6))
    assert torch.equal(ours(logits, label), loss(logits, label, spacing_mm=(4.0, 2.0, 1.0)))


# Inside nnU-Net

nnunet = pytest.mark.skipif(
    importlib.util.find_spec("nnunetv2") is None
    or importlib.util.find_spec("batchgeneratorsv2") is None,
    reason="nnU-Net is not installed with what it needs (pip install nnunetv2)",
)
LABELS = {"background": 0, "organ": 1, "tumour": 2}
REGIONS = {"background": 0, "whole": [1, 2], "tumour": 2}


class Net(nn.Module):
    """Logits at each resolution of nnU-Net's deep supervision, or at the first."""

    def __init__(self, axes: int, classes: int, supervised: bool) -> None:
        super().__init__()
        convolution = nn.Conv2d if axes == 2 else nn.Conv3d
        self.features = nn.Sequential(convolution(1, 8, 3, padding=1), nn.LeakyReLU())
        self.heads = nn.ModuleList(convolution(8, classes, 1) for _ in range(3))
        self.pool = nn.functional.avg_pool2d if axes == 2 else nn.functional.avg_pool3d
        self.supervised = supervised

    def forward(self, x: Tensor) -> Any:
        features = self.features(x)
        if not self.supervised:
            return self.heads[0](features)
        pooled = [features, self.pool(features, 2), self.pool(features, 4)]
        return [head(each) for head, each in zip(self.heads, pooled, strict=True)]


def tiny_net(
    plans_manager: Any,
    configuration_manager: Any,
    num_input_channels: int,
    num_output_channels: int,
    enable_deep_supervision: bool = True,
) -> nn.Module:
    """In place of ``build_network_architecture``."""
    return Net(len(configuration_manager.patch_size), num_output_channels, enable_deep_supervision)


def plans(axes: int, batch_dice: bool) -> dict[str, Any]:
    """Of a net of 4 resolutions, of which nnU-Net supervises 3, as nnU-Net writes them."""
    configuration = {
        "data_identifier": "data",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": [16] * axes,
        "median_image_size_in_voxels": [20.0] * axes,
        "spacing": [3.0, 1.0, 1.0][:axes],
        "normalization_schemes": ["ZScoreNormalization"],
        "use_mask_for_norm": [False],
        "batch_dice": batch_dice,
        "architecture": {
            "network_class_name": "the net below stands in its place",
            "arch_kwargs": {"strides": [[1] * axes, *[[2] * axes] * 3]},
            "_kw_requires_import": [],
        },
    }
    return {
        "dataset_name": "Dataset001_Tiny",
        "plans_name": "nnUNetPlans",
        "image_reader_writer": "SimpleITKIO",
        "label_manager": "LabelManager",
        "configurations": {"tiny": configuration},
        "continue_training": False,
    }


class Case:
    """nnU-Net's trainer and ours on one dataset."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            monkeypatch.setenv(name, str(folder / name))
        monkeypatch.setenv("nnUNet_extTrainer", str(folder / "trainers"))
        monkeypatch.setenv("MPLBACKEND", "agg")

    def trainer(
        self,
        config: Any,
        labels: Any = LABELS,
        *,
        axes: int = 3,
        batch_dice: bool = False,
        supervised: bool = True,
    ) -> Any:
        """A trainer in its folder as nnU-Net finds it; without a config nnU-Net's own."""
        from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
        from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

        found: Any = nnUNetTrainer
        if config is not None:
            path = write_trainer(config, self.folder / "trainers", force=True)
            folder = str(path.parent)
            found = recursive_find_python_class(
                folder, path.stem, None, folder, cleanup_imports_from_base_folder=True
            )
        dataset = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".nii.gz"}
        if labels["background"] == 0 and any(isinstance(each, list) for each in labels.values()):
            dataset["regions_class_order"] = [1, 2]
        made = found(plans(axes, batch_dice), "tiny", 0, dataset, torch.device("cpu"))
        made.enable_deep_supervision = supervised
        made.build_network_architecture = tiny_net
        dataset_folder = self.folder / "nnUNet_preprocessed" / "Dataset001_Tiny" / "data"
        dataset_folder.mkdir(parents=True, exist_ok=True)
        (dataset_folder / "case.npz").touch()  # tells nnU-Net the format
        torch.manual_seed(0)
        made.initialize()
        return made

    def batch(self, trainer: Any, seed: int = 0) -> dict[str, Any]:
        """One as nnU-Net's loader makes it: labels or regions at each resolution."""
        from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import (
            DownsampleSegForDSTransform,
        )
        from batchgeneratorsv2.transforms.utils.seg_to_regions import (
            ConvertSegmentationToRegionsTransform,
        )

        generator = torch.Generator().manual_seed(seed)
        shape = [16] * len(trainer.configuration_manager.patch_size)
        data = torch.randn(2, 1, *shape, generator=generator)
        manager = trainer.label_manager
        highest = 2 if manager.ignore_label is None else manager.ignore_label
        coarse = torch.randint(
            0, highest + 1, (2, 1, *[s // 4 for s in shape]), generator=generator
        )
        segmentation = torch.nn.functional.interpolate(coarse.float(), shape).to(torch.int16)
        targets = []
        for one in segmentation:
            item = {"segmentation": one}
            if manager.has_regions:
                regions = list(manager.foreground_regions)
                if manager.ignore_label is not None:
                    regions.append([manager.ignore_label])
                item = ConvertSegmentationToRegionsTransform(regions, channel_in_seg=0)(**item)
            if trainer.enable_deep_supervision:
                scales = trainer._get_deep_supervision_scales()
                item = DownsampleSegForDSTransform(scales)(**item)
            targets.append(item["segmentation"])
        if trainer.enable_deep_supervision:
            return {"data": data, "target": [torch.stack(each) for each in zip(*targets)]}  # noqa: B905
        return {"data": data, "target": torch.stack(targets)}


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(tmp_path, monkeypatch)


def loss_and_gradient(trainer: Any, batch: dict[str, Any]) -> tuple[float, Tensor]:
    outputs = trainer.network(batch["data"])
    value = trainer.loss(outputs, batch["target"])
    gradients = torch.autograd.grad(value, list(trainer.network.parameters()), allow_unused=True)
    return value.item(), torch.cat([g.flatten() for g in gradients if g is not None])


@nnunet
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("supervised", [True, False])
@pytest.mark.parametrize("batch_dice", [True, False])
@pytest.mark.parametrize("labels", [LABELS, {**LABELS, "ignore": 3}, REGIONS])
def test_dice_ce_is_the_loss_of_nnunet(
    case: Case, labels: Any, batch_dice: bool, supervised: bool
) -> None:
    """Value and gradient; nnU-Net's Dice is the negative of the coefficient, so 1 lower."""
    options = {"batch_dice": batch_dice, "supervised": supervised}
    theirs = case.trainer(None, labels, **options)
    ours = case.trainer({"name": "dice_ce"}, labels, **options)
    ours.network.load_state_dict(theirs.network.state_dict())
    batch = case.batch(theirs)
    expected, expected_gradient = loss_and_gradient(theirs, batch)
    value, gradient = loss_and_gradient(ours, batch)
    assert value == pytest.approx(expected + 1, rel=1e-5)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-3, atol=1e-6)


@nnunet
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("axes", [2, 3])
@pytest.mark.parametrize(
    ("config", "labels"),
    [
        ({"name": "dice_focal"}, LABELS),
        ({"_target_": "medloss.losses.FocalTverskyLoss"}, {**REGIONS, "ignore": 3}),
        ({"name": "boundary", "spacing_mm": "voxel"}, REGIONS),
        (COMPOUND, LABELS),
    ],
)
def test_training_steps_lower_the_loss(case: Case, config: Any, labels: Any, axes: int) -> None:
    trainer = case.trainer(config, labels, axes=axes)
    batch = case.batch(trainer)
    trainer.network.train()
    before = trainer.validation_step(batch)["loss"]
    for _ in range(6):
        step = trainer.train_step(batch)["loss"]
    assert step < before
    trainer.network.eval()
    assert set(trainer.validation_step(batch)) == {"loss", "tp_hard", "fp_hard", "fn_hard"}


@nnunet
@pytest.mark.filterwarnings("ignore")
def test_schedules_step_with_epochs_and_are_in_checkpoints(case: Case) -> None:
    config = {
        "name": "compound",
        "terms": ["dice", "cross_entropy"],
        "weights": [1.0, {"schedule": "equal_value", "start": 0.25}],
    }

    def epoch(trainer: Any) -> None:
        trainer.on_train_epoch_start()
        for seed in range(2):
            trainer.train_step(case.batch(trainer, seed))
        trainer.current_epoch += 1

    trainer = case.trainer(config)
    epoch(trainer)
    assert trainer.medloss.term_weights == {"dice": 1.0, "cross_entropy": 0.25}
    trainer.current_epoch -= 1  # as nnU-Net saves before it counts
    trainer.save_checkpoint(str(case.folder / "checkpoint.pth"))
    trainer.current_epoch += 1
    epoch(trainer)
    measured = trainer.medloss.term_weights["cross_entropy"]
    assert measured != 0.25
    resumed = case.trainer(config)
    resumed.load_checkpoint(str(case.folder / "checkpoint.pth"))
    assert resumed.current_epoch == 1
    resumed.on_train_epoch_start()
    assert resumed.medloss.term_weights["cross_entropy"] == measured
    plain = case.trainer({"name": "dice"})
    plain.save_checkpoint(str(case.folder / "plain.pth"))
    assert "medloss" not in torch.load(case.folder / "plain.pth", weights_only=False)
    case.trainer({"name": "dice"}).load_checkpoint(str(case.folder / "plain.pth"))


@nnunet
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None,
    reason="torchvision is not installed, which some of nnU-Net's own trainers import",
)
def test_nnunet_finds_the_trainer_by_its_variable(case: Case) -> None:
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
    from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name

    path = write_trainer({"name": "dice_topk"}, case.folder / "trainers")
    found = recursive_find_trainer_class_by_name(path.stem)
    assert found.loss_config == {"name": "dice_topk"}
    assert issubclass(found, nnUNetTrainer)


@nnunet
def test_a_name_that_nnunet_has_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="nnU-Net has a trainer 'nnUNetTrainerDiceCELoss_noSmooth'"
    ):
        write_trainer({"name": "dice"}, tmp_path, name="nnUNetTrainerDiceCELoss_noSmooth")


def test_the_file_imports_no_more_than_it_says(tmp_path: Path) -> None:
    """With stand-ins for nnU-Net: the class has both bases, in the order that works."""
    package = tmp_path / "nnunetv2" / "training" / "nnUNetTrainer"
    package.mkdir(parents=True)
    (package / "nnUNetTrainer.py").write_text("class nnUNetTrainer: pass\n")
    path = write_trainer({"name": "dice"}, tmp_path / "out", name="Mine")
    code = (
        f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"print([c.__name__ for c in runpy.run_path({str(path)!r})['Mine'].__mro__])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert done.stdout.strip() == "['Mine', 'LossTrainer', 'nnUNetTrainer', 'object']", done.stderr
