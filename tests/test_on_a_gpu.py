"""What only a GPU can show, under pytest; ``docs/triton.md`` has the command for a bare machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from device_checks import checks

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


@pytest.mark.parametrize(("name", "check"), list(checks("cuda")))
def test_on_a_gpu(name: str, check: Callable[[], object]) -> None:
    try:
        check()
    except MemoryError as error:
        pytest.skip(str(error))
