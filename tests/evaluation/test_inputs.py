from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from medloss.evaluation.inputs.case_pair import CaseOptions, read_case_pair
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.stored import CaseError
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan, evaluate_pair

DICE = (choose_metric(parse_request("dice")),)


@pytest.fixture
def pair(save):
    """Labels 0 to 4, the prediction is right in every voxel but a slice of label 4 that says 3."""
    reference = np.random.default_rng(0).integers(0, 5, (6, 7, 8)).astype(np.uint8)
    prediction = reference.copy()
    prediction[0] = np.where(reference[0] == 4, 3, reference[0])
    return Pair("a", save("p/a.nii.gz", prediction), save("r/a.nii", reference))


def dice(pair: Pair, labels=None, regions=None, **inputs):
    study = EvalPlan(DICE, labels=labels, regions=regions or {}, inputs=CaseOptions(**inputs))
    case = evaluate_pair(pair, study)
    assert not case.error, case.error
    return {result.label: result.value for result in case.results}, case


def sides(pair, **inputs):
    return read_case_pair(pair, CaseOptions(**inputs))


def test_labels_are_changed_all_at_once_and_in_one_side_or_both(pair):
    plain = sides(pair)
    changed = sides(pair, remap_prediction={1: 2, 2: 1, 3: 0}, remap_reference={4: 700})
    before, after = plain.prediction.array, changed.prediction.array
    for old, new in {0: 0, 1: 2, 2: 1, 3: 0, 4: 4}.items():
        assert (after[before == old] == new).all()
    assert (changed.reference.array == 700).sum() == (plain.reference.array == 4).sum()
    assert changed.reference.array.flags.f_contiguous


def test_ignored_voxels_are_those_of_the_reference(pair):
    found, case = dice(pair, ignore_label=4)
    assert found == {1: 1.0, 2: 1.0, 3: 1.0}  # wrong only where the reference is ignored
    whole, _ = dice(pair)
    assert whole[3] < 1
    assert whole[4] < 1
    voxels = 6 * 7 * 8
    ignored = int((sides(pair).reference.array == 4).sum())
    assert 0 < ignored < voxels
    assert {counts.voxels for _, counts in case.counts} == {voxels - ignored}


def test_a_label_to_ignore_may_come_from_a_change(pair):
    found, _ = dice(pair, ignore_label=9, remap_reference={4: 9})
    assert found[3] == 1.0


def test_a_map_without_the_ignored_label_ignores_nothing(pair):
    assert sides(pair, ignore_label=9).ignored is None


def test_regions_have_rows_by_their_name_in_the_order_given(pair):
    labels = {"both": "", 1: "one", "rest": ""}
    found, case = dice(pair, labels, {"both": (3, 4), "rest": (1, 2, 3)})
    assert list(found) == ["both", 1, "rest"]
    assert found["both"] == 1.0
    assert found["rest"] < 1.0
    assert [label for label, _ in case.counts] == list(found)


def test_losses_do_not_see_ignored_voxels(pair):
    pytest.importorskip("torch")
    from medloss.evaluation.losses import choose_loss

    study = EvalPlan((), losses=(choose_loss(parse_request("dice")),))
    inputs = CaseOptions(ignore_label=4)
    value = evaluate_pair(pair, study).results[0].value
    masked = evaluate_pair(pair, dataclasses.replace(study, inputs=inputs)).results[0].value
    assert value > 0.01
    assert masked == pytest.approx(0, abs=1e-4)


def test_losses_refuse_channels_of_their_own(save, pair):
    from medloss.evaluation.losses import choose_loss

    stack = save("p/s.nii.gz", np.ones((6, 7, 8, 2), np.uint8))
    losses = (choose_loss(parse_request("dice")),)
    study = EvalPlan((), losses=losses, inputs=CaseOptions(channels="independent"))
    case = evaluate_pair(Pair("a", stack, stack), study)
    assert "classes of their own, and losses are" in case.error


def test_a_mismatch_fails_unless_resampling_is_asked_for(save, pair):
    reference = sides(pair).reference.array
    other = dataclasses.replace(pair, prediction=save("p/b.nii", reference[:, :, ::2], (1, 1, 2)))
    with pytest.raises(CaseError, match="differ in shape: 6 x 7 x 4 against 6 x 7 x 8") as caught:
        sides(other)
    assert "--resample would bring the prediction to the grid" in str(caught.value)
    _, case = dice(other, resample=True)
    (note,) = case.notes
    assert note.startswith("prediction resampled to the nearest voxel, from 6 x 7 x 4 of 1 x 1 x 2")
    assert not dice(pair, resample=True)[1].notes


def test_a_mirrored_file_fails_with_a_hint_and_is_turned_on_demand(save, pair):
    reference = sides(pair).reference.array
    mirrored = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirrored[0, 3] = 5
    other = dataclasses.replace(pair, prediction=save("p/b.nii", reference[::-1], mirrored))
    with pytest.raises(CaseError, match=r"differ in direction.*--resample turns them without loss"):
        sides(other)
    found, case = dice(other, resample=True)
    assert set(found.values()) == {1.0}
    assert "loses nothing" in case.notes[0]


def test_channels_of_regions_become_the_label_map_of_nnunet(save, tmp_path):
    channels = np.zeros((2, 2, 3, 4), np.float32)  # regions, z, y, x
    channels[0, :, :2] = 0.6
    channels[1, 0] = 0.6
    channels[1, 1] = 0.5  # as nnU-Net, more than one half
    np.savez(tmp_path / "a.npz", probabilities=channels)
    reference = np.zeros((4, 3, 2), np.uint8)
    reference[:, :2, 1] = 1
    reference[:, :, 0] = 2
    pair = Pair("a", tmp_path / "a.npz", save("r/a.nii", reference))
    labels, regions = {"whole": "", 2: "core"}, {"whole": (1, 2)}
    found, case = dice(pair, labels, regions, channels="independent", region_order=(1, 2))
    assert found == {"whole": 1.0, 2: 1.0}
    assert str(pair.reference) in case.notes[0]
    with pytest.raises(CaseError, match="has 2 channels; regions_class_order has 3 labels"):
        sides(pair, channels="independent", region_order=(1, 2, 3))


def test_channels_have_no_labels_to_change_or_ignore(save, pair):
    stack = save("p/s.nii.gz", np.ones((6, 7, 8, 2), np.uint8))
    both = Pair("a", stack, stack)
    with pytest.raises(CaseError, match="no labels that could be remapped"):
        sides(both, channels="independent", remap_prediction={1: 2})
    with pytest.raises(CaseError, match="no label to ignore"):
        sides(both, channels="independent", ignore_label=1)


def test_only_what_was_asked_for_is_recorded():
    assert CaseOptions().record() == {}
    asked = CaseOptions({3: 1}, ignore_label=0, resample=True, left_out=("b",))
    assert asked.record() == {
        "remap_prediction": {"3": 1},
        "ignore_label": 0,
        "resample": True,
        "left_out": ("b",),
    }


def test_names_of_channels_are_not_given_to_the_labels_of_a_map(pair):
    with pytest.raises(CaseError, match="the labels are named after channels without a"):
        sides(pair, channels="independent", channels_only=True)
