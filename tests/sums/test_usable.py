"""Where triton's kernels cannot run: plain torch instead, said once; never under force."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from medloss.distance import chosen_distance_backend
from medloss.sums import chosen_backend
from medloss.sums.gpu import usable

ROOT = Path(__file__).parents[2]
REASON = "no C compiler"
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


@pytest.fixture
def on_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[Tensor]:
    """A tensor that says it is on a CUDA device, where a trial has failed."""
    monkeypatch.delenv("MEDLOSS_BACKEND", raising=False)
    monkeypatch.setattr(usable, "_found_on", lambda device: REASON)
    usable._warn.cache_clear()
    with FakeTensorMode():
        yield torch.empty(1, 2, 4, 4, device="cuda")
    usable._warn.cache_clear()


def test_plain_torch_takes_over_and_says_so_once(on_cuda: Tensor) -> None:
    with pytest.warns(RuntimeWarning, match=f"on cuda:0 in plain torch, slower .*{REASON}"):
        assert chosen_backend(on_cuda).name == "chunked"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen_backend(on_cuda).name == "chunked"
        assert chosen_distance_backend(on_cuda).name == "torch"


def test_a_forced_backend_never_gives_way(on_cuda: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", "triton")
    with pytest.raises(ValueError, match=f"triton cannot sum here: {REASON}"):
        chosen_backend(on_cuda)
    monkeypatch.setenv("MEDLOSS_DISTANCE_BACKEND", "triton")
    with pytest.raises(ValueError, match=f"triton cannot measure here: {REASON}"):
        chosen_distance_backend(on_cuda)


def test_the_answer_is_a_constant_of_a_compiled_graph() -> None:
    @torch.compile(fullgraph=True, backend="eager")
    def asked(x: Tensor) -> Tensor:
        usable.warn_without(x.device)
        return x + 1 if usable.why_not(x.device) else x

    expected = 1.0 if os.environ.get(usable.INTERPRETER) != "1" else 0.0
    assert asked(torch.zeros(1)).item() == expected


ON_STUB = """
import sys
import torch, triton.backends.nvidia.driver as nvidia
from triton.runtime import driver
sys.path.insert(0, "docs/examples")
from kernel_variants import NoDevice

class Stub(NoDevice):
    launcher_cls = nvidia.CudaLauncher
    @property
    def utils(self):
        return nvidia.CudaUtils()
    def get_device_interface(self):
        return torch.cpu

driver.set_active(Stub(90))
from medloss.sums.gpu import usable
print(usable.trial(torch.device("cpu")))
"""
"""A trial by triton's own launcher, on a driver that takes kernels and runs none."""


@needs_triton
@pytest.mark.skipif(not shutil.which("gcc"), reason="gcc is not installed")
def test_a_trial_needs_what_builds_a_launcher(tmp_path: Path) -> None:
    import triton

    source = Path(__file__).with_name("stub_driver.c")
    include = Path(triton.__file__).parent / "backends/nvidia/include"
    library = tmp_path / "libcuda.so.1"
    build = ["gcc", "-shared", "-fPIC", "-w", f"-I{include}", source, "-o", library]
    subprocess.run(build, check=True)
    (tmp_path / "libcuda.so").symlink_to(library)

    def trial(cache: str, **changed: str) -> str:
        given = {**os.environ, "LD_LIBRARY_PATH": str(tmp_path), **changed}
        given.update(TRITON_CACHE_DIR=str(tmp_path / cache), TRITON_LIBCUDA_PATH=str(tmp_path))
        given.pop("TRITON_INTERPRET", None)
        command = [sys.executable, "-c", ON_STUB]
        done = subprocess.run(
            command, env=given, cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert trial("with") == "None"
    without = trial("without", CC=str(tmp_path / "no-compiler"))
    assert "failed in a trial" in without
    assert "no-compiler" in without
