"""A metric whose module imports torch."""

from __future__ import annotations

import torch
from testing.good_metrics import good_metric

heavy_metric = good_metric
threads = torch.get_num_threads()
