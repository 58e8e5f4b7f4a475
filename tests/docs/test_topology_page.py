"""What the page on thin, small and many structures shows runs as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor

from medloss.integrations.nnunet import TargetsOfNnunet, loss_of_dataset
from medloss.integrations.nnunet_file import write_trainer

DOCS = Path(__file__).parents[2] / "docs"


def blocks(language: str, page: str = "topology.md") -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def thin_label() -> MetaTensor:
    label = torch.zeros(1, 12, 12, 20, dtype=torch.int64)
    label[:, 2:5, 3:6] = 1
    label[:, 8:10, 8:10, :9] = 2
    return MetaTensor(label, affine=torch.diag(torch.tensor([1.0, 1, 2, 1])))


def test_python_examples_give_losses_that_train() -> None:
    names: dict[str, Any] = {}
    for code in blocks("python"):
        exec(code, names)
    z = torch.randn(1, 3, 12, 12, 20, requires_grad=True)
    for name in ("loss", "cells", "preset", "loss_in_mm"):
        value = names[name](z, {"label": thin_label()[None], "spacing_mm": (1.0, 1.0, 2.0)})
        value.backward()
        assert value.isfinite()


def test_the_bundle_config_trains_on_skeletons() -> None:
    """From the label through transforms, crop and prepare_batch to a gradient."""
    first, second = blocks("json")
    config = json.loads(f"{{{first}}}")
    config["transforms"].insert(1, json.loads(second))
    crop = config["transforms"][2]
    crop["keys"].append("components")
    crop["spatial_size"] = [8, 8, 16]
    parser = ConfigParser(config)
    parser.parse()
    item: Any = {"image": torch.randn(1, 12, 12, 20), "label": thin_label()}
    for transform in parser.get_parsed_content("transforms"):
        item = transform(item)
    crop_of_volume = item[0]
    batch = {key: crop_of_volume[key][None] for key in ("image", "label", "skeleton", "components")}
    image, target = parser.get_parsed_content("trainer")["prepare_batch"](batch)
    assert target["skeleton"].dtype == torch.uint8
    logits = torch.cat([image, -image, 2 * image], 1).as_subclass(torch.Tensor).requires_grad_()
    loss = parser.get_parsed_content("loss")
    loss(logits, target).backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert list(loss.breakdown()) == ["dice", "cross_entropy", "skeleton_recall"]
    assert loss.breakdown()["skeleton_recall"].value > 0


def test_examples_of_the_worst_neighbour_train() -> None:
    names: dict[str, Any] = {}
    for code in blocks("python", "same-class-neighbours.md"):
        exec(code, names)
    (block,) = blocks("json", "same-class-neighbours.md")
    parser = ConfigParser(json.loads(f"{{{block}}}"))
    names["in_a_bundle"] = parser.get_parsed_content("loss")
    z = torch.randn(1, 3, 12, 12, 20, requires_grad=True)
    label = thin_label().as_tensor()[None]
    found = [names[name](z, label) for name in ("loss", "around_monai", "thick_slices", "both")]
    found.append(names["in_a_bundle"](z, label))
    for value in found:
        assert value > 0
        (slope,) = torch.autograd.grad(value, z)
        assert slope.isfinite().all()


@pytest.mark.parametrize("regions", [False, True])
@pytest.mark.parametrize("name", ["blob", "cc_dice_ce", "dice_cl_dice"])
def test_in_nnunet_objects_are_looked_for_in_each_patch(name: str, regions: bool) -> None:
    loss = loss_of_dataset({"name": name}, regions=regions, ignore_label=None, batch_dice=True)
    called = TargetsOfNnunet(loss, spacing_mm=(1.0, 1.0, 2.0), patch_size=(12, 12, 20))
    label: torch.Tensor = thin_label().as_tensor()[None]
    target = torch.cat([label > 0, label == 2], 1) if regions else label
    z = torch.randn(1, 2 if regions else 3, 12, 12, 20, requires_grad=True)
    called(z, target.float()).backward()
    assert z.grad is not None
    assert z.grad.any()


def test_nnunet_has_no_place_for_skeletons(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="skeleton_recall needs skeleton, which nnU-Net lacks"):
        write_trainer({"name": "skeleton_recall"}, tmp_path)
