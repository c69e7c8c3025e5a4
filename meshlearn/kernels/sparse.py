"""Products of sparse and dense matrices, differentiable in both to any order.

The gradient of A x in the stored entries of A is `entry_dot`, a dot product an entry: nothing of
the size of A as a dense matrix, and nothing of `[entries, width]`, is ever made.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .plans import Sparsity
from .rows import dot_entries, sum_rows, take
from .segment import tracked


def sparse_dense(values: Tensor | None, dense: Tensor, sparsity: Sparsity) -> Tensor:
    """A x: out[i] = sum over the entries k of row i of values[k] dense[columns[k]].

    Args:
        values: stored entries of A `[m]`, or None: all are 1 (the sum over neighbours).
        dense: x `[width of A, ...]`.
        sparsity: where the entries are; keep it, it caches what the backward pass needs.

    Returns:
        `[n, ...]`.

    Raises:
        ValueError: the sizes do not fit.
    """
    _check(values, dense, sparsity, sparsity.width)
    return _product(values, dense, sparsity, False)


def sparse_transposed_dense(values: Tensor | None, dense: Tensor, sparsity: Sparsity) -> Tensor:
    """A^T x: out[j] = sum over the entries k of column j of values[k] dense[row of k].

    Arguments and errors as `sparse_dense`, but x is `[height of A, ...]` and the result
    `[width of A, ...]`.
    """
    _check(values, dense, sparsity, sparsity.height)
    return _product(values, dense, sparsity, True)


def entry_dot(a: Tensor, b: Tensor, sparsity: Sparsity) -> Tensor:
    """out[k] = a[row of k] . b[column of k] for each stored entry k.

    Args:
        a: `[n, ...]`.
        b: `[width of the matrix, ...]`.
        sparsity: where the entries are.

    Returns:
        `[m]`: the dense product a b^T at the entries.
    """
    if not tracked(a, b):
        return dot_entries(a, b, sparsity.rows)
    out: Tensor = _EntryDot.apply(a, b, sparsity)  # type: ignore[no-untyped-call]
    return out


def _check(values: Tensor | None, dense: Tensor, sparsity: Sparsity, columns: int) -> None:
    if len(dense) != columns:
        raise ValueError(f"a sparse matrix of {columns} columns cannot multiply {len(dense)} rows")
    if values is not None and values.shape != sparsity.columns.shape:
        raise ValueError(
            f"values must be {list(sparsity.columns.shape)}, one an entry, got {list(values.shape)}"
        )


def _product(values: Tensor | None, x: Tensor, sparsity: Sparsity, transposed: bool) -> Tensor:
    if not tracked(values, x):
        return _multiplied(values, x, sparsity, transposed)
    out: Tensor = _Product.apply(  # type: ignore[no-untyped-call]
        values, x, sparsity, transposed
    )
    return out


def _multiplied(values: Tensor | None, x: Tensor, sparsity: Sparsity, transposed: bool) -> Tensor:
    if not transposed:
        return sum_rows(x, sparsity.rows, values)
    ordered = None if values is None else take(values, sparsity.by_column.order)
    return sum_rows(x, sparsity.transposed_rows, ordered)


class _Product(torch.autograd.Function):
    """A x or A^T x: linear in each, with gradients A^T g (A g) and `entry_dot`."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor | None, x: Tensor, sparsity: Sparsity, transposed: bool
    ) -> Tensor:
        ctx.sparsity, ctx.transposed, ctx.with_values = sparsity, transposed, values is not None
        needed = (values, x) if values is not None and ctx.needs_input_grad[0] else (values,)
        ctx.save_for_backward(*needed)
        return _multiplied(values, x, sparsity, transposed)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (grad,) = grads
        values = ctx.saved_tensors[0]
        to_values = to_x = None
        if ctx.with_values and ctx.needs_input_grad[0]:
            x = ctx.saved_tensors[1]
            a, b = (x, grad) if ctx.transposed else (grad, x)
            to_values = entry_dot(a, b, ctx.sparsity).to(values.dtype)
        if ctx.needs_input_grad[1]:
            to_x = _product(values, grad, ctx.sparsity, not ctx.transposed)
        return to_values, to_x, None, None


class _EntryDot(torch.autograd.Function):
    """Bilinear; its gradients are products with the matrix of the incoming gradient."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, sparsity: Sparsity) -> Tensor:
        ctx.sparsity = sparsity
        ctx.save_for_backward(a, b)
        return dot_entries(a, b, sparsity.rows)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        a, b = ctx.saved_tensors
        (grad,) = grads
        to_a = to_b = None
        if ctx.needs_input_grad[0]:
            to_a = _product(grad, b, ctx.sparsity, False)
        if ctx.needs_input_grad[1]:
            to_b = _product(grad, a, ctx.sparsity, True)
        return to_a, to_b, None
