"""From logits to probabilities, their logarithms and those of the complements, on tiles.

Softmax needs all classes of a voxel at once: they are a tuple of tiles (classes, voxels) of one
shape. A tile of one row for each class costs nothing to reduce, as a thread then holds all classes
of its voxels; tiles of more rows spread many classes over the threads. Exponentials are powers of
two, which is what the hardware has: ``scaled`` is the exponent, log2(e) (z − max z).
"""

# Triton reads this, not Python: it knows no starred tuples, and takes types from both branches of a
# choice at compile time unless the second is its else.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import triton
import triton.language as tl

from medloss.sums.gpu.voxels import is_class

LOG2_E = tl.constexpr(1.4426950408889634)
LN_2 = tl.constexpr(0.6931471805599453)
TINY_32 = tl.constexpr(2.0**-126)
TINY_64 = tl.constexpr(2.0**-1022)


@triton.jit
def over_classes(tiles):
    """Sum over classes, (voxels)."""
    total = tiles[0]
    for i in tl.static_range(1, len(tiles)):
        total += tiles[i]
    return tl.sum(total, 0)


@triton.jit
def highest_of(tiles):
    """Maximum over classes, (voxels)."""
    highest = tiles[0]
    for i in tl.static_range(1, len(tiles)):
        highest = tl.maximum(highest, tiles[i])
    return tl.max(highest, 0)


@triton.jit
def softmax(z):
    """Tiles of exponents and of their powers of two; the sum of these and the shift, (1, voxels).

    Args:
        z: tiles of logits, −inf in rows beyond the classes.
    """
    shift = (highest_of(z) * -LOG2_E)[None, :]
    scaled = ()
    powers = ()
    for i in tl.static_range(len(z)):
        scaled = scaled + (exponent(z[i], shift),)
        powers = powers + (tl.exp2(scaled[i]),)
    return scaled, powers, over_classes(powers)[None, :], shift


@triton.jit
def exponent(z, shift):
    """log2(e) (z − max z)."""
    return tl.fma(z, tl.full(z.shape, LOG2_E, z.dtype), tl.broadcast_to(shift, z.shape))


@triton.jit
def most_probable(scaled):
    """The first class with the highest probability, (1, voxels)."""
    ROWS: tl.constexpr = scaled[0].shape[0]
    highest = highest_of(scaled)[None, :]
    best = tl.full(scaled[0].shape, len(scaled) * ROWS, tl.int32)
    for i in tl.static_range(len(scaled)):
        classes = (tl.arange(0, ROWS) + i * ROWS)[:, None]
        best = tl.where((scaled[i] == highest) & (classes < best), classes, best)
    return tl.min(best, 0)[None, :]


@triton.jit
def log_of_others(scaled, best):
    """log2 of the sum of the powers over all classes but the most probable, (1, voxels).

    Where softmax is sure, p rounds to 1 and the difference 1 − p to 0: a loss on log(1 − p) would
    not notice that it is surely wrong.
    """
    ROWS: tl.constexpr = scaled[0].shape[0]
    others = ()
    for i in tl.static_range(len(scaled)):
        others = others + (tl.where(is_class(best, i, ROWS), float("-inf"), scaled[i]),)
    second = highest_of(others)[None, :]
    shift = tl.where(second == float("-inf"), 0.0, second)
    powers = ()
    for i in tl.static_range(len(scaled)):
        powers = powers + (tl.exp2(others[i] - shift),)
    return tl.log2(over_classes(powers)[None, :]) + shift


@triton.jit
def softmax_row(scaled, power, total):
    """p, 1 − p and log p of a tile or of the true class; log(1 − p) takes :func:`with_log_q`."""
    p = power * (1.0 / total)
    return p, tl.maximum(1.0 - p, 0.0), (scaled - tl.log2(total)) * LN_2, p


@triton.jit
def with_log_q(row, is_best, log_others, total):
    """The row with log(1 − p), which for the most probable class is that of the others' sum."""
    p, q, log_p, _ = row
    of_best = (log_others - tl.log2(total)) * LN_2
    log_q = tl.where(is_best, of_best, log1p(-tl.where(is_best, 0.0, p)))
    return p, tl.where(is_best, tl.exp(of_best), q), log_p, log_q


@triton.jit
def sigmoid_row(z):
    """p, 1 − p and their logarithms, each to full relative precision."""
    small = tl.exp(-tl.abs(z))
    large = 1.0 / (1.0 + small)
    below = z < 0
    rest = log1p(small)
    p, q = tl.where(below, small * large, large), tl.where(below, large, small * large)
    return p, q, tl.where(below, z, 0.0) - rest, tl.where(below, 0.0, -z) - rest


@triton.jit
def given_row(p):
    """p, 1 − p and their logarithms, which are held at that of the smallest normal number."""
    q = 1.0 - p
    tiny = smallest(p)
    return p, q, tl.log(tl.where(p < tiny, tiny, p)), tl.log(tl.where(q < tiny, tiny, q))


@triton.jit
def over(value, p):
    """``value / p``, 0 where the logarithm of p is held at a finite value."""
    held = p < smallest(p)
    return tl.where(held, 0.0, value / tl.where(held, 1.0, p))


@triton.jit
def smallest(p):
    """The smallest normal number of the dtype."""
    if p.dtype == tl.float64:
        return TINY_64
    else:
        return TINY_32


@triton.jit
def log1p(x):
    """The logarithm of 1 + x for x > −1/2, to full relative precision."""
    rounded = 1.0 + x
    return tl.log(rounded) + (x - (rounded - 1.0)) / rounded  # what rounding lost comes back


@triton.jit
def activate(z, ACTIVATION: tl.constexpr, LOG_Q: tl.constexpr):
    """Tiles for :func:`row_of`, and what softmax finds about each voxel.

    Args:
        z: tiles of the input, under softmax −inf in rows beyond the classes.
        ACTIVATION: ``softmax``, ``sigmoid`` or ``probabilities``.
        LOG_Q: whether log(1 − p) is needed.
    """
    if ACTIVATION != "softmax":
        return z, ()
    else:
        scaled, powers, total, shift = softmax(z)
        if LOG_Q:
            best = most_probable(scaled)
            return scaled, (powers, total, shift, best, log_of_others(scaled, best))
        else:
            return scaled, (powers, total, shift)


@triton.jit
def row_of(i, tiles, found, ACTIVATION: tl.constexpr, LOG_Q: tl.constexpr):
    """p, 1 − p and their logarithms of the ``i``-th tile, of which only what is used is computed.

    Args:
        i: which.
        tiles: of :func:`activate`.
        found: likewise.
        ACTIVATION: as there.
        LOG_Q: as there.
    """
    if ACTIVATION == "sigmoid":
        return sigmoid_row(tiles[i])
    elif ACTIVATION == "probabilities":
        return given_row(tiles[i])
    else:
        row = softmax_row(tiles[i], found[0][i], found[1])
        if LOG_Q:
            is_best = is_class(found[3], i, tiles[i].shape[0])
            row = with_log_q(row, is_best, found[4], found[1])
        return row
