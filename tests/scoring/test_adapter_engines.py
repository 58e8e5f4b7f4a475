"""The metrics inside MONAI's engines, and on several ranks."""

from __future__ import annotations

import csv
import itertools
import math
import subprocess
import sys

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator
from monai.handlers import IgniteMetricHandler, MetricsSaver, from_engine
from torch import Tensor

import medloss_boundary
from medloss.scoring.adapter import adapt
from medloss_boundary import metrics

RECORDS = {record.name: record for record in medloss_boundary.medloss_metrics()}
Hausdorff95 = adapt(RECORDS["hausdorff95"], metrics.hausdorff95)
SPACING = (1.5, 1.5, 3.0)


def item(start: int, axis: int = 2) -> dict[str, MetaTensor]:
    """A cube of 4 voxels; the image's is moved by one voxel."""
    label = torch.zeros(1, 12, 12, 12)
    label[0, start : start + 4, 4:8, 4:8] = 1
    affine = torch.diag(torch.tensor([*SPACING, 1.0]))
    image = label.roll(1, dims=axis + 1)
    return {
        "image": MetaTensor(image, affine=affine),
        "label": MetaTensor(label, affine=affine),
    }


class Threshold(torch.nn.Module):
    def forward(self, image: Tensor) -> Tensor:
        return (image > 0.5).float()


@pytest.mark.parametrize("decollate", [True, False])
def test_an_engine_reports_millimetres_of_the_data(decollate, tmp_path):
    data = [item(3), item(4), item(5, axis=0), item(6)]
    # Moved by one voxel: 3 mm along the last axis, 1.5 mm along the first.
    expected = [3.0, 3.0, 1.5, 3.0]
    number = itertools.count()
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset(data), batch_size=2),
        network=Threshold(),
        decollate=decollate,
        key_val_metric={
            "val_hausdorff95": IgniteMetricHandler(
                metric_fn=Hausdorff95(), output_transform=from_engine(["pred", "label"])
            )
        },
        metric_cmp_fn=lambda new, best: new < best,
        val_handlers=[
            MetricsSaver(
                save_dir=str(tmp_path),
                metrics="*",
                metric_details="*",
                batch_transform=lambda batch: [
                    {"filename_or_obj": f"case{next(number)}"} for _ in range(2)
                ],
                summary_ops="*",
            )
        ],
    )
    evaluator.run()
    assert evaluator.state.metrics["val_hausdorff95"] == pytest.approx(sum(expected) / 4)
    details = evaluator.state.metric_details["val_hausdorff95"]
    assert details.shape == (4, 1)
    assert details.ravel().tolist() == pytest.approx(expected)
    text = (tmp_path / "val_hausdorff95_raw.csv").read_text()
    rows = list(csv.reader(text.splitlines()))
    assert [row[0] for row in rows] == ["filename", "case0", "case1", "case2", "case3"]
    assert [float(row[1]) for row in rows[1:]] == pytest.approx(expected)


def test_an_engine_whose_model_finds_nothing_reports_the_diagonal():
    class Nothing(torch.nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            return torch.zeros_like(image)

    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=DataLoader(Dataset([item(3)]), batch_size=1),
        network=Nothing(),
        key_val_metric={
            "hd95": IgniteMetricHandler(
                metric_fn=Hausdorff95(), output_transform=from_engine(["pred", "label"])
            )
        },
    )
    evaluator.run()
    diagonal = 12 * math.hypot(*SPACING)
    assert evaluator.state.metrics["hd95"] == pytest.approx(diagonal)


RANK = """
import sys
import torch
import torch.distributed as dist
import medloss_boundary
from medloss.scoring.adapter import adapt
from medloss_boundary.metrics import hausdorff95

rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
record = next(r for r in medloss_boundary.medloss_metrics() if r.name == "hausdorff95")
metric = adapt(record, hausdorff95)(spacing_mm="voxel")
y = torch.zeros(1, 1, 9, 9)
y[..., 2:4, 2:4] = 1
shifts = [1, 2] if rank else [3]  # ranks hold different numbers of cases
for shift in shifts:
    metric(y.roll(shift, dims=2), y)
if rank:
    metric(torch.zeros_like(y), y)
print(sorted(round(v, 6) for v in metric.get_buffer().ravel().tolist()))
print(sorted(str(status) for row in metric.statuses() for status in row))
dist.destroy_process_group()
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
def test_two_ranks_see_the_values_and_statuses_of_both(tmp_path):
    store = str(tmp_path / "store")
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), store],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [run.communicate(timeout=300) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    values = [1.0, 2.0, 3.0, round(9 * math.sqrt(2), 6)]
    for output, _ in outputs:  # Gloo itself prints before them
        assert output.splitlines()[-2:] == [str(values), "['missed', 'ok', 'ok', 'ok']"]
