from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from medloss.workbench.bench.plot import check_plot, save_plot
from medloss.workbench.bench.report import WIDTH, markdown, print_report
from medloss.workbench.bench.results import BenchReport


def printed(report: BenchReport) -> list[str]:
    file = io.StringIO()
    print_report(Console(file=file, width=WIDTH, highlight=False), report)
    return file.getvalue().splitlines()


def words(lines: list[str], name: str) -> list[str]:
    (line,) = [line for line in lines if line.startswith(f"  {name}  ")]
    return line.removeprefix(f"  {name}").split()


def test_the_table_fits_100_columns_with_nothing_cut(report):
    lines = printed(report)
    assert max(map(len, lines)) <= 100
    assert "…" not in "".join(lines)
    assert words(lines, "medloss") == ["500", "250..1000", "40.0", "-", "-", "1.00", "4.271"]
    assert words(lines, "nnunet's formula") == [
        *("12500", "10000..13000", "1000", "25.0", "13.0..40.0", "11.50", "equal")
    ]
    assert words(lines, "monai, sigmoid focal")[-1] == "other"
    assert words(lines, "exacta")[-1] == "DIFFERS"
    assert words(lines, "monai, softmax focal")[-1] == "FAILED"
    assert words(lines, "plain, torch.compile")[-1] == "missing"


def test_every_reason_is_told(report):
    text = " ".join(" ".join(printed(report)).split())
    assert "logits 100.0 MB, copy 40.0 GB/s, floor 12.5 ms" in text
    assert "backend of medloss: numba" in text
    assert (
        "monai, sigmoid focal (generalized_dice, no smoothing): its focal term is another" in text
    )
    assert "plain, torch.compile (generalized_dice, no smoothing): a is not installed" in text
    assert (
        "first call of ours (cold disk cache: 2 kernels compiled): "
        "generalized_dice, no smoothing 4.25 s" in text
    )
    assert "Error: generalized_dice, no smoothing, exacta: values differ by 3.0e-01" in text
    assert "torch: 2.13" in text


def test_markdown_has_the_same_numbers(report):
    lines = markdown(report).splitlines()
    assert (
        "| generalized\\_dice, no smoothing | medloss | 500 | 250..1000 | 40.0 | - | - | 1.00 |"
        in ("\n".join(lines))
    )
    assert (
        "|  | nnunet's formula | 12500 | 10000..13000 | 1000 | 25.0 | 13.0..40.0 | 11.50 | equal |"
        in lines
    )
    assert "- generalized\\_dice, no smoothing, nnunet's formula: slow \\| sure" in lines
    assert any(line.startswith("**Error:") for line in lines)


@pytest.mark.parametrize("name", ["a.png", "a.svg"])
def test_a_plot_is_a_picture(report, tmp_path, name):
    pytest.importorskip("matplotlib")
    check_plot(tmp_path / name)
    save_plot(report, tmp_path / name)
    start = {"a.png": b"\x89PNG", "a.svg": b"<?xml"}[name]
    assert (tmp_path / name).read_bytes().startswith(start)


def test_plots_that_cannot_be_drawn(report, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"ends in .png or .svg, got 'a.gif'"):
        check_plot(tmp_path / "a.gif")
    if __import__("importlib.util").util.find_spec("matplotlib"):
        with pytest.raises(ValueError, match="nothing was measured"):
            save_plot(replace(report, tables=()), tmp_path / "a.png")
    monkeypatch.setattr("medloss.workbench.bench.plot.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="the extra bench of medloss"):
        check_plot(tmp_path / "a.png")
