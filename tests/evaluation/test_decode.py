"""``medloss eval --decode``: labels of probabilities by more than the likeliest class."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import medloss
from medloss.cli import main
from medloss.decision import best_cut, dice_cuts, read_thresholds
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.thresholds import ClassInCase, Tried
from medloss.scoring import EmptyPolicy

SHAPE = (9, 8, 7)
NAMES = ("a", "b", "c", "d")


def chances(seed, classes=3, sharp=1.5):
    """Probabilities that know something of the truth, and say too little of the classes."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, SHAPE) * (rng.random(SHAPE) < 0.5)
    values = rng.standard_normal((*SHAPE, classes)) + sharp * (
        truth[..., None] == np.arange(classes)
    )
    values[..., 0] += 1.5
    p = np.exp(values)
    return (p / p.sum(-1, keepdims=True)).astype(np.float32), truth.astype(np.uint8)


@pytest.fixture
def cases(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = {name: chances(seed) for seed, name in enumerate(NAMES)}
    for name, (p, truth) in made.items():
        save(f"p/{name}.nii.gz", p)
        save(f"r/{name}.nii.gz", truth)
    return made


def run(*words, code=0, command="eval"):
    result = CliRunner().invoke(main, [command, *map(str, words)], terminal_width=300)
    assert result.exit_code == code, result.output
    return result.output


def values(path="out.json", metric="dice"):
    content = json.loads(Path(path).read_text())
    return {
        (case["case"], str(row["label"])): row["value"]
        for case in content["cases"]
        for row in case.get("results", ())
        if row["metric"] == metric
    }


def dice(labels, truth, label):
    one, other = labels == label, truth == label
    return 2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other))


def by_hand(cases, decide):
    return {
        (name, str(label)): pytest.approx(dice(decide(p), truth, label))
        for name, (p, truth) in cases.items()
        for label in (1, 2)
    }


def planes(p):
    return [p[..., n] for n in range(p.shape[-1])]


def test_each_decoding_is_what_it_says(cases):
    Path("t.json").write_text('{"thresholds": [0, 0.3, 0.45]}')
    ways = {
        "argmax": lambda p: p.argmax(-1),
        "dice": lambda p: dice_cuts(planes(p), exclusive=True).labels(planes(p)),
        "t.json": lambda p: np.where(
            (p[..., 1:] / [0.3, 0.45]).max(-1) >= 1, (p[..., 1:] / [0.3, 0.45]).argmax(-1) + 1, 0
        ),
    }
    found = {}
    for asked, decide in ways.items():
        said = run("p", "r", "-m", "dice", "--decode", asked, "--json", "out.json", "--force")
        assert "Labels were decided by" in said
        found[asked] = values()
        assert found[asked] == by_hand(cases, decide)
    run("p", "r", "-m", "dice", "--json", "out.json", "--force")
    assert values() == found["argmax"]
    assert found["dice"] != found["argmax"]
    python = medloss.evaluate("p", "r", metrics="dice", decode={"thresholds": [0, 0.3, 0.45]})
    assert python.mean("dice", 1) == pytest.approx(
        np.mean([found["t.json"][name, "1"] for name in NAMES])
    )
    arrays = medloss.evaluate(
        [p for p, _ in cases.values()],
        [truth for _, truth in cases.values()],
        axes="xyzc",
        metrics="dice",
        decode="dice",
        spacing_mm=1,
    )
    assert arrays.mean("dice", 2) == pytest.approx(
        np.mean([found["dice"][name, "2"] for name in NAMES])
    )


def test_options_profiles_and_what_is_told(cases):
    run("p", "r", "-m", "dice", "--decode", "dice:least_chance=0.2", "--output", "o")
    settings = json.loads(Path("o/summary.json").read_text())["settings"]
    assert settings["inputs"]["decode"] == {"kind": "dice", "method": "auto", "least_chance": 0.2}
    assert "--decode dice:least_chance=0.2" in settings["command"]
    for name in ("methods.md", "report.html"):
        assert "nowhere as probable as 0.2 is left out" in Path("o", name).read_text()
    assert "No picture" not in Path("o/report.html").read_text()
    profile = {
        "name": "mine",
        "summary": "Decided by thresholds.",
        "inputs": {"decode": {"thresholds": [0, 0.3, 0.3]}},
        "metrics": ["dice"],
    }
    Path("mine.json").write_text(json.dumps(profile))
    run("p", "r", "--profile", "mine.json", "--json", "out.json")
    with_profile = values()
    run("p", "r", "-m", "dice", "--decode", "mine.json", code=2)  # which holds no thresholds
    Path("t.json").write_text('{"thresholds": [0, 0.3, 0.3]}')
    run("p", "r", "-m", "dice", "--decode", "t.json", "--json", "out.json", "--force")
    assert values() == with_profile
    said = run("p", "r", "--profile", "mine.json", "--decode", "dice", code=2)
    assert "--decode: the profile mine says thresholds=" in said
    plain = json.loads(Path("mine.json").read_text()) | {"inputs": {}}
    a, b = (medloss.evaluate("p", "r", profile=each).table for each in (profile, plain))
    assert a.settings["profile"]["sha256"] != b.settings["profile"]["sha256"]


def test_a_journal_goes_on_with_the_same_decoding_only(cases):
    run("p", "r", "-m", "dice", "--decode", "dice", "--output", "o", "--no-report")
    first = values("o/summary.json")
    assert "4 of 4 cases were scored before" in run(
        *("p", "r", "-m", "dice", "--decode", "dice", "--output", "o", "--no-report", "--resume")
    )
    assert (
        values("o/summary.json")
        == first
        == by_hand(cases, lambda p: dice_cuts(planes(p), exclusive=True).labels(planes(p)))
    )
    run("p", "r", "-m", "dice", "--output", "plain", "--no-report")
    assert "plain" in run("plain", "o", command="compare")  # two ways of one model
    again = ("p", "r", "-m", "dice", "--output", "o", "--no-report", "--resume")
    assert "inputs" in run(*again, "--decode", "argmax", code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--decode", "best"], "expected argmax, dice or a .json file of thresholds, got 'best'"),
        (["--decode", "dice:pruning=1"], "dice has no option 'pruning'"),
        (["--decode", "argmax:least_chance=0"], "argmax has no option"),
        (["--decode", "dice:least_chance=2"], "least_chance: expected 0 to 1, got 2"),
        (["--decode", "dice:least_chance=x"], "least_chance: expected 0 to 1, got 'x'"),
        (["--decode", "none.json"], "none.json cannot be read"),
        (["--decode", "dice", "--threshold", "0.5"], "drop one of them"),
        (["--decode", "dice", "--instances", "--labels", "1"], "--instances takes labels as they"),
    ],
)
def test_wrong_commands(cases, words, said):
    assert said in " ".join(run("p", "r", *words, code=2).split())


def test_label_maps_and_other_channels_are_refused_case_by_case(cases, save):
    save("p/b.nii.gz", cases["b"][1])
    said = run("p", "r", "-m", "dice", "--decode", "dice", code=1)
    assert "3 of 4 cases scored" in said
    assert "holds labels, which are decided already; --decode needs probabilities" in said
    Path("t.json").write_text('{"thresholds": [0, 0.3]}')
    said = run("p", "r", "-m", "dice", "--decode", "t.json", code=1)
    assert "t.json has thresholds for 2 channels, and there are 3" in said
    for side in ("r", "p"):
        save(f"{side}/b.nii.gz", cases["b"][1])
    with pytest.raises(ValueError, match="decode needs probabilities"):
        medloss.evaluate("r", "r", metrics="dice", decode="argmax")


def test_channels_of_their_own_fractions_and_regions(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(5)
    p = rng.random((*SHAPE, 2)).astype(np.float32) ** 3
    truth = (p > rng.random(p.shape) ** 2).astype(np.uint8)
    save("p/a.nii.gz", p)
    save("r/a.nii.gz", truth)
    words = ("-m", "dice", "--json", "out.json", "--force", "--channels", "independent")
    run("p", "r", *words, "--decode", "dice")
    masks = [p[..., n] >= best_cut(p[..., n], least_chance=0.1).threshold for n in (0, 1)]
    wanted = {("a", str(n + 1)): pytest.approx(dice(masks[n], truth[..., n], 1)) for n in (0, 1)}
    assert values() == wanted
    assert "no likeliest one" in run("p", "r", *words, "--decode", "argmax", code=1)
    whole = truth[..., 0] | truth[..., 1] * 2  # channels of regions, labels of the other side
    save("q/a.nii.gz", np.where(whole == 3, 1, whole).astype(np.uint8))
    run("p", "q", *words, "--decode", "dice", "--labels", "core=1,whole=1+2")
    assert values()["a", "whole"] == pytest.approx(dice(masks[1], (whole > 0).astype(np.uint8), 1))
    # A map of fractions without an axis of classes is one class.
    save("p/a.nii.gz", p[..., 0])
    save("r/a.nii.gz", truth[..., 0])
    run("p", "r", *words[:4], "--force", "--decode", "dice")
    assert values() == {("a", "1"): wanted["a", "1"]}
    save("r/a.nii.gz", p[..., 0])  # of a reference nobody decides
    assert "--threshold 0.5" in run("p", "r", *words[:2], "--decode", "dice", code=1)


def test_structures_labels_that_change_and_metrics_of_probabilities(cases, save):
    for name, (p, truth) in cases.items():
        save(f"s/{name}/one.nii.gz", p[..., 1])
        save(f"t/{name}/one.nii.gz", (truth == 1).astype(np.uint8))
    layout = ("--layout", "{case}/{label}.nii.gz", "-m", "dice", "--json", "out.json", "--force")
    run("s", "t", *layout, "--decode", "dice")
    alone = {name: best_cut(p[..., 1]).threshold for name, (p, _) in cases.items()}
    assert values() == {
        (name, "one"): pytest.approx(dice(p[..., 1] >= alone[name], truth == 1, 1))
        for name, (p, truth) in cases.items()
    }
    swap = ("--remap-prediction", "1=2,2=1", "--remap-reference", "1=2,2=1")
    for more in ((), swap):
        run("p", "r", "-m", "dice", "--decode", "dice", "--json", "out.json", "--force", *more)
        found = values()
        if not more:
            plain = found
    assert found == {(name, str(3 - int(label))): x for (name, label), x in plain.items()}
    both = ("-m", "dice", "-m", "brier_score", "--json", "out.json", "--force")
    run("p", "r", *both, "--decode", "dice")
    decided = values(metric="brier_score")
    assert values() == plain
    run("p", "r", *both)
    assert values(metric="brier_score") == decided  # probabilities stay what they are


def test_the_command_finds_thresholds_and_what_they_gain_elsewhere(cases):
    said = run("p", "r", "--output", "t.json", "--folds", 4, command="thresholds")
    assert "Wrote t.json" in said
    found = read_thresholds(Path("t.json"))
    content, grid = found.content, [0.001, 0.002, 0.005, *(n / 100 for n in range(1, 100))]

    def best(names, label):
        means = [
            np.mean([
                dice(cases[name][0][..., label] >= np.float32(t), cases[name][1] == label, 1)
                for name in names
            ])
            for t in grid
        ]  # fmt: skip
        top = [t for t, mean in zip(grid, means, strict=True) if mean >= max(means) - 1e-12]
        return min(top, key=lambda t: abs(t - 0.5))

    assert found.thresholds == (0.0, best(NAMES, 1), best(NAMES, 2))
    gains = []
    for name in NAMES:
        own = [best([other for other in NAMES if other != name], label) for label in (1, 2)]
        p, truth = cases[name]
        ratio = p[..., 1:] / np.array(own)
        labels = np.where(ratio.max(-1) >= 1, ratio.argmax(-1) + 1, 0)
        gains.append([dice(labels, truth, n) - dice(p.argmax(-1), truth, n) for n in (1, 2)])
    told = {row["label"]: row for row in content["out_of_sample"]}
    for n in (1, 2):
        assert told[n]["gain"] == pytest.approx(np.mean(np.array(gains)[:, n - 1]))
        assert told[n]["low"] < told[n]["gain"] < told[n]["high"]
    assert content["cases"] == 4
    assert content["case_names"] == [*NAMES]
    row = content["labels"][0]
    assert row["low"] <= row["threshold"] <= row["high"]
    assert row["present"] == 4
    said = run("p", "r", "-m", "dice", "--decode", "t.json", "--json", "out.json")
    assert "found on 4 of these cases, which flatters them: a, b, c, ..." in said
    with pytest.warns(UserWarning, match="found on 4 of these cases"):
        medloss.evaluate("p", "r", metrics="dice", decode=Path("t.json"))
    words = ("p", "r", "-m", "dice", "--decode", "t.json", "--channels", "independent")
    assert "thresholds for exclusive channels, and these are independent" in run(*words, code=1)
    assert np.mean([v for (_, label), v in values().items() if label == "1"]) > 0
    said = run("p", "r", "--output", "t.json", code=2, command="thresholds")
    assert "exists" in said


def test_a_metric_of_surfaces_refines_its_grid(cases):
    words = ("p", "r", "--output", "t.json", "--folds", 0, "-m", "hausdorff95", "--labels", "1")
    said = run(*words, command="thresholds")
    assert "Gain" not in said
    content = read_thresholds(Path("t.json")).content
    row = content["labels"][0]
    assert content["thresholds"] == [0.0, row["threshold"], 0.5]  # nobody asked for class 2
    assert content["out_of_sample"] == []
    assert row["tried"] > 11
    metric = choose_metric(parse_request("hausdorff95"))

    def mean(t):
        return np.mean([
            ClassInCase(p[..., 1], truth == 1, (1, 1, 1)).values(
                [t], metric, EmptyPolicy(), "deepmind"
            )
            for p, truth in cases.values()
        ])  # fmt: skip

    assert row["value"] == pytest.approx(mean(row["threshold"]))
    assert row["value"] <= min(map(mean, (0.1, 0.2, 0.3, 0.5, 0.9)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-m", "auroc"], "auroc is of probabilities, which no threshold changes"),
        (["--decode", "dice"], "No such option"),
        (["--labels", "1", "--instances"], "holds probabilities and no objects"),
        (["--labels", "1,2,3"], "no case can be used: a: "),
        (["--labels", "both=1+2"], "has no channel for both"),
    ],
)
def test_what_has_no_threshold(cases, words, said):
    assert said in run("p", "r", "--output", "t.json", *words, code=2, command="thresholds")


def test_cases_without_probabilities_or_a_class(cases, save):
    save("p/a.nii.gz", cases["a"][1])
    said = run("p", "r", "--output", "t.json", code=1, command="thresholds")
    assert "not used: a: " in said
    assert read_thresholds(Path("t.json")).content["cases"] == 3
    for name, (_, truth) in cases.items():
        save(f"r/{name}.nii.gz", (truth == 1).astype(np.uint8))
    said = run("p", "r", "--output", "u.json", code=2, command="thresholds")
    assert "no reference has the label 2" in said


def test_counts_at_thresholds_are_those_of_the_masks():
    rng = np.random.default_rng(2)
    p = rng.integers(0, 11, (6, 7)).astype(np.float32) / 10
    truth, ignored = rng.random((6, 7)) < 0.4, rng.random((6, 7)) < 0.2
    here = ClassInCase(p, truth, (1.0, 2.0), ignored)
    thresholds = [0.1, 0.3, 0.35, 0.9, 0.99]
    for name in ("dice", "specificity", "volume_similarity"):
        metric = choose_metric(parse_request(name))
        fast = here.values(thresholds, metric, EmptyPolicy(), "deepmind")
        cut = [p[~ignored] >= np.float32(t) for t in thresholds]
        alone = [
            ClassInCase(mask.astype(float)[None], truth[~ignored][None]).values(
                [0.5], metric, EmptyPolicy(), "deepmind"
            )[0]
            for mask in cut
        ]
        np.testing.assert_allclose(fast, alone)
    by_masks = [dice(mask, truth[~ignored], True) for mask in cut]
    metric = choose_metric(parse_request("dice"))
    np.testing.assert_allclose(here.values(thresholds, metric, EmptyPolicy(), "d"), by_masks)


def test_of_equal_thresholds_that_nearest_to_one_half():
    tried = Tried(1, 1, True, {0.1: [1, 1], 0.4: [1, 1], 0.9: [1, 1], 0.95: [0, 1]}, [True, True])
    assert tried.best() == 0.4
    assert Tried(1, 1, False, tried.values, [True, True]).best() == 0.95
    nowhere = Tried(1, 1, True, {0.2: [np.nan], 0.5: [np.nan]}, [False])
    assert nowhere.best() == 0.5
    infinite = Tried(1, 1, False, {0.2: [2.0, 3.0], 0.5: [1.0, np.inf]}, [True, True])
    assert infinite.best() == 0.2
    assert infinite.best(np.array([1, 0])) == 0.5


def test_a_prediction_is_decided_on_its_own_grid(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    p, truth = chances(7)
    save("p/a.nii.gz", p, (2, 2, 2))
    fine = truth.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = -0.5
    save("r/a.nii.gz", fine, affine)
    run("p", "r", "-m", "dice", "--decode", "dice", "--resample", "--json", "out.json")
    own = dice_cuts(planes(p), exclusive=True).labels(planes(p))
    coarse = {("a", str(n)): pytest.approx(dice(own, truth, n)) for n in (1, 2)}
    assert values() == coarse


def test_probabilities_of_nnunet(save, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    p, truth = chances(8)
    save("p/a.nii.gz", p.argmax(-1).astype(np.uint8))
    save("r/a.nii.gz", truth)
    np.savez_compressed(tmp_path / "p" / "a.npz", probabilities=p.transpose(3, 2, 1, 0))
    words = ("p", "r", "-m", "dice", "--decode", "dice", "--json", "out.json", "--force")
    run(*words, "--probabilities")
    own = dice_cuts(planes(p), exclusive=True).labels(planes(p))
    assert values() == {("a", str(n)): pytest.approx(dice(own, truth, n)) for n in (1, 2)}
    assert "--probabilities" in run(*words, code=1)
