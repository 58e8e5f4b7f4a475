"""Train a 3D network in a loop of plain PyTorch: mixed precision, a ramp, a table, checkpoints.

    pip install ".[bundle]" tensorboard    # in a clone of medloss
    python docs/examples/train_with_pytorch.py --epochs 10 --folder runs/pytorch

The volumes are made up: ellipsoids in noise, with voxels of 1 x 1 x 2 mm. What every term
contributes is in FOLDER/terms.csv, and in TensorBoard with --tensorboard. FOLDER/last.pt is written
after each epoch; the same command goes on from it, to the numbers of a training that was not
stopped.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

import medloss
from medloss.integrations.loss_callback import LossCallback

SPACING_MM = (1.0, 1.0, 2.0)
NAMES = ["background", "ellipsoid"]
CASES, BATCH, SIZE = 8, 2, 16


def case(seed: int) -> tuple[Tensor, Tensor]:
    """An image (1, x, y, z) and its label of the same shape."""
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(*[torch.arange(SIZE)] * 3, indexing="ij")) * 1.0
    centre = SIZE / 2 + torch.randn(3, 1, 1, 1, generator=generator)
    radii = SIZE * (0.2 + 0.15 * torch.rand(3, 1, 1, 1, generator=generator))
    label = (((grid - centre) / radii).square().sum(0, keepdim=True) < 1).long()
    return label + 0.5 * torch.randn(label.shape, generator=generator), label


class Network(nn.Module):
    """Two resolutions, joined again."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.fine = nn.Conv3d(1, channels, 3, padding=1)
        self.coarse = nn.Conv3d(channels, channels, 3, stride=2, padding=1)
        self.norm = nn.InstanceNorm3d(channels, affine=True)
        self.answer = nn.Conv3d(2 * channels, len(NAMES), 1)

    def forward(self, image: Tensor) -> Tensor:
        """Logits, (B, classes, x, y, z)."""
        fine = self.fine(image).relu()
        coarse = interpolate(self.norm(self.coarse(fine)).relu(), scale_factor=2.0)
        logits: Tensor = self.answer(torch.cat([fine, coarse], 1))
        return logits


class Training:
    """All that a checkpoint has to bring back.

    Args:
        epochs: of the whole training, which the ramp and the learning rate know.
        device: of the network.
        folder: of the table and the checkpoint.
        tensorboard: whether the terms are written for TensorBoard too.
    """

    def __init__(self, epochs: int, device: torch.device, folder: Path, tensorboard: bool) -> None:
        torch.manual_seed(0)
        self.device, self.path = device, folder / "last.pt"
        self.network = Network().to(device)
        self.loss = medloss.loss(
            "compound",
            softmax=True,
            terms=[{"name": "dice", "include_background": False}, "cross_entropy", "boundary"],
            weights=[1.0, 1.0, {"schedule": "ramp", "start": 0.0, "end": 0.1, "steps": epochs}],
            class_names=NAMES,
        )
        self.optimizer = torch.optim.AdamW(self.network.parameters(), 0.02)
        self.rate = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, epochs)
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        self.shuffle = torch.Generator().manual_seed(1)
        self.watch = LossCallback(
            self.loss, csv=folder / "terms.csv", tensorboard=folder if tensorboard else None
        )
        self.cases = [case(seed) for seed in range(CASES)]

    def parts(self) -> dict[str, Any]:
        """Whatever has a state."""
        names = ("network", "loss", "optimizer", "rate", "scaler")
        return {name: getattr(self, name) for name in names}

    def save(self, epoch: int) -> None:
        """Write the checkpoint whole, or leave the last one."""
        state = {name: part.state_dict() for name, part in self.parts().items()}
        random = {"torch": torch.get_rng_state(), "shuffle": self.shuffle.get_state()}
        partial = self.path.with_suffix(".partial")
        torch.save({"epoch": epoch, "random": random, **state}, partial)
        partial.replace(self.path)

    def restore(self) -> int:
        """The last epoch that was finished, 0 for none, and everything as it was then."""
        if not self.path.is_file():
            return 0
        state = torch.load(self.path, map_location="cpu", weights_only=True)
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"]["torch"])
        self.shuffle.set_state(state["random"]["shuffle"])
        return int(state["epoch"])

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Every case once, in another order each epoch."""
        order = torch.randperm(len(self.cases), generator=self.shuffle).tolist()
        for start in range(0, len(order), BATCH):
            chosen = [self.cases[number] for number in order[start : start + BATCH]]
            images, labels = zip(*chosen, strict=True)
            yield torch.stack(images).to(self.device), torch.stack(labels).to(self.device)

    def step(self, image: Tensor, label: Tensor) -> Tensor:
        """One step of training: the network in 16 bits, the loss in float32 by itself."""
        self.optimizer.zero_grad(set_to_none=True)
        half = torch.float16 if self.device.type == "cuda" else torch.bfloat16
        with torch.autocast(self.device.type, dtype=half):
            value: Tensor = self.loss(self.network(image), label, spacing_mm=SPACING_MM)
        self.scaler.scale(value).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return value.detach()

    def epoch(self, number: int) -> float:
        """One epoch; the mean of its losses."""
        self.network.train()
        self.watch.epoch_started(number)  # moves the ramp
        values = []
        for image, label in self.batches():
            self.watch.iteration_started()
            values.append(self.step(image, label))
            self.watch.iteration_completed()
        self.watch.epoch_completed()  # writes the row
        self.rate.step()
        return float(torch.stack(values).mean())

    def dice(self) -> float:
        """Mean Dice of cases that were not trained on."""
        metric = medloss.metric("dice", include_background=False)
        self.network.eval()
        with torch.no_grad():
            for image, label in (case(seed) for seed in range(CASES, CASES + 4)):
                logits = self.network(image[None].to(self.device))
                metric(logits.argmax(1, keepdim=True), label[None].to(self.device))
        return float(metric.aggregate())


def main() -> None:
    """Train, or go on, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--stop-after", type=int, help="epochs of this call; the next goes on")
    parser.add_argument("--folder", type=Path, default=Path("runs/pytorch"))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tensorboard", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    training = Training(given.epochs, torch.device(given.device), given.folder, given.tensorboard)
    begun = training.restore()
    last = min(given.epochs, begun + (given.stop_after or given.epochs))
    for number in range(begun + 1, last + 1):
        print(f"epoch {number}: loss {training.epoch(number):.6f}")
        training.save(number)
    print(f"Dice of the held-out cases: {training.dice():.4f}")


if __name__ == "__main__":
    main()
