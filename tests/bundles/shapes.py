"""Stand-ins for the kinds of bundles that people have: their keys and their ways, on a few voxels.

Each is written in the manner of a bundle of MONAI's model zoo, or of MONAI's template, with a
network of one convolution and cases of a few voxels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

Block = dict[str, Any]
SIZE = (12, 10, 8)
BOTH = ["image", "label"]


@dataclass(frozen=True)
class Shape:
    """A stand-in.

    Args:
        loss: the loss of the bundle, of MONAI.
        ours: the same of medloss.
        entry: what the loss is called in the configuration.
        refused: how it is told apart by the preflight and a study, or nothing.
        not_scored: how it is told apart by ``medloss eval``, or nothing.
        labels: of the references.
        suffix: of the configuration.
    """

    write: Callable[[Path, Shape], None]
    loss: Block
    ours: Block
    entry: str = "loss"
    refused: str = ""
    not_scored: str = ""
    suffix: str = ".json"

    def make(self, root: Path) -> Path:
        """Write the bundle with its data and weights."""
        for name in ("configs", "models", "data"):
            (root / name).mkdir(parents=True)
        self.write(root, self)
        return root


def component(name: str, **options: Any) -> Block:
    """A block with a ``_target_``."""
    return {"_target_": name, **options}


def compose(*steps: Any) -> Block:
    return component("Compose", transforms=list(steps))


def convolution(classes: int, channels: int = 1, dimensions: int = 3) -> Block:
    name = f"torch.nn.Conv{dimensions}d"
    return component(name, in_channels=channels, out_channels=classes, kernel_size=3, padding=1)


def save_weights(path: Path, classes: int, channels: int = 1, dimensions: int = 3) -> None:
    torch.manual_seed(classes)
    network = (nn.Conv3d if dimensions == 3 else nn.Conv2d)(channels, classes, 3, padding=1)
    torch.save({"model": network.state_dict()}, path)


def nested_balls(classes: int, size: Sequence[int] = SIZE) -> NDArray[np.uint8]:
    """Shells around the middle, a class each, background outside."""
    grid = np.indices(size) - (np.array(size) - 1).reshape(-1, *[1] * len(size)) / 2
    radius = np.linalg.norm(grid, axis=0) / (min(size) / 2)
    return ((1 - radius) * classes).clip(0, classes - 1).round().astype(np.uint8)


def write_cases(
    folder: Path,
    label: NDArray[np.uint8],
    names: Sequence[str],
    *,
    images: str = "imagesTr/{}.nii.gz",
    labels: str = "labelsTr/{}.nii.gz",
    channels: int = 1,
) -> None:
    """Images in which the label shows, and the labels."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(names):
        rolled = np.roll(label, number, 0)
        image = rolled[..., None] + rng.normal(0, 0.5, (*label.shape, channels))
        image = (image[..., 0] if channels == 1 else image).astype(np.float32)
        for pattern, volume in ((images, image), (labels, rolled)):
            path = folder / pattern.format(name)
            path.parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(volume, np.diag([1.0, 1.0, 2.0, 1.0])), path)


def write_config(root: Path, name: str, suffix: str, config: Block) -> None:
    # JSON is YAML too
    (root / "configs" / f"{name}{suffix}").write_text(json.dumps(config, indent=1))


def name_channels(root: Path, names: Sequence[str]) -> None:
    channels = {str(number): name for number, name in enumerate(names)}
    content = {"network_data_format": {"outputs": {"pred": {"channel_def": channels}}}}
    (root / "configs" / "metadata.json").write_text(json.dumps(content))


def load(keys: Any = None) -> Block:
    return component("LoadImaged", keys=keys or BOTH, ensure_channel_first=True)


def zoo(
    shape: Shape,
    *,
    network: Block,
    preprocessing: Sequence[Any],
    postprocessing: Sequence[Any],
    random: Sequence[Any] = (),
    **more: Any,
) -> tuple[Block, Block]:
    """Training and inference with the keys of most bundles of the zoo."""
    images = "$list(sorted(glob.glob(@dataset_dir + '/imagesTr/*.nii.gz')))"
    head: Block = {
        "imports": ["$import glob", "$import os"],
        "bundle_root": ".",
        "ckpt_dir": "$@bundle_root + '/models'",
        "output_dir": "$@bundle_root + '/eval'",
        "dataset_dir": "$@bundle_root + '/data'",
        "device": "$torch.device('cpu')",
        "network_def": network,
        "network": "$@network_def.to(@device)",
    }
    cases = "$[{'image': i, 'label': l} for i, l in zip(@images%s, @labels%s)]"
    train: Block = {
        **head,
        "images": images,
        "labels": images.replace("images", "labels"),
        "epochs": 1,
        "val_interval": 1,
        "loss": shape.loss,
        "optimizer": component("torch.optim.Adam", params="$@network.parameters()", lr=0.01),
        "train": {
            "deterministic_transforms": list(preprocessing),
            "random_transforms": list(random),
            "preprocessing": compose()
            | {"transforms": "$@train#deterministic_transforms + @train#random_transforms"},
            "dataset": component(
                "CacheDataset",
                data=cases % ("[:-1]", "[:-1]"),
                transform="@train#preprocessing",
                cache_rate=1.0,
                progress=False,
            ),
            "dataloader": component(
                "DataLoader", dataset="@train#dataset", batch_size=1, shuffle=True
            ),
            "inferer": component("SimpleInferer"),
            "postprocessing": compose(*postprocessing),
            "handlers": [
                component(
                    "ValidationHandler",
                    validator="@validate#evaluator",
                    epoch_level=True,
                    interval="@val_interval",
                ),
                component(
                    "StatsHandler",
                    tag_name="train_loss",
                    output_transform="$monai.handlers.from_engine(['loss'], first=True)",
                ),
            ],
            "trainer": component(
                "SupervisedTrainer",
                max_epochs="@epochs",
                device="@device",
                train_data_loader="@train#dataloader",
                network="@network",
                loss_function="@loss",
                optimizer="@optimizer",
                inferer="@train#inferer",
                train_handlers="@train#handlers",
            ),
        },
        "validate": {
            "preprocessing": compose() | {"transforms": "%train#deterministic_transforms"},
            "dataset": component(
                "CacheDataset",
                data=cases % ("[-1:]", "[-1:]"),
                transform="@validate#preprocessing",
                progress=False,
            ),
            "dataloader": component("DataLoader", dataset="@validate#dataset", batch_size=1),
            "inferer": component("SlidingWindowInferer", roi_size=[8, 8, 8], overlap=0.25),
            "postprocessing": "%train#postprocessing",
            "handlers": [component("StatsHandler", iteration_log=False)],
            "evaluator": component(
                "SupervisedEvaluator",
                device="@device",
                val_data_loader="@validate#dataloader",
                network="@network",
                inferer="@validate#inferer",
                postprocessing="@validate#postprocessing",
                val_handlers="@validate#handlers",
            ),
        },
        "initialize": ["$monai.utils.set_determinism(seed=123)"],
        "run": ["$@train#trainer.run()"],
        **more,
    }
    of_pred = [
        {**step, "keys": "pred"} | ({"argmax": True} if "argmax" in step else {})
        for step in postprocessing
        if "SplitDim" not in step["_target_"]
    ]
    of_image = [{**step, "keys": "@image_key"} for step in preprocessing if on_image(step)]
    inference: Block = {
        **head,
        "image_key": "image",
        "load_pretrain": True,
        "datalist": "$list(sorted(glob.glob(@dataset_dir + '/imagesTs/*.nii.gz')))",
        "preprocessing": compose(*of_image),
        "dataset": component(
            "Dataset", data="$[{'image': i} for i in @datalist]", transform="@preprocessing"
        ),
        "dataloader": component("DataLoader", dataset="@dataset", batch_size=1),
        "inferer": component("SlidingWindowInferer", roi_size=[8, 8, 8], overlap=0.25),
        "postprocessing": compose(
            *of_pred,
            component("SaveImaged", keys="pred", output_dir="@output_dir", output_postfix="seg"),
        ),
        "handlers": [component("StatsHandler", iteration_log=False)],
        "evaluator": component(
            "SupervisedEvaluator",
            device="@device",
            val_data_loader="@dataloader",
            network="@network",
            inferer="@inferer",
            postprocessing="@postprocessing",
            val_handlers="@handlers",
        ),
        "checkpointloader": component(
            "CheckpointLoader",
            load_path="$@bundle_root + '/models/model.pt'",
            load_dict={"model": "@network"},
        ),
        "initialize": ["$@checkpointloader(@evaluator) if @load_pretrain else None"],
        "run": ["$@evaluator.run()"],
        **{key: value for key, value in more.items() if key in ("displayable_configs",)},
    }
    return train, inference


def on_image(step: Block) -> bool:
    keys = step["keys"]
    return "image" in (keys if isinstance(keys, list) else [keys])


def exclusive(classes: int) -> list[Block]:
    return [
        component("Activationsd", keys="pred", softmax=True),
        component("AsDiscreted", keys=["pred", "label"], argmax=[True, False], to_onehot=classes),
    ]


def write_zoo(
    root: Path, shape: Shape, classes: int, *, channels: int = 1, **options: Any
) -> tuple[Block, Block]:
    """Configurations, cases and weights of a bundle with the zoo's keys."""
    options.setdefault("network", convolution(classes, channels))
    train, inference = zoo(shape, **options)
    write_config(root, "train", shape.suffix, train)
    write_config(root, "inference", shape.suffix, inference)
    save_weights(root / "models" / "model.pt", classes, channels)
    return train, inference


def write_folders(root: Path, label: NDArray[np.uint8], channels: int = 1) -> None:
    """Decathlon's folders."""
    write_cases(root / "data", label, ("a", "b", "c"), channels=channels)
    test = {"images": "imagesTs/{}.nii.gz", "labels": "labelsTs/{}.nii.gz"}
    write_cases(root / "data", label, ("d", "e"), channels=channels, **test)


def multi_organ(root: Path, shape: Shape) -> None:
    """YAML; the architecture comes from a file, as that of a DiNTS bundle does."""
    torch.save({"kernel": 3}, root / "models" / "search_code.pt")
    network = {**convolution(4), "kernel_size": "$@arch_ckpt['kernel']"}
    arch = {
        "arch_ckpt_path": "$@bundle_root + '/models/search_code.pt'",
        "arch_ckpt": "$torch.load(@arch_ckpt_path, map_location='cpu')",
    }
    spacing = component("Spacingd", keys=BOTH, pixdim=[1, 1, 2], mode=["bilinear", "nearest"])
    steps = [load(), spacing, component("ScaleIntensityd", keys="image")]
    train, inference = write_zoo(
        root,
        shape,
        4,
        network=network,
        preprocessing=steps,
        postprocessing=exclusive(4),
        random=[component("RandFlipd", keys=BOTH, prob=0.5, spatial_axis=0)],
    )
    for name, config in (("train", train), ("inference", inference)):
        single = json.loads(json.dumps(config).replace('["bilinear", "nearest"]', '"bilinear"'))
        write_config(root, name, shape.suffix, {**(single if name != "train" else config), **arch})
    write_folders(root, nested_balls(4))
    name_channels(root, ("background", "liver", "spleen", "pancreas"))


def brats(root: Path, shape: Shape) -> None:
    """Four modalities, labels 1, 2 and 4, regions that overlap."""
    regions = [
        component("Activationsd", keys="pred", sigmoid=True),
        component("AsDiscreted", keys="pred", threshold=0.5),
        component("SplitDimd", keys=["pred", "label"], output_postfixes=["tc", "wt", "et"]),
    ]
    write_zoo(
        root,
        shape,
        3,
        channels=4,
        preprocessing=[
            load(),
            component("ConvertToMultiChannelBasedOnBratsClassesd", keys="label"),
            component("CastToTyped", keys="label", dtype="$torch.float32"),
            component("NormalizeIntensityd", keys="image", nonzero=True, channel_wise=True),
        ],
        postprocessing=regions,
    )
    label = nested_balls(4)
    write_folders(root, np.where(label == 3, 4, label).astype(np.uint8), channels=4)
    name_channels(root, ("Tumor core", "Whole tumor", "Enhancing tumor"))


def deepedit(root: Path, shape: Shape) -> None:
    """Clicks are simulated inside the trainer's iteration and are channels of the image."""
    names = {"spleen": 1, "background": 0}
    guidance = [
        component("FindAllValidSlicesMissingLabelsd", keys="label", sids="sids"),
        component(
            "AddInitialSeedPointMissingLabelsd", keys="label", guidance="guidance", sids="sids"
        ),
        component(
            "AddGuidanceSignalDeepEditd", keys="image", guidance="guidance", number_intensity_ch=1
        ),
        component("ToTensord", keys=BOTH),
    ]
    steps = [load(), component("RemapLabelsToSequentiald", keys="label", label_names=names)]
    train, inference = zoo(
        shape,
        network=convolution(2, 3),
        preprocessing=[*steps, component("ScaleIntensityd", keys="image")],
        postprocessing=exclusive(2),
        random=guidance,
        label_names=names,
    )
    train["train"]["trainer"]["iteration_update"] = component(
        "monai.apps.deepedit.interaction.Interaction",
        deepgrow_probability=0.0,
        transforms=compose(),
        click_probability_key="probability",
        train=True,
        label_names="@label_names",
    )
    train["train"]["deepedit_transforms"] = train["train"].pop("random_transforms")
    text = json.dumps(train).replace("@train#random_transforms", "@train#deepedit_transforms")
    text = text.replace("%train#deterministic_transforms", "@train#preprocessing#transforms")
    write_config(root, "train", shape.suffix, json.loads(text))
    inference["preprocessing"]["transforms"] += [
        component("DiscardAddGuidanced", keys="image", label_names="@label_names")
    ]
    write_config(root, "inference", shape.suffix, {**inference, "label_names": names})
    save_weights(root / "models" / "model.pt", 2, 3)
    write_folders(root, nested_balls(2))


def flat(root: Path, shape: Shape) -> None:
    """2D, with trainer, lossfn and train_dataloader on top."""
    head: Block = {
        "bundle_root": ".",
        "ckpt_path": "$@bundle_root + '/models/model.pt'",
        "dataset_dir": "$@bundle_root + '/data'",
        "device": "$torch.device('cpu')",
        "net": convolution(3, 1, 2),
    }
    steps = [load(), component("ScaleIntensityd", keys="image")]
    post = exclusive(3)

    def cases(part: str, names: str) -> str:
        return (
            f"$[{{'image': @dataset_dir + '/images{part}/' + n + '.nii.gz', 'label': "
            f"@dataset_dir + '/labels{part}/' + n + '.nii.gz'}} for n in {names!r}]"
        )

    train = {
        **head,
        "num_epochs": 1,
        "train_sub": cases("Tr", "abc"),
        "eval_sub": cases("Ts", "de"),
        "train_dataset": component("Dataset", data="@train_sub", transform=compose(*steps)),
        "eval_dataset": component("Dataset", data="@eval_sub", transform=compose(*steps)),
        "sampler": component(
            "torch.utils.data.WeightedRandomSampler",
            weights="$torch.ones(len(@train_dataset))",
            replacement=True,
            num_samples=2,
        ),
        "train_dataloader": component(
            "ThreadDataLoader",
            dataset="@train_dataset",
            batch_size=2,
            repeats=1,
            sampler="@sampler",
        ),
        "eval_dataloader": component("DataLoader", dataset="@eval_dataset", batch_size=1),
        "lossfn": shape.loss,
        "optimizer": component("torch.optim.Adam", params="$@net.parameters()", lr=0.001),
        "post_transform": compose(*post),
        "evaluator": component(
            "SupervisedEvaluator",
            device="@device",
            val_data_loader="@eval_dataloader",
            network="@net",
            postprocessing="@post_transform",
        ),
        "trainer": component(
            "SupervisedTrainer",
            max_epochs="@num_epochs",
            device="@device",
            train_data_loader="@train_dataloader",
            network="@net",
            loss_function="@lossfn",
            optimizer="@optimizer",
            postprocessing="@post_transform",
            key_train_metric=None,
            train_handlers=[
                component("ValidationHandler", validator="@evaluator", interval=1),
            ],
        ),
        "training": ["$@trainer.run()"],
    }
    write_config(root, "train", shape.suffix, train)
    inference = {
        **head,
        "dataset": component(
            "Dataset",
            data=cases("Ts", "de"),
            transform=compose(load("image"), component("ScaleIntensityd", keys="image")),
        ),
        "dataloader": component("DataLoader", dataset="@dataset", batch_size=1),
        "post": compose(
            component("Activationsd", keys="pred", softmax=True),
            component("AsDiscreted", keys="pred", argmax=True),
        ),
        "evaluator": component(
            "SupervisedEvaluator",
            device="@device",
            val_data_loader="@dataloader",
            network="@net",
            postprocessing="@post",
            val_handlers=[
                component("CheckpointLoader", load_path="@ckpt_path", load_dict={"net": "@net"})
            ],
        ),
        "evaluating": ["$@evaluator.run()"],
    }
    write_config(root, "inference", shape.suffix, inference)
    torch.manual_seed(0)
    torch.save({"net": nn.Conv2d(1, 3, 3, padding=1).state_dict()}, root / "models" / "model.pt")
    label = nested_balls(3, (12, 10))
    write_cases(root / "data", label, ("a", "b", "c"))
    test = {"images": "imagesTs/{}.nii.gz", "labels": "labelsTs/{}.nii.gz"}
    write_cases(root / "data", label, ("d", "e"), **test)


def template(root: Path, shape: Shape) -> None:
    """MONAI's template: keys by reference, transforms by expression, images beside labels."""
    head: Block = {
        "imports": ["$import os", "$import datetime", "$import glob"],
        "image": "$monai.utils.CommonKeys.IMAGE",
        "label": "$monai.utils.CommonKeys.LABEL",
        "pred": "$monai.utils.CommonKeys.PRED",
        "both_keys": ["@image", "@label"],
        "num_classes": 4,
        "batch_size": 1,
        "device": "$torch.device('cpu')",
        "bundle_root": ".",
        "ckpt_path": "$@bundle_root + '/models/model.pt'",
        "dataset_dir": "$@bundle_root + '/data'",
        "network_def": {**convolution(4), "out_channels": "@num_classes"},
        "network": "$@network_def.to(@device)",
    }
    loader = component(
        "CheckpointLoader",
        _disabled_="$not os.path.exists(@ckpt_path)",
        load_path="@ckpt_path",
        load_dict={"model": "@network"},
    )
    train = {
        **head,
        "rank": 0,
        "is_not_rank0": "$@rank > 0",
        "num_epochs": 1,
        "results_dir": "$@bundle_root + '/results'",
        "output_dir": "$datetime.datetime.now().strftime(@results_dir + '/output_%y%m%d')",
        "imgs": "$sorted(glob.glob(@dataset_dir+'/img*.nii.gz'))",
        "lbls": "$[i.replace('img','lbl') for i in @imgs]",
        "all_pairs": "$[{@image: i, @label: l} for i, l in zip(@imgs, @lbls)]",
        "partitions": "$monai.data.partition_dataset(@all_pairs, (3, 1), shuffle=True, seed=0)",
        "train_sub": "$@partitions[0]",
        "val_sub": "$@partitions[1]",
        "base_transforms": [
            component("LoadImaged", keys="@both_keys", image_only=True),
            component("EnsureChannelFirstd", keys="@both_keys"),
        ],
        "train_transforms": [
            component("RandAxisFlipd", keys="@both_keys", prob=0.5),
            component("ScaleIntensityd", keys="@image"),
        ],
        "val_transforms": [component("ScaleIntensityd", keys="@image")],
        "preprocessing": compose() | {"transforms": "$@base_transforms + @train_transforms"},
        "val_preprocessing": compose() | {"transforms": "$@base_transforms + @val_transforms"},
        "train_dataset": component("Dataset", data="@train_sub", transform="@preprocessing"),
        "val_dataset": component("Dataset", data="@val_sub", transform="@val_preprocessing"),
        "train_dataloader": component(
            "ThreadDataLoader", dataset="@train_dataset", batch_size="@batch_size", repeats=1
        ),
        "val_dataloader": component("DataLoader", dataset="@val_dataset", batch_size="@batch_size"),
        "lossfn": shape.loss,
        "optimizer": component("torch.optim.Adam", params="$@network.parameters()", lr=0.001),
        "inferer": component("SimpleInferer"),
        "postprocessing": compose(
            component("Activationsd", keys="@pred", softmax=True),
            component(
                "AsDiscreted",
                keys=["@pred", "@label"],
                argmax=[True, False],
                to_onehot="@num_classes",
            ),
        ),
        "val_handlers": [component("LogfileHandler", output_dir="@output_dir")],
        "evaluator": component(
            "SupervisedEvaluator",
            device="@device",
            val_data_loader="@val_dataloader",
            network="@network",
            postprocessing="@postprocessing",
            val_handlers="@val_handlers",
        ),
        "metriclogger": component("MetricLogger", evaluator="@evaluator"),
        "handlers": [
            "@metriclogger",
            loader,
            component("ValidationHandler", validator="@evaluator", interval=1),
        ],
        "trainer": component(
            "SupervisedTrainer",
            max_epochs="@num_epochs",
            device="@device",
            train_data_loader="@train_dataloader",
            network="@network",
            inferer="@inferer",
            loss_function="@lossfn",
            optimizer="@optimizer",
            key_train_metric=None,
            train_handlers="@handlers",
        ),
        "run": ["$@trainer.run()"],
    }
    write_config(root, "train", shape.suffix, train)
    inference = {
        **head,
        "output_dir": "./outputs",
        "file_pattern": "img*.nii*",
        "data_list": "$list(sorted(glob.glob(os.path.join(@dataset_dir, @file_pattern))))",
        "data_dicts": "$[{@image:i} for i in @data_list]",
        "transforms": [
            component("LoadImaged", keys="@image", image_only=True),
            component("EnsureChannelFirstd", keys="@image"),
            component("ScaleIntensityd", keys="@image"),
        ],
        "preprocessing": compose() | {"transforms": "$@transforms"},
        "dataset": component("Dataset", data="@data_dicts", transform="@preprocessing"),
        "dataloader": component("ThreadDataLoader", dataset="@dataset", batch_size=1),
        "inferer": component("SimpleInferer"),
        "postprocessing": compose(
            component("Activationsd", keys="@pred", softmax=True),
            component("AsDiscreted", keys="@pred", argmax=True),
            component("SaveImaged", keys="@pred", output_dir="@output_dir", output_postfix=""),
        ),
        "handlers": [loader],
        "evaluator": component(
            "SupervisedEvaluator",
            device="@device",
            val_data_loader="@dataloader",
            network="@network",
            inferer="@inferer",
            postprocessing="@postprocessing",
            val_handlers="@handlers",
        ),
        "run": ["$@evaluator.run()"],
    }
    write_config(root, "inference", shape.suffix, inference)
    save_weights(root / "models" / "model.pt", 4)
    names = ("1", "2", "3", "4")
    where = {"images": "img{}.nii.gz", "labels": "lbl{}.nii.gz"}
    write_cases(root / "data", nested_balls(4), names, **where)
    for name in names:  # what a prediction of img1 is compared with
        (root / "references").mkdir(exist_ok=True)
        content = (root / "data" / f"lbl{name}.nii.gz").read_bytes()
        (root / "references" / f"img{name}.nii.gz").write_bytes(content)


def whole_body(root: Path, shape: Shape) -> None:
    """105 classes; the weights are named by another entry."""
    train, inference = write_zoo(
        root,
        shape,
        105,
        preprocessing=[load(), component("NormalizeIntensityd", keys="image", nonzero=True)],
        postprocessing=exclusive(105),
        displayable_configs={"highres": False},
        modelname="$'model.pt' if @displayable_configs#highres else 'model_lowres.pt'",
    )
    inference["modelname"] = train["modelname"]
    inference["checkpointloader"]["load_path"] = "$@bundle_root + '/models/' + @modelname"
    write_config(root, "inference", shape.suffix, inference)
    (root / "models" / "model.pt").rename(root / "models" / "model_lowres.pt")
    write_folders(root, nested_balls(20))


OWN_ENGINES = '''"""Engines of a bundle's own."""

import torch
from monai.engines import Evaluator, SupervisedTrainer, Trainer
from monai.utils import CommonKeys as Keys


class Boxes(torch.nn.Module):
    """One box for an image."""

    def __init__(self):
        super().__init__()
        self.corner = torch.nn.Linear(1, 3)

    def forward(self, images):
        low = self.corner(images.as_tensor().mean((1, 2, 3, 4))[:, None])
        return torch.cat([low, low + 2], 1)


class DetectionTrainer(Trainer):
    def __init__(self, device, max_epochs, train_data_loader, detector, optimizer, **more):
        super().__init__(device, max_epochs, train_data_loader, **more)
        self.detector, self.optimizer = detector, optimizer

    def _iteration(self, engine, batch):
        loss = self.detector.loss(self.detector(batch["image"]), batch["box"].float())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {Keys.LOSS: loss.item()}


class Promptable(torch.nn.Module):
    """A class is asked for, and its logits come."""

    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv3d(1, 4, 3, padding=1)

    def forward(self, input_images, class_vector):
        return self.convolution(input_images)[:, class_vector]


class ClassTrainer(SupervisedTrainer):
    """Asks the network for each class in turn."""

    def _iteration(self, engine, batch):
        image, label = engine.prepare_batch(batch, engine.state.device, engine.non_blocking)
        total = 0.0
        for number in (1, 2, 3):
            logits = engine.network(image, [number])
            total = total + engine.loss_function(logits, label == number)
        engine.optimizer.zero_grad()
        total.backward()
        engine.optimizer.step()
        return {Keys.LOSS: total.item()}
'''


def _own_engines(root: Path) -> None:
    (root / "scripts").mkdir()
    (root / "scripts" / "__init__.py").write_text("")
    (root / "scripts" / "engines.py").write_text(OWN_ENGINES)


def detection(root: Path, shape: Shape) -> None:
    """A detector instead of a network and a loss function."""
    train, inference = write_zoo(
        root, shape, 2, preprocessing=[load("image")], postprocessing=exclusive(2)
    )
    for name in ("network", "network_def"):
        train[name] = inference[name] = component("scripts.engines.Boxes")
    train["detector"] = "@network"
    train["detector_ops"] = ["$setattr(@detector, 'loss', @loss)"]
    train["optimizer"]["params"] = "$@detector.parameters()"
    train["train"]["trainer"] = component(
        "scripts.engines.DetectionTrainer",
        _requires_="@detector_ops",
        max_epochs="@epochs",
        device="@device",
        train_data_loader="@train#dataloader",
        detector="@detector",
        optimizer="@optimizer",
    )
    box = "'box': torch.tensor([1.0, 1, 1, 5, 5, 5])"
    train["train"]["dataset"]["data"] = f"$[{{'image': i, {box}}} for i in @images]"
    write_config(root, "train", shape.suffix, train)
    inference["evaluator"] = component(
        "scripts.engines.DetectionEvaluator", detector="@network", val_data_loader="@dataloader"
    )
    write_config(root, "inference", shape.suffix, inference)
    _own_engines(root)
    write_folders(root, nested_balls(2))


def prompt(root: Path, shape: Shape) -> None:
    """A trainer that asks its network for one class after the other."""
    train, inference = write_zoo(
        root, shape, 4, preprocessing=[load()], postprocessing=exclusive(4)
    )
    network = component("scripts.engines.Promptable")
    train["network_def"] = inference["network_def"] = network
    train["train"]["trainer"]["_target_"] = "scripts.engines.ClassTrainer"
    train["train"]["handlers"] = []
    write_config(root, "train", shape.suffix, train)
    write_config(root, "inference", shape.suffix, inference)
    _own_engines(root)
    write_folders(root, nested_balls(4))
    state = {f"convolution.{k}": v for k, v in nn.Conv3d(1, 4, 3).state_dict().items()}
    torch.save({"model": state}, root / "models" / "model.pt")


def _twin(name: str, loss: str, **options: Any) -> dict[str, Block]:
    return {
        "loss": component(name, **options),
        "ours": component(f"medloss.losses.{loss}", **options),
    }


DICE_CE = {"to_onehot_y": True, "softmax": True}
SHAPES: dict[str, Shape] = {
    "multi_organ": Shape(
        multi_organ,
        **_twin(
            "DiceCELoss",
            "DiceCELoss",
            include_background=False,
            squared_pred=True,
            batch=True,
            **DICE_CE,
        ),
        suffix=".yaml",
    ),
    "brats": Shape(
        brats,
        **_twin("DiceLoss", "DiceLoss", smooth_nr=0, squared_pred=True, sigmoid=True),
    ),
    "deepedit": Shape(
        deepedit,
        **_twin("DiceCELoss", "DiceCELoss", **DICE_CE),
        refused="prompts its network with simulated clicks",
        not_scored="DiscardAddGuidanced makes clicks a part of the image",
    ),
    "flat": Shape(
        flat,
        **_twin("DiceLoss", "DiceLoss", include_background=False, **DICE_CE),
        entry="lossfn",
    ),
    "template": Shape(
        template,
        **_twin("DiceLoss", "DiceLoss", include_background=True, **DICE_CE),
        entry="lossfn",
        suffix=".yaml",
    ),
    "whole_body": Shape(whole_body, **_twin("DiceCELoss", "DiceCELoss", **DICE_CE)),
    "detection": Shape(
        detection,
        loss=component("monai.losses.giou_loss.BoxGIoULoss"),
        ours=component("medloss.detection.GIoULoss"),
        refused="that finds boxes",
        not_scored="that finds boxes",
    ),
    "prompt": Shape(
        prompt,
        **_twin("DiceLoss", "DiceLoss", sigmoid=True),
        refused="its network (Promptable) is prompted: it is called with input_images",
        not_scored="its network (Promptable) is prompted: it is called with input_images",
    ),
}
"""By name."""
