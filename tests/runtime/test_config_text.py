"""A key that stands twice is an error that names it, wherever a user wrote it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medloss.evaluation.inputs.labels import read_labels
from medloss.evaluation.inputs.manifest import read_manifest
from medloss.evaluation.outputs.results import FolderError, read_folder
from medloss.evaluation.requests import parse_request
from medloss.integrations.bundle.config import read_bundle_config
from medloss.integrations.nnunet_file import read_config
from medloss.runtime.config_text import (
    DuplicateKeyError,
    parse_file,
    parse_json,
    parse_override,
    parse_overrides,
    parse_yaml,
)
from medloss.workbench.bench.results import loads
from medloss.workbench.study.folder import StudyFolder
from medloss.workbench.study.runs import read_losses

TWICE = '{"core": 1, "inner": {"key_9": 1, "key_9": 2}}'


def test_what_is_no_repetition_is_read_as_ever() -> None:
    text = '{"a": {"x": 1}, "b": {"x": 1}, "c": [{"x": 1}, {"x": 1}]}'
    assert parse_json(text) == json.loads(text) == parse_yaml(text)
    assert parse_yaml("base: &b {x: 1}\nother: {<<: *b, y: 2}") == {
        "base": {"x": 1},
        "other": {"x": 1, "y": 2},
    }


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_a_key_that_stands_twice_is_named(parse: Callable[[str], Any]) -> None:
    with pytest.raises(DuplicateKeyError, match="the key 'key_9' stands twice") as caught:
        parse(TWICE)
    assert caught.value.key == "key_9"


def labels(path: Path) -> None:
    read_labels(path)


def manifest(path: Path) -> None:
    path.write_text(f"[{TWICE}]")
    read_manifest(path)


def folder(path: Path) -> None:
    path.rename(path.with_name("summary.json"))
    try:
        read_folder(path.parent)
    except FolderError as error:
        raise ValueError(str(error)) from error


def trainer(path: Path) -> None:
    read_config(str(path))


def trainer_text(_: Path) -> None:
    read_config(TWICE)


def losses(path: Path) -> None:
    read_losses(path)


def losses_yaml(path: Path) -> None:
    read_losses(path.rename(path.with_suffix(".yaml")))


def configuration(path: Path) -> None:
    (path.parent / "configs").mkdir()
    path.rename(path.parent / "configs" / "train.json")
    read_bundle_config(path.parent, ["train"])


def configuration_yaml(path: Path) -> None:
    (path.parent / "configs").mkdir()
    path.rename(path.parent / "configs" / "train.yaml")
    read_bundle_config(path.parent, ["train"])


def study(path: Path) -> None:
    path.rename(path.with_name("study.json"))
    StudyFolder(path.parent).read()


def override(_: Path) -> None:
    parse_override(f"loss={TWICE}")


def option(_: Path) -> None:
    parse_request(f"compound:weights=[1, {TWICE}]")


def benchmark(_: Path) -> None:
    loads(TWICE)


READERS = (
    *(labels, manifest, folder, trainer, trainer_text, losses, losses_yaml, configuration),
    *(configuration_yaml, study, override, option, benchmark),
)


@pytest.mark.parametrize("read", READERS)
def test_every_reader_refuses_it(tmp_path: Path, read: Callable[[Path], None]) -> None:
    path = tmp_path / "file.json"
    path.write_text(TWICE)
    with pytest.raises(ValueError, match="key_9"):
        read(path)


def test_an_override_that_is_given_twice_is_refused() -> None:
    assert parse_overrides(["a=1", "b=x"]) == {"a": 1, "b": "x"}
    with pytest.raises(ValueError, match="--override: a is given twice"):
        parse_overrides(["a=1", "a=2"])


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"1": "liver", "01": "spleen"}, "label 1 is named twice"),
        ({"8": "ignore", "9": "ignore", "1": "liver"}, "'ignore' stands for several labels"),
    ],
)
def test_labels_that_are_said_twice_in_other_words(
    tmp_path: Path, content: dict[str, str], words: str
) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words):
        read_labels(path)


def test_channels_that_are_said_twice_in_other_words(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    names = {"0": "background", "1": "liver", "01": "spleen"}
    outputs = {"pred": {"channel_def": names}}
    path.write_text(json.dumps({"network_data_format": {"outputs": outputs}}))
    with pytest.raises(ValueError, match=r"names the channels \[0, 1, 1\]"):
        read_labels(path)


def test_the_path_and_what_is_wrong_are_told() -> None:
    with pytest.raises(ValueError, match=r"^m\.json is not JSON: "):
        parse_file("{", Path("m.json"))
    with pytest.raises(ValueError, match=r"^m\.yml is not YAML: "):
        parse_file("{", Path("m.yml"))
    with pytest.raises(ValueError, match=r"^m\.json: the key 'key_9' stands twice in one object$"):
        parse_file(TWICE, Path("m.json"))
