"""Reductions over CSR rows with torch alone; none of them is differentiable by itself.

Several torch operators compute the same sum. Which is fastest depends on dtype and width, and the
rules below were measured (docs/performance.md; `tests/benchmarks/bench_kernels.py` repeats it):

- `embedding_bag` sums narrow float32 and all bfloat16 rows, with float32 accumulators;
- products of CSR matrices with 32-bit indices are best for narrow float64 rows;
- `torch.sparse.mm(reduce=...)` for wide rows, and for the largest and smallest;
- `scatter_add_` on vectors; `segment_reduce` for the largest of very narrow rows.

bfloat16 is always added up in float32: a sum of 256 ones in bfloat16 stays 256 for ever.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from .plans import Rows

_WIDE_FLOAT = 48
"""Width from which float32 sums are faster by `torch.sparse.mm` than by `embedding_bag`."""
_WIDE_DOUBLE = 9
"""The same for float64, against CSR products."""
_NARROW = 8
"""Below it, weighted float32 sums are faster by CSR products than by `embedding_bag`."""


def widened(values: Tensor) -> Tensor:
    """Half precision as float32, to be added up."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def sum_rows(x: Tensor, rows: Rows, weights: Tensor | None) -> Tensor:
    """out[i] = sum over the entries k of row i of weights[k] x[columns[k]] `[n, w]`.

    Args:
        x: `[source, w]`, contiguous.
        rows: the entries of each row.
        weights: `[m]`, or None for 1.
    """
    if not rows.entries or not x.shape[1]:
        return x.new_zeros(rows.size, x.shape[1])
    if x.is_cuda:
        return _sum_on_gpu(x, rows, weights)
    if x.dtype not in (torch.float32, torch.float64):
        half = x.dtype in (torch.bfloat16, torch.float16)
        return _bags(x, rows, weights) if half else _sum_any(x, rows, weights)
    width, single = x.shape[1], x.dtype == torch.float32
    in_order = weights is None and rows.columns is None
    if in_order and width == 1:
        return _sum_any(x, rows, None)
    by_bags = width < _WIDE_FLOAT if in_order else weights is None or width >= _NARROW
    if single and by_bags:
        return _bags(x, rows, weights)
    matrix = rows.matrix(weights, x.dtype)
    if width < (_NARROW if single else _WIDE_DOUBLE):
        with torch.autocast("cpu", enabled=False):  # no such product in bfloat16
            return matrix @ x
    return torch.sparse.mm(matrix, x, reduce="sum")


def _bags(x: Tensor, rows: Rows, weights: Tensor | None) -> Tensor:
    rowptr, columns = rows.compact
    weights = None if weights is None else weights.to(x.dtype)
    return embedding_bag(
        columns, x, rowptr, mode="sum", per_sample_weights=weights, include_last_offset=True
    )


def _sum_any(x: Tensor, rows: Rows, weights: Tensor | None) -> Tensor:
    """Any dtype, any device: gather, multiply, add up at the index."""
    picked = x if rows.columns is None else x.index_select(0, rows.columns)
    picked = picked if weights is None else picked * weights[:, None]
    total = picked.new_zeros(rows.size, x.shape[1])
    return add_at(total, rows.owner, picked)


def _sum_on_gpu(x: Tensor, rows: Rows, weights: Tensor | None) -> Tensor:
    """No atomics: CSR segment reduction, after a gather where entries are not in order."""
    picked = widened(x)
    picked = picked if rows.columns is None else picked.index_select(0, rows.columns)
    picked = picked if weights is None else picked * weights.to(picked.dtype)[:, None]
    if not picked.is_floating_point():
        return add_at(picked.new_zeros(rows.size, x.shape[1]), rows.owner, picked)
    total = torch.segment_reduce(picked, "sum", offsets=rows.rowptr, initial=0)
    return total.to(x.dtype)


def extreme_rows(x: Tensor, rows: Rows, largest: bool) -> Tensor:
    """Largest or smallest entry of each row `[n, w]`; 0 where there are none.

    Args:
        x: `[m, w]`, contiguous; entry k is row k.
        rows: the entries of each row (`columns` is None).
        largest: which of the two.
    """
    how = "amax" if largest else "amin"
    if not rows.entries or not x.shape[1]:
        return x.new_zeros(rows.size, x.shape[1])
    if x.is_floating_point() and not x.is_cuda:
        if x.shape[1] >= (4 if x.dtype == torch.float64 else 8):
            return torch.sparse.mm(rows.matrix(None, x.dtype), x, reduce=how)
        found = torch.segment_reduce(x, how[1:], offsets=rows.rowptr)
        empty = rows.empty
        return found.index_fill_(0, empty, 0) if len(empty) else found
    out = x.new_zeros(rows.size, x.shape[1])
    index = rows.owner[:, None].expand_as(x)
    return out.scatter_reduce(0, index, x, how, include_self=False)


def dot_entries(a: Tensor, b: Tensor, rows: Rows) -> Tensor:
    """a[owner[k]] . b[columns[k]] for each entry `[m]`, without arrays of `[m, w]`.

    Args:
        a: `[n, w]`.
        b: `[source, w]`.
        rows: the entries of each row, with their columns.
    """
    row, columns = rows.owner, rows.columns
    assert columns is not None
    first, second = widened(a), widened(b)
    width = a.shape[1]
    if not width or not len(row):
        return a.new_zeros(len(row))
    crowded = len(row) > len(a) * len(b)  # repeated entries, which sampled_addmm may refuse
    if a.is_cuda or crowded:
        total = (first.index_select(0, row) * second.index_select(0, columns)).sum(dim=1)
        return total.to(a.dtype)
    if width <= (_NARROW - 1 if first.dtype == torch.float32 else 2 * _NARROW):
        total = first.new_zeros(len(row))
        for u, v in zip(first.T.contiguous(), second.T.contiguous(), strict=True):
            total.addcmul_(u.index_select(0, row), v.index_select(0, columns))
        return total.to(a.dtype)
    pattern = rows.matrix(None, first.dtype)
    return torch.sparse.sampled_addmm(pattern, first, second.T, beta=0.0).values().to(a.dtype)


def add_at(total: Tensor, index: Tensor, values: Tensor) -> Tensor:
    """total[index[k]] += values[k] in place; vectors or rows, in the order of the entries.

    On the CPU, vectors with 64-bit indices are faster by `scatter_add_` than by `index_add_`
    (which is faster with 32 bits and for rows). Differentiable, as torch's own are.
    """
    flat = values.dim() == 1 or values.shape[1:].numel() == 1
    if flat and not values.is_cuda and index.dtype == torch.int64:
        if values.dim() == 1:
            return total.scatter_add_(0, index, values)
        total.view(-1).scatter_add_(0, index, values.reshape(-1))
        return total
    return total.index_add_(0, index, values)
