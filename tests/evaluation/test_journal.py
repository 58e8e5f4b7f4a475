from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import random
from pathlib import Path

import pytest

from medloss.evaluation.inputs.case_pair import CaseOptions
from medloss.evaluation.inputs.pairing import Pair
from medloss.evaluation.journal import open_journal, plan_settings
from medloss.evaluation.records import CaseResult, Result
from medloss.evaluation.requests import choose_metric, parse_request
from medloss.evaluation.score import EvalPlan
from medloss.runtime.files import CannotWriteError
from medloss.scoring import EmptyPolicy
from medloss.scoring.facts import Counts
from medloss.work.journal import open_journal as open_lines

STUDY = EvalPlan((choose_metric(parse_request("dice")),))


@pytest.fixture
def pairs(tmp_path) -> tuple[Pair, ...]:
    found = []
    for name in "abc":
        files = tmp_path / f"{name}.nii", tmp_path / f"{name}_ref.nii"
        for file in files:
            file.write_bytes(b"x")
        found.append(Pair(name, *files))
    return tuple(found)


def scored(pair: Pair, value: float = 0.1 + 0.2) -> CaseResult:
    results = (Result(1, "dice", value, "", "ok"), Result("tumour", "dice", math.inf, "", "missed"))
    return CaseResult(
        pair,
        (1.0, 2.5),
        (4, 5),
        results,
        counts=((1, Counts(1, 2, 3, 4, 2.5)), ("tumour", Counts(0, 0, 3, 4))),
        definitions=(("monai", results),),
        notes=("resampled",),
    )


def test_what_was_kept_comes_back_exactly(pairs, tmp_path):
    path = tmp_path / "journal"
    with open_journal(path, pairs, STUDY) as journal:
        assert journal.kept == {}
        for pair in pairs[:2]:
            journal.add(scored(pair))
    with open_journal(path, pairs, STUDY) as journal:
        assert journal.kept == {pair: scored(pair) for pair in pairs[:2]}
        assert journal.outdated == 0


@pytest.mark.parametrize("left", [0, 1, -1, -30])
def test_a_torn_end_costs_that_case_only(pairs, tmp_path, left):
    path = tmp_path / "journal"
    with open_journal(path, pairs, STUDY) as journal:
        journal.add(scored(pairs[0]))
        start = path.stat().st_size
        journal.add(scored(pairs[1]))
    content = path.read_bytes()
    path.write_bytes(content[: start + left] if left >= 0 else content[:left])
    with open_journal(path, pairs, STUDY) as journal:
        assert [*journal.kept] == [pairs[0]]
        journal.add(scored(pairs[2]))
    with open_journal(path, pairs, STUDY) as journal:
        assert [*journal.kept] == [pairs[0], pairs[2]]


def test_a_torn_first_line_is_a_new_journal(pairs, tmp_path):
    path = tmp_path / "journal"
    path.write_bytes(b'{"journal":1,"sett')
    with open_journal(path, pairs, STUDY) as journal:
        journal.add(scored(pairs[0]))
    with open_journal(path, pairs, STUDY) as journal:
        assert [*journal.kept] == [pairs[0]]


@pytest.fixture
def written(pairs, tmp_path) -> Path:
    """A journal with the results of all cases."""
    path = tmp_path / "journal"
    with open_journal(path, pairs, STUDY) as journal:
        for pair in pairs:
            journal.add(scored(pair))
    return path


def test_any_flipped_bit_costs_at_most_two_results_and_none_is_believed(pairs, written):
    """Two, where it is the end of a line; all, where it is the line that says what they are of."""
    content = written.read_bytes()
    begin = content.index(b"\n") + 1
    rng = random.Random(0)
    places = [*range(begin - 1), *rng.sample(range(begin, len(content) - 1), 100), begin - 1]
    for place in rng.sample(places[: begin - 1], 60) + places[begin - 1 :]:
        damaged = bytearray(content)
        damaged[place] ^= 1 << rng.randrange(8)
        written.write_bytes(damaged)
        with open_journal(written, pairs, STUDY) as journal:
            kept, lost = dict(journal.kept), journal.damaged
        assert kept == {pair: scored(pair) for pair in kept}
        assert len(kept) >= (1 if place >= begin else 0)
        assert lost or len(kept) == 3, place
        with open_journal(written, pairs, STUDY) as journal:  # what is damaged is gone
            assert journal.damaged == 0
            assert dict(journal.kept) == kept


def test_a_damaged_line_in_the_middle_costs_its_case_only(pairs, written):
    lines = written.read_bytes().split(b"\n")
    for line in (b"", b"\x00" * 50, b"{}", lines[2][:-5], lines[2].replace(b"0.3", b"0.4")):
        written.write_bytes(b"\n".join([*lines[:2], line, *lines[3:]]))
        with open_journal(written, pairs, STUDY) as journal:
            assert [*journal.kept] == [pairs[0], pairs[2]]
            assert journal.damaged == 1
            journal.add(scored(pairs[1], 0.5))
        with open_journal(written, pairs, STUDY) as journal:
            assert journal.kept[pairs[1]] == scored(pairs[1], 0.5)
            assert journal.damaged == 0


def test_a_journal_without_checksums_is_gone_on_with(pairs, written):
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    for line in lines:
        del line["sum"]
    del lines[0]["sums"]
    old = [json.dumps(line, separators=(",", ":")) for line in lines]
    old[2] = old[2][:-9]  # which earlier versions could not read any more
    written.write_text("\n".join(old) + "\n")
    with open_journal(written, pairs, STUDY) as journal:
        assert dict(journal.kept) == {pair: scored(pair) for pair in (pairs[0], pairs[2])}
        assert journal.damaged == 1
    assert all(line.startswith('{"sum":"') for line in written.read_text().splitlines())
    old[0] = old[0].replace("deepmind", "deepminds")
    written.write_text("\n".join(old) + "\n")
    with (
        pytest.raises(ValueError, match="preset"),
        open_journal(written, pairs, STUDY),
    ):
        pass


def test_lines_of_another_make_are_damaged(pairs, tmp_path, written):
    content = written.read_bytes()
    first = content[: content.index(b"\n") + 1]
    with open_lines(
        tmp_path / "other", {"journal": 2, "settings": {}}, dict, len_of, of="x"
    ) as log:
        log.add({"pair": 3})
    other = (tmp_path / "other").read_bytes().split(b"\n")[1]
    written.write_bytes(first + other + b"\n" + content[len(first) :])
    with open_journal(written, pairs, STUDY) as journal:
        assert len(journal.kept) == 3
        assert journal.damaged == 1


def len_of(lines):
    return {}, len(lines)


def test_a_full_disk_is_said_with_the_file(pairs, written, monkeypatch):
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_journal(written, pairs, STUDY) as journal:
        monkeypatch.setattr("os.fsync", full)
        with pytest.raises(CannotWriteError, match="journal cannot be written: No space left"):
            journal.add(scored(pairs[0]))


def test_changed_files_and_failed_cases_are_not_kept(pairs, tmp_path):
    path = tmp_path / "journal"
    with open_journal(path, pairs, STUDY) as journal:
        journal.add(scored(pairs[0]))
        journal.add(scored(pairs[1]))
        journal.add(CaseResult(pairs[2], error="damaged"))
    pairs[0].reference.write_bytes(b"xy")
    os.utime(pairs[1].prediction, ns=(1, 1))
    with open_journal(path, pairs, STUDY) as journal:
        assert journal.kept == {}
        assert journal.outdated == 2


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"preset": "monai"}, 'preset: "deepmind" there, "monai" now'),
        ({"policy": EmptyPolicy(missed="inf")}, "policy"),
        ({"labels": {1: "liver"}}, "labels"),
        ({"metrics": (choose_metric(parse_request("jaccard")),)}, "metrics"),
        ({"error_maps": Path("x")}, "error_maps"),
    ],
)
def test_another_study_is_refused_and_the_journal_stays(pairs, tmp_path, change, named):
    path = tmp_path / "journal"
    with open_journal(path, pairs, STUDY) as journal:
        journal.add(scored(pairs[0]))
    before = path.read_bytes()
    with (
        pytest.raises(ValueError, match=named),
        open_journal(path, pairs, dataclasses.replace(STUDY, **change)),
    ):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"hello\n", b"[]\n", b"{}\n", b"\xff\n", b'{"journal":2}\n'])
def test_another_file_is_refused_and_stays(pairs, tmp_path, content):
    path = tmp_path / "journal"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="journal"), open_journal(path, pairs, STUDY):
        pass
    assert path.read_bytes() == content


def test_settings_are_the_same_in_every_process():
    again = EvalPlan((choose_metric(parse_request("dice")),))
    assert plan_settings(STUDY) == plan_settings(again)
    assert "0x" not in str(plan_settings(STUDY))


def test_which_references_are_left_out_is_no_setting():
    fewer = dataclasses.replace(STUDY, inputs=CaseOptions(left_out=("case_7",)))
    assert plan_settings(STUDY) == plan_settings(fewer)
    other = dataclasses.replace(STUDY, inputs=CaseOptions(ignore_label=9))
    assert plan_settings(STUDY) != plan_settings(other)


def test_what_is_said_of_a_metric_and_where_its_code_is_are_no_settings(pairs, tmp_path):
    """A journal of a version that wrote them down is gone on with too."""
    path, choice = tmp_path / "journal", STUDY.metrics[0]
    with open_journal(path, pairs, STUDY) as journal:
        journal.add(scored(pairs[0]))
    head, line = path.read_text().splitlines()
    was = json.loads(head)
    record = {**dataclasses.asdict(choice.record), "summary": "was", "target": "was.there:dice"}
    was["settings"]["metrics"][0] |= {"record": record, "function": "was.there.dice"}
    path.write_text(f"{json.dumps(was)}\n{line}\n")
    with open_journal(path, pairs, STUDY) as journal:
        assert [*journal.kept] == [pairs[0]]
    said = dataclasses.replace(choice.record, summary="is now", cites=("arXiv:1.2",))
    again = EvalPlan((dataclasses.replace(choice, record=said),))
    assert plan_settings(again) == plan_settings(STUDY)
