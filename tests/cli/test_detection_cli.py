"""`medloss list`, `info` and `check` for parts of detectors."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from medloss._version import __version__
from medloss.cli import main
from medloss.offers.cards import argument_help
from medloss.offers.host import host

OFFERS = [*host().detection]


def run(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "140"}).invoke(main, arguments)


def test_they_have_a_section_of_their_own() -> None:
    assert run("list", "--kind", "detection").output.startswith("Parts of detectors\n  ciou ")
    told = run("list", "--long", "--kind", "detection").output
    rows = [line.split() for line in told.splitlines()]
    assert rows[0] == ["Detection"]
    for offer in OFFERS:
        (row,) = [row for row in rows if row[:1] == [offer.record.name]]
        assert row[1:4] == [offer.record.family, "medloss", __version__]
    titles = [line.strip() for line in run("list", "--long").output.splitlines()]
    assert [t for t in titles if t in ("Losses", "Metrics", "Detection")][-1] == "Detection"


def test_json_tells_the_role() -> None:
    told = json.loads(run("list", "ciou", "simota", "--json").output)
    assert {row["name"]: row["role"] for row in told["detection"]} == {
        "ciou": "box_loss",
        "simota": "assigner",
    }
    assert told["losses"] == told["metrics"] == []


@pytest.mark.parametrize(
    ("name", "key", "block"),
    [
        ("ciou", "ciou", {"_target_": "medloss.detection.CIoULoss"}),
        (
            "simota_retinanet",
            "detector",
            {
                "_target_": "medloss.detection.SimOTARetinaNetDetector",
                "network": "@network",
                "anchor_generator": "@anchor_generator",
            },
        ),
    ],
)
def test_the_block_of_a_bundle(name: str, key: str, block: dict[str, Any]) -> None:
    told = run("list", name, "--bundle").output
    assert json.loads("{" + told.partition("\n")[2] + "}") == {key: block}


@pytest.mark.parametrize("offer", OFFERS, ids=[o.record.name for o in OFFERS])
def test_every_card_is_complete(offer: Any) -> None:
    record = offer.record
    done = run("info", record.name)
    assert done.exit_code == 0, done.output
    told = done.output
    assert f"({record.family} {record.role.replace('_', ' ')}, medloss" in told
    assert record.summary in told
    for title in ("Empty", "Source", "In a MONAI bundle"):
        assert f"\n{title}\n" in told
    assert ("\nFormula\n" in told) == (record.role != "detector")
    assert ("moved by 1 voxel" in told) == (record.role == "box_loss")
    target = offer.load()
    assert inspect.signature(target).parameters.keys() <= argument_help(target).keys()


def test_check_runs_the_contract() -> None:
    told = json.loads(run("check", "ciou", "--json").output)
    (checked,) = told["checked"]
    assert checked["kind"] == "detection"
    assert {check["check"] for check in checked["checks"]} >= {
        "no_boxes_are_zero",
        "degenerate_boxes_are_finite",
    }
    assert told["failed"] == 0
