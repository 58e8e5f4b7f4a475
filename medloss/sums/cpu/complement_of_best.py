"""1 − p of each voxel's most probable class, summed over the other classes.

Where softmax is sure, p rounds to 1 and the difference 1 − p to 0: a loss on log(1 − p) would not
notice that it is surely wrong.
"""

from __future__ import annotations

from typing import Any

from medloss.sums.cpu import part
from medloss.sums.cpu.rows import fill, logarithm
from medloss.sums.cpu.scalars import ONE, ZERO, exp
from medloss.sums.cpu.tiles import NEED_M, NOTHING

Array = Any


@part
def prepare(
    needs: int, logits: Array, highest: Array, log_norm: Array, best: Array, row: Array,
    of_best: Array, n: int,
) -> None:  # fmt: skip
    """The most probable class, and into ``of_best`` its log(1 − p), where that is needed."""
    if needs & NEED_M:
        most_probable(logits, highest, best, n)
        log_of_others(logits, highest, log_norm, best, row, of_best, n)


@part
def most_probable(logits: Array, highest: Array, best: Array, n: int) -> None:
    """The first class whose logit is the highest of the voxel."""
    fill(best, -ONE, n)
    for c in range(len(logits) - 1):
        _note(logits[c], highest, best, best.dtype.type(c), n)


@part
def _note(row: Array, highest: Array, best: Array, c: Any, n: int) -> None:
    for i in range(n):
        best[i] = c if row[i] == highest[i] and best[i] < ZERO else best[i]


@part
def log_of_others(
    logits: Array, highest: Array, log_norm: Array, best: Array, second: Array, row: Array, n: int
) -> None:
    """Into ``row``: log(1 − p) of the most probable class, relative to the second highest logit."""
    fill(second, NOTHING, n)
    fill(row, ZERO, n)
    for c in range(len(logits) - 1):
        _highest_other(logits[c], best, second, best.dtype.type(c), n)
    for c in range(len(logits) - 1):
        _add_other(logits[c], best, second, row, best.dtype.type(c), n)
    logarithm(row, row, n)
    for i in range(n):
        row[i] += (second[i] - highest[i]) - log_norm[i]


@part
def _highest_other(logit: Array, best: Array, second: Array, c: Any, n: int) -> None:
    for i in range(n):
        second[i] = logit[i] if best[i] != c and logit[i] > second[i] else second[i]


@part
def _add_other(logit: Array, best: Array, second: Array, row: Array, c: Any, n: int) -> None:
    for i in range(n):
        row[i] += exp(logit[i] - second[i]) if best[i] != c and logit[i] > NOTHING else ZERO


@part
def put(q: Array, lq: Array, best: Array, of_best: Array, class_: int, n: int) -> None:
    """Where this class is the most probable one, take its 1 − p and log(1 − p) from there."""
    c = best.dtype.type(class_)
    for i in range(n):
        lq[i] = of_best[i] if best[i] == c else lq[i]
        q[i] = exp(of_best[i]) if best[i] == c else q[i]


@part
def by_log_p(
    p: Array, q: Array, by_lq: Array, best: Array, others: Array, kept: Array, class_: int,
    smallest: Any, row: Array, n: int,
) -> None:  # fmt: skip
    """Add to ``row`` the derivative by log p that comes from log(1 − p) of this class.

    That of the most probable class goes to ``kept``, for :func:`spread`; ``others`` gathers the sum
    of p over the other classes.
    """
    c = best.dtype.type(class_)
    for i in range(n):
        row[i] -= p[i] * by_lq[i] / q[i] if best[i] != c and q[i] >= smallest else ZERO
    for i in range(n):
        kept[i] = by_lq[i] if best[i] == c else kept[i]
        others[i] += p[i] if best[i] != c else ZERO


@part
def spread(
    row: Array, p: Array, best: Array, others: Array, kept: Array, summed: Array, class_: int,
    n: int,
) -> None:  # fmt: skip
    """Add to ``row`` and its sum this class's share in 1 − p of the most probable one."""
    c = best.dtype.type(class_)
    for i in range(n):
        share = kept[i] * (p[i] / others[i]) if best[i] != c and others[i] > ZERO else ZERO
        row[i] += share
        summed[i] += share
