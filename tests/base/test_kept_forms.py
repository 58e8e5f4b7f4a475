"""Calls of a form that was met before: the short way is taken, and gives what the long one does."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import medloss
from medloss.base import options, segmentation
from medloss.losses import DiceLoss

NAMES = ("dice", "generalized_dice", "focal", "cross_entropy", "dice_ce")


def _inputs(classes=3, dtype=torch.float32, seed=0):
    random = torch.Generator().manual_seed(seed)
    z = torch.randn(2, classes, 6, 7, generator=random, dtype=torch.float64).to(dtype)
    return z.requires_grad_(), torch.randint(0, classes, (2, 1, 6, 7), generator=random)


def _value_and_slope(loss, z, y):
    value = loss(z, y)
    return value.detach(), torch.autograd.grad(value, z)[0]


@pytest.fixture
def no_long_way(monkeypatch):
    """From here on no input is prepared."""

    def prepare(*args, **named):
        raise AssertionError("prepared")

    return lambda: monkeypatch.setattr(segmentation, "prepare", prepare)


@pytest.mark.parametrize("name", NAMES)
def test_the_second_call_is_short_and_equal(name, no_long_way):
    loss = medloss.loss(name, softmax=True)
    forms = [
        (*_inputs(classes, dtype), labels)
        for classes in (2, 3)
        for dtype in (torch.float32, torch.float64, torch.bfloat16)
        for labels in (
            torch.int64,
            torch.uint8,
            torch.float64 if dtype == torch.float64 else torch.float32,
        )
    ]
    first = [_value_and_slope(loss, z, y.to(labels)) for z, y, labels in forms]
    no_long_way()
    again = [_value_and_slope(loss, z, y.to(labels)) for z, y, labels in forms]
    for (value, slope), (other, other_slope) in zip(first, again, strict=True):
        assert value.dtype == other.dtype
        assert torch.equal(value, other)
        assert torch.equal(slope, other_slope)


def test_a_meta_tensor_is_taken_for_what_it_holds(no_long_way):
    monai_data = pytest.importorskip("monai.data")
    z, y = _inputs()
    loss = medloss.loss("dice_ce", softmax=True)
    value, slope = _value_and_slope(loss, z, y)
    no_long_way()
    wrapped = monai_data.MetaTensor(z.detach().clone()).requires_grad_()
    found, other = _value_and_slope(loss, wrapped, monai_data.MetaTensor(y))
    assert type(found) is torch.Tensor
    assert torch.equal(found, value)
    assert torch.equal(other.as_tensor(), slope)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_wrong_is_still_refused(name):
    loss = medloss.loss(name, softmax=True)
    z, y = _inputs()
    for good in (y, y.to(torch.uint8), y.float()):
        loss(z, good)
    for wrong in (y + 1, y - 1, (y + 253).to(torch.uint8), y + 0.5, y.float() * torch.nan):
        for _ in range(2):
            with pytest.raises(ValueError, match="target: expected"):
                loss(z, wrong)
    with pytest.raises(ValueError, match="target: expected"):
        loss(z, y[:1])
    with pytest.raises(TypeError, match="target: expected"):
        loss(z, y.numpy())
    with pytest.raises(TypeError, match="input: expected"):
        loss(y, y)
    medloss.set_value_checks("off")
    try:
        assert loss(z, y + 7).isfinite()
    finally:
        medloss.set_value_checks(None)


def test_options_count_from_the_next_call_on():
    z, y = _inputs()
    loss = medloss.loss("dice_ce", softmax=True)
    before = loss(z, y), loss(z, y)
    other = copy.copy(loss)
    loss.losses["dice"].smooth_nr = 3.0
    assert loss(z, y) < before[1]
    fresh = medloss.loss("dice_ce", softmax=True)
    fresh.losses["dice"].smooth_nr = 3.0
    assert loss(z, y) == fresh(z, y)
    assert torch.equal(other(z, y), loss(z, y))  # it shares its terms
    jaccard = medloss.loss("jaccard", softmax=True)
    loss(z, y)
    loss.losses["dice"] = jaccard
    value = loss(z, y)
    assert loss.breakdown()["dice"].value == pytest.approx(jaccard(z, y).item(), abs=1e-6)
    loss.losses.pop("dice")
    assert loss(z, y) < value
    dice = medloss.loss("dice", softmax=True)
    dice(z, y)
    apart = copy.copy(dice)
    apart.include_background = False
    assert apart(z, y) != dice(z, y)
    assert dice(z, y) == medloss.loss("dice", softmax=True)(z, y)
    dice.reduction = "none"
    assert dice(z, y).shape == (2, 3)
    weighted = medloss.loss("dice", softmax=True)
    value = weighted(z, y)
    weighted.class_weight = torch.tensor([0.0, 0.0, 1.0])
    assert weighted(z, y) != value


def test_a_backend_of_the_environment_is_heard(monkeypatch):
    z, y = _inputs()
    loss = medloss.loss("dice", softmax=True)
    loss(z, y)
    monkeypatch.setenv("MEDLOSS_BACKEND", "none such")
    with pytest.raises(ValueError, match="MEDLOSS_BACKEND"):
        loss(z, y)


def test_copies_and_pickles_start_anew():
    z, y = _inputs()
    loss = medloss.loss("dice_ce", softmax=True)
    loss(z, y)
    value = loss(z, y)
    for twin in (copy.copy(loss), copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        assert torch.equal(twin(z, y), value)
    twin = copy.deepcopy(loss)
    assert twin.breakdown() == loss.breakdown()
    supervised = medloss.loss("deep_supervision", loss="dice_ce", softmax=True)
    levels = [z, z[..., ::2, ::2]]
    values = [supervised(levels, y) for _ in range(3)]
    assert torch.equal(values[0], values[2])
    assert torch.equal(copy.deepcopy(supervised)(levels, y), values[0])


@pytest.mark.parametrize("step", ["prepare", "check", "evaluate", "compute"])
def test_a_step_of_its_own_is_taken_every_time(step):
    """A subclass, or an object, that does one of the steps otherwise never goes the short way."""
    seen = []

    def own(self, *args, **named):
        seen.append(1)
        return getattr(DiceLoss, step)(self, *args, **named)

    changed = options(type("Changed", (DiceLoss,), {step: own, "__annotations__": {}}))
    z, y = _inputs()
    loss = changed(softmax=True)
    for _ in range(3):
        loss(z, y)
    assert len(seen) == 3
    plain = DiceLoss(softmax=True)
    plain(z, y)
    setattr(plain, step, lambda *args, **named: own(plain, *args, **named))
    for _ in range(3):
        plain(z, y)
    assert len(seen) == 6


@pytest.mark.parametrize("labels", [torch.int64, torch.float32])
def test_other_derivatives_are_those_of_the_formula(labels, monkeypatch):
    z, y = _inputs()
    y = y.to(labels)
    loss = medloss.loss("dice_ce", softmax=True)
    v = torch.randn_like(z)

    def each():
        (slope,) = torch.autograd.grad(loss(z, y), z, create_graph=True)
        yield torch.autograd.grad((slope * v).sum(), z)[0]
        yield torch.func.grad(lambda x: loss(x, y))(z.detach())
        yield torch.func.jvp(lambda x: loss(x, y), (z.detach(),), (v,))[1]
        with torch.autograd.forward_ad.dual_level():
            dual = torch.autograd.forward_ad.make_dual(z.detach(), v)
            yield torch.autograd.forward_ad.unpack_dual(loss(dual, y)).tangent

    loss(z, y)
    found = list(each())
    monkeypatch.setenv("MEDLOSS_BACKEND", "reference")
    for one, other in zip(found, each(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_a_target_that_changed_before_the_backward_pass_is_refused():
    z, y = _inputs()
    loss = medloss.loss("dice", softmax=True)
    loss(z, y)
    value = loss(z, y)
    y.add_(0)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        value.backward()


def test_threads_share_a_loss():
    loss = medloss.loss("dice_ce", softmax=True)
    cases = [_inputs(2 + n % 3, seed=n) for n in range(12)]
    alone = [_value_and_slope(loss, *each) for each in cases]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: _value_and_slope(loss, *cases[n % 12]), range(240)))
    for n, (value, slope) in enumerate(found):
        assert torch.equal(value, alone[n % 12][0])
        assert torch.equal(slope, alone[n % 12][1])


def test_strides_of_any_kind_are_read(no_long_way):
    """Contiguous or not: what cannot be seen as one axis of voxels goes the long way."""
    z, y = _inputs()
    loss = medloss.loss("dice", softmax=True)
    value, slope = _value_and_slope(loss, z, y)
    last = z.detach().to(memory_format=torch.channels_last).requires_grad_()
    turned = y.transpose(2, 3).contiguous().transpose(2, 3)
    for input, target in ((last, y), (z, turned), (last, turned)):
        found, other = _value_and_slope(loss, input, target)
        assert torch.allclose(found, value, atol=1e-7)
        assert torch.allclose(other, slope, atol=1e-7)


def test_training_passes_are_counted_and_told():
    z, y = _inputs()
    loss = medloss.loss("dice_ce", softmax=True)
    for _ in range(3):
        loss(z, y)
    assert loss._seen.number == loss._seen.since_step == 3
    told = loss.breakdown(training=True)
    loss.eval()
    loss(z, 0 * y)
    assert loss.breakdown(training=True) == told
    assert loss.breakdown() != told
    assert sum(term.weighted for term in told.values()) == pytest.approx(
        loss(z, y).item(), abs=1e-6
    )
    assert isinstance(loss.losses, nn.ModuleDict)
