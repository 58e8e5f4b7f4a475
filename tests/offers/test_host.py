"""Discovery: what a plugin may do wrong, and that nothing else suffers."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import medloss
from medloss.offers.host import Host, Offer, host

GOOD = """
from medloss import Loss, Metric, hookimpl

@hookimpl
def medloss_losses():
    yield Loss(name="{name}", target="{module}_losses:ShinyLoss", family="region", summary="Shiny.")
"""

AddPlugin = Callable[..., str]


@pytest.fixture
def add_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddPlugin:
    """Puts a distribution with one plugin on the path, as an installer would."""

    def add(
        name: str, source: str = GOOD, *, group: str = "medloss", entry: str = "", **words: str
    ) -> str:
        distribution = f"medloss-{name}"
        module = f"medloss_{name}"
        if source:
            words = {"name": name, "module": module, **words}
            (tmp_path / f"{module}.py").write_text(source.format(**words))
        info = tmp_path / f"{module}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n"
        )
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry or name} = {module}\n")
        return distribution

    monkeypatch.syspath_prepend(str(tmp_path))
    yield add
    for module in [m for m in sys.modules if m.startswith("medloss_") and "test" not in m]:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


def plugin(found: Host, distribution: str) -> Any:
    return next(p for p in found.plugins if p.distribution == distribution)


def everything_else_works(found: Host) -> bool:
    return {"dice", "boundary", "dice_ce"} <= {offer.record.name for offer in found.losses}


def test_built_in_families_are_plugins_like_any_other() -> None:
    mine = [p for p in Host().plugins if p.distribution == "medloss"]
    assert {p.name for p in mine} == {
        *("boundary", "compound", "detection", "distribution", "profiles", "region", "topology")
    }
    assert all(p.state == "ok" for p in mine)


def test_a_third_party_plugin_is_found(add_plugin: AddPlugin) -> None:
    distribution = add_plugin("shiny")
    offer = Host().losses.find("shiny")
    assert offer.full_name == f"{distribution}:shiny"
    assert offer.plugin.version == "1.2"


BREAKAGES = {
    "import": ("raise RuntimeError('boom')", "RuntimeError: boom"),
    "exit": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "syntax": ("def (", "SyntaxError"),
    "missing": ("", "ModuleNotFoundError: No module named 'medloss_missing'"),
    "hook": (GOOD + "    raise KeyError('inside')", "KeyError: 'inside'"),
    "record": (GOOD + "    yield 'dice'", "expected medloss.Loss records, got 'dice'"),
    "bad_name": (GOOD.replace('"{name}"', '"Bad Name"'), "name: expected lower_case_words"),
    "mute": (
        GOOD.replace(', summary="Shiny."', ""),
        "mute_losses:ShinyLoss cannot be read",
    ),
    "twice": (GOOD + GOOD.split("medloss_losses():")[1], "twice offered twice"),
    "unknown_hook": (
        GOOD.replace("medloss_losses", "medloss_loses"),
        "unknown hook 'medloss_loses'; did you mean medloss_losses?",
    ),
    "unmarked": (GOOD.replace("@hookimpl", ""), "medloss_losses has no @hookimpl"),
    "marked_by_others": (
        GOOD.replace("@hookimpl", "import pluggy\n@pluggy.HookimplMarker('monai')"),
        "medloss_losses has no @hookimpl",
    ),
    "unmarked_beside": (
        GOOD + GOOD.replace("@hookimpl", "").replace("medloss_losses", "medloss_metric"),
        "medloss_metric is no hook and has no @hookimpl; did you mean @hookimpl on medloss_metrics",
    ),
    "no_hook": ("losses = []", "it has no hook: expected one of medloss_losses, medloss_metrics"),
    "arguments": (GOOD.replace("medloss_losses()", "medloss_losses(x)"), "argument"),
    "not_iterable": (GOOD.split("yield")[0] + "return 3", "medloss_losses: expected to yield"),
}


@pytest.mark.parametrize("kind", BREAKAGES)
def test_a_broken_plugin_is_told_and_breaks_nothing(add_plugin: AddPlugin, kind: str) -> None:
    source, reason = BREAKAGES[kind]
    broken, good = add_plugin(kind, source), add_plugin("shiny")
    found = Host()
    assert plugin(found, broken).state == "broken"
    assert reason in plugin(found, broken).reason
    assert plugin(found, good).state == "ok"
    assert everything_else_works(found)
    assert not [o for o in found.losses if o.plugin.distribution == broken], "half registered"


def test_helpers_with_names_like_hooks_are_no_mistake(add_plugin: AddPlugin) -> None:
    helper = "\n\ndef medloss_losses_of():\n    return ()\n"
    named = GOOD.replace("@hookimpl", "@hookimpl(specname='medloss_losses')")
    first = add_plugin("helped", GOOD + helper)
    second = add_plugin("named", named.replace("def medloss_losses", "def offered"))
    found = Host()
    assert [plugin(found, each).state for each in (first, second)] == ["ok", "ok"]


@pytest.mark.parametrize(
    "group",
    ["medloss_plugins", "medloss.losses", "medloss-plugins", "Medloss", "medlos", "medloss.v1"],
)
def test_a_group_that_nobody_reads_is_told(add_plugin: AddPlugin, group: str) -> None:
    distribution = add_plugin("lost", "raise RuntimeError('imported')", group=group)
    found = Host()
    assert plugin(found, distribution).state == "refused"
    assert f"group {group!r} is not read: a plugin stands in 'medloss'" in (
        plugin(found, distribution).reason
    )
    with pytest.raises(medloss.PluginError, match="is not read"):
        found.of_plugin(distribution)
    assert everything_else_works(found)


@pytest.mark.parametrize("group", ["medloss_viewer.tools", "medlossy", "medlogs"])
def test_the_groups_of_other_packages_are_theirs(add_plugin: AddPlugin, group: str) -> None:
    distribution = add_plugin("other", "raise RuntimeError('imported')", group=group)
    assert distribution not in {each.distribution for each in Host().plugins}


def test_a_family_that_nobody_has_is_remarked(add_plugin: AddPlugin) -> None:
    add_plugin("typo", GOOD.replace('"region"', '"regoin"'))
    add_plugin("fine")
    assert Host().remarks() == [
        "medloss-typo:typo: family 'regoin': nobody else has it; did you mean region?"
    ]


def test_strict_mode_raises_and_names_plugin_and_distribution(add_plugin: AddPlugin) -> None:
    add_plugin("bad", "raise RuntimeError('boom')")
    with pytest.raises(medloss.PluginError, match=r"'bad' of medloss-bad 1\.2 .*boom"):
        Host(strict=True)


@pytest.mark.parametrize("name", ["bad", "medloss-bad:bad"])
def test_a_disabled_plugin_is_not_even_imported(add_plugin: AddPlugin, name: str) -> None:
    distribution = add_plugin("bad", "raise RuntimeError('imported')")
    found = Host(strict=True, disabled=frozenset({name}))
    assert plugin(found, distribution).state == "disabled"
    assert "medloss_bad" not in sys.modules


def test_built_in_families_can_be_disabled() -> None:
    found = Host(disabled=frozenset({"boundary"}))
    assert "boundary" not in {offer.record.name for offer in found.losses}
    with pytest.raises(medloss.PluginError, match=r"boundary.* is disabled"):
        found.losses.find("boundary")


def test_another_api_is_refused_before_import(add_plugin: AddPlugin) -> None:
    distribution = add_plugin("late", "raise RuntimeError('imported')", group="medloss.2")
    found = Host()
    assert plugin(found, distribution).state == "refused"
    assert "plugin API 2, this medloss speaks API 1" in plugin(found, distribution).reason
    assert "medloss_late" not in sys.modules
    with pytest.raises(medloss.PluginError, match="API 2"):
        Host(strict=True)


def test_two_plugins_of_the_same_entry_name_are_both_kept(add_plugin: AddPlugin) -> None:
    add_plugin("one", entry="same")
    add_plugin("two", entry="same")
    found = Host()
    assert {found.losses.find(n).plugin.distribution for n in ("one", "two")} == {
        "medloss-one",
        "medloss-two",
    }


def test_our_names_stay_ours_and_the_other_is_reached_in_full(add_plugin: AddPlugin) -> None:
    add_plugin("rival", GOOD.replace('"{name}"', '"dice"').replace("ShinyLoss", "DiceLoss"))
    found = Host()
    with pytest.warns(UserWarning, match=r"'rival' of medloss-rival .* medloss-rival:dice"):
        assert found.losses.find("dice").record.target == "medloss_region.dice:DiceLoss"
    with pytest.warns(UserWarning, match="medloss-rival:dice"):
        assert found.losses.attribute("DiceLoss").__module__ == "medloss_region.dice"
    assert "DiceLoss" in found.losses.attribute("__all__")
    assert found.losses.find("medloss:dice").record.target == "medloss_region.dice:DiceLoss"
    assert found.losses.find("medloss-rival:dice").plugin.distribution == "medloss-rival"
    assert found.losses.find("tversky").plugin.distribution == "medloss"


def test_a_name_that_two_others_offer_must_be_said_in_full(add_plugin: AddPlugin) -> None:
    for name in ("one", "two"):
        add_plugin(name, GOOD.replace('"{name}"', '"same"'))
    found = Host()
    with pytest.raises(medloss.PluginError, match=r"medloss-one:same .* and medloss-two:same"):
        found.losses.find("same")
    assert found.losses.find("medloss-two:same").plugin.distribution == "medloss-two"


def test_a_typo_gets_the_nearest_name() -> None:
    with pytest.raises(medloss.PluginError, match="did you mean focal_tversky"):
        medloss.loss("focal_tverski")
    with pytest.raises(medloss.PluginError, match="did you mean hausdorff95"):
        medloss.metric("hausdorf95")
    with pytest.raises(AttributeError, match="did you mean DiceLoss"):
        medloss.losses.DiceLos  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean CIoULoss"):
        medloss.detection.CIoULos  # noqa: B018


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("zzz", "loss", "no loss is called 'zzz'; 'medloss list --kind loss' shows all"),
        ("zzz", "profile", "no profile is called 'zzz'; there are: autopet, brats2023, "),
        ("zzz", None, "nothing is called 'zzz'; 'medloss list' shows all"),
        ("NSD", "metric", "no metric is called 'NSD'; did you mean nsd (normalized_surface_dice)?"),
        ("Boundary-IoU", "metric", "did you mean boundary_iou?"),
        ("focal_tverski", None, "nothing is called 'focal_tverski'; did you mean focal_tversky"),
        ("dice_ce", "metric", "'dice_ce' is a loss and no metric"),
        ("nsd", "loss", "'nsd' is a metric and no loss"),
    ],
)
def test_a_name_that_nothing_has_is_told_in_one_sentence(
    name: str, kind: str | None, words: str
) -> None:
    with pytest.raises(medloss.PluginError) as refused:
        host().find(name, kind)
    assert str(refused.value).startswith(words) or words in str(refused.value)
    assert ". " not in str(refused.value)


def test_a_mistyped_option_gets_the_nearest_option() -> None:
    with pytest.raises(TypeError, match="no option 'fp_wieght'; did you mean fp_weight"):
        medloss.loss("tversky", fp_wieght=0.3)


def test_a_target_that_cannot_be_imported_names_the_plugin(add_plugin: AddPlugin) -> None:
    add_plugin("shiny")
    with pytest.raises(medloss.PluginError, match=r"medloss-shiny:shiny: .*medloss-shiny 1\.2"):
        Host().losses.find("shiny").load()


def test_a_plugin_loss_is_an_attribute_of_medloss_losses(
    add_plugin: AddPlugin, tmp_path: Path
) -> None:
    add_plugin("shiny")
    (tmp_path / "medloss_shiny_losses.py").write_text("class ShinyLoss: ...\n")
    host.cache_clear()
    try:
        assert medloss.losses.ShinyLoss.__module__ == "medloss_shiny_losses"
        assert "ShinyLoss" in dir(medloss.losses)
        assert isinstance(medloss.loss("shiny"), medloss.losses.ShinyLoss)
    finally:
        host.cache_clear()


def test_environment_variables(monkeypatch: pytest.MonkeyPatch, add_plugin: AddPlugin) -> None:
    add_plugin("bad", "raise RuntimeError('boom')")
    try:
        host.cache_clear()
        monkeypatch.setenv("MEDLOSS_STRICT", "1")
        with pytest.raises(medloss.PluginError, match="boom"):
            host()
        monkeypatch.setenv("MEDLOSS_DISABLE", "bad, compound")
        assert {p.name for p in host().plugins if p.state == "disabled"} == {"bad", "compound"}
    finally:
        host.cache_clear()


def test_records_come_out_sorted() -> None:
    offers: list[Offer[Any]] = list(Host().losses)
    keys = [(o.record.family, o.record.name) for o in offers]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    "statement",
    [
        "import medloss",
        "import medloss; medloss.list_losses(); medloss.list_metrics(); medloss.list_detection()",
        "import medloss.cli; medloss.cli.main(['list'], standalone_mode=False)",
        "import medloss.cli; medloss.cli.main(['list', '--json'], standalone_mode=False)",
        "import medloss.cli; medloss.cli.main(['list', '--bundle'], standalone_mode=False)",
    ],
)
def test_listing_imports_nothing_heavy(statement: str) -> None:
    heavy = "{'torch', 'monai', 'numpy', 'scipy', 'nibabel', 'medloss_region.dice'}"
    check = f"import sys; {statement}; print('HEAVY', sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, timeout=60
    )
    assert "HEAVY []" in done.stdout


def test_the_heavy_import_check_can_fail() -> None:
    check = "import sys, numpy; print(sorted({'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert "numpy" in done.stdout


DETECTION = """
from medloss import Detection, hookimpl

@hookimpl
def medloss_detection():
    yield Detection(
        name="{record}", target="{module}_boxes:ShinyBoxLoss", family="detection", role="box_loss",
        summary="Shiny.",
    )
"""


def test_a_plugin_with_parts_of_detectors_only(add_plugin: AddPlugin, tmp_path: Path) -> None:
    distribution = add_plugin("shiny", DETECTION, record="shiny_box")
    (tmp_path / "medloss_shiny_boxes.py").write_text("class ShinyBoxLoss: ...\n")
    host.cache_clear()
    try:
        assert host().detection.find("shiny_box").full_name == f"{distribution}:shiny_box"
        assert isinstance(medloss.detection_part("shiny_box"), medloss.detection.ShinyBoxLoss)
        assert "ShinyBoxLoss" in dir(medloss.detection)
        assert "shiny_box" in {record.name for record in medloss.list_detection()}
        assert not [o for o in host().losses if o.plugin.distribution == distribution]
    finally:
        host.cache_clear()


def test_parts_of_detectors_have_their_own_names_and_errors(add_plugin: AddPlugin) -> None:
    add_plugin("rival", DETECTION, record="ciou")
    bad = add_plugin("bad", DETECTION.replace('"box_loss"', '"box"'), record="bad")
    odd = add_plugin("odd", GOOD + "\n@hookimpl\ndef medloss_detection():\n    yield 'ciou'\n")
    found = Host()
    with pytest.warns(UserWarning, match="medloss-rival:ciou"):
        assert found.detection.find("ciou").full_name == "medloss:ciou"
    with pytest.raises(medloss.PluginError, match="no detection part is called 'siou'; did you"):
        found.detection.find("siou")
    assert "role: expected one of box_loss," in plugin(found, bad).reason
    assert "expected medloss.Detection records, got 'ciou'" in plugin(found, odd).reason
    assert "odd" not in {o.record.name for o in found.losses}, "half registered"


@pytest.mark.parametrize("name", [*medloss._MOVED])
def test_a_module_that_moved_is_one_module_under_both_names(name: str) -> None:
    was, now = importlib.import_module(name), importlib.import_module(medloss._MOVED[name])
    assert was is now
    assert now.__name__ == now.__spec__.name == medloss._MOVED[name]
    assert importlib.import_module(name) is now


def test_a_plugin_of_before_finds_what_it_imports() -> None:
    power = importlib.import_module("medloss.numeric").power
    assert power.__module__ == "medloss.sums.numeric"
    with pytest.raises(ModuleNotFoundError, match=re.escape("'medloss.nowhere'")):
        importlib.import_module("medloss.nowhere")
