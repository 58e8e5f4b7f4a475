"""MONAI's post transforms that decide labels, in a Compose, a bundle and an evaluator."""

from __future__ import annotations

import ast
import json
import re
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from integrations.bundle_folder import Folder, write_bundle
from monai.bundle import ConfigParser
from monai.data import MetaTensor, decollate_batch
from monai.engines import SupervisedEvaluator
from monai.transforms import (
    Activationsd,
    AsDiscreted,
    Compose,
    Flipd,
    Invertd,
    KeepLargestConnectedComponentd,
)

from medloss.cli.eval import eval_command
from medloss.decision import Decoding, dice_cuts, read_thresholds
from medloss.integrations.bundle.postprocessing import read_postprocessing
from medloss.integrations.decision import (
    AsDiscreteByThresholds,
    AsDiscreteByThresholdsd,
    DiceOptimal,
    DiceOptimald,
    FindThresholds,
)

STEP = "medloss.integrations.decision."


@pytest.fixture
def logits() -> torch.Tensor:
    return 2 * torch.randn(3, 6, 5, 4, generator=torch.Generator().manual_seed(1))


def by_hand(p: torch.Tensor) -> np.ndarray:
    channels = list(p.numpy())
    return dice_cuts(channels, exclusive=True).labels(channels)


@pytest.mark.parametrize("shape", [(40,), (7, 9), (5, 6, 4)])
def test_it_takes_what_monai_gives_and_gives_what_monai_would(shape):
    p = torch.randn(3, *shape, generator=torch.Generator().manual_seed(2)).softmax(0)
    wanted = by_hand(p)
    affine = torch.diag(torch.tensor([2.0, 1, 3, 1]))
    tensor, array, meta = (DiceOptimal()(x) for x in (p, p.numpy(), MetaTensor(p, affine=affine)))
    assert tensor.dtype == torch.float32
    assert tensor.shape == (1, *shape)
    np.testing.assert_array_equal(tensor[0], wanted)
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array[0], wanted)
    assert torch.equal(meta.affine, affine.to(meta.affine))
    onehot = DiceOptimal(to_onehot=3)(p)
    np.testing.assert_array_equal(onehot.argmax(0), wanted)
    assert onehot.sum(0).eq(1).all()
    assert DiceOptimal()(p.double()).dtype == torch.float32
    half = DiceOptimal()(p.bfloat16())
    np.testing.assert_array_equal(half[0], by_hand(p.bfloat16().float()))


def test_independent_channels_and_one_channel(logits):
    p = logits.sigmoid()
    found = DiceOptimal(channels="independent")(p)
    for n in range(3):
        assert torch.equal(found[n : n + 1], DiceOptimal()(p[n : n + 1]))
    two = AsDiscreteByThresholds([0.2, 0.5, 0.7], channels="independent")(p)
    assert torch.equal(two.bool(), p >= torch.tensor([0.2, 0.5, 0.7])[:, None, None, None])


def test_in_a_compose_behind_an_inverted_transform(logits):
    """In the place of AsDiscreted, with whatever comes after it."""
    flip = Compose([Flipd("image", spatial_axis=0)])
    image = MetaTensor(torch.rand(1, 6, 5, 4), affine=torch.eye(4))
    item = flip({"image": image})
    item["pred"] = MetaTensor(logits, meta=item["image"].meta)
    steps = [
        Activationsd("pred", softmax=True),
        Invertd("pred", transform=flip, orig_keys="image", nearest_interp=False),
        DiceOptimald("pred"),
        KeepLargestConnectedComponentd("pred", applied_labels=[1]),
    ]
    found = Compose(steps[:3])(dict(item))["pred"]
    np.testing.assert_array_equal(found[0], by_hand(logits.flip(1).softmax(0)))
    kept = Compose(steps)(dict(item))["pred"]
    assert kept.shape == found.shape
    assert torch.equal(kept.affine, found.affine)
    certain = torch.nn.functional.one_hot(logits.argmax(0), 3).movedim(-1, 0).float()
    likeliest = AsDiscreted("pred", argmax=True)({"pred": certain})["pred"]
    assert torch.equal(DiceOptimald("pred")({"pred": certain})["pred"], likeliest)


def test_items_of_a_batch_are_decided_by_themselves():
    p = torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(3)).mul(3).softmax(1)
    items = [DiceOptimald("pred")(each) for each in decollate_batch({"pred": p})]
    for item, each in zip(items, p, strict=True):
        np.testing.assert_array_equal(item["pred"][0], by_hand(each))


def test_a_mask_says_which_voxels_count(logits):
    logits[0, 3:] += 3  # elsewhere there is little of the others
    p = logits.softmax(0)
    mask = torch.zeros(1, 6, 5, 4)
    mask[:, :3] = 1
    found = DiceOptimald("pred", mask_key="mask")({"pred": p, "mask": mask})["pred"]
    inside = DiceOptimal()(p[:, :3])
    assert torch.equal(found[:, :3], inside)
    assert not torch.equal(found, DiceOptimal()(p))
    with pytest.raises(ValueError, match="mask: expected"):
        DiceOptimal()(p, mask[:, :3])


def test_wrong_inputs(logits, tmp_path):
    with pytest.raises(ValueError, match="pred: img: expected probabilities, which Activations"):
        DiceOptimald("pred")({"pred": logits})
    with pytest.raises(ValueError, match="got values from nan to nan"):
        DiceOptimal()(torch.full((2, 3), torch.nan))
    with pytest.raises(ValueError, match="expected \\(C, \\*spatial\\)"):
        DiceOptimal()(torch.rand(3))
    with pytest.raises(ValueError, match="channels: expected exclusive or independent"):
        DiceOptimal(channels="both")
    with pytest.raises(ValueError, match="to_onehot"):
        DiceOptimal(channels="independent", to_onehot=3)
    with pytest.raises(ValueError, match="least_chance"):
        DiceOptimald("pred", least_chance=2)
    with pytest.raises(ValueError, match="thresholds for 2 channels, and there are 3"):
        AsDiscreteByThresholdsd("pred", [0, 0.5])({"pred": logits.softmax(0)})
    with pytest.raises(ValueError, match=r"none\.json cannot be read"):
        AsDiscreteByThresholdsd("pred", tmp_path / "none.json")
    with pytest.raises(KeyError):
        DiceOptimald("pred")({})
    assert DiceOptimald("pred", allow_missing_keys=True)({}) == {}


def test_thresholds_are_found_while_an_evaluator_runs(tmp_path):
    """One object among the transforms and the handlers; the file is what the command writes."""
    rng, data = np.random.default_rng(0), []
    for _ in range(3):
        truth = rng.integers(0, 2, (1, 6, 5, 4))
        logit = 1.2 * truth - 1.5 + rng.standard_normal(truth.shape)
        data.append({"image": torch.tensor(logit).float(), "label": torch.tensor(truth)})
    path = tmp_path / "t.json"
    find = FindThresholds("pred", "label", path)
    steps = [Activationsd("pred", softmax=True), find, AsDiscreted("pred", argmax=True)]
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=torch.utils.data.DataLoader(data),
        network=torch.nn.Identity(),
        inferer=lambda inputs, network: torch.cat([0 * inputs, inputs], 1),
        postprocessing=Compose(steps),
        val_handlers=[find],
    )
    for _ in range(2):  # each run begins anew
        evaluator.run()
    found = read_thresholds(path)
    assert found.content["cases"] == 3
    assert found.content["labels"][0]["present"] == 3

    def mean(threshold):
        each = []
        for item in data:
            mask, truth = item["image"].sigmoid() >= threshold, item["label"] == 1
            each.append(float(2 * (mask & truth).sum() / (mask.sum() + truth.sum())))
        return np.mean(each)

    grid = [n / 100 for n in range(1, 100)]
    assert mean(found.thresholds[1]) == pytest.approx(max(map(mean, grid)))
    assert mean(found.thresholds[1]) > mean(0.5)
    decided = AsDiscreteByThresholdsd("pred", path)
    p = data[0]["image"].sigmoid()
    made = decided({"pred": torch.cat([1 - p, p])})["pred"]
    assert torch.equal(made.bool(), p >= found.thresholds[1])


def test_thresholds_of_channels_and_metrics_of_surfaces(tmp_path):
    rng = np.random.default_rng(1)
    path = tmp_path / "t.json"
    find = FindThresholds(
        *("pred", "label", path, "hausdorff95"), channels="independent", spacing_mm=1.5
    )
    for _ in range(2):
        truth = torch.tensor(rng.random((2, 6, 5, 4)) < 0.4)
        p = torch.tensor(rng.random((2, 6, 5, 4))) * 0.5 + 0.5 * truth
        find({"pred": p, "label": truth.float()})
    assert len(find.write()) == 2
    labels = read_thresholds(path).content["labels"]
    assert [(row["label"], row["channel"]) for row in labels] == [(1, 0), (2, 1)]
    with pytest.raises(ValueError, match="expected the channels of other items"):
        find({"pred": p[:1], "label": truth[:1]})
    with pytest.raises(ValueError, match="label: expected 1 or 2 channels"):
        find({"pred": p, "label": truth[:, :3]})
    with pytest.raises(ValueError, match="no threshold changes"):
        FindThresholds("pred", "label", path, "auroc")
    with pytest.raises(ValueError, match="got none"):
        FindThresholds("pred", "label", path).write()
    empty = FindThresholds("pred", "label", path, ignore_label=2)
    empty({"pred": p, "label": 2 * truth[:1]})
    with pytest.raises(ValueError, match="expected the label 1 in some item"):
        empty.write()


def test_ranks_find_the_thresholds_of_all_items(tmp_path, monkeypatch):
    rng = np.random.default_rng(4)
    items = []
    for _ in range(4):
        truth = torch.tensor(rng.integers(0, 2, (1, 5, 4)))
        p = torch.tensor(0.5 * rng.random(truth.shape) + 0.4 * truth.numpy())
        items.append({"pred": torch.cat([1 - p, p]), "label": truth})
    whole = FindThresholds("pred", "label", tmp_path / "whole.json")
    ranks = [FindThresholds("pred", "label", tmp_path / f"{n}.json") for n in range(3)]
    for number, item in enumerate(items):
        whole(item)
        ranks[number % 2](item)  # the third has no item
    wanted = whole.write()

    def gather(found, _):
        found[:] = [rank.tried for rank in ranks]

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 3)
    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    for number, rank in enumerate(ranks):
        monkeypatch.setattr("torch.distributed.get_rank", lambda number=number: number)
        assert rank.write() == wanted
    assert [rank.path.exists() for rank in ranks] == [True, False, False]
    assert read_thresholds(ranks[0].path).content["cases"] == 4
    assert len(ranks[0].tried[0].present) == 2


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return write_bundle(tmp_path / "tiny")


def evaluate(*words: str, code: int = 0) -> str:
    command = ["--bundle", "tiny", "-m", "dice", "--output", "out", "--force", *words]
    result = CliRunner().invoke(eval_command, command)
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def predicted(name: str) -> np.ndarray:
    return np.asarray(nibabel.load(f"out/predictions/{name}.nii.gz").dataobj)


def test_a_bundle_decides_so_by_its_configuration_and_by_the_command(folder: Folder) -> None:
    wanted = {name: by_hand(p) for name, p in folder.monai(until=2).items()}
    evaluate("--no-report")
    plain = {name: predicted(name) for name in wanted}
    evaluate("--no-report", "--decode", "argmax")
    for name, labels in plain.items():
        np.testing.assert_array_equal(predicted(name), labels)
        assert predicted(name).dtype == labels.dtype
    said = evaluate("--decode", "dice:least_chance=0")
    assert "Labels were decided by the largest expected Dice" in said
    for name, labels in wanted.items():
        np.testing.assert_array_equal(predicted(name), labels)
    settings = json.loads(Path("out/summary.json").read_text())["settings"]
    assert settings["inputs"]["decode"]["kind"] == "dice"
    assert "No picture" not in Path("out/report.html").read_text()
    steps = [
        {"_target_": "Activationsd", "softmax": True},
        {
            "_target_": "Invertd",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
        },
    ]
    folder.postprocess(*steps, {"_target_": f"{STEP}DiceOptimald", "least_chance": 0})
    evaluate("--no-report")
    for name, labels in folder.monai().items():
        np.testing.assert_array_equal(predicted(name), labels[0])
        np.testing.assert_array_equal(predicted(name), wanted[name])
    by = {"_target_": f"{STEP}AsDiscreteByThresholdsd", "thresholds": [0, 0.3, 0.2]}
    folder.postprocess(*steps, by)
    evaluate("--no-report")
    for name, labels in folder.monai().items():
        np.testing.assert_array_equal(predicted(name), labels[0])
    folder.postprocess({"_target_": "AsDiscreted", "argmax": True})
    assert "--decode needs probabilities" in evaluate("--decode", "dice", code=2)


def test_what_a_bundle_cannot_be_read_with() -> None:
    for step, said in (
        (DiceOptimald("pred", mask_key="mask"), "with a mask_key"),
        (DiceOptimald(["pred", "other"]), "expected \\['pred'\\]"),
    ):
        with pytest.raises(ValueError, match=said):
            read_postprocessing(Path("b"), Compose([Activationsd("pred", softmax=True), step]))
    found = read_postprocessing(
        Path("b"),
        Compose([Activationsd("pred", sigmoid=True), DiceOptimald("pred", "independent")]),
    )
    assert (found.channels, found.decoding) == ("independent", Decoding(kind="dice"))


@pytest.mark.parametrize("name", ["brain_tissue_mr", "hippocampus_mr", "small_lesions_synthetic"])
def test_our_bundles_decide_so_by_an_override(name: str) -> None:
    """The entries that docs/decision.md changes are the ones that make labels."""
    root = Path(__file__).parents[2]
    page = (root / "docs" / "decision.md").read_text()
    own = {"bundle_root": str(root / "bundles" / name)}

    def configured(file: str, changes: dict[str, object]) -> ConfigParser:
        parser = ConfigParser()
        parser.read_config(str(root / "bundles" / name / "configs" / file))
        parser.update({**own, **changes})
        return parser

    block = re.search(r"--postprocessing#transforms#2 \"(.+)\"", page)
    assert block
    changes = {"postprocessing#transforms#2": ast.literal_eval(block[1])}
    inference = configured("inference.json", changes)
    found = read_postprocessing(root, inference.get_parsed_content("postprocessing"))
    assert found.decoding == Decoding(kind="dice")
    text = re.search(r"```json\n(.+?)```", page, re.DOTALL)
    assert text
    train = configured("train.json", json.loads(text[1]))
    steps = train.get_parsed_content("validate#evaluator#postprocessing").transforms
    assert isinstance(steps[2], FindThresholds)
    assert steps[2] is train.get_parsed_content("find_thresholds")
    assert isinstance(steps[3], AsDiscreted)
