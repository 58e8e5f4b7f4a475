"""The engine beside the numbers: gradients, memory, threads, choice of a backend."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from sums.engine_cases import SMOOTH, case, sums_and_gradient
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import medloss
from medloss.runtime.threads import run
from medloss.sums import Term, backends, chosen_backend, class_sums
from medloss.sums.engine import _operator as operator

COMMON = ("tp", "p", "t", "ce", "v", Term("focal", 2.0))
LARGE = (2, 4, 64, 48, 32)
"""Several blocks."""


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def of_input(arguments: dict[str, Any], terms: Any) -> Any:
    """Class sums as a function of the input."""
    return lambda z: class_sums(**{**arguments, "input": z}, terms=terms).values


@pytest.mark.parametrize("backend", ["numba", "chunked"])
@pytest.mark.parametrize("activation", ["softmax", "sigmoid", "probabilities"])
@pytest.mark.parametrize("kind", ["index", "soft"])
def test_gradcheck_of_first_and_second_order(
    backend: str, activation: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", backend)
    arguments = case(activation, kind, torch.float64, shape=(1, 3, 2, 2))
    z = arguments["input"].requires_grad_()
    function = of_input(arguments, SMOOTH)
    assert torch.autograd.gradcheck(function, (z,))
    assert torch.autograd.gradgradcheck(function, (z,))


def test_third_order() -> None:
    arguments = case("softmax", "index", torch.float64, shape=(1, 2, 1, 2))
    z = arguments["input"].requires_grad_()

    def slope(z: Tensor) -> Tensor:
        (first,) = torch.autograd.grad(
            of_input(arguments, ("tp", "pp", "ce"))(z).square().sum(), z, create_graph=True
        )
        return first

    assert torch.autograd.gradgradcheck(slope, (z,))


def test_a_sum_without_the_probability_has_no_slope() -> None:
    arguments = case("softmax", "index", torch.float64, shape=(1, 3, 2, 2))
    z = arguments["input"].requires_grad_()
    (first,) = torch.autograd.grad(of_input(arguments, ("t", "v"))(z).sum(), z, create_graph=True)
    assert (first == 0).all()
    first.sum().backward()
    assert z.grad is None or (z.grad == 0).all()


def test_nothing_is_saved_but_the_arguments() -> None:
    arguments = case("softmax", "index", torch.float32)
    arguments["input"].requires_grad_()
    given = [arguments["input"], arguments["target"], arguments["mask"], arguments["maps"]["m"]]
    saved: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda x: x):
        class_sums(**arguments, terms=SMOOTH)
    assert {each.data_ptr() for each in saved} == {each.data_ptr() for each in given}


def test_the_operator_is_a_good_citizen() -> None:
    arguments = case("softmax", "index", torch.float32)
    z, y, mask, phi = (
        arguments["input"].requires_grad_(), arguments["target"], arguments["mask"],
        arguments["maps"]["m"],
    )  # fmt: skip
    form = "softmax numba tp:0 focal:2.0 map:0"
    torch.library.opcheck(operator, (z, y, mask, [phi], form))
    torch.library.opcheck(operator, (z, y, None, [], "softmax numba p:0"))


@pytest.mark.parametrize("name", ["dice", "dice_ce", "dice_focal", "bce_dice", "unified_focal"])
def test_a_loss_compiles_into_one_graph(name: str) -> None:
    arguments = case("softmax", "index", torch.float32)
    loss = medloss.loss(name, softmax=True)
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    found = []
    for function in (loss, compiled):
        z = arguments["input"].clone().requires_grad_()
        value = function(z, arguments["target"])
        value.backward()
        found.append((value.detach(), z.grad))
    torch.testing.assert_close(*found)


def test_autocast_changes_nothing() -> None:
    for backend in ("numba", "chunked"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MEDLOSS_BACKEND", backend)
            arguments = case("softmax", "index", torch.float32)
            expected = sums_and_gradient(arguments, COMMON)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = sums_and_gradient(arguments, COMMON)
            for one, other in zip(found, expected, strict=True):
                assert torch.equal(one, other)


def test_gradient_checkpointing() -> None:
    arguments = case("softmax", "index", torch.float32)
    _, expected = sums_and_gradient(arguments, ("p", "tp"))
    generator = torch.Generator().manual_seed(99)
    z = arguments["input"].detach().requires_grad_()
    values = checkpoint(of_input(arguments, ("p", "tp")), z, use_reentrant=False)
    weights = torch.randn(values.shape, generator=generator, dtype=torch.float64)
    (values * weights.to(values)).sum().backward()
    torch.testing.assert_close(z.grad, expected)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_results_do_not_depend_on_the_number_of_threads(activation: str, two_threads: None) -> None:
    arguments = case(activation, "index", torch.float32, shape=LARGE)
    expected = sums_and_gradient(arguments, COMMON)
    for threads in (1, 2, 2, 5):
        torch.set_num_threads(threads)
        for one, other in zip(sums_and_gradient(arguments, COMMON), expected, strict=True):
            assert torch.equal(one, other)


def test_several_python_threads_at_once(two_threads: None) -> None:
    each = [case("softmax", "index", torch.float32, shape=LARGE, seed=i) for i in range(4)]
    expected = [sums_and_gradient(arguments, COMMON) for arguments in each]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = list(pool.map(lambda arguments: sums_and_gradient(arguments, COMMON), each))
            for pair, other in zip(found, expected, strict=True):
                assert all(torch.equal(*both) for both in zip(pair, other, strict=True))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_after_a_fork(two_threads: None) -> None:
    arguments = case("softmax", "index", torch.float32, shape=LARGE)
    expected = sums_and_gradient(arguments, COMMON)[0]  # the pool has threads now
    both = Barrier(2)

    def meet(block: int) -> None:
        both.wait(20)

    child = os.fork()
    if child == 0:
        code = 2
        try:  # no exception may escape into a second copy of pytest
            run(2, meet)  # needs two threads at once
            values = class_sums(**arguments, terms=COMMON).values
            code = 0 if torch.equal(values, expected) else 1
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


def test_an_error_in_a_block_is_raised_and_stops_the_others() -> None:
    done = []

    def work(block: int) -> None:
        if block == 3:
            raise ArithmeticError("block 3")
        done.append(block)

    with pytest.raises(ArithmeticError, match="block 3"):
        run(100_000, work)
    assert len(done) < 100_000


def test_the_choice_and_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEDLOSS_BACKEND", raising=False)
    z = torch.zeros(1, 2, 4, 4)
    assert backends()[0] == "numba"
    assert chosen_backend(z).name == "numba"
    assert chosen_backend(z.to("meta")).name == "chunked"
    assert chosen_backend(z[:0]).name == "reference"
    assert chosen_backend(z.clone().requires_grad_()).name == "numba"
    choice = chosen_backend(z, [z.clone().requires_grad_()])
    assert choice == ("reference", "a target, mask or map needs a gradient")
    monkeypatch.setenv("MEDLOSS_BACKEND", "chunked")
    assert chosen_backend(z) == ("chunked", "MEDLOSS_BACKEND says so")


def test_a_backend_that_cannot_run_is_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    z = torch.zeros(1, 2, 4, 4)
    monkeypatch.setenv("MEDLOSS_BACKEND", "magic")
    with pytest.raises(ValueError, match=r"MEDLOSS_BACKEND: expected one of numba, .*'magic'"):
        class_sums(z, z, ("p",), activation="softmax")
    monkeypatch.setenv("MEDLOSS_BACKEND", "numba")
    with pytest.raises(ValueError, match="numba cannot sum here: it runs on the CPU"):
        chosen_backend(z.to("meta"))
    with pytest.raises(ValueError, match="a target, mask or map needs one too"):
        class_sums(z, z.clone().requires_grad_(), ("p",), activation="softmax")
    monkeypatch.setattr("medloss.runtime.backends.HAS_NUMBA", False)
    with pytest.raises(ValueError, match="numba is not installed"):
        chosen_backend(z)
    monkeypatch.delenv("MEDLOSS_BACKEND")
    assert chosen_backend(z).name == "chunked"


def test_a_target_that_needs_a_gradient_gets_it() -> None:
    arguments = case("softmax", "soft", torch.float64, shape=(1, 3, 2, 2))
    y = arguments["target"].requires_grad_()
    class_sums(**arguments, terms=("tp",)).values.sum().backward()
    torch.testing.assert_close(y.grad, arguments["input"].softmax(1) * arguments["mask"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": torch.zeros(2, 1, 3, 7)}, r"target: expected \[2, 1, 3, 7, 59\] or"),
        ({"mask": torch.ones(1, 1, 3, 7, 59)}, r"mask: expected \[2, 1, 3, 7, 59\], got \[1"),
        ({"maps": {"m": torch.ones(2, 1, 3, 7, 59)}}, "maps: m: expected"),
        ({"maps": {"k": torch.ones(2, 5, 3, 7, 59)}}, "maps: expected 'm', which map names"),
        ({"target": torch.zeros(2, 1, 3, 7, 59, device="meta")}, "target: expected it on cpu"),
        ({"terms": ("dice",)}, "terms: expected some of"),
        ({"terms": ("focal",)}, "focal: expected a number"),
    ],
)
def test_what_cannot_be_meant_is_refused(change: dict[str, Any], words: str) -> None:
    arguments = case("softmax", "index", torch.float32, shape=(2, 5, 3, 7, 59))
    arguments["terms"] = ("p", Term("map", map="m"))
    with pytest.raises(ValueError, match=words):
        class_sums(**{**arguments, **change})


def test_compilers_are_imported_when_they_are_needed() -> None:
    code = (
        "import sys, medloss.base, medloss.losses as l; l.BlobLoss, l.DiceLoss, l.SurfaceDiceLoss;"
        "l.DeepSupervisionLoss; assert not {'numba', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
