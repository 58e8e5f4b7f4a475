"""What first calls take: processor seconds of whole processes, nothing kept on disk and all kept.

Each process imports what it needs, and compiles or loads. The medians are printed.

python docs/examples/measure_first_call.py      # 3 times each
python docs/examples/measure_first_call.py 5
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np

LOSS = """
import medloss, torch
logits = torch.randn(2, 3, 16, 16, 16, requires_grad=True)
label = torch.randint(0, 3, (2, 1, 16, 16, 16))
medloss.loss("dice_ce", softmax=True)(logits, label).backward()
"""
COMMANDS = {
    "import torch": ["-c", "import torch"],
    "dice_ce, forward and backward": ["-c", LOSS],
    "medloss eval, two cases": ["-m", "medloss", "eval", "predictions", "labels"],
}


def write_cases(folder: Path) -> None:
    """Two pairs of label maps of 24 x 24 x 20 voxels: an object in an object, moved a voxel."""
    for name, shift in (("predictions", 1), ("labels", 0)):
        (folder / name).mkdir()
        for case in range(2):
            labels = np.zeros((24, 24, 20), dtype=np.uint8)
            labels[4 + shift : 13 + shift, 5 + case : 14, 6:14] = 1
            labels[6 + shift : 9 + shift, 8:11, 8:11] = 2
            image = nibabel.Nifti1Image(labels, np.diag([1.0, 1.0, 2.0, 1.0]))
            nibabel.save(image, folder / name / f"{case}.nii.gz")


def seconds(command: list[str], kept: str, folder: Path) -> float:
    """Processor time of one process and all of its threads."""
    before = os.times()
    subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "NUMBA_CACHE_DIR": kept, "MEDLOSS_QUIET": "1"},
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after = os.times()
    return (
        after.children_user + after.children_system - before.children_user - before.children_system
    )


def main(words: list[str]) -> None:
    """Print the table."""
    print("| processor seconds | nothing is kept | all is kept |\n| --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        write_cases(Path(folder))
        for name, command in COMMANDS.items():
            cold, warm = [], []
            for _ in range(int(words[0]) if words else 3):
                with tempfile.TemporaryDirectory() as kept:
                    cold.append(seconds(command, kept, Path(folder)))
                    warm.append(seconds(command, kept, Path(folder)))
            print(
                f"| {name} | {statistics.median(cold):.1f} | {statistics.median(warm):.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(sys.argv[1:])
