"""What --losses and --losses-file ask for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import medloss
from medloss.offers.host import PluginError
from medloss.workbench.study.runs import StudyLoss, check_names, parse_losses, read_losses


def names(text: str) -> list[str]:
    return [loss.name for loss in parse_losses(text)]


def test_options_stay_with_their_loss() -> None:
    text = "dice_ce,tversky:fp_weight=0.3,fn_weight=0.7,focal:gamma=1.5"
    assert names(text) == ["dice_ce", "tversky[fp_weight=0.3,fn_weight=0.7]", "focal[gamma=1.5]"]
    block = parse_losses(text)[1].block
    assert (block["fp_weight"], block["fn_weight"], block["softmax"]) == (0.3, 0.7, True)


def test_the_activation_is_the_bundles() -> None:
    (loss,) = parse_losses("dice", activation="sigmoid")
    assert loss.block == {"_target_": "medloss.loss", "name": "dice", "sigmoid": True}


def test_a_loss_that_cannot_train_alone_is_added_and_named_so() -> None:
    (loss,) = parse_losses("boundary")
    assert loss.name == "dice_ce+0.1*boundary"
    assert "cannot train alone" in loss.note
    built = medloss.loss(**{k: v for k, v in loss.block.items() if k != "_target_"})
    assert [term["name"] for term in built.terms] == ["dice_ce", "boundary"]
    assert built.weights == [1.0, 0.1]


def test_terms_are_joined_by_plus() -> None:
    (loss,) = parse_losses("dice+0.5*focal:gamma=1e+0")
    assert loss.block["weights"] == [1.0, 0.5]
    assert loss.block["terms"] == [{"name": "dice"}, {"name": "focal", "gamma": 1.0}]


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(PluginError, match="tversky"):
        parse_losses("tverski")


@pytest.mark.parametrize("text", ["dice,,focal", "gamma=2", "dice+", ""])
def test_text_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"missing|option|expected a name"):
        parse_losses(text)


def test_two_losses_of_one_folder_are_refused() -> None:
    with pytest.raises(ValueError, match="told apart"):
        check_names([*parse_losses("dice"), StudyLoss("dice!", {})])


def test_a_file_names_its_losses_and_may_train_anything_alone(tmp_path: Path) -> None:
    file = tmp_path / "losses.json"
    block = {"_target_": "torch.nn.CrossEntropyLoss"}
    file.write_text(json.dumps({"only boundary": "boundary", "ce": block}))
    found = read_losses(file)
    assert [loss.name for loss in found] == ["only boundary", "ce"]
    assert found[0].block["name"] == "boundary"
    assert found[1].block == block
    yaml = tmp_path / "losses.yaml"
    yaml.write_text("only boundary: boundary\nce: {_target_: torch.nn.CrossEntropyLoss}\n")
    assert read_losses(yaml) == found


def test_a_file_of_another_form_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "losses.json"
    file.write_text('{"a": 3}')
    with pytest.raises(ValueError, match="expected text or a mapping with _target_, got 3"):
        read_losses(file)
    file.write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        read_losses(file)
