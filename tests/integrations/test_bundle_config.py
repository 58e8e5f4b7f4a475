"""A bundle's configuration is read as MONAI reads it, and what is missing is noticed first."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser

from medloss.integrations.bundle.choice import bundle_to_predict, bundle_to_train
from medloss.integrations.bundle.config import read_bundle_config
from medloss.integrations.bundle.roles import unlike, weights_of
from medloss.runtime.config_text import parse_override, parse_overrides

FIRST: dict[str, Any] = {
    "bundle_root": ".",
    "train": {
        "steps": [{"_target_": "LoadImaged", "keys": "image"}, {"a": "@##first"}],
        "handlers": [1, 2],
        "first": 3,
    },
    "validate": {"steps": "%train#steps", "same": "%#first", "first": 5},
    "loss": {"_target_": "DiceLoss", "softmax": True},
    "first": 7,
}
SECOND: dict[str, Any] = {
    "+train#handlers": [3],
    "train::first": 4,
    "+loss": {"batch": True},
    "train#steps#0#keys": ["image", "label"],
    "new": {"b": 1},
}


def bundle(folder: Path, **configs: dict[str, Any]) -> Path:
    (folder / "configs").mkdir(parents=True)
    for name, content in configs.items():
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content))
    return folder


def test_files_are_joined_as_monai_joins_them(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b", first=FIRST, second=SECOND)
    overrides = {"first": 8, "loss#softmax": False, "train::handlers::1": 5}
    ours = read_bundle_config(folder, ["first", "second"], overrides)
    parser = ConfigParser()
    parser.read_config([str(file) for file in ours.files])
    parser.update({"bundle_root": str(folder), **overrides})
    parser.parse()
    theirs = json.loads(json.dumps(parser.get()).replace("::", "#"))
    theirs.pop("_meta_")
    assert json.loads(json.dumps(ours.content).replace("::", "#")) == theirs


VALUES = [
    ("/data", "/data"),
    ("1e-3", 1e-3),
    ("True", True),
    ("true", True),
    ("None", None),
    ("[32, 32]", [32, 32]),
    ("(32, 32)", [32, 32]),
    ("{'_target_': 'DiceLoss', 'softmax': True}", {"_target_": "DiceLoss", "softmax": True}),
    ('{"_target_": "DiceLoss", "softmax": true}', {"_target_": "DiceLoss", "softmax": True}),
    ("{'softmax': true}", {"softmax": True}),
    ("[image, label]", ["image", "label"]),
    ("$torch.device('cpu')", "$torch.device('cpu')"),
    ("$[{'image': i} for i in @train#cases]", "$[{'image': i} for i in @train#cases]"),
    ("@loss", "@loss"),
    ("cuda:0", "cuda:0"),
    ("007", "007"),
    ("'1'", "1"),
]


@pytest.mark.parametrize(("text", "value"), VALUES)
def test_a_value_is_read_as_monai_or_json_has_it(text: str, value: Any) -> None:
    name, found = parse_override(f"a#b={text}")
    assert (name, found) == ("a#b", value)
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    ["{'softmax': True", "[1, 2", "{'_target_': a.B}", "'open", "$1 +", "{'a': 1, 'a': 2}"],
)
def test_a_slip_is_no_text(text: str) -> None:
    with pytest.raises(ValueError, match="--override: a: "):
        parse_overrides([f"a={text}"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("loss=dice", r"loss: expected an object as in the configuration.*got the text 'dice'"),
        ("loss#softmax=yes", "expected true or false"),
        ("frist=3", "frist is no entry of the configuration; 'first' is meant"),
        ("loss#to#there=3", "is no entry of the configuration: no loss#to"),
        ("validate#steps#0=3", "validate#steps is '%train#steps'"),
    ],
)
def test_an_override_must_fit_what_is_there(tmp_path: Path, override: str, words: str) -> None:
    folder = bundle(tmp_path / "b", train=FIRST)
    with pytest.raises(ValueError, match=words):
        read_bundle_config(folder, ["train"], parse_overrides([override]))


def engine(**arguments: Any) -> dict[str, Any]:
    network = arguments.pop("network", {"_target_": "torch.nn.Conv3d"})
    target = arguments.pop("target", "SupervisedTrainer")
    trainer = {"_target_": target, "network": "@net", "loss_function": "@criterion", **arguments}
    trainer.setdefault("train_data_loader", "@loader")
    loader = {"_target_": "DataLoader", "dataset": {"_target_": "Dataset", "data": []}}
    return {
        "trainer": trainer,
        "net": network,
        "criterion": {"_target_": "DiceLoss"},
        "loader": loader,
    }


SEARCH = {"_target_": "DiNTS", "dints_space": {"_target_": "monai.networks.nets.TopologySearch"}}
CLICKS = {"_target_": "monai.apps.deepgrow.interaction.Interaction"}
UNLIKE: dict[str, tuple[dict[str, Any], str]] = {
    "detection": (engine(target="scripts.DetectionTrainer", detector="@net"), "finds boxes"),
    "a network of boxes": (
        engine(network={"_target_": "monai.apps.detection.networks.RetinaNet"}),
        "finds boxes",
    ),
    "clicks": (engine(iteration_update=CLICKS), "simulated clicks"),
    "own iteration": (engine(iteration_update="$my.step"), "iteration of its own"),
    "vista3d": (engine(target="scripts.trainer.Vista3dTrainer"), "prompted with classes or points"),
    "vista3d by its network": (
        engine(network="$monai.networks.nets.vista3d132(in_channels=1)"),
        "prompted with classes or points",
    ),
    "search": (engine(network=SEARCH), "searches for an architecture"),
    "search without a trainer": ({"network": SEARCH, "loss": {}}, "searches for an architecture"),
    "adversarial": (engine(target="GanTrainer", g_network="@net"), "against each other"),
    "not filled in": (
        engine(network={"_target_": "???"}),
        r"net#_target_ is still '\?\?\?', as init_bundle writes it",
    ),
    "a file of another": (
        {**engine(network={"_target_": "N", "a": "$torch.load(@p)['a']"}), "p": "no/such.pt"},
        r"net reads no/such\.pt, which does not exist",
    ),
    "two trainers": (
        {"a": {"_target_": "GTrainer"}, "b": {"_target_": "DTrainer"}},
        "several of Trainer: a, b",
    ),
    "no loss": (
        {"trainer": {"_target_": "SupervisedTrainer", "network": "@n"}, "n": {}},
        "nothing is the loss_function in train.json: its trainer trainer has none",
    ),
}


@pytest.mark.parametrize(("config", "words"), UNLIKE.values(), ids=UNLIKE)
def test_other_kinds_are_told_apart(tmp_path: Path, config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bundle_to_train(bundle(tmp_path / "b", train=config))


def test_what_is_read_only_if_it_is_there_is_not_missed(tmp_path: Path) -> None:
    load = "$torch.load(@p) if os.path.exists(@p) else None"
    config = {**engine(network={"_target_": "Net", "weights": load}), "p": "no/such.pt"}
    assert unlike(bundle_to_train(bundle(tmp_path / "b", train=config))) == ""


LOADER = {"_target_": "CheckpointLoader", "load_dict": {"net": "@network"}}
HEAD: dict[str, Any] = {
    "network": {"_target_": "torch.nn.Conv3d"},
    "dataset": {"_target_": "Dataset", "data": [], "transform": []},
    "big": False,
    "name": "$'big.pt' if @big else 'small.pt'",
}
WEIGHTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "none": ({}, "models/model.pt", ""),
    "a handler": (
        {"handlers": [{**LOADER, "load_path": "$@bundle_root + '/x/' + @name"}]},
        "x/small.pt",
        "net",
    ),
    "beside": ({"loader": {**LOADER, "load_path": "$@bundle_root + '/y.pt'"}}, "y.pt", "net"),
    "disabled where missing": (
        {
            "file": "$os.path.join(@bundle_root, 'z.pt')",
            "handlers": [
                {**LOADER, "_disabled_": "$not os.path.exists(@file)", "load_path": "@file"}
            ],
        },
        "z.pt",
        "net",
    ),
    "disabled": (
        {"handlers": [{**LOADER, "_disabled_": True, "load_path": "/no.pt"}]},
        "models/model.pt",
        "",
    ),
}


@pytest.mark.parametrize(("more", "path", "key"), WEIGHTS.values(), ids=WEIGHTS)
def test_weights_are_found_where_the_configuration_says(
    tmp_path: Path, more: dict[str, Any], path: str, key: str
) -> None:
    folder = bundle(tmp_path / "b", inference={**HEAD, **more})
    with pytest.raises(ValueError, match="does not exist; --checkpoint"):
        bundle_to_predict(folder)
    file = folder / path
    file.parent.mkdir(exist_ok=True)
    file.touch()
    found = weights_of(bundle_to_predict(folder))
    assert (found.path, found.key) == (file, key)


def test_what_is_missing_is_noticed_before_anything_heavy_is_imported(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b", train=engine(), inference=HEAD)
    code = f"""
import sys
from click.testing import CliRunner
from medloss.cli import main
for words in (
    ["check", "--bundle", "nowhere"],
    ["check", "--bundle", {str(folder)!r}, "--bundle-config", "tarin"],
    ["check", "--bundle", {str(folder)!r}, "--checkpoint", "no.pt"],
    ["check", "--bundle", {str(folder)!r}, "--override", "loss={{'a'"],
    ["study", {str(folder)!r}, "--bundle-config", "inference"],
    ["study", {str(folder)!r}, "--override", "xyz=1"],
    ["eval", "--bundle", {str(folder)!r}],
    ["eval", "--bundle", {str(folder)!r}, "--checkpoint", "no.pt"],
):
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 2, (words, done.output, done.exception)
    print(done.output.strip().splitlines()[-1])
heavy = {{"torch", "monai", "numba", "ignite"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no.pt does not exist" in done.stdout
    assert "it has inference, train" in done.stdout
