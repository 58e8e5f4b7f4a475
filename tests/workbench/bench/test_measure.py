from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import torch

from medloss.workbench.bench.devices import CPU, CallTime, find_device
from medloss.workbench.bench.measure import Entrant, MemoryCopy, memory, rounds

MB = 1 << 20
needs_counters = pytest.mark.skipif(bool(CPU().no_memory), reason=CPU().no_memory)


class Clock:
    """A device whose calls take as long as they say."""

    name = "cpu"
    no_memory = ""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def time(self, call: Callable[[], object]) -> CallTime:
        name, seconds = call()  # type: ignore[misc]
        self.calls.append(name)
        return CallTime(seconds, 2 * seconds)

    def extra_bytes(self, call: Callable[[], object]) -> int:
        return len(call()[0])  # type: ignore[index]

    def describe(self) -> dict[str, str]:
        return {}


def entrant(name: str, *seconds: float) -> Entrant:
    times = iter(seconds)
    return Entrant(name, lambda: (name, next(times)))


def test_rounds_alternate_and_begin_with_another_each_time():
    clock = Clock()
    found = rounds([entrant("a", 1, 2, 3), entrant("b", 4, 5, 6), entrant("c", 7, 8, 9)], 3, clock)
    assert "".join(clock.calls) == "abcbcacab"
    assert found["b"].wall_s == [4, 5, 6]
    assert found["b"].cpu_s == [8, 10, 12]


def test_reset_runs_before_every_call():
    seen: list[str] = []
    one = Entrant("a", lambda: (seen.append("call"), 1.0), lambda: seen.append("reset"))
    rounds([one], 2, Clock())
    assert seen == ["reset", "call", "reset", "call"]


def test_a_round_is_the_median_of_its_calls_in_a_row():
    clock, resets = Clock(), list[str]()
    times = iter([5, 1, 2, 9, 4, 3])
    many = Entrant("m", lambda: ("m", next(times)), lambda: resets.append("m"), calls=3)
    found = rounds([many, entrant("a", 7, 8)], 2, clock)
    assert "".join(clock.calls) == "mmmaammm"
    assert found["m"].wall_s == [2, 4]
    assert found["m"].cpu_s == [4, 8]
    assert len(resets) == 6
    assert found["a"].wall_s == [7, 8]


def test_no_round_is_refused():
    with pytest.raises(ValueError, match="rounds: expected at least 1, got 0"):
        rounds([], 0, Clock())


@needs_counters
def test_memory_sees_what_a_call_holds_at_its_peak():
    kept: list[torch.Tensor] = []

    def hold() -> None:
        kept.append(torch.ones(64 * MB // 4))

    def hold_three_times_and_free() -> None:
        first, second = torch.ones(64 * MB // 4), torch.ones(64 * MB // 4)
        kept.append(first + second)

    def nothing() -> None:
        pass

    calls = (hold, hold_three_times_and_free, nothing)
    entrants = [Entrant(call.__name__, call, kept.clear) for call in calls]
    found = memory(entrants, CPU())
    assert found["hold"] == pytest.approx(64 * MB, rel=0.05)
    assert found["hold_three_times_and_free"] == pytest.approx(192 * MB, rel=0.05)
    assert found["nothing"] < 3 * MB


@needs_counters
def test_memory_that_the_allocator_kept_is_seen_too():
    def many_small() -> list[torch.Tensor]:
        return [torch.ones(16 * 1024) for _ in range(512)]  # 32 MB below the mapping threshold

    many_small()
    assert CPU().extra_bytes(many_small) == pytest.approx(32 * MB, rel=0.15)


def test_times_of_the_cpu_are_wall_and_processor():
    timing = CPU().time(lambda: sum(range(200_000)))
    assert 0 < timing.wall_s < 10
    assert timing.cpu_s > 0


def test_a_copy_moves_what_it_says():
    copy = MemoryCopy("cpu", MB)
    copy()
    assert copy.moved_bytes == 2 * MB
    assert torch.equal(copy._to, copy._from)


def test_devices_that_are_not_here():
    with pytest.raises(ValueError, match="expected cpu or cuda, got 'tpu'"):
        find_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="no CUDA device"):
            find_device("cuda")


def test_other_systems_are_told(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert "not on darwin" in CPU().no_memory
