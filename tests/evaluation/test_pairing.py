from __future__ import annotations

from pathlib import Path

import pytest

from medloss.evaluation.inputs.pairing import Pair, only_predicted, pair_paths


@pytest.fixture
def folders(tmp_path):
    def make(predictions: str, references: str) -> tuple[Path, Path]:
        for side, names in (("pred", predictions), ("ref", references)):
            (tmp_path / side).mkdir()
            for name in names.split():
                (tmp_path / side / name).touch()
        return tmp_path / "pred", tmp_path / "ref"

    return make


def test_folders_are_paired_by_name_whatever_the_suffix(folders):
    pairs = pair_paths(*folders("b.nii.gz a.NRRD c.1.mha", "a.nii c.1.nii.gz b.mhd"))
    assert [pair.name for pair in pairs] == ["a", "b", "c.1"]
    assert [pair.prediction.name for pair in pairs] == ["a.NRRD", "b.nii.gz", "c.1.mha"]
    assert [pair.reference.name for pair in pairs] == ["a.nii", "b.mhd", "c.1.nii.gz"]
    assert not any(pair.problem for pair in pairs)


def test_files_that_are_no_images_are_not_cases(folders):
    pairs = pair_paths(*folders("a.nii.gz a.json .nii ._a.nii.gz notes", "a.nii.gz a.raw"))
    assert [pair.name for pair in pairs] == ["a"]


def test_a_file_without_partner_is_a_case_with_a_problem(folders):
    pred, ref = folders("a.nii b.nii", "b.nii c.nii")
    first, second, third = pair_paths(pred, ref)
    assert first.problem == f"no reference: {ref} holds no image called 'a'"
    assert first.prediction == pred / "a.nii"
    assert first.reference is None
    assert second.problem == ""
    assert third.problem == f"no prediction: {pred} holds no image called 'c'"


def test_two_files_of_one_name_are_a_problem_and_not_a_choice(folders):
    pred, ref = folders("a.nii a.nrrd", "a.nii")
    (pair,) = pair_paths(pred, ref)
    assert pair.problem == f"several predictions: a.nii and a.nrrd in {pred}"
    assert pair.prediction is None


def test_two_files_are_one_case_called_like_the_reference(folders):
    pred, ref = folders("mine.nrrd", "truth.nii.gz")
    (pair,) = pair_paths(pred / "mine.nrrd", ref / "truth.nii.gz")
    assert pair.name == "truth"
    assert pair.prediction == pred / "mine.nrrd"


@pytest.mark.parametrize(
    ("prediction", "reference", "words"),
    [
        ("nowhere", "ref", "nowhere does not exist"),
        ("pred", "nowhere", "nowhere does not exist"),
        ("pred", "ref/a.nii", "pred is a folder and"),
        ("pred/b.nii", "ref", "ref is a folder and"),
        ("pred", "ref", "the first are 'b' and 'a'"),
        ("pred/b.nii", "ref/x.txt", "x.txt is no format that is read here; those are .nii.gz,"),
    ],
)
def test_what_cannot_be_paired_at_all_is_an_error(folders, prediction, reference, words):
    pred, _ = folders("b.nii", "a.nii x.txt")
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        pair_paths(pred.parent / prediction, pred.parent / reference)


def test_a_folder_without_images_is_an_error(folders):
    pred, ref = folders("notes.txt", "a.nii")
    with pytest.raises(ValueError, match=r"pred holds no image"):
        pair_paths(pred, ref)


def test_probabilities_beside_a_label_map_are_one_prediction(folders):
    pred, ref = folders("a.nii.gz a.npz b.npz", "a.nii.gz b.nii.gz")
    assert [pair.prediction.name for pair in pair_paths(pred, ref)] == ["a.nii.gz", "b.npz"]
    pairs = pair_paths(pred, ref, probabilities=True)
    assert [pair.prediction.name for pair in pairs] == ["a.npz", "b.npz"]
    assert not any(pair.problem for pair in pairs)


def test_references_without_a_prediction_are_left_out_on_demand_only(folders):
    pairs = pair_paths(*folders("b.nii d.nii c.nii c.mha", "a.nii b.nii c.nii"))
    assert [pair.missing for pair in pairs] == ["prediction", "", "", "reference"]
    kept, left_out = only_predicted(pairs)
    assert left_out == ("a",)
    # A prediction without a reference, and one that is ambiguous, are still there to fail.
    assert [(pair.name, bool(pair.problem)) for pair in kept] == [
        ("b", False),
        ("c", True),
        ("d", True),
    ]


def test_a_study_of_nothing_is_refused():
    with pytest.raises(ValueError, match="none of the 1 references has a prediction"):
        only_predicted([Pair("a", None, Path("a.nii"), "no prediction", "prediction")])
