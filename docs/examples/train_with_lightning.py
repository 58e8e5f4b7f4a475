"""Train a 3D network in Lightning: Dice, cross entropy and a boundary term that ramps up.

    pip install ".[lightning]"    # in a clone of medloss
    python docs/examples/train_with_lightning.py --epochs 10 --folder runs/lightning

The volumes are made up: ellipsoids in noise, with voxels of 1 x 1 x 2 mm. The distance maps of the
boundary term are made once for each case and cached; flips carry them exactly. What every term
contributes is in FOLDER/terms.csv.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from monai.data import CacheDataset, DataLoader, MetaTensor
from monai.networks.nets import UNet
from monai.transforms import Compose, RandFlipd
from torch import Tensor

import medloss
from medloss.integrations.lightning import LossCallback
from medloss.integrations.transforms import DistanceMapd, PrepareTargets

SPACING_MM = torch.tensor([1.0, 1.0, 2.0])
NAMES = ["background", "ellipsoid"]


def case(seed: int, size: int = 16) -> dict[str, MetaTensor]:
    """An image and its label, (1, size, size, size)."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(*[torch.arange(size)] * 3, indexing="ij")) * 1.0
    centre = size / 2 + torch.randn(3, 1, 1, 1, generator=generator)
    radii = size * (0.2 + 0.15 * torch.rand(3, 1, 1, 1, generator=generator))
    label = (((grid - centre) / radii).square().sum(0, keepdim=True) < 1).long()
    image = label + 0.5 * torch.randn(label.shape, generator=generator)
    affine = torch.diag(torch.cat([SPACING_MM, torch.ones(1)]))
    return {"image": MetaTensor(image, affine=affine), "label": MetaTensor(label, affine=affine)}


def loader(seeds: range, *, augment: bool) -> Any:
    """Batches of cases; what comes before the first random transform is cached."""
    keys = ["image", "label", "distance_map"]
    steps: list[Any] = [DistanceMapd(keys="label", classes=len(NAMES))]
    if augment:
        steps += [RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)]
    cases = [case(seed) for seed in seeds]
    return DataLoader(
        CacheDataset(cases, Compose(steps), progress=False), batch_size=2, shuffle=augment
    )


class Segmenter(LightningModule):
    """A U-Net under a compound loss."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.network = UNet(3, 1, len(NAMES), channels=(8, 16, 32), strides=(2, 2))
        self.loss = medloss.loss(
            "compound",
            softmax=True,
            terms=[{"name": "dice", "include_background": False}, "cross_entropy", "boundary"],
            weights=[1.0, 1.0, {"schedule": "ramp", "start": 0.0, "end": 0.1, "steps": epochs}],
            class_names=NAMES,
        )
        self.prepare = PrepareTargets()
        self.dice = medloss.metric("dice", include_background=False)

    def training_step(self, batch: Any, index: int) -> Tensor:
        """Loss of a batch; the target is a mapping with the label and its map."""
        image, target = self.prepare(batch, device=self.device)
        value: Tensor = self.loss(self.network(image), target)
        self.log("train_loss", value)
        return value

    def validation_step(self, batch: Any, index: int) -> None:
        """Collect Dice."""
        image, target = self.prepare(batch, device=self.device)
        self.dice(self.network(image).argmax(1, keepdim=True), target["label"])

    def on_validation_epoch_end(self) -> None:
        """Log the mean over cases."""
        self.log("val_dice", self.dice.aggregate())
        self.dice.reset()

    def configure_optimizers(self) -> Any:
        """Adam."""
        return torch.optim.Adam(self.parameters(), 0.01)


def main() -> None:
    """Train and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--folder", type=Path, default=Path("runs/lightning"))
    parser.add_argument("--accelerator", default="auto")
    given = parser.parse_args()
    seed_everything(0, verbose=False)
    trainer = Trainer(
        default_root_dir=given.folder,
        max_epochs=given.epochs,
        accelerator=given.accelerator,
        callbacks=[LossCallback(csv=given.folder / "terms.csv")],
        logger=False,
        enable_progress_bar=False,
    )
    trainer.fit(
        Segmenter(given.epochs), loader(range(8), augment=True), loader(range(8, 12), augment=False)
    )
    print(f"Dice of the last epoch: {float(trainer.callback_metrics['val_dice']):.3f}")
    print(f"What each term contributed: {given.folder / 'terms.csv'}")


if __name__ == "__main__":
    main()
