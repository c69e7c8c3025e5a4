"""The reductions over rows of any shape, computed by the backend that serves the tensor."""

from __future__ import annotations

import torch
from torch import Tensor

from . import torch_rows
from .backend import backend_for
from .plans import Rows


def sum_rows(x: Tensor, rows: Rows, weights: Tensor | None = None) -> Tensor:
    """out[i] = sum over the entries k of row i of weights[k] x[columns[k]] `[n, ...]`."""
    weights = None if weights is None else weights.detach()
    if x.is_floating_point() and backend_for(x) == "triton":
        from . import triton_rows

        found = triton_rows.sum_rows(table(x), rows, weights)
    else:
        found = torch_rows.sum_rows(table(x), rows, weights)
    return found if x.dim() == 2 else found.reshape(rows.size, *x.shape[1:])


def extreme_rows(x: Tensor, rows: Rows, largest: bool) -> Tensor:
    """Largest or smallest entry of each row `[n, ...]`; 0 where there are none."""
    if x.is_floating_point() and backend_for(x) == "triton":
        from . import triton_rows

        found = triton_rows.extreme_rows(table(x), rows, largest)
    else:
        found = torch_rows.extreme_rows(table(x), rows, largest)
    return found if x.dim() == 2 else found.reshape(rows.size, *x.shape[1:])


def dot_entries(a: Tensor, b: Tensor, rows: Rows) -> Tensor:
    """a[owner[k]] . b[columns[k]] over all axes but the first, for each entry `[m]`."""
    if a.is_floating_point() and backend_for(a) == "triton":
        from . import triton_rows

        return triton_rows.dot_entries(table(a), table(b), rows)
    return torch_rows.dot_entries(table(a), table(b), rows)


def table(x: Tensor) -> Tensor:
    """As a contiguous matrix `[rows, width]` outside autograd."""
    x = x.detach()
    if x.dim() == 2 and x.is_contiguous():
        return x
    return x.reshape(len(x), x.shape[1:].numel()).contiguous()


def take(x: Tensor, index: Tensor) -> Tensor:
    """Rows of a tensor; numbers are taken from a vector, which is four times as fast."""
    number = x.dim() > 1 and x.shape[1:].numel() == 1 and x.is_contiguous()
    if number and not torch.compiler.is_compiling():
        return x.reshape(-1).index_select(0, index).reshape(len(index), *x.shape[1:])
    return x.index_select(0, index)


def add_up(x: Tensor, index: Tensor, size: int) -> Tensor:
    """Unordered sum at an index `[size, ...]`, half precision in float32."""
    wide = torch_rows.widened(x)
    total = wide.new_zeros(size, *x.shape[1:])
    if torch.compiler.is_compiling():
        return total.index_add(0, index, wide).to(x.dtype)
    return torch_rows.add_at(total, index, wide).to(x.dtype)
