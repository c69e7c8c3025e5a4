"""Sparse CSR tensors that autograd follows to any order, without dense intermediates.

torch's own rules stop at first derivatives for the step from values to a CSR tensor and back, and
the gradient of `A @ x` in A is dense, `[n, n]`. Here gradients are values at the stored entries.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..kernels import entry_rows


def csr_matrix(rowptr: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    """Sparse CSR tensor, differentiable in its values `[nnz]` to any order."""
    if not (values.requires_grad and torch.is_grad_enabled()):
        return _built(rowptr, columns, values, shape)
    out: Tensor = _FromValues.apply(values, rowptr, columns, shape)  # type: ignore[no-untyped-call]
    return out


def csr_values(matrix: Tensor) -> Tensor:
    """Values of a CSR tensor `[nnz]`, differentiable in it to any order."""
    if not (matrix.requires_grad and torch.is_grad_enabled()):
        return matrix.values()
    out: Tensor = _ToValues.apply(  # type: ignore[no-untyped-call]
        matrix, matrix.crow_indices(), matrix.col_indices()
    )
    return out


def rows_of(matrix: Tensor) -> Tensor:
    """Row of each stored entry of a CSR tensor `[nnz]`."""
    return entry_rows(matrix.crow_indices())


def multiply(matrix: Tensor, x: Tensor) -> Tensor:
    """A x for a CSR tensor and `[n]` or `[n, k]`, differentiable in both to any order."""
    if not (torch.is_grad_enabled() and (matrix.requires_grad or x.requires_grad)):
        return matrix @ x
    values = csr_values(matrix).reshape(-1, *(1,) * (x.dim() - 1))
    terms = values * x[matrix.col_indices()]
    return terms.new_zeros(matrix.shape[0], *x.shape[1:]).index_add(0, rows_of(matrix), terms)


def plus(a: Tensor, b: Tensor) -> Tensor:
    """A + B of CSR tensors; without a merge where their patterns are equal."""
    same = a.shape == b.shape and a.values().shape == b.values().shape
    if not (
        same
        and torch.equal(a.col_indices(), b.col_indices())
        and torch.equal(a.crow_indices(), b.crow_indices())
    ):
        return a + b
    values = csr_values(a) + csr_values(b)
    return csr_matrix(a.crow_indices(), a.col_indices(), values, (a.shape[0], a.shape[1]))


class _FromValues(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, values: Tensor, rowptr: Tensor, columns: Tensor, shape: tuple[int, int]
    ) -> Tensor:
        ctx.pattern = rowptr, columns
        return _built(rowptr, columns, values.detach(), shape)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return _entries(grads[0], *ctx.pattern), None, None, None


class _ToValues(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, rowptr: Tensor, columns: Tensor) -> Tensor:
        ctx.pattern, ctx.shape = (rowptr, columns), tuple(matrix.shape)
        return matrix.values().clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        rowptr, columns = ctx.pattern
        return csr_matrix(rowptr, columns, grads[0], ctx.shape), None, None


def _built(rowptr: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    return torch.sparse_csr_tensor(rowptr, columns, values, size=shape, check_invariants=False)


def _entries(matrix: Tensor, rowptr: Tensor, columns: Tensor) -> Tensor:
    """Entries of a matrix of any layout at the places of a CSR pattern `[nnz]`."""
    row = entry_rows(rowptr)
    if matrix.layout == torch.strided:
        return matrix[row, columns]
    if matrix.layout != torch.sparse_csr:
        matrix = matrix.to_sparse_csr()
    other_rowptr, other_columns = matrix.crow_indices(), matrix.col_indices()
    values = csr_values(matrix)
    if torch.equal(columns, other_columns) and torch.equal(rowptr, other_rowptr):
        return values
    # Keys are in ascending order: columns are sorted in each row.
    key, other = row * matrix.shape[1] + columns, entry_rows(other_rowptr) * matrix.shape[1]
    other = other + other_columns
    at = torch.searchsorted(other, key).clamp(max=max(len(other) - 1, 0))
    if not len(other):
        return values.new_zeros(len(columns))
    return torch.where(other[at] == key, values[at], torch.zeros_like(values[:1]))
