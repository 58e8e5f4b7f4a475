"""What values mean when the user says so: thresholds, signs, the background, objects, pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.cli.eval import eval_command
from medloss.evaluation.inputs.labels import parse_labels
from medloss.evaluation.reading.images import make_image, read_image
from medloss.evaluation.reading.stored import CaseError, Stored
from medloss.objects.component_runs import object_runs
from medloss.scoring import Case, score
from medloss.scoring.lesions import Components
from medloss.scoring.matching import detections

SHAPE = (8, 9, 10)


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(3)


@pytest.fixture
def study(save, draw):
    """Save one case and score it: values by label and metric, and what was said."""

    def evaluate(prediction, reference, *options, code=0, metrics=("dice",)):
        folders = [
            save(f"{side}/a.nii.gz", array).parent
            for side, array in (("p", prediction), ("r", reference))
        ]
        out = folders[0].parent / "o.json"
        words = [*map(str, folders), *options, "--json", str(out), "--force"]
        for metric in metrics:
            words += ["-m", metric]
        result = CliRunner().invoke(main, ["eval", *words], terminal_width=300)
        assert result.exit_code == code, result.output
        if code == 2:
            return {}, result.output
        found = json.loads(out.read_text())["cases"][0].get("results", ())
        return {(str(x["label"]), x["metric"]): x["value"] for x in found}, result.output

    return evaluate


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def test_a_map_of_fractions_needs_a_threshold_and_takes_it(study, draw):
    chances = draw.random(SHAPE).astype(np.float32)
    true = draw.random(SHAPE) < 0.5
    _, said = study(chances, true.astype(np.uint8), code=1)
    assert "probabilities of one class are read with --threshold 0.5" in said
    for threshold in ("0.5", "0.25"):
        found, said = study(chances, true.astype(np.uint8), "--threshold", threshold)
        assert found["1", "dice"] == pytest.approx(dice(chances >= float(threshold), true))
        assert f"at least {threshold}" in said
    found, _ = study(
        chances, true.astype(np.uint8), "--threshold", "0.5", metrics=["expected_calibration_error"]
    )
    assert 0 < found["1", "expected_calibration_error"] < 1, "the probabilities themselves"


def test_a_threshold_is_that_of_independent_channels_and_of_no_others(study, draw):
    chances = draw.random((*SHAPE, 2)).astype(np.float32)
    true = (draw.random((*SHAPE, 2)) < 0.5).astype(np.float32)
    options = ("--channels", "independent", "--threshold", "0.7")
    found, _ = study(chances, true, *options)
    for channel in (0, 1):
        right = dice(chances[..., channel] >= 0.7, true[..., channel] > 0)
        assert found[str(channel + 1), "dice"] == pytest.approx(right)
    chances[..., 1] = 1 - chances[..., 0]
    _, said = study(chances, true[..., 0], "--threshold", "0.7", code=1)
    assert "classes that exclude one another, of which the likeliest counts" in said


@pytest.mark.parametrize("threshold", ["0", "1.1", "-1", "half"])
def test_wrong_thresholds(study, threshold):
    study(np.zeros(SHAPE), np.zeros(SHAPE), "--threshold", threshold, code=2)


def test_masks_beside_whole_numbers_are_read_with_a_note(study, draw):
    true = (draw.random(SHAPE) < 0.4).astype(np.uint8) * 2
    near = true + draw.uniform(-9e-6, 9e-6, SHAPE)
    found, said = study(near.astype(np.float64), true)
    assert found == {("2", "dice"): 1}
    assert "beside whole numbers are taken for these" in said
    _, said = study(true + 2e-5 * (true > 0), true, code=1)
    assert "labels are whole numbers" in said


def test_labels_as_large_as_float32_rounds_them(save):
    array = np.zeros(SHAPE, np.float32)
    array[0] = np.nextafter(np.float32(1024), np.float32(0))
    image = read_image(save("a.nii.gz", array))
    assert set(np.unique(image.array)) == {0, 1024}
    assert "6.1e-05 beside whole numbers" in image.note


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.float32])
def test_negative_labels_are_changed_on_demand(study, draw, dtype):
    plain = draw.integers(0, 3, SHAPE).astype(np.uint8)
    signed = np.where(plain == 2, -1, plain.astype(int)).astype(dtype)
    _, said = study(signed, plain, code=1)
    assert "holds the label -1; labels are at least 0, and --remap -1=0 makes it background" in said
    for options in (("--remap", "-1=2"), ("--remap-prediction", "-1=2")):
        found, _ = study(signed, plain, *options)
        assert found == {("1", "dice"): 1, ("2", "dice"): 1}
    found, _ = study(signed, signed, "--remap", "-1=255", "--ignore-label", "255")
    assert found == {("1", "dice"): 1}
    _, said = study(np.where(plain == 1, -2, signed), plain, "--remap-prediction", "-1=2", code=1)
    assert "holds the label -2, which nothing changes" in said


def test_the_background_is_scored_on_request(study, draw):
    true, found = (draw.integers(0, 3, SHAPE).astype(np.uint8) for _ in range(2))
    value, _ = study(found, true, "--labels", "0=background,2", metrics=["dice", "hausdorff"])
    assert value["0", "dice"] == pytest.approx(dice(found == 0, true == 0))
    assert value["2", "dice"] == pytest.approx(dice(found == 2, true == 2))
    assert value["0", "hausdorff"] > 0
    soft = np.eye(3, dtype=np.float32)[found]
    again, _ = study(soft, true, "--labels", "0=background")
    assert again["0", "dice"] == value["0", "dice"]
    _, said = study(soft, true, "--labels", "0=background", "--channels", "independent", code=1)
    assert "channels without a background, which label 0 would be" in said
    with pytest.raises(ValueError, match="write 0=background"):
        parse_labels("0,1")


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"labels": {"background": "0", "liver": "1"}}, {1: "liver"}),
        ({"labels": {"0": "background", "1": "liver"}}, {1: "liver"}),
        ({"labels": ["background", "liver", "spleen"]}, {1: "liver", 2: "spleen"}),
        ({"labels": {"background": 0, "whole": ["1", "2"], "core": 2}}, {"whole": "", 2: "core"}),
    ],
)
def test_labels_of_files_as_people_write_them(tmp_path, content, names):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content))
    assert parse_labels(str(path)).names == names


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"labels": ["liver", "spleen"]}, "does not begin with 'background'"),
        ({"labels": "liver", "name": "x"}, "'labels' is 'liver', and neither labels by name"),
        ({"labels": None}, "'labels' is None"),
        ({"labels": {"liver": True}}, "'liver': True is neither a name nor a label"),
        ({"labels": {"liver": 1.5}}, "'liver': 1.5 is neither a name nor a label"),
        ({"labels": {"liver": "one"}}, "'liver' is no label and neither is 'one'"),
        ({"labels": {"ignore": [1, 2], "liver": 3}}, "'ignore' stands for several labels"),
    ],
)
def test_files_of_labels_that_say_nothing(tmp_path, content, words):
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"dataset\.json") as caught:
        parse_labels(str(path))
    assert words in str(caught.value)


def test_a_grey_picture_is_no_map_of_labels(study, draw):
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5] = 1
    grey = draw.integers(0, 256, SHAPE).astype(np.uint8)
    _, said = study(grey, labels, code=1)
    assert "looks like a picture, not labels: it holds 2" in said
    found, _ = study(grey, labels, "--labels", "1")
    assert found["1", "dice"] == pytest.approx(dice(grey == 1, labels == 1))
    many = (np.arange(60).reshape(3, 4, 5).repeat(4, 0).repeat(4, 1).repeat(4, 2)).astype(np.uint8)
    found, _ = study(many, many)
    assert len(found) == 59, "labels that come in regions are labels, however many"


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        (
            "ct.nii.gz",
            lambda draw: draw.integers(-1000, 1000, SHAPE),
            "is it a picture, not labels?",
        ),
        ("c_0000.nii.gz", lambda draw: draw.integers(-900, 900, SHAPE), "Its name ends in _0000"),
        ("c_0001.nii", lambda draw: draw.normal(0, 99, SHAPE), "Its name ends in _0001"),
        ("m.nii", lambda draw: draw.integers(0, 9999, (20, 20, 20)), "is read by --instances"),
    ],
)
def test_the_wrong_folder_is_recognised(save, draw, name, array, words):
    values = array(draw)
    values = values.astype(np.float32 if values.dtype.kind == "f" else np.int16)
    with pytest.raises(CaseError) as caught:
        read_image(save(name, values))
    assert words in str(caught.value)


# Objects that touch


def cubes(count: int) -> np.ndarray:
    """Cubes of eight voxels that touch, each with a number of its own."""
    side = np.arange(count**3).reshape((count,) * 3) + 1
    return side.repeat(2, 0).repeat(2, 1).repeat(2, 2).astype(np.int32)


def test_more_than_2000_touching_objects(study):
    true = cubes(14)
    found = np.where(true == 5, 4, true)
    found[found > 2600] = 0
    metrics = ["dice", "lesion_f1", "panoptic_quality", "segmentation_quality"]
    _, said = study(found, true, code=1, metrics=metrics)
    assert "A map whose every value is an object is read by --instances" in said
    value, said = study(found, true, "--instances", metrics=metrics)
    whole = 2744
    # Objects 4 and 5 are one in the prediction, half of which each of them is: no match of IoU > ½.
    assert value["1", "panoptic_quality"] == pytest.approx(2598 / (2598 + (1 + whole - 2598) / 2))
    assert value["1", "segmentation_quality"] == 1
    assert value["1", "lesion_f1"] == pytest.approx(2 * 2600 / (2600 + whole))
    assert value["1", "dice"] == pytest.approx(dice(found > 0, true > 0))
    assert "Each value of a map is an object of one class" in said


def test_objects_are_matched_as_if_each_were_a_mask(draw):
    """By one mask a pair of objects, whatever the memory order."""
    ids = [draw.integers(0, 6, SHAPE).astype(np.uint16) * 500 for _ in range(2)]
    ignored = draw.random(SHAPE) < 0.2
    for turned in (False, True):
        maps = [np.asfortranarray(x) if turned else x for x in ids]
        case = Case(
            (maps[0] > 0).view(np.uint8),
            (maps[1] > 0).view(np.uint8),
            labels=[1],
            spacing_mm=1.0,
            ignored=np.asfortranarray(ignored) if turned else ignored,
            objects=(maps[0], maps[1]),
        )
        lesions = case.components(1).lesions()
        found = {
            tuple(pair): n
            for pair, n in zip(lesions.pairs.tolist(), lesions.shared_voxels, strict=True)
        }
        for one in range(5):
            for other in range(5):
                true, guess = ids[0] == 500 * (one + 1), ids[1] == 500 * (other + 1)
                assert found.get((one, other), 0) == np.count_nonzero(true & guess & ~ignored)
        assert lesions.reference_voxels.tolist() == [
            np.count_nonzero((ids[0] == 500 * n) & ~ignored) for n in range(1, 6)
        ]
        assert detections(case.components(1), matching="iou@0.5").tp == 0


def test_objects_in_2d_and_components_give_the_same_where_nothing_touches(draw):
    mask = draw.random((30, 30)) < 0.3
    from medloss.objects.components import label_components

    numbers, count = label_components(mask)
    runs = object_runs(numbers)
    assert runs.count == count
    assert np.array_equal(runs.painted()[0], numbers)
    other = np.roll(mask, 1, axis=0)
    given = Components(numbers, label_components(other)[0]).lesions()
    found = Components(mask, other).lesions()
    assert np.array_equal(np.sort(given.reference_voxels), np.sort(found.reference_voxels))
    assert np.sort(given.iou).tolist() == np.sort(found.iou).tolist()


def test_objects_of_several_classes_that_the_values_tell(study):
    true, found = np.zeros((2, *SHAPE), np.uint16)
    true[0:2, 0:2], true[0:2, 2:4] = 1001, 1002  # two objects of class 1 that touch
    true[4:6, 0:4] = 2001
    found[0:2, 0:2], found[0:2, 2:4], found[4:6, 0:4] = 1007, 2009, 2001  # one is of another class
    value, said = study(
        found,
        true,
        *("--instances", "--label-divisor", "1000", "-m", "panoptic_quality", "-m", "lesion_f1"),
        *("--labels", "1=cell,2=nucleus,both=1+2"),
    )
    assert value["1", "panoptic_quality"] == pytest.approx(1 / (1 + 1 / 2))
    assert value["2", "panoptic_quality"] == pytest.approx(1 / (1 + 1 / 2))
    assert value["both", "panoptic_quality"] == 1.0  # whatever the class is, three objects
    assert value["1", "lesion_f1"] == pytest.approx(2 / 3)
    assert "the class that is the value by 1000" in said
    _, said = study(found, np.where(true, 7, 0), "--instances", "--label-divisor", "10", code=1)
    assert "holds the value 7, an object of no class" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-m", "lesion_f1:connectivity=faces"], "drop connectivity"),
        (["-m", "lesion_dice:dilation_voxels=2"], "dilation_voxels: joins what grows together"),
        (["--labels", "1,2"], "the class of all objects is label 1"),
        (["--labels", "whole=1+2"], "the class of all objects is label 1"),
    ],
)
def test_options_that_objects_contradict(study, options, words):
    _, said = study(cubes(2), cubes(2), "--instances", *options, code=2)
    assert words in said


def test_probabilities_are_no_objects(study, draw):
    soft = np.eye(2, dtype=np.float32)[draw.integers(0, 2, SHAPE)]
    _, said = study(soft, np.ones(SHAPE, np.uint8), "--instances", code=1)
    assert "holds probabilities and no objects" in said


def test_every_metric_takes_a_case_with_objects():
    from medloss.evaluation.requests import choose_metric, parse_request
    from medloss.offers.host import host
    from medloss.scoring import EmptyPolicy

    ids = np.pad(cubes(3), 2)
    mask = (ids > 0).view(np.uint8)
    case = Case(mask, mask, labels=[1], spacing_mm=1.0, probabilities={1: mask}, objects=(ids, ids))
    for offer in host().metrics:
        choice = choose_metric(parse_request(offer.record.name))
        if "topology" in offer.record.facts:  # of what touches
            with pytest.raises(ValueError, match="the objects are given"):
                score(choice.function, choice.record, case, 1, EmptyPolicy())
            continue
        found = score(choice.function, choice.record, case, 1, EmptyPolicy())
        assert np.isfinite(found.value), offer.record.name


def test_the_help_has_every_option_once():
    told = [name for names in eval_command.sections.values() for name in names]
    options = [p.name for p in eval_command.params if p.param_type_name == "option"]
    assert sorted(told) == sorted(options)
    text = CliRunner().invoke(main, ["eval", "--help"]).output
    heads = [line for line in text.splitlines() if line.endswith(":") and not line.startswith(" ")]
    assert heads == [f"{head}:" for head in (*eval_command.sections, "Other")]


def test_nothing_of_this_is_imported_by_the_default_command():
    import subprocess
    import sys

    code = (
        "import sys; from medloss.cli.eval import eval_command; "
        "print([m for m in sys.modules if m.startswith(('medloss.evaluation', 'numpy'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    records = [f"medloss.evaluation{name}" for name in ("", ".settings", ".planning")]
    assert done.stdout.strip() == str(records)


# Files that are here on some machines only


def cases_of(output: str) -> dict[tuple[str, str], float]:
    return {
        (case["case"], str(x["label"])): x["value"]
        for case in json.loads(Path(output).read_text())["cases"]
        for x in case.get("results", ())
    }


TOTAL = {
    "s0001": (0.898324, 0.920209, 0.947955, 0.974051, 0.964371, 0.972961, 0.979529, 0.955635),
    "s0002": (0.931034, None, 0.933333, 0.969341, 0.961995, 0.984594, 0.981471, 0.952365),
}
BRATS = {"1": 0.636771, "2": 0.813589, "3": 0.699473, "WT": 0.887298, "TC": 0.808229}


def test_public_layouts(data_dir, tmp_path, monkeypatch):
    root = data_dir / "formats"
    if not root.is_dir():
        pytest.skip("samples of formats are not here: set MEDLOSS_DATA to a folder that holds them")
    monkeypatch.chdir(tmp_path)

    def evaluate(prediction: str, reference: str, *options: str) -> dict[tuple[str, str], float]:
        words = [str(root / prediction), str(root / reference), *options, "-m", "dice"]
        result = CliRunner().invoke(main, ["eval", *words, "--json", "o.json", "--force"])
        assert result.exit_code == 0, result.output
        return cases_of("o.json")

    sides = "totalsegmentator_layout/prediction", "totalsegmentator_layout/reference"
    found = evaluate(*sides, "--layout", "totalsegmentator")
    for case, values in TOTAL.items():
        own = [value for (name, _), value in found.items() if name == case]
        assert own == [None if v is None else pytest.approx(v, abs=5e-7) for v in values]
    labels = ("--labels", "1,2,3,WT=1+2+3,TC=1+3")
    found = evaluate(
        "brats_names/prediction", "brats_names/reference", "--layout", "brats", *labels
    )
    for case in ("BraTS-GLI-00001-000", "BraTS-GLI-00002-000"):
        for label, value in BRATS.items():
            assert found[case, label] == pytest.approx(value, abs=5e-7)
    sides = "brats_names/prediction_2021", "brats_names/reference_2021"
    found = evaluate(*sides, "--layout", "brats")
    assert found["BraTS2021_00003", "3"] == found["BraTS2021_00003", "4"] == 0
    found = evaluate(*sides, "--layout", "brats", "--remap-reference", "4=3")
    assert found["BraTS2021_00003", "3"] == pytest.approx(0.699473, abs=5e-7)
    right = {("case_001", "1"): 0.826892, ("case_002", "1"): 0.824133}
    right |= {("case_001", "2"): 0.806452, ("case_002", "2"): 0.806452}
    for options in ([], ["--probabilities"]):
        found = evaluate("nnunet/predictions", "nnunet", "--layout", "nnunet", *options)
        assert found == {key: pytest.approx(value, abs=5e-7) for key, value in right.items()}


def test_pictures_among_public_files_are_refused(data_dir):
    root = data_dir / "Task04_Hippocampus"
    if not root.is_dir():
        pytest.skip("the hippocampus is not here: set MEDLOSS_DATA to a folder that holds it")
    from medloss.evaluation.inputs.layers import make_layers

    def found(path):
        image = read_image(path)
        return make_layers(image, image, None, {})[0].codes

    for path in sorted((root / "imagesTr").glob("*.nii.gz"))[:3]:
        with pytest.raises(CaseError, match=r"picture|whole numbers"):
            found(path)
    for path in sorted((root / "labelsTr").glob("*.nii.gz"))[:3]:
        assert found(path) == {1: 1, 2: 2}


def test_a_stored_array_is_read_with_all_that_was_said():
    stored = Stored(np.array([[-3.0, 5.0]]), np.diag([1, 3, 1, 1]), dimensions=2)
    image = make_image(Path("a.nii"), stored, signed=True)
    assert image.array.tolist() == [[-3, 5]]
    assert image.array.dtype == np.int8
