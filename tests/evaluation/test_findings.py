"""What is said about the data: exchanged labels, mirrors, shifts, labels of one side."""

import itertools
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from medloss.cli import main
from medloss.evaluation.findings import findings
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.reading.images import Image, make_image
from medloss.evaluation.reading.stored import Stored
from medloss.evaluation.records import CaseResult
from medloss.evaluation.score import EvalPlan
from medloss.evaluation.signs import Sign, most_common, signs_of
from medloss.scoring.facts import Counts

SHAPE = (32, 24, 20)


def scene(*, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Three boxes that no mirror and no exchange of axes leaves where they are."""
    labels = np.zeros(shape, np.uint8)
    labels[2:10, 3:9, 2:8] = 60
    labels[18:25, 4:12, 3:10] = 61
    labels[5:20, 14:20, 11:16] = 1
    return labels


def image(labels: np.ndarray, **stored: object) -> Image:
    return make_image(Path("a.nii"), Stored(labels, np.eye(4), 3, **stored))


def seen(prediction: np.ndarray, reference: np.ndarray) -> tuple[Sign, ...]:
    """The signs of two label maps, by their own counts."""
    return signs_of(image(prediction), image(reference), None, counted(prediction, reference))


def counted(prediction: np.ndarray, reference: np.ndarray) -> list[tuple[int, Counts]]:
    found = []
    for label in np.union1d(prediction, reference)[1:]:
        there, here = reference == label, prediction == label
        sizes = (there.sum(), here.sum(), (there & here).sum())
        found.append((int(label), Counts.of(sizes, reference.size)))
    return found


def dice(prediction: np.ndarray, reference: np.ndarray) -> float:
    """Of all labels together."""
    both = np.sum((prediction == reference) & (reference > 0))
    return float(2 * both / (np.sum(prediction > 0) + np.sum(reference > 0)))


def renumbered(labels: np.ndarray, changes: dict[int, int]) -> np.ndarray:
    out = labels.copy()
    for old, new in changes.items():
        out[labels == old] = new
    return out


def worn(labels: np.ndarray) -> np.ndarray:
    """A prediction that is not perfect: a side of each box is missing."""
    return np.where(np.roll(labels, 1, 0) == labels, labels, 0)


def test_a_good_prediction_has_no_signs():
    assert seen(scene(), scene()) == ()
    assert seen(worn(scene()), scene()) == ()


@pytest.mark.parametrize(
    ("changes", "pairs"),
    [
        ({60: 61, 61: 60}, [[60, 61], [61, 60]]),
        ({1: 60, 60: 61, 61: 1}, [[1, 60], [60, 61], [61, 1]]),
        ({1: 255}, [[1, 255]]),
        ({1: 60, 60: 70}, [[1, 60], [60, 70]]),
    ],
)
def test_labels_under_other_numbers(changes: dict[int, int], pairs: list[list[int]]):
    prediction = renumbered(worn(scene()), changes)
    signs = seen(prediction, scene())
    assert sorted(sign["labels"] for sign in signs) == sorted(pairs)
    for sign in signs:
        row, column = sign["labels"]
        there, here = scene() == row, prediction == column
        expected = 2 * (there & here).sum() / (there.sum() + here.sum())
        assert sign["dice"] == [pytest.approx(0, abs=0.4), pytest.approx(expected)]


def test_large_labels_are_crossed_too():
    reference = scene().astype(np.int64)
    signs = seen(renumbered(reference, {1: 1 << 20}), reference)
    assert [sign["labels"] for sign in signs] == [[1, 1 << 20]]


@pytest.mark.parametrize(
    "axes", [c for n in (1, 2, 3) for c in itertools.combinations(range(3), n)]
)
def test_mirrored(axes: tuple[int, ...]):
    prediction = np.flip(worn(scene()), axes)
    (sign,) = seen(prediction, scene())
    expected = [dice(prediction, scene()), dice(worn(scene()), scene())]
    assert (sign["kind"], sign["axes"]) == ("flipped", list(axes))
    assert sign["dice"] == pytest.approx(expected)
    assert sign["sure"]


def test_axes_exchanged():
    reference = scene(shape=(32, 32, 20))
    (sign,) = seen(reference.transpose(1, 0, 2), reference)
    assert (sign["kind"], sign["axes"], sign["dice"][1]) == ("exchanged", [0, 1], 1.0)


@pytest.mark.parametrize("shift", [(1, 0, 0), (0, -2, 1), (-1, 1, -1)])
def test_shifted_by_whole_voxels(shift: tuple[int, ...]):
    prediction = np.roll(scene(), shift, (0, 1, 2))
    (sign,) = seen(prediction, scene())
    assert (sign["kind"], sign["voxels"]) == ("shifted", list(shift))
    assert sign["dice"] == pytest.approx([dice(prediction, scene()), 1.0])


def test_other_numbers_in_another_place_are_both_told():
    prediction = np.roll(renumbered(scene(), {61: 7}), 1, 0)
    crossed, shifted = seen(prediction, scene())
    assert (crossed["labels"], shifted["voxels"]) == ([61, 7], [1, 0, 0])
    assert [sign["kind"] for sign in seen(np.flip(scene(), 0), scene())] == ["flipped"]


def test_what_is_ignored_is_no_sign():
    swapped = renumbered(scene(), {60: 61, 61: 60})
    ignored = np.isin(scene(), (60, 61))
    counts = [(1, Counts(1, 1, 0, 0))]
    assert signs_of(image(swapped), image(scene()), ignored, counts) == ()


def test_channels_of_their_own_are_crossed_and_mirrored():
    def stack(labels: np.ndarray) -> Image:
        channels = np.stack([labels == n for n in (1, 60, 61)], axis=-1).astype(np.uint8)
        return image(channels, channels="independent")

    counts = [(1, Counts(0, 1, 1, 0))]
    swapped = renumbered(scene(), {60: 61, 61: 60})
    signs = signs_of(stack(swapped), stack(scene()), None, counts)
    assert [sign["labels"] for sign in signs] == [[2, 3], [3, 2]]
    assert not any(sign["remap"] for sign in signs)
    (sign,) = signs_of(stack(np.flip(scene(), 1)), stack(scene()), None, counts)
    assert (sign["kind"], sign["axes"], sign["dice"][1]) == ("flipped", [1], 1.0)


def test_a_sample_of_a_large_foreground_tells_the_same(monkeypatch: pytest.MonkeyPatch):
    prediction = np.flip(worn(scene()), 2)
    (exact,) = seen(prediction, scene())
    monkeypatch.setattr("medloss.evaluation.signs._MOST_SAMPLED", 100)
    (sampled,) = seen(prediction, scene())
    assert sampled["axes"] == exact["axes"]
    assert sampled["dice"] == pytest.approx(exact["dice"], abs=0.1)


def plan(**names: str) -> EvalPlan:
    return EvalPlan((), labels={int(key[1:]): name for key, name in names.items()} or None)


def case(name: str, prediction: np.ndarray, reference: np.ndarray) -> CaseResult:
    return CaseResult(
        Pair(name, None, None),
        counts=tuple(counted(prediction, reference)),
        signs=seen(prediction, reference),
    )


def sentences(cases: list[CaseResult], of: EvalPlan) -> list[str]:
    return [finding.sentence for finding in findings(cases, of)]


def test_exchanged_labels_are_one_sentence():
    swapped = renumbered(scene(), {60: 61, 61: 60})
    cases = [case("a", swapped, scene()), case("b", scene(), scene())]
    assert sentences(cases, plan(_1="", _60="left", _61="right")) == [
        "60 left and 61 right look exchanged in 1 of 2 cases (a): Dice 0.00 and 0.00 as they are, "
        "1.00 and 1.00 crossed (--remap-prediction 61=60,60=61)"
    ]


def test_the_remedy_undoes_it():
    """For every permutation of three labels and one number that nobody has."""
    for mixed in itertools.permutations((1, 60, 61, 7), 3):
        prediction = renumbered(scene(), dict(zip((1, 60, 61), mixed, strict=True)))
        found = sentences([case("a", prediction, scene())], plan(_1="", _60="", _61=""))
        remedies = [x.split("--remap-prediction ")[1][:-1] for x in found if "remap" in x]
        changes = dict(
            tuple(map(int, change.split("="))) for change in ",".join(remedies).split(",") if change
        )
        np.testing.assert_array_equal(renumbered(prediction, changes), scene())


def test_labels_of_one_side_and_of_none():
    cases = [case("a", np.where(scene() == 1, 0, scene()), scene())]
    assert sentences(cases, plan(_1="liver", _60="", _61="", _7="spleen")) == [
        "1 liver occurs in 1 reference and in no prediction",
        "7 spleen occurs in no file",
    ]
    cases = [case("a", scene(), np.where(scene() == 1, 0, scene()))]
    assert sentences(cases, plan(_1="liver", _60="", _61="")) == [
        "1 liver occurs in 1 prediction and in no reference"
    ]


def test_a_shift_in_few_cases_is_chance_unless_it_explains_all():
    shifted = {"kind": "shifted", "voxels": [1, 0, 0], "dice": [0.5, 0.7], "sure": False}
    cases = [CaseResult(Pair(str(n), None, None)) for n in range(10)]

    def told(many: int, **changes: object) -> bool:
        some = [
            CaseResult(Pair("x", None, None), signs=({**shifted, **changes},)) for _ in range(many)
        ]
        return bool(findings([*some, *cases[many:]], plan()))

    assert [told(1), told(4), told(5)] == [False, False, True]
    assert [told(1, sure=True), told(2, sure=True)] == [False, True]
    assert told(1, dice=[0.5, 0.96], sure=True)
    # Each in its own way: one sentence.
    ways = [{**shifted, "voxels": [0, 0, n], "dice": [0.5, 1.0]} for n in range(1, 7)]
    some = [CaseResult(Pair(str(n), None, None), signs=(way,)) for n, way in enumerate(ways)]
    (finding,) = findings(some, plan())
    assert finding.sentence.startswith(
        "predictions look shifted by whole voxels, in 6 ways in 6 of 6 cases"
    )
    assert len(findings(some[:3], plan())) == 3


def write(path: Path, labels: np.ndarray, spacing: tuple[float, ...] = (1, 1, 2)) -> None:
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels, np.diag([*spacing, 1.0])), path)


def test_terminal_json_and_report_say_it_and_a_resumed_study_too(tmp_path: Path):
    for name in "ab":
        write(tmp_path / "ref" / f"{name}.nii", scene())
        write(tmp_path / "pred" / f"{name}.nii", renumbered(scene(), {60: 61, 61: 60}))
    out = tmp_path / "out"
    command = ["eval", *(str(tmp_path / x) for x in ("pred", "ref")), "-m", "dice"]
    command += ["--labels", "1=liver,60=<left>,61=right", "--output", str(out)]
    told = "60 <left> and 61 right look exchanged in 2 of 2 cases: Dice 0.00 and 0.00 as they are"
    for more in ([], ["--resume"]):
        result = CliRunner().invoke(main, [*command, *more])
        assert result.exit_code == 0, result.output
        assert told in " ".join(result.output.split())
        (finding,) = json.loads((out / "summary.json").read_text())["findings"]
        assert finding["sentence"].startswith(told)
        assert (finding["cases"], finding["labels"]) == (["a", "b"], [60, 61])
    page = (out / "report.html").read_text()
    assert "60 &lt;left&gt; and 61 right look exchanged" in page
    assert CliRunner().invoke(main, ["report", str(out)]).exit_code == 0
    assert (out / "report.html").read_text() == page


def test_other_grids_are_one_sentence(tmp_path: Path):
    for name in "ab":
        write(tmp_path / "ref" / f"{name}.nii", scene())
        write(tmp_path / "pred" / f"{name}.nii", scene(), (1, 1, 1))
    folders = [str(tmp_path / x) for x in ("pred", "ref")]
    result = CliRunner().invoke(main, ["eval", *folders, "-m", "dice"])
    assert result.exit_code == 1
    text = " ".join(result.output.split())
    assert "saved without the geometry of its image?" in text
    assert "predictions differ from their references in spacing in 2 of 2 cases" in text


def test_labels_that_pair_by_name_are_told_by_name():
    swapped = renumbered(scene(), {60: 61, 61: 60})
    counts = [("left", Counts(0, 1, 1, 0))]
    signs = signs_of(image(swapped), image(scene()), None, counts, {60: "left", 61: "right"})
    assert [sign["labels"] for sign in signs] == [["left", "right"], ["right", "left"]]
    (finding,) = findings([CaseResult(Pair("a", None, None), signs=signs)], EvalPlan(()))
    assert finding.sentence.startswith("left and right look exchanged in 1 of 1 case:")
    assert "--remap" not in finding.sentence


def test_structures_agree_on_a_place():
    (sign,) = seen(np.flip(worn(scene()), 1), scene())
    other = {**sign, "dice": [0.2, 0.8], "sure": False}
    (found,) = most_common([(sign,), (other,), ()])
    assert (found["axes"], found["sure"]) == ([1], False)
    assert found["dice"][0] == pytest.approx((sign["dice"][0] + 0.2) / 2)
    assert most_common([(sign,), ()]) == ()
