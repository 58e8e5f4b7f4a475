"""What worker processes are copied from: all is imported, kernels are loaded, no thread runs."""

from __future__ import annotations

import numpy as np

import medloss.evaluation.reading.nifti
import medloss.evaluation.score  # noqa: F401
from medloss.runtime import threads
from medloss.scoring import Case

_cube = np.zeros((4, 4, 4), dtype=np.uint8, order="F")
_cube[1:3, 1:3, 1:3] = 1
threads.limit(1)  # a process that has threads must not be copied
try:
    Case(_cube, _cube, labels=(1,), spacing_mm=1.0).surfaces(1)
finally:
    threads.limit(None)  # nor may an import slow down what comes after it
