"""The site: every loss, metric and part of a detector has its page, and every page is found."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medloss.offers.cards import read_card
from medloss.offers.host import host

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
OFFERS = [*host().losses, *host().metrics, *host().detection]


@pytest.fixture(scope="module")
def hooks() -> Iterator[Any]:
    """The modules beside each other in docs/hooks, as they import each other."""
    sys.path.insert(0, str(DOCS / "hooks"))
    try:
        yield importlib.import_module
    finally:
        sys.path.remove(str(DOCS / "hooks"))


def test_everything_on_offer_has_a_page(hooks: Any) -> None:
    pages = hooks("offer_pages")
    paths = [pages.path_of(offer) for offer in pages.offers()]
    assert len(set(paths)) == len(paths) == len(OFFERS)
    assert "losses/dice.md" in paths
    assert "metrics/dice.md" in paths


@pytest.mark.parametrize(
    ("kind", "name"),
    [("loss", "skeleton_recall"), ("metric", "hausdorff95")],
)
def test_a_page_says_what_the_card_says(hooks: Any, kind: str, name: str) -> None:
    pages = hooks("offer_pages")
    (offer,) = host().find(name, kind)
    page = pages.page_of(offer)
    assert page.count("<svg") == (3 if kind == "loss" else 2)
    for word in ("## Formula", "## Behaviour", "```json", "## Source"):
        assert word in page
    assert ("## Options" in page) == (kind == "loss")
    assert read_card(offer.load()).sections["Formula"].split()[0] in page


@pytest.mark.parametrize(
    "offer", OFFERS, ids=lambda offer: f"{offer.record.family}-{offer.full_name}"
)
def test_every_card_is_whole(hooks: Any, offer: Any) -> None:
    """The text of every card reads on its page as it was written."""
    card = read_card(offer.load())
    assert card.summary == offer.record.summary
    sections = (text for title, text in card.sections.items() if title not in ("Args", "Example"))
    for text in (*sections, *map(str, vars(offer.record).values())):
        assert _read_back(hooks("card_text").paragraphs(text)) == _plain(text)


def _plain(text: str) -> str:
    """A text of a card without what it marks as code and without its line breaks."""
    text = re.sub(r":(?:func|class|data|meth|mod|attr):(?=`)", "", text).replace("\\*", "*")
    return "".join(text.replace("`", "").split())


def _read_back(markdown: str) -> str:
    """What a reader of the page sees."""
    from markdown_it import MarkdownIt

    inlines = [token for token in MarkdownIt().enable("table").parse(markdown) if token.children]
    return "".join("".join(c.content for c in token.children or ()) for token in inlines).replace(
        " ", ""
    )


def test_text_of_cards_is_not_read_as_markdown(hooks: Any) -> None:
    text = hooks("card_text")
    hard = "1. a*b_c* [d](e) <f> ~g~ $h$ | i # j & k! \\ l"
    assert _read_back(text.inline(hard)) == _plain(hard)
    assert text.inline("``x < y``, `z`") == "`x < y`, `z`"
    assert _read_back(text.table(("n",), [("``a | b`` c | d",)])) == "na|bc|d"
    assert "[arXiv:1812.07032](https://arxiv.org/abs/1812.07032)." in text.inline(
        "K 2019, arXiv:1812.07032."
    )
    both = text.inline("doi:10.1016/j.media.2021.102035, arXiv:1606.04797 (a_b)")
    assert both.count("](https://") == 2
    assert both.endswith(r" (a\_b)")


def test_a_formula_is_typeset_where_there_is_one(
    hooks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pages = hooks("offer_pages")
    offer = host().losses.find("dice")
    (tmp_path / "formulas.toml").write_text("[losses]\ndice = '1 - D'\n")
    monkeypatch.setattr(pages, "FORMULAS", tmp_path / "formulas.toml")
    pages._typeset.cache_clear()
    assert "\n$$\n1 - D\n$$\n" in pages._formula(offer, read_card(offer.load()))
    monkeypatch.setattr(pages, "FORMULAS", tmp_path / "none.toml")
    pages._typeset.cache_clear()
    assert "$$" not in pages._formula(offer, read_card(offer.load()))
    pages._typeset.cache_clear()


@pytest.mark.parametrize("module", ["card_text", "check_site"])
def test_doctests(hooks: Any, module: str) -> None:
    assert doctest.testmod(hooks(module)).failed == 0


def test_a_page_of_the_reference(hooks: Any) -> None:
    api = hooks("api_pages")
    page = api.page_of("medloss.sums")
    assert "{py:function} medloss.sums.class_sums(" in page
    assert "| `tp` | p y |" in page  # a ruled table of the docstring
    assert api.signature(api.signature) == "(member: Any) -> str"
    names = [name for name, _ in api.public("medloss.workbench.suggest.cases")]
    assert names == ["CaseFacts", "find_label_maps", "sample", "read_case"]


def test_everything_of_the_reference_exists(hooks: Any) -> None:
    for modules in hooks("api_pages").MODULES.values():
        for module in modules:
            assert importlib.util.find_spec(module), module


def test_wrong_links_of_a_site_are_told(hooks: Any, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="top">a</h1><a href="#top"></a><a href="b.html#x"></a><a href="c.html"></a>'
        '<a href="https://monai.io"></a><script src="https://cdn.example/x.js"></script>'
    )
    (tmp_path / "b.html").write_text('<a href="a.html#top">right</a>')
    (tmp_path / "b.css").write_text("@font-face { src: url(https://fonts.example/a) }")
    assert [*hooks("check_site").problems(tmp_path)] == [
        "a.html links to b.html#x, which has no such anchor",
        "a.html links to c.html, which is not there",
        "a.html fetches https://cdn.example/x.js",
        "b.css fetches https://fonts.example/a",
    ]


def test_curves_are_the_values_of_the_loss(hooks: Any) -> None:
    import torch

    curves, scenes = hooks("curves"), hooks("scenes")
    drawn = curves.curves_of(host().losses.find("dice_ce"))
    moved, sized = drawn.curves
    z = torch.from_numpy(scenes.logits_of(scenes.DISC.paths[0].depth(moved.places[3])))
    truth = torch.from_numpy(scenes.mask_of(scenes.DISC.depth).astype(np.int64))[None, None]
    logits = torch.stack([-z, z])[None] / 2
    import medloss

    assert moved.values[3] == pytest.approx(
        medloss.loss("dice_ce", softmax=True)(logits, truth).item()
    )
    assert moved.values[0] == pytest.approx(min(moved.values))
    assert sized.values[sized.places.index(10.0)] == pytest.approx(min(sized.values))
    # Where the prediction sticks out of the target it is pushed down, where it is missing up.
    assert drawn.push is not None
    target, shown = (scenes.mask_of(d) for d in (scenes.DISC.depth, scenes.DISC.shown))
    assert (drawn.push[target & ~shown] > 0).all()
    assert (drawn.push[~target & shown] < 0).all()


def test_what_cannot_be_drawn_says_why(hooks: Any) -> None:
    curves = hooks("curves")
    with pytest.raises(curves.NotDrawnError, match="several resolutions"):
        curves.curves_of(host().losses.find("deep_supervision"))


def test_drawings_are_xml_that_the_page_colours(hooks: Any) -> None:
    curves, drawing, scenes = hooks("curves"), hooks("drawing"), hooks("scenes")
    curve = curves.Curve("moved by, mm", "mm", (0.0, 1.0, 2.0), (0.0, float("nan"), -4.0), 0.0)
    svg = ET.fromstring(drawing.curve_svg(curve, "a & b"))
    assert svg.get("aria-label") == "a & b (mm) by: moved by, mm; from -4 to 0"
    (line,) = [each for each in svg if each.get("class") == "curve"]
    assert len((line.get("points") or "").split()) == 2
    push = np.zeros((scenes.HEIGHT, scenes.WIDTH))
    push[3, 4] = -2.0
    picture = ET.fromstring(drawing.push_svg(scenes.DISC, push, "a"))
    assert [each.get("class") for each in picture] == [None, "target", "prediction"]
    assert "#" not in ET.tostring(svg, encoding="unicode")  # no colour of its own


def test_the_picture_is_a_png(hooks: Any, tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    (tmp_path / "a.png").write_bytes(hooks("drawing").png(pixels))
    with Image.open(tmp_path / "a.png") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_links_out_of_the_docs_lead_somewhere(hooks: Any) -> None:
    moved = hooks("build_site")._moved
    assert (
        moved("[b](../bundles/brain_tissue_mr/docs/README.md)", "docs/bundles.md", "bundles.md")
        == "[b](bundles/brain_tissue_mr.md)"
    )
    assert (
        moved("[choice](../medloss/sums/choice.py)", "docs/engine.md", "engine.md")
        == "choice (`medloss/sums/choice.py`)"
    )
    assert moved("[l](docs/losses.md#x)", "README.md", "about/readme.md") == "[l](../losses.md#x)"
    assert moved("[p](examples/medloss-topk)", "docs/write-a-plugin.md", "write-a-plugin.md") == (
        "[p](examples/medloss-topk/README.md)"
    )
    assert moved("[w](https://monai.io)", "README.md", "about/readme.md") == "[w](https://monai.io)"
    fenced = "```\n[l](docs/losses.md)\n```"
    assert moved(fenced, "README.md", "about/readme.md") == fenced


def test_every_page_is_in_the_navigation_once(hooks: Any) -> None:
    build = hooks("build_site")
    texts = {path: f"# A page\n\nAbout [{path}](x.md). More.\n" for path in build.pages()}
    texts["losses/gallery.md"] = "# All\n"
    made = build.with_contents(texts)
    listed = [
        f"{path}.md"
        for text in made.values()
        for block in re.findall(r"```{toctree}\n(.*?)```", text, flags=re.DOTALL)
        for path in re.findall(r"</(\S+)>", block)
    ]
    assert sorted(listed) == sorted({*made} - {"index.md"})
    assert "* [Start in five minutes](start.md): About start.md.\n" in made["tutorials.md"]


def test_addresses_that_the_site_had_are_kept(hooks: Any, tmp_path: Path) -> None:
    check, lines = hooks("check_site"), '{"old.html": "new.html", "old.html#a": "new.html#b"}'
    (tmp_path / "redirects.json").write_text(lines)
    (tmp_path / "new.html").write_text('<h1 id="b">b</h1>')
    moved = hooks("redirects").redirects(tmp_path)
    assert moved == {"old.html": {"": "new.html", "a": "new.html#b"}}
    had = ["new.html", "new.html#b", "old.html", "old.html#z", "new.html#gone", "gone.html"]
    where = "say in docs/redirects.json where its readers shall go"
    assert [*check.lost(tmp_path, had, moved)] == [
        f"new.html#gone is gone: {where}",
        f"gone.html is gone: {where}",
    ]
    moved["old.html"]["a"] = "new.html#c"
    assert [*check.lost(tmp_path, [], moved)] == [f"new.html#c is gone: {where}"]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_links_lead_somewhere_in_the_repository_too(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in link:
            assert (page.parent / link).exists(), link


def test_files_that_texts_name_are_there() -> None:
    named = re.compile(
        r"(?<![\w/.])(?:medloss|plugins|tests|docs|bundles)/[\w/.-]+\.(?:py|md|json)\b"
    )
    found = {
        name
        for text in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.glob("*.md"))
        for name in named.findall(text.read_text(encoding="utf-8"))
    }
    assert found
    assert not [name for name in sorted(found) if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "index.md"], ids=lambda p: p.name)
def test_the_first_example_runs(page: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    assert [*names["loss"].breakdown()] == ["dice", "cross_entropy", "boundary"]
    assert names["logits"].grad.abs().max() > 0


def test_the_bundle_block_of_the_readme_builds_its_loss() -> None:
    from monai.bundle import ConfigParser

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```json\n(.*?)```", text, flags=re.DOTALL)
    loss = ConfigParser(json.loads(f"{{{block}}}")).get_parsed_content("loss")
    assert type(loss).__name__ == "FocalTverskyLoss"


@pytest.mark.parametrize("page", ["start.md"])
def test_python_examples_run_one_after_the_other(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(code, names)
    assert names["values"][-1] < names["values"][0] / 2
    assert names["distance_mm"] < 20


def _cells(section: str) -> list[list[str]]:
    rows = re.findall(r"^\| (`.*) \|$", section, flags=re.MULTILINE)
    return [[cell.strip() for cell in row.split(" | ")] for row in rows]


def test_what_the_migration_page_names_exists() -> None:
    import monai.losses
    import monai.metrics

    import medloss

    text = (DOCS / "migrate.md").read_text(encoding="utf-8")
    monai_part, _, rest = text.partition("## nnU-Net")
    seen = 0
    for theirs, *others in _cells(monai_part):
        for name in re.findall(r"`(\w+(?:Loss|Metric|IoU))`", theirs):
            assert hasattr(monai.losses, name) or hasattr(monai.metrics, name), name
            if hasattr(monai.losses, name):  # under the same name
                assert hasattr(medloss.losses, name), name
                seen += 1
        for name in re.findall(r"`(\w+(?:Loss|Metric))`", " ".join(others)):
            assert hasattr(medloss.losses, name) or hasattr(medloss.metrics, name), name
            seen += 1
    assert seen > 20
    nnunet, _, smp = rest.partition("## segmentation_models_pytorch")
    for _, ours, _ in _cells(nnunet):
        name = re.match(r"`(\w+)`", ours)
        assert name
        assert name[1] in ("ignore_index",) or host().losses.find(name[1])
    for _, ours, _ in _cells(smp):
        code = ours.strip("`")
        if "..." not in code:
            eval(
                re.sub(r"=(alpha|beta|gamma|s)\b", "=0.3", code),
                vars(medloss.losses)
                | {
                    name: getattr(medloss.losses, name) for name in re.findall(r"(\w+Loss)\(", code)
                },
            )


def test_every_loss_on_the_choosing_page_exists() -> None:
    text = (DOCS / "choosing.md").read_text(encoding="utf-8")
    table = text.partition("## By what your data are like")[2].partition("\n## ")[0]
    seen = [
        host().losses.find(name)
        for row in re.findall(r"^\| (?!your|---).*$", table, flags=re.MULTILINE)
        for name in re.findall(r"`([a-z_]+)`", row.split(" | ")[1])
        if name not in ("fn_weight", "batch")
    ]
    assert len(seen) > 20
