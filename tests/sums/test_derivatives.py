"""Derivatives of every kind, of every loss: right, or refused in words; never None, never 0."""

from __future__ import annotations

from operator import attrgetter

import pytest
import torch
from every_loss import NAMES, built, scene
from sums.derivatives import KINDS, At, told
from sums.engine_cases import reference_sums
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

import medloss
from medloss.base.fused_head import FusedHead
from medloss.runtime import eager
from medloss.sums import Term, class_sums

WITHOUT_BATCHES = ("topk of the batch",)
"""What the values of the input decide a shape of, so that vmap has no meaning for it."""


def directed(like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(like.shape, generator=generator, dtype=like.dtype)


pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_of_every_loss(name: str) -> None:
    loss, (z, y, extras) = built(name), scene()
    at = At.of(lambda z: loss(z, y, **extras), z, directed(z))
    assert at.slope.abs().max() > 1e-6  # or else zeros would pass
    found = {kind: told(at, kind) for kind in KINDS}
    right = {kind for kind, words in found.items() if words == "right"}
    allowed = {"vmap", "vmap of grad"} if name in WITHOUT_BATCHES else set()
    assert set(KINDS) - right <= allowed, found
    assert all(found[kind].startswith("refused: RuntimeError: vmap") for kind in allowed), found


@pytest.mark.parametrize("backend", ["numba", "chunked"])
def test_every_kind_of_a_fused_head(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDLOSS_BACKEND", backend)
    generator = torch.Generator().manual_seed(0)
    h = torch.randn(1, 4, 5, 6, generator=generator, dtype=torch.float64)
    _, y, _ = scene()
    head = FusedHead(nn.Conv2d(4, 3, 1).double(), medloss.loss("dice_ce", softmax=True))

    def of_weight(weight: Tensor) -> Tensor:
        features, others = h * 1, {"bias": head.bias, "weight": weight}
        own = FusedHead.__new__(FusedHead)
        nn.Module.__init__(own)
        own.__dict__.update(others, criterion=head.criterion)
        return own.loss(features, y)

    weight = head.weight.detach()
    for f, place in ((lambda h: head.loss(h, y), h), (of_weight, weight)):
        at = At.of(f, place, directed(place))
        found = {kind: told(at, kind) for kind in KINDS}
        assert set(found.values()) == {"right"}, found


def test_second_derivatives_of_single_terms() -> None:
    """A loss linear in its sums gives gradients that need none themselves."""
    z, y, _ = scene()
    for name in ("cross_entropy", "focal"):
        head = FusedHead(nn.Conv2d(3, 3, 1).double(), medloss.loss(name, softmax=True))
        at = At.of(lambda h, head=head: head.loss(h, y), z, directed(z))
        assert told(at, "double backward") == told(at, "hvp") == "right"


def test_gradients_in_target_mask_and_maps_are_those_of_the_reference() -> None:
    z, _, extras = scene()
    soft, phi = extras["skeleton"].requires_grad_(), directed(z).requires_grad_()
    mask = torch.rand_like(z[:, :1]).requires_grad_()
    found = []
    for function in (class_sums, reference_sums):
        options = {"activation": "softmax", "mask": mask, "maps": {"m": phi}}
        s = function(z, soft, ("tp", "ce", Term("map", map="m")), **options)
        found.append(torch.autograd.grad(s.values.square().sum(), (soft, mask, phi)))
    torch.testing.assert_close(*found)


def test_a_trace_holds_the_operator() -> None:
    z, y, _ = scene()

    def slope(z: Tensor) -> Tensor:
        z = z.detach().requires_grad_()
        return torch.autograd.grad(class_sums(z, y, ("tp",), activation="softmax").tp.sum(), z)[0]

    traced = make_fx(slope)(z)
    nodes = {str(node.target) for node in traced.graph.nodes}
    assert {"medloss.class_sums.default", "medloss.class_sums_slopes.default"} <= nodes
    torch.testing.assert_close(traced(2 * z), slope(2 * z))


def test_a_target_that_changes_before_the_backward_is_refused() -> None:
    z, y, _ = scene()
    value = medloss.loss("dice", softmax=True)(z.requires_grad_(), y)
    y[:] = 0
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        value.backward()


def test_torch_has_the_private_names() -> None:
    for name in eager.PRIVATE:
        assert callable(attrgetter(name)(torch)), name


def test_without_the_private_names_nothing_is_silently_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    z, y, _ = scene()
    loss = medloss.loss("dice_ce", softmax=True)
    at = At.of(lambda z: loss(z, y), z, directed(z))
    held = ("_in_transform", "_modes", "_is_batch_of_gradients", "_no_transform", "_disable")
    for name, instead in zip(held, eager.PRIVATE.values(), strict=True):
        with monkeypatch.context() as patch:
            patch.setattr(eager, name, instead)
            found = {kind: told(at, kind) for kind in KINDS}
            assert not any(words.startswith("wrong") for words in found.values()), found
            assert found["double backward"] == "right"
