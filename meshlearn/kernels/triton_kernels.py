"""Triton programs over CSR rows. Imported only where Triton computes (see `backend`).

Each program owns a tile of rows and columns and walks along the entries of its rows, one entry of
each row a step: reads are contiguous along the columns, no two programs write the same place, and
the order of every sum is that of the entries, so results repeat exactly. Sums are kept in float32,
in float64 for float64. Offsets are int64: the product of row and width may pass 2^31.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _activated(z, ACTIVATION: tl.constexpr):
    if ACTIVATION == "relu":
        z = tl.where(z < 0, 0.0, z)
    if ACTIVATION == "silu":
        z = z / (1 + tl.exp(-z))
    return z


@triton.jit
def _slope(z, ACTIVATION: tl.constexpr):
    if ACTIVATION == "relu":
        return tl.where(z > 0, 1.0, 0.0).to(z.dtype)
    if ACTIVATION == "silu":
        s = 1 / (1 + tl.exp(-z))
        return s * (1 + z * (1 - s))
    return tl.full(z.shape, 1.0, z.dtype)


@triton.jit
def sum_rows(
    x, rowptr, columns, weights, out, size, width,
    HAS_COLUMNS: tl.constexpr, HAS_WEIGHTS: tl.constexpr,
    KIND: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """out[i] = sum_k weights[k] x[columns[k]] over the entries k of row i."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    here, inside = row < size, column < width
    begin = tl.load(rowptr + row, mask=here, other=0)
    count = tl.load(rowptr + row + 1, mask=here, other=0) - begin
    total = tl.zeros([ROWS, WIDTH], KIND)
    for step in range(tl.max(count, axis=0)):
        there = step < count
        entry = begin + step
        source = tl.load(columns + entry, mask=there, other=0) if HAS_COLUMNS else entry
        mask = there[:, None] & inside[None, :]
        value = tl.load(x + source[:, None] * width + column[None, :], mask=mask, other=0).to(KIND)
        if HAS_WEIGHTS:
            value *= tl.load(weights + entry, mask=there, other=0).to(KIND)[:, None]
        total += value
    place = row[:, None] * width + column[None, :]
    tl.store(out + place, total, mask=here[:, None] & inside[None, :])


@triton.jit
def extreme_rows(
    x, rowptr, out, size, width,
    SIGN: tl.constexpr, KIND: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Largest (SIGN 1) or smallest (SIGN -1) entry of each row, 0 where there are none."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    here, inside = row < size, column < width
    begin = tl.load(rowptr + row, mask=here, other=0)
    count = tl.load(rowptr + row + 1, mask=here, other=0) - begin
    best = tl.full([ROWS, WIDTH], float("-inf"), KIND)
    for step in range(tl.max(count, axis=0)):
        there = (step < count)[:, None]
        entry = (begin + step)[:, None]
        value = tl.load(x + entry * width + column[None, :], mask=there & inside[None, :], other=0)
        value = SIGN * value.to(KIND)
        # NaN wins, as in torch; entries past the end lose.
        take = there & ((value > best) | (value != value))
        best = tl.where(take, value, best)
    best = tl.where((count > 0)[:, None], SIGN * best, 0.0)
    place = row[:, None] * width + column[None, :]
    tl.store(out + place, best, mask=here[:, None] & inside[None, :])


@triton.jit
def extreme_rows_backward(
    x, best, grad, rowptr, out, size, width,
    KIND: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """The gradient of a row's extreme, in equal parts to the entries that attain it."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    here, inside = row < size, column < width
    begin = tl.load(rowptr + row, mask=here, other=0)
    count = tl.load(rowptr + row + 1, mask=here, other=0) - begin
    place = row[:, None] * width + column[None, :]
    known = here[:, None] & inside[None, :]
    top = tl.load(best + place, mask=known, other=0)
    share = tl.zeros([ROWS, WIDTH], KIND)
    longest = tl.max(count, axis=0)
    for step in range(longest):
        mask = (step < count)[:, None] & inside[None, :]
        at = (begin + step)[:, None] * width + column[None, :]
        equal = mask & (tl.load(x + at, mask=mask, other=0) == top)
        share += tl.where(equal, 1.0, 0.0).to(KIND)
    part = tl.load(grad + place, mask=known, other=0).to(KIND) / tl.where(share > 0, share, 1.0)
    for step in range(longest):
        mask = (step < count)[:, None] & inside[None, :]
        at = (begin + step)[:, None] * width + column[None, :]
        equal = tl.load(x + at, mask=mask, other=0) == top
        tl.store(out + at, tl.where(equal, part, 0.0), mask=mask)


@triton.jit
def softmax_rows(
    x, rowptr, out, size, width,
    KIND: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Softmax over the entries of each row: the running maximum rescales the running sum."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    here, inside = row < size, column < width
    begin = tl.load(rowptr + row, mask=here, other=0)
    count = tl.load(rowptr + row + 1, mask=here, other=0) - begin
    top = tl.full([ROWS, WIDTH], float("-inf"), KIND)
    total = tl.zeros([ROWS, WIDTH], KIND)
    longest = tl.max(count, axis=0)
    for step in range(longest):
        mask = (step < count)[:, None] & inside[None, :]
        at = (begin + step)[:, None] * width + column[None, :]
        value = tl.load(x + at, mask=mask, other=0).to(KIND)
        higher = tl.where(mask, tl.maximum(top, value), top)
        grown = total * tl.exp(top - higher) + tl.exp(value - higher)
        total = tl.where(mask, grown, total)
        top = higher
    for step in range(longest):
        mask = (step < count)[:, None] & inside[None, :]
        at = (begin + step)[:, None] * width + column[None, :]
        value = tl.load(x + at, mask=mask, other=0).to(KIND)
        tl.store(out + at, tl.where(mask, tl.exp(value - top) / total, 0.0), mask=mask)


@triton.jit
def softmax_rows_backward(
    p, grad, rowptr, out, size, width,
    KIND: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """p (g - sum p g), the sum over the entries of each row."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    here, inside = row < size, column < width
    begin = tl.load(rowptr + row, mask=here, other=0)
    count = tl.load(rowptr + row + 1, mask=here, other=0) - begin
    total = tl.zeros([ROWS, WIDTH], KIND)
    longest = tl.max(count, axis=0)
    for step in range(longest):
        mask = (step < count)[:, None] & inside[None, :]
        at = (begin + step)[:, None] * width + column[None, :]
        chance = tl.load(p + at, mask=mask, other=0).to(KIND)
        total += chance * tl.load(grad + at, mask=mask, other=0).to(KIND)
    for step in range(longest):
        mask = (step < count)[:, None] & inside[None, :]
        at = (begin + step)[:, None] * width + column[None, :]
        chance = tl.load(p + at, mask=mask, other=0).to(KIND)
        change = tl.load(grad + at, mask=mask, other=0).to(KIND) - total
        tl.store(out + at, chance * change, mask=mask)


@triton.jit
def dot_entries(
    a, b, row_of, column_of, out, entries, width,
    KIND: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """out[k] = a[row_of[k]] . b[column_of[k]]."""
    entry = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    here = entry < entries
    first = tl.load(row_of + entry, mask=here, other=0)[:, None]
    second = tl.load(column_of + entry, mask=here, other=0)[:, None]
    total = tl.zeros([ROWS, WIDTH], KIND)
    for start in range(0, width, WIDTH):
        column = start + tl.arange(0, WIDTH)[None, :]
        mask = here[:, None] & (column < width)
        u = tl.load(a + first * width + column, mask=mask, other=0).to(KIND)
        total += u * tl.load(b + second * width + column, mask=mask, other=0).to(KIND)
    tl.store(out + entry, tl.sum(total, axis=1), mask=here)


@triton.jit
def combine(
    own, other, edge, own_of, other_of, out, entries, width,
    HAS_EDGE: tl.constexpr, KIND: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """out[k] = own[own_of[k]] + other[other_of[k]] + edge[k]."""
    entry = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = (tl.program_id(1) * WIDTH + tl.arange(0, WIDTH))[None, :]
    here = entry < entries
    mask = here[:, None] & (column < width)
    first = tl.load(own_of + entry, mask=here, other=0)[:, None]
    second = tl.load(other_of + entry, mask=here, other=0)[:, None]
    z = tl.load(own + first * width + column, mask=mask, other=0).to(KIND)
    z += tl.load(other + second * width + column, mask=mask, other=0).to(KIND)
    place = entry[:, None] * width + column
    if HAS_EDGE:
        z += tl.load(edge + place, mask=mask, other=0).to(KIND)
    tl.store(out + place, z, mask=mask)


@triton.jit
def combine_reduce(
    own, other, edge, rowptr, other_of, out, size, width,
    HAS_EDGE: tl.constexpr, ACTIVATION: tl.constexpr,
    KIND: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """out[i] = sum over the edges k of row i of f(own[i] + other[other_of[k]] + edge[k])."""
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    here, inside = row < size, column < width
    begin = tl.load(rowptr + row, mask=here, other=0)
    count = tl.load(rowptr + row + 1, mask=here, other=0) - begin
    place = row[:, None] * width + column[None, :]
    known = here[:, None] & inside[None, :]
    mine = tl.load(own + place, mask=known, other=0).to(KIND)
    total = tl.zeros([ROWS, WIDTH], KIND)
    for step in range(tl.max(count, axis=0)):
        there = step < count
        entry = begin + step
        source = tl.load(other_of + entry, mask=there, other=0)
        mask = there[:, None] & inside[None, :]
        at = source[:, None] * width + column[None, :]
        z = mine + tl.load(other + at, mask=mask, other=0).to(KIND)
        if HAS_EDGE:
            at = entry[:, None] * width + column[None, :]
            z += tl.load(edge + at, mask=mask, other=0).to(KIND)
        total += tl.where(mask, _activated(z, ACTIVATION), 0.0)
    tl.store(out + place, total, mask=known)


@triton.jit
def combine_reduce_backward(
    own, other, edge, grad, rowptr, order, other_of, out, to_edge, size, width,
    HAS_EDGE: tl.constexpr, HAS_ORDER: tl.constexpr, GRAD_IS_OWN: tl.constexpr,
    STORE: tl.constexpr, ACTIVATION: tl.constexpr,
    KIND: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """out[i] = sum over the edges k of row i of f'(z_k) g, and each term to its edge.

    By receiver (g belongs to the row) or by sender (edges in the order `order`, g belongs to the
    other end); nothing of the size of the edges is kept between forward and backward.
    """
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    here, inside = row < size, column < width
    begin = tl.load(rowptr + row, mask=here, other=0)
    count = tl.load(rowptr + row + 1, mask=here, other=0) - begin
    place = row[:, None] * width + column[None, :]
    known = here[:, None] & inside[None, :]
    mine = tl.load(own + place, mask=known, other=0).to(KIND)
    g = tl.zeros([ROWS, WIDTH], KIND)
    if GRAD_IS_OWN:
        g = tl.load(grad + place, mask=known, other=0).to(KIND)
    total = tl.zeros([ROWS, WIDTH], KIND)
    for step in range(tl.max(count, axis=0)):
        there = step < count
        entry = begin + step
        if HAS_ORDER:
            entry = tl.load(order + entry, mask=there, other=0)
        source = tl.load(other_of + entry, mask=there, other=0)
        mask = there[:, None] & inside[None, :]
        at = source[:, None] * width + column[None, :]
        z = mine + tl.load(other + at, mask=mask, other=0).to(KIND)
        if not GRAD_IS_OWN:
            g = tl.load(grad + at, mask=mask, other=0).to(KIND)
        at = entry[:, None] * width + column[None, :]
        if HAS_EDGE:
            z += tl.load(edge + at, mask=mask, other=0).to(KIND)
        term = tl.where(mask, _slope(z, ACTIVATION) * g, 0.0)
        total += term
        if STORE:
            tl.store(to_edge + at, term, mask=mask)
    tl.store(out + place, total, mask=known)
