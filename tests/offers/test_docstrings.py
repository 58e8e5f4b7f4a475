"""What a record does not say itself is read from the docstring, without importing the target."""

from __future__ import annotations

import compileall
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from medloss import Loss
from medloss.offers.cards import first_line_and_sources, written_docstring

DOCUMENTED = '''
raise RuntimeError("imported")


def decorated(cls): return cls


@decorated
class ShinyLoss(Base):  # type: ignore[misc]
    """Shiny loss: all that glitters.

    Formula:
        L = 0, arXiv:0000.00000.

    Source:
        Smith 1999, doi:10.1016/0005-2795(75)90109-9 (the idea); Jones 2001,
        arXiv:2001.00001v2.

    Args:
        x: of arXiv:1111.11111.
    """


def shiny(
    counts: Counts, *, way: Literal["a", "b"] = "a",
    other: Literal[
        "c"
    ] = "c",
) -> float:
    r"""Shiny \\metric."""


def shiny_twice(counts): return counts


class ShinyTwiceLoss:
    'Single quotes.'
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("docstring_")]:
        del sys.modules[name]


def record(target: str, **words: object) -> Loss:
    return Loss(name="shiny", target=target, family="region", **words)  # type: ignore[arg-type]


def test_it_is_read_and_neither_module_nor_package_is_imported(folder: Path) -> None:
    package = folder / "docstring_a"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "inner" / "losses.py").write_text(DOCUMENTED)  # a namespace inside a package
    offered = record("docstring_a.inner.losses:ShinyLoss")
    assert offered.summary == "Shiny loss: all that glitters."
    assert offered.cites == ("doi:10.1016/0005-2795(75)90109-9", "arXiv:2001.00001v2")
    assert record("docstring_a.inner.losses:shiny").summary == r"Shiny \metric."
    assert record("docstring_a.inner.losses:ShinyTwiceLoss").summary == "Single quotes."
    assert not [name for name in sys.modules if name.startswith("docstring_")]


def test_a_zip_is_read_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("docstring_b/__init__.py", "")
        archive.writestr("docstring_b/losses.py", DOCUMENTED)
    monkeypatch.syspath_prepend(str(folder / "a.zip"))
    assert record("docstring_b.losses:ShinyLoss").summary == "Shiny loss: all that glitters."
    assert "docstring_b" not in sys.modules


def test_without_source_or_written_elsewhere_it_is_imported(folder: Path) -> None:
    source = DOCUMENTED.replace('raise RuntimeError("imported")', "Base = Counts = object")
    source = source.replace("Literal", "dict").replace(
        "counts: Counts, *, way: dict", "*, way: dict"
    )
    source = "from __future__ import annotations\n" + source
    (folder / "docstring_c.py").write_text(source)
    compileall.compile_dir(folder, quiet=2, legacy=True)
    (folder / "docstring_c.py").unlink()
    (folder / "docstring_d.py").write_text(
        "from docstring_c import ShinyLoss\nclass Other: pass\nOther.__doc__ = f'Put {1}gether.'\n"
    )
    assert record("docstring_c:ShinyLoss").summary == "Shiny loss: all that glitters."
    assert record("docstring_d:ShinyLoss").cites[1] == "arXiv:2001.00001v2"
    assert record("docstring_d:Other").summary == "Put 1gether."


def test_what_the_record_says_itself_is_taken_as_it_stands() -> None:
    said = record("docstring_nowhere:ShinyLoss", summary="Shiny.")
    assert (said.summary, said.cites) == ("Shiny.", ())
    assert record("docstring_nowhere:X", summary="S.", cites=("arXiv:1",)).cites == ("arXiv:1",)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("class ShinyLoss:\n    def method(self):\n        '''Not this.'''", "a docstring of doc"),
        (
            "from dataclasses import dataclass\n@dataclass\nclass ShinyLoss:\n    x: int = 0",
            "summary: expected a docstring of docstring_e:ShinyLoss, or a line here",
        ),
        ("class Base:\n    '''Not this.'''\nclass ShinyLoss(Base): pass", "expected a docstring"),
        ("", "docstring_e:ShinyLoss cannot be read: AttributeError"),
        ("x = 1 / 0", "docstring_e:ShinyLoss cannot be read: ZeroDivisionError"),
    ],
)
def test_without_a_docstring_the_record_is_bad(folder: Path, source: str, reason: str) -> None:
    (folder / "docstring_e.py").write_text(source)
    with pytest.raises(ValueError, match=reason):
        record("docstring_e:ShinyLoss")


def test_a_target_that_is_nowhere_is_told() -> None:
    with pytest.raises(ValueError, match=r"ModuleNotFoundError: .*docstring_nowhere"):
        record("docstring_nowhere.losses:ShinyLoss")


def test_usual_and_unusual_definitions_are_found() -> None:
    from medloss.offers.host import host

    for offer in host():
        if offer.record.kind == "profile":  # a file
            continue
        found = first_line_and_sources(written_docstring(offer.record.target))
        assert found == (offer.record.summary, offer.record.cites)
        own = offer.load().__doc__
        assert written_docstring(offer.record.target).strip() == own.strip()
