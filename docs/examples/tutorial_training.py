"""The code of docs/tutorial-training.md: python tutorial_training.py FOLDER EPOCHS."""

import sys
from pathlib import Path

import nibabel
import numpy as np
import torch
from monai.data import CacheDataset, DataLoader, decollate_batch
from monai.inferers import sliding_window_inference
from monai.networks.nets import UNet
from monai.transforms import (
    AsDiscrete,
    Compose,
    EnsureChannelFirstd,
    LoadImaged,
    RandCropByPosNegLabeld,
    RandFlipd,
    ScaleIntensityd,
)
from monai.utils import set_determinism

import medloss
from medloss.integrations.loss_callback import LossCallback
from medloss.integrations.transforms import DistanceMapd, PrepareTargets

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/tutorial")
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 20
spacing_mm = (1.0, 1.0, 2.5)
set_determinism(0)


def make_case(number):
    """Write an image and its label: an ellipsoid in noise, with thick slices."""
    random = np.random.default_rng(number)
    x, y, z = np.meshgrid(np.arange(32), np.arange(32), np.arange(16), indexing="ij")
    centre, radii_mm = random.uniform(12, 20, 3), random.uniform(7, 11, 3)
    steps = (x, y, z * 2.5), centre, radii_mm
    label = sum(((axis - middle) / mm) ** 2 for axis, middle, mm in zip(*steps, strict=True)) <= 1
    image = label + random.normal(0, 0.5, label.shape)
    case = {key: str(folder / f"{key}s" / f"case{number:02}.nii.gz") for key in ("image", "label")}
    for key, voxels in (("image", image.astype(np.float32)), ("label", label.astype(np.uint8))):
        Path(case[key]).parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(voxels, np.diag([*spacing_mm, 1])), case[key])
    return case


cases = [make_case(number) for number in range(8)]
read = [
    LoadImaged(["image", "label"]),
    EnsureChannelFirstd(["image", "label"]),
    ScaleIntensityd("image"),
]
keys = ["image", "label", "distance_map"]
training = [
    *read,
    DistanceMapd("label", classes=2),  # in mm, of the whole volume, before it is cropped
    RandCropByPosNegLabeld(keys, "label", spatial_size=(24, 24, 16), num_samples=2),
    *(RandFlipd(keys, prob=0.5, spatial_axis=axis) for axis in range(3)),
]
train_data = CacheDataset(cases[:6], Compose(training), progress=False)
train_loader = DataLoader(train_data, batch_size=2, shuffle=True)
held_out = DataLoader(CacheDataset(cases[6:], Compose(read), progress=False), batch_size=1)

loss = medloss.loss(
    "compound",
    softmax=True,
    terms=["dice", "cross_entropy", "boundary"],
    weights=[1.0, 1.0, {"schedule": "ramp", "start": 0.0, "end": 0.1, "steps": epochs}],
    class_names=["background", "organ"],
)
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
network = UNet(3, 1, 2, channels=(8, 16, 32), strides=(2, 2), num_res_units=1).to(device)
optimizer = torch.optim.AdamW(network.parameters(), 0.01)
half = torch.float16 if device.type == "cuda" else torch.bfloat16
scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
prepare = PrepareTargets()
callback = LossCallback(loss, csv=folder / "terms.csv", tensorboard=folder / "tensorboard")

for epoch in range(1, epochs + 1):
    callback.epoch_started(epoch)  # moves the ramp
    for batch in train_loader:
        callback.iteration_started()
        image, target = prepare(batch, device=device)
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=half):
            value = loss(network(image), target)
        scaler.scale(value).backward()
        scaler.step(optimizer)
        scaler.update()
        callback.iteration_completed()
    callback.epoch_completed()  # writes a row, and the scalars

network.eval()
dice = medloss.metrics.DiceMetric(include_background=False)
distance = medloss.metrics.Hausdorff95Metric(include_background=False)
to_label = AsDiscrete(argmax=True)
for batch in held_out:
    with torch.no_grad(), torch.autocast(device.type, dtype=half):
        logits = sliding_window_inference(batch["image"].to(device), (24, 24, 16), 4, network)
    found = [to_label(each) for each in decollate_batch(logits)]
    for metric in (dice, distance):
        metric(torch.stack(found), batch["label"].to(device))  # spacing is that of the files
print(f"Dice {dice.aggregate().item():.3f}, HD95 {distance.aggregate().item():.2f} mm")

checkpoint = {"network": network.state_dict(), "loss": loss.state_dict()}
torch.save(checkpoint, folder / "checkpoint.pt")
