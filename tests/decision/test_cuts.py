"""From the probabilities of several classes to labels, and the file of thresholds."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest

from medloss.decision import (
    Cuts,
    Decoding,
    best_cut,
    dice_cuts,
    fixed_cuts,
    read_thresholds,
    write_thresholds,
)


def softmax(shape, classes=3, seed=0, sharp=3.0):
    values = np.exp(sharp * np.random.default_rng(seed).standard_normal((classes, *shape)))
    return (values / values.sum(0)).astype(np.float32)


@pytest.mark.parametrize("shape", [(400,), (17, 19), (5, 6, 7)])
def test_exclusive_classes_by_the_gain_of_each_voxel(shape):
    p = softmax(shape, sharp=1)
    p[2] *= 0.6  # a rarer class, of which a voxel is worth more
    p[0] += 1 - p.sum(0)
    cuts = dice_cuts(list(p), exclusive=True)
    own = [best_cut(p[c]) for c in (1, 2)]
    above = np.stack([p[c + 1] - own[c].threshold for c in (0, 1)])
    gains = np.stack([above[c] / (own[c].voxels + own[c].volume) for c in (0, 1)])
    wanted = np.where(gains.max(0) >= 0, gains.argmax(0) + 1, 0)
    np.testing.assert_array_equal(cuts.labels(list(p)), wanted)
    assert (wanted != np.where(gains.max(0) >= 0, above.argmax(0) + 1, 0)).any()


def test_the_scores_of_exclusive_classes_together_are_near_their_best():
    """Of all labellings of five voxels; each class is decided by itself, so it need not be that."""
    every = np.stack(np.meshgrid(*[range(3)] * 5), -1).reshape(-1, 5)

    def total(labels, p):
        chosen = labels[..., None, :] == np.array([[1], [2]])
        sums = (chosen * p[1:]).sum(-1) / (chosen.sum(-1) + p[1:].sum(-1) + 1)
        return 2 * sums.sum(-1)

    found = []
    for seed in range(60):
        p = softmax((5,), seed=seed, sharp=1).astype(np.float64)
        ours = dice_cuts(list(p), exclusive=True, method="rma").labels(list(p))
        found.append((total(ours, p), total(p.argmax(0), p), total(every, p).max()))
    ours, likeliest, best = np.array(found).T
    assert (ours <= best + 1e-12).all()
    assert ours.mean() > 0.985 * best.mean()
    assert likeliest.mean() < 0.93 * best.mean()


def test_certain_probabilities_are_argmax():
    labels = np.random.default_rng(1).integers(0, 4, (6, 7))
    p = (labels == np.arange(4)[:, None, None]).astype(np.float32)
    for array in (p, p.astype(np.uint8), p.astype(bool), p.astype(np.float16)):
        cuts = dice_cuts(list(array), exclusive=True)
        np.testing.assert_array_equal(cuts.labels(list(array)), labels)


def test_a_class_of_its_own_is_decided_whatever_the_others_are():
    p = np.stack([softmax((30,), seed=seed)[1] for seed in range(3)])
    cuts = dice_cuts(list(p), exclusive=False)
    for n in range(3):
        assert cuts.thresholds[n] == dice_cuts([p[n]], exclusive=False).thresholds[0]
        np.testing.assert_array_equal(cuts.mask(p[n], n), p[n] >= best_cut(p[n]).threshold)


def test_an_absent_class_stays_away_and_the_others_are_what_they_were():
    p = softmax((200,), 3, sharp=4)
    absent = np.full_like(p[:1], 1e-4)
    both = np.concatenate([p * (1 - absent), absent])
    some = Decoding(kind="dice").cuts(list(both), exclusive=True)
    assert math.isinf(some.thresholds[3])
    assert set(np.unique(some.labels(list(both)))) == {0, 1, 2}
    every = Decoding(kind="dice", least_chance=0).cuts(list(both), exclusive=True)
    assert 3 in every.labels(list(both))  # any voxel of it is better than none, in expectation


def test_voxels_that_do_not_count_have_no_part_in_the_threshold():
    p = softmax((50,), 2, sharp=1)
    counted = np.arange(50) < 20
    cuts = dice_cuts(list(p), exclusive=True, counted=counted)
    assert cuts == dice_cuts(list(p[:, :20]), exclusive=True)
    assert cuts != dice_cuts(list(p), exclusive=True)


def test_thresholds_of_exclusive_classes():
    p = softmax((500,), 3, sharp=1)
    found = fixed_cuts([0, 0.6, 0.3], exclusive=True).labels(list(p))
    ratio = p[1:] / np.array([[0.6], [0.3]])
    near = np.abs(ratio - 1).min(0) < 1e-5
    wanted = np.where(ratio.max(0) >= 1, ratio.argmax(0) + 1, 0)
    np.testing.assert_array_equal(found[~near], wanted[~near])
    half = fixed_cuts([0, 0.5], exclusive=True).labels(list(p[:2]))
    np.testing.assert_array_equal(half, p[1] >= 0.5)


def test_a_threshold_is_met_in_the_type_of_the_probabilities():
    cuts = Cuts((0.0, 0.1, 0.3), (0, 1, 1))
    p = [np.zeros(1, np.float32), np.full(1, 0.1, np.float32), np.zeros(1, np.float32)]
    assert cuts.labels(p)[0] == 1


def test_a_file_holds_what_was_written_and_tells_changes(tmp_path):
    path = tmp_path / "t.json"
    written = write_thresholds(path, {"thresholds": [0.0, 0.4], "value": math.nan})
    found = read_thresholds(path)
    assert found == written
    assert found.thresholds == (0.0, 0.4)
    content = json.loads(path.read_text())
    assert content["value"] is None
    content["thresholds"][1] = 0.5
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="was changed after its thresholds were found"):
        read_thresholds(path)
    path.write_text('{"thresholds": [0, 0.5], "medloss_thresholds": 2}')
    with pytest.raises(ValueError, match="is of format 2, and this version reads 1"):
        read_thresholds(path)
    path.write_text('{"thresholds": [0, 0.5]}')
    assert Decoding.of_file(path).thresholds == (0, 0.5)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"thresholds": []}',
        '{"thresholds": [2]}',
        '{"thresholds": [true]}',
        "{",
        "x: 1",
    ],
)
def test_what_is_no_file_of_thresholds(tmp_path, text):
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"t\.json"):
        read_thresholds(path)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kind": "best"}, "argmax, dice or thresholds"),
        ({"kind": "dice", "method": "ba"}, "method: expected one of auto, exact, rma, got 'ba'"),
        ({"kind": "dice", "least_chance": 1.5}, "least_chance: expected 0 to 1, got 1.5"),
        ({"kind": "thresholds"}, "thresholds: expected one for each channel"),
        ({"kind": "dice", "thresholds": [0.5]}, "thresholds: expected one for each channel"),
        ({"kind": "thresholds", "thresholds": [-1]}, "from 0 to 1, got -1"),
        ({"kind": "thresholds", "thresholds": [0.5], "channels": "x"}, "channels: expected excl"),
        ({"kind": "dice", "pruning_prob": 0.5}, "got pruning_prob"),
        ({}, "expected kind"),
    ],
)
def test_what_is_no_decoding(given, expected):
    with pytest.raises(ValueError, match=expected):
        Decoding.of_record(given)


def test_a_record_is_the_decoding():
    for each in (
        Decoding(kind="argmax"),
        Decoding(kind="dice", least_chance=0.5, method="rma"),
        Decoding(kind="thresholds", thresholds=(0, 0.25), file="t.json", sha256="00"),
    ):
        assert Decoding.of_record(json.loads(json.dumps(each.record()))) == each
        assert pickle.loads(pickle.dumps(each)) == each
        assert each.sentence().startswith("Labels were decided by")


def test_channels_that_thresholds_are_not_for():
    p = list(softmax((5,), 3))
    with pytest.raises(ValueError, match="thresholds for 2 channels, and there are 3"):
        Decoding(kind="thresholds", thresholds=(0, 0.5)).cuts(p, exclusive=True)
    with pytest.raises(ValueError, match="a threshold of 0"):
        Decoding(kind="thresholds", thresholds=(0.5, 0, 0.5)).cuts(p, exclusive=True)
    with pytest.raises(ValueError, match="a threshold of 0"):
        Decoding(kind="thresholds", thresholds=(0, 0.5, 0.5)).cuts(p, exclusive=False)
    with pytest.raises(ValueError, match="no likeliest one"):
        Decoding(kind="argmax").cuts(p, exclusive=False)
    assert Decoding(kind="argmax").cuts(p, exclusive=True) is None
