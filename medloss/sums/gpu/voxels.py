"""What a program reads and writes: tiles of (ROWS, VOXELS), rows being classes.

A tensor of shape (B, C, V) reaches the kernels as a tuple: memory, and the strides of samples,
classes and voxels. The classes come in lots of ``ROWS``. Where a voxel is, is counted in 64 bits;
``left`` is how many voxels there are from the first one of the tile on. What a voxel has once
(label, weight) is read into each row, so that it lies with the threads that need it.
"""

# Triton reads this, not Python: it knows no starred tuples, and takes types from both branches of a
# choice at compile time unless the second is its else.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, assignment"

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def load_tile(
    tensor, b, start, left, i, CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr
):
    """The ``i``-th lot of classes as it is stored, 0 outside."""
    inside = _inside(left, i, CLASSES, ROWS, VOXELS)
    return tl.load(_pointers(tensor, b, start, i, ROWS, VOXELS), mask=inside, other=0)


@triton.jit
def store_tile(
    tensor, values, b, start, left, i,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Write the ``i``-th lot of classes, rounded to what the tensor stores."""
    inside = _inside(left, i, CLASSES, ROWS, VOXELS)
    values = values.to(tensor[0].dtype.element_ty)
    tl.store(_pointers(tensor, b, start, i, ROWS, VOXELS), values, mask=inside)


@triton.jit
def load_input(
    x, mask, weights, b, start, left, i, SOFTMAX: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Input to compute with; under softmax −inf in rows beyond the classes.

    A voxel of weight 0 becomes 0, so that not even a NaN in it has influence.
    """
    z = load_tile(x, b, start, left, i, CLASSES, ROWS, VOXELS).to(weights.dtype)
    if mask is not None:
        z = tl.where(weights == 0, 0.0, z)
    if SOFTMAX and (i + 1) * ROWS > CLASSES:
        z = tl.where((tl.arange(0, ROWS) + i * ROWS < CLASSES)[:, None], z, float("-inf"))
    return z


@triton.jit
def load_classes(
    x, mask, weights, b, start, left, SOFTMAX: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """The input of all classes, a tuple of tiles."""
    z = ()
    for i in tl.static_range((CLASSES + ROWS - 1) // ROWS):
        z = z + (load_input(x, mask, weights, b, start, left, i, SOFTMAX, CLASSES, ROWS, VOXELS),)
    return z


@triton.jit
def load_labels(
    target, b, start, left, INDEX: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """Class indices; −1 for a label that is no class, or where there are no labels."""
    labels = tl.full([ROWS, VOXELS], -1, tl.int32)
    if INDEX:
        stored = _load_once(target, b, start, left, ROWS, VOXELS)
        if stored.dtype.is_floating():
            if stored.dtype.primitive_bitwidth < 32:
                stored = stored.to(tl.float32)  # what floor takes
            known = (stored >= 0) & (stored < CLASSES) & (stored == tl.floor(stored))
        else:
            if stored.dtype.primitive_bitwidth < 32:
                stored = stored.to(tl.int32)  # what holds CLASSES
            known = (stored >= 0) & (stored < CLASSES)
        labels = tl.where(known, stored.to(tl.int32), labels)
    return labels


@triton.jit
def load_weights(
    mask, b, start, left, DTYPE: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr
):
    """Weight of each voxel, 0 outside."""
    if mask is None:
        return (tl.zeros([ROWS, 1], tl.int32) + tl.arange(0, VOXELS)[None, :] < left).to(DTYPE)
    else:
        return _load_once(mask, b, start, left, ROWS, VOXELS).to(DTYPE)


@triton.jit
def load_target(
    target, labels, b, start, left, i, DTYPE: tl.constexpr, INDEX: tl.constexpr,
    CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr,
):  # fmt: skip
    """The target of the ``i``-th lot of classes, from labels that were loaded or as it is."""
    if INDEX:
        return is_class(labels, i, ROWS).to(DTYPE)
    else:
        return load_tile(target, b, start, left, i, CLASSES, ROWS, VOXELS).to(DTYPE)


@triton.jit
def load_labelled(x, weights, labels, b, start, VOXELS: tl.constexpr):
    """The input of the class that the label names, which a load of the tile left in the cache."""
    first = x[0] + b * x[1] + start * x[3]
    at = first + labels.to(tl.int64) * x[2] + tl.arange(0, VOXELS)[None, :] * x[3]
    return tl.load(at, mask=(labels >= 0) & (weights != 0), other=0).to(weights.dtype)


@triton.jit
def is_class(labels, i, ROWS: tl.constexpr):
    """Whether a class of the ``i``-th lot is the one that the label names."""
    return (tl.arange(0, ROWS) + i * ROWS)[:, None] == labels


@triton.jit
def _load_once(tensor, b, start, left, ROWS: tl.constexpr, VOXELS: tl.constexpr):
    """The only class of a tensor as it is stored, 0 outside."""
    voxels = tl.zeros([ROWS, 1], tl.int32) + tl.arange(0, VOXELS)[None, :]
    first = tensor[0] + b * tensor[1] + start * tensor[3]
    return tl.load(first + voxels * tensor[3], mask=voxels < left, other=0)


@triton.jit
def _pointers(tensor, b, start, i, ROWS: tl.constexpr, VOXELS: tl.constexpr):
    classes = (tl.arange(0, ROWS) + i * ROWS).to(tl.int64)
    first = tensor[0] + b * tensor[1] + start * tensor[3]
    return first + classes[:, None] * tensor[2] + tl.arange(0, VOXELS)[None, :] * tensor[3]


@triton.jit
def _inside(left, i, CLASSES: tl.constexpr, ROWS: tl.constexpr, VOXELS: tl.constexpr):
    """Which elements exist; of a lot without rows beyond the classes only voxels are asked."""
    inside = (tl.arange(0, VOXELS) < left)[None, :]
    if (i + 1) * ROWS > CLASSES:
        inside = inside & (tl.arange(0, ROWS) + i * ROWS < CLASSES)[:, None]
    return inside
