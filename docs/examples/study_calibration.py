"""Calibration errors of the held-out cases of a study, from the weights that its runs left.

python docs/examples/study_calibration.py STUDY calibration.csv
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from medloss.histograms import confidence_sums
from medloss.workbench.study.bundle import StudyBundle
from medloss.workbench.study.runs import StudyConditions

COLUMNS = ("loss", "seed", "case", "expected_calibration_error", "average_calibration_error")
BINS = 20


def errors(probabilities: torch.Tensor, label: torch.Tensor) -> tuple[float, float]:
    """Expected and average calibration error of a class in a volume.

    Args:
        probabilities: (1, 1, *spatial).
        label: (1, 1, *spatial), 1 where the class is.
    """
    sums = confidence_sums(probabilities, label, activation="probabilities", bins=BINS)[0, 0]
    weight, predicted, true = sums[:, sums[0] > 0]
    gaps = (predicted - true).abs()
    return float(gaps.sum() / weight.sum()), float((gaps / weight).mean())


def rows(study: Path) -> Iterator[tuple[str, int, str, float, float]]:
    """A line for each loss, seed and case."""
    settings = json.loads((study / "study.json").read_text(encoding="utf-8"))
    own = settings["conditions"]
    bundle = StudyBundle(StudyConditions(own["bundle"], tuple(own["configs"]), own["overrides"]))
    parser: ConfigParser = bundle.parser()
    cases = parser.get_parsed_content("validate#dataset#data")
    transform = parser.get_parsed_content("validate#dataset#transform")
    network = parser.get_parsed_content("network")
    inferer = parser.get_parsed_content("validate#inferer")
    items = [transform(case) for case in cases]
    for result in sorted(study.glob("runs/*/*/result.json")):
        facts = json.loads(result.read_text(encoding="utf-8"))
        network.load_state_dict(torch.load(result.with_name("model.pt"))["model"])
        network.eval()
        for case, item in zip(cases, items, strict=True):
            with torch.inference_mode():
                logits = inferer(item["image"][None].as_tensor(), network)
            label = item["label"][None].as_tensor()
            found = errors(logits.softmax(1)[:, 1:].clone(), label.clone())
            name = Path(case["image"]).name.removesuffix(".nii.gz")
            yield facts["loss"], facts["seed"], name, *found


def main(study: Path, output: Path) -> None:
    """Write the table, the losses in the order of the study."""
    losses = [*json.loads((study / "study.json").read_text(encoding="utf-8"))["losses"]]
    with output.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for row in sorted(rows(study), key=lambda row: (losses.index(row[0]), *row[1:3])):
            writer.writerow((*row[:3], *(f"{value:.6g}" for value in row[3:])))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
