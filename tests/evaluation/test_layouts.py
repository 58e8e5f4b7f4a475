"""How folders are laid out: which files make a case, and that none is lost."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from medloss.evaluation.inputs.layouts import NAMES, matcher, parse_layout
from medloss.evaluation.inputs.pairing import (
    FoundCases,
    Structures,
    files_of,
    find_cases,
    only_named,
)


@pytest.fixture
def tree(tmp_path):
    """Empty files in two folders."""

    def make(predictions: str, references: str) -> tuple[Path, Path]:
        for side, names in (("pred", predictions), ("ref", references)):
            (tmp_path / side).mkdir(exist_ok=True)
            for name in names.split():
                path = tmp_path / side / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return tmp_path / "pred", tmp_path / "ref"

    return make


def find(folders: tuple[Path, Path], layout: str, other: str = "") -> FoundCases:
    return find_cases(*folders, sides=(parse_layout(layout), parse_layout(other or layout)))


def told(found: FoundCases, folders: tuple[Path, Path]) -> dict[str, list[str]]:
    """Files of each case, relative to their folder."""
    return {
        pair.name: [
            path.relative_to(folder).as_posix()
            for side, folder in zip((pair.prediction, pair.reference), folders, strict=True)
            for path in files_of(side)
        ]
        for pair in found.pairs
    }


CASES = {
    "flat": ("a.nii.gz b.mha", "a.nrrd b.nii", {"a": "a.nii.gz a.nrrd", "b": "b.mha b.nii"}, ""),
    "nested": (
        "x/1/a.nii x/2/b.mha",
        "x/1/a.nii.gz x/2/b.mha",
        {"x/1/a": "x/1/a.nii x/1/a.nii.gz", "x/2/b": "x/2/b.mha x/2/b.mha"},
        "",
    ),
    "brats": (
        "G-1.nii.gz G-2.nii.gz",
        "G-1/G-1-seg.nii.gz G-1/G-1-t1c.nii.gz G-2/G-2_seg.nii G-2/G-2-t1n.nii.gz",
        {"G-1": "G-1.nii.gz G-1/G-1-seg.nii.gz", "G-2": "G-2.nii.gz G-2/G-2_seg.nii"},
        "ref/{case}/{case}-t1c (1) ref/{case}/{case}-t1n (1)",
    ),
    "brats flat": (
        "G-1.nii.gz",
        "G-1_seg.nii.gz G-1_t1ce.nii.gz",
        {"G-1": "G-1.nii.gz G-1_seg.nii.gz"},
        "ref/{case}_t1ce (1)",
    ),
    "kits": (
        "case_0.nii.gz",
        "case_0/segmentation.nii.gz case_0/imaging.nii.gz",
        {"case_0": "case_0.nii.gz case_0/segmentation.nii.gz"},
        "ref/{case}/imaging (1)",
    ),
    "autopet": (
        "P1/S1/SEG.mha P1/S2/SEG.mha",
        "P1/S1/SEG.nii.gz P1/S1/SUV.nii.gz P1/S2/SEG.nii.gz P1/S2/SUV.nii.gz",
        {"P1/S1": "P1/S1/SEG.mha P1/S1/SEG.nii.gz", "P1/S2": "P1/S2/SEG.mha P1/S2/SEG.nii.gz"},
        "ref/{case}/SUV (2)",
    ),
    "slicer": (
        "a.nii.gz",
        "a.seg.nrrd a.nii.gz",
        {"a": "a.nii.gz a.seg.nrrd"},
        "ref/{case} (1)",
    ),
    "slicer label": (
        "a.nrrd",
        "a-label.nrrd a.nrrd",
        {"a": "a.nrrd a-label.nrrd"},
        "ref/{case} (1)",
    ),
    "nnunet": (
        "c_1.nii.gz",
        "labelsTs/c_1.nii.gz imagesTs/c_1_0000.nii.gz imagesTs/c_1_0001.nii.gz dataset.json",
        {"c_1": "c_1.nii.gz labelsTs/c_1.nii.gz"},
        "ref/imagesTs/{case}_0000 (1) ref/imagesTs/{case}_0001 (1)",
    ),
    "bids": (
        "sub-01/anat/sub-01_ses-2_desc-net_dseg.nii.gz",
        "sub-01/ses-2/anat/sub-01_ses-2_space-T1w_dseg.nii.gz",
        {
            "sub-01_ses-2": "sub-01/anat/sub-01_ses-2_desc-net_dseg.nii.gz "
            "sub-01/ses-2/anat/sub-01_ses-2_space-T1w_dseg.nii.gz"
        },
        "",
    ),
    "bids flat": (
        "sub-01.nii.gz",
        "sub-01_dseg.nii.gz",
        {"sub-01": "sub-01.nii.gz sub-01_dseg.nii.gz"},
        "",
    ),
    "totalsegmentator": (
        "s1/segmentations/liver.nii.gz",
        "s1/segmentations/liver.nii.gz s1/segmentations/spleen.nii.gz s1/ct.nii.gz",
        {
            "s1": "s1/segmentations/liver.nii.gz s1/segmentations/liver.nii.gz "
            "s1/segmentations/spleen.nii.gz"
        },
        "ref/{case}/ct (1)",
    ),
    "totalsegmentator short": (
        "s1/liver.nii.gz",
        "s1/liver.nii.gz s1/ct.nii.gz",
        {"s1": "s1/liver.nii.gz s1/liver.nii.gz"},
        "ref/{case}/ct (1)",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_named_layouts(tree, name):
    predictions, references, pairs, beside = CASES[name]
    folders = tree(predictions, references)
    found = find(folders, name.split()[0])
    assert told(found, folders) == {case: files.split() for case, files in pairs.items()}
    assert not any(pair.problem for pair in found.pairs)
    assert found.unscored == ()
    assert list(found.beside) == ([*beside.replace(") ", ")|").split("|")] if beside else [])


def test_every_named_layout_is_tried_here():
    assert {name.split()[0] for name in CASES} == set(NAMES)


@pytest.mark.parametrize("name", [name for name in CASES if name != "flat"])
def test_where_the_default_fails_the_error_says_which_layout_would_do(tree, name):
    folders = tree(*CASES[name][:2])
    layout = name.split()[0]
    if layout == "slicer":  # the images themselves have the names: only their values tell
        assert find(folders, "flat").pairs
        return
    with pytest.raises(ValueError, match=r"--layout") as caught:
        find(folders, "flat")
    fit = str(caught.value).partition("--layout ")[2].split()[0]
    assert fit == layout, caught.value
    assert find(folders, fit).pairs


@pytest.mark.parametrize(
    ("predictions", "references", "words"),
    [
        ("a_pred.nii b_pred.nii", "a.nii b.nii", "--layout-prediction '{case}_pred'"),
        ("a.nii b.nii", "a_gt.nii b_gt.nii", "--layout-reference '{case}_gt'"),
        (
            "a_0000.nii",
            "a_gt.nii",
            "--layout-prediction '{case}_0000' --layout-reference '{case}_gt'",
        ),
        ("pred-a.nii pred-b.nii", "a.nii b.nii", "--layout-prediction 'pred-{case}'"),
    ],
)
def test_names_that_differ_by_what_one_side_has(tree, predictions, references, words):
    folders = tree(predictions, references)
    with pytest.raises(ValueError, match="would pair") as caught:
        find(folders, "flat")
    assert words in str(caught.value)
    patterns = dict(
        zip(words.replace("'", "").split()[::2], words.replace("'", "").split()[1::2], strict=True)
    )
    found = find(
        folders,
        patterns.get("--layout-prediction", "flat"),
        patterns.get("--layout-reference", "flat"),
    )
    assert all(pair.prediction and pair.reference for pair in found.pairs)


@pytest.mark.parametrize(
    ("pattern", "path", "place"),
    [
        ("{case}/segmentations/{label}.nii.gz", "s/segmentations/a_b.nii.gz", ("s", "a_b", "s/")),
        ("{case}/segmentations/{label}.nii.gz", "s/segmentations/a.mha", None),
        ("{case}/segmentations/{label}.nii.gz", "s/segmentations/a.NII.GZ", ("s", "a", "s/")),
        ("**/{case}_dseg", "a/b/c_dseg.mha", ("c", "", "")),
        ("**/{case}_dseg", "c_dseg.mha", ("c", "", "")),
        ("{case:path}/SEG", "a/b/SEG.nii", ("a/b", "", "a/b/")),
        ("fold_*/{case}", "fold_3/x.nii", ("x", "", "")),
        ("{case}.seg.nrrd", "x.seg.nrrd", ("x", "", "")),
        ("{case}.seg.nrrd", "x.nrrd", None),
        ("{case}[1]", "x[1].nii", ("x", "", "")),
        ("{label}", "liver.nii", ("", "liver", "")),
    ],
)
def test_patterns(pattern, path, place):
    stem = path.lower().removesuffix(".nii.gz").removesuffix(".nii").removesuffix(".mha")
    assert matcher(pattern)(path, path[: len(stem)]) == place


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("totalseg", "is no layout: there are flat, brats"),
        ("{case}/{organ}", "'{organ}' is none of {case}, {case:path} and {label}"),
        ("{case", "'{' is none of"),
        ("{{case}}", "is none of"),
        ("../{case}", "a pattern is a path inside the folder"),
        ("/data/{case}", "a pattern is a path inside the folder"),
        ("{case}\\seg", "with slashes"),
    ],
)
def test_wrong_layouts_are_refused(text, words):
    with pytest.raises(ValueError, match=r"layout|pattern|none of") as caught:
        parse_layout(text)
    assert words in str(caught.value)


def test_a_name_that_fits_in_several_ways_is_not_guessed(tree):
    folders = tree("a_b_liver.nii", "a_b_liver.nii")
    with pytest.raises(ValueError, match=r"fits '\{case\}_\{label\}' in several ways"):
        find(folders, "{case}_{label}")
    found = find(tree("a_liver.nii", "a_liver.nii"), "{case}_liver")
    assert [pair.name for pair in found.pairs] == ["a", "a_b"]


def test_a_pattern_without_a_case_makes_one_of_a_folder(tree):
    folders = tree("liver.nii spleen.nii", "liver.nii")
    (pair,) = find_cases(*folders, sides=(parse_layout("{label}"), parse_layout("{label}"))).pairs
    assert pair.name == "ref"
    assert [name for name, _ in pair.prediction.files] == ["liver", "spleen"]


def test_several_files_of_one_case_are_listed_and_not_chosen_from(tree):
    folders = tree("c/c-seg.nii c/c_seg.nii.gz d.nii", "c/c-seg.nii d/d-seg.nii d/d-seg.mha")
    c, d = find(folders, "brats").pairs
    assert c.problem == f"several predictions: c-seg.nii and c_seg.nii.gz in {folders[0] / 'c'}"
    assert "several references: d-seg.mha and d-seg.nii" in d.problem
    folders = tree("s/Liver.nii s/liver.mha", "s/liver.nii")
    (pair, *_) = [p for p in find(folders, "{case}/{label}").pairs if p.name == "s"]
    assert "several predictions: Liver.nii and liver.mha" in pair.problem


def test_what_no_pattern_fits_counts_unless_only_some_cases_are_meant(tree):
    folders = tree(
        "a.nii b.nii stray/deep/x.nii c.foreign a.mgz notes.txt", "a.nii b.nii empty/readme.md"
    )
    found = find(folders, "flat")
    names = {Path(path.rstrip("/")).name for path in found.unscored}
    assert names - {"c.foreign", "a.mgz"} == {"stray"}
    assert {Path(path).name for path in found.passed_over} >= {"empty", "notes.txt", "stray"}
    assert only_named(found, ["a"]).unscored == tuple(p for p in found.unscored if "a.mgz" in p)
    assert [pair.name for pair in only_named(found, ["[ab]"]).pairs] == ["a", "b"]
    with pytest.raises(
        ValueError, match="--only: no case is called 'z\\*'; the first are 'a', 'b'"
    ):
        only_named(found, ["a", "z*"])


def test_a_case_whose_name_is_written_otherwise_is_not_lost(tree):
    folders = tree(
        "s1/segmentations/liver.nii s2/liver.nii",
        "s1/segmentations/liver.nii s2/segmentations/liver.nii",
    )
    found = find(folders, "totalsegmentator")
    assert [bool(pair.problem) for pair in found.pairs] == [False, True]
    assert found.unscored == (str(folders[0] / "s2" / "liver.nii"),)


def test_links_to_folders_are_followed_and_never_in_a_circle(tree):
    pred, ref = tree("s1/liver.nii", "s1/liver.nii")
    (pred / "s2").symlink_to(ref / "s1")
    (ref / "s2").symlink_to(ref / "s1")
    (ref / "s1" / "up").symlink_to(ref)
    found = find((pred, ref), "totalsegmentator")
    assert [pair.name for pair in found.pairs] == ["s1", "s2"]
    assert find((pred, ref), "nested").pairs


def test_one_file_can_be_the_reference_of_a_folder_when_asked(tree):
    pred, ref = tree("a.nii b.nii.gz", "atlas.nii")
    with pytest.raises(ValueError, match="say --one-reference"):
        find_cases(pred, ref / "atlas.nii")
    found = find_cases(pred, ref / "atlas.nii", one_reference=True)
    assert [(p.name, p.reference.name) for p in found.pairs] == [
        ("a", "atlas.nii"),
        ("b", "atlas.nii"),
    ]
    with pytest.raises(ValueError, match="--one-reference is for a folder"):
        find_cases(pred, ref, one_reference=True)


PARTS = ("a", "b-1", "b-1_seg", "seg", "segmentations", "liver", "sub-1_dseg", "labelsTr", "SEG")


def test_no_image_is_ever_lost(tmp_path):
    """Whatever lies in two folders: an image is of a case, beside one, or told."""
    chance = random.Random(7)
    for number in range(25):
        folders = tmp_path / f"{number}p", tmp_path / f"{number}r"
        images = set()
        for folder in folders:
            folder.mkdir()
            for _ in range(chance.randint(1, 9)):
                parts = [chance.choice(PARTS) for _ in range(chance.randint(1, 3))]
                path = folder.joinpath(*parts).with_name(
                    parts[-1] + chance.choice((".nii", ".mha"))
                )
                if not any(parent.is_file() for parent in path.parents):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.touch()
                    images.add(path)
        for layout in NAMES:
            try:
                found = find(folders, layout)
            except ValueError:
                continue
            used = {
                p
                for pair in found.pairs
                for s in (pair.prediction, pair.reference)
                for p in files_of(s)
            }
            assert used <= images
            told_over = [Path(path) for path in found.unscored]
            beside = sum(int(words.rpartition("(")[2].rstrip(")")) for words in found.beside)
            lost = {
                path
                for path in images - used
                if not any(path == over or over in path.parents for over in told_over)
                and not any(path.name in pair.problem for pair in found.pairs)
            }
            assert len(lost) <= beside, (layout, lost, found)


def test_structures_are_ordered_by_name_and_shown_by_their_folder(tree):
    folders = tree("s/b.nii s/a.nii", "s/a.nii")
    (pair,) = find(folders, "{case}/{label}").pairs
    assert isinstance(pair.prediction, Structures)
    assert [name for name, _ in pair.prediction.files] == ["a", "b"]
    assert str(pair.prediction) == str(folders[0] / "s")
    assert str(pair.reference) == str(folders[1] / "s" / "a.nii")
