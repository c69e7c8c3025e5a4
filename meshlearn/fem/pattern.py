"""Sparsity pattern of two spaces and where local matrix entries go; kept per topology."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from .sparse import csr_matrix

Ints = NDArray[np.int32] | NDArray[np.int64]


@dataclass(frozen=True)
class Pattern:
    """CSR structure and scatter map.

    Attributes:
        rowptr: `[rows + 1]`.
        columns: `[nnz]`, sorted in each row.
        slots: for each group of cells, position in the values of each local entry
            `[test functions, trial functions, n_cells]`, of 32 bits where they fit.
        shape: rows and columns of the matrix.
    """

    rowptr: Tensor
    columns: Tensor
    slots: tuple[Tensor, ...]
    shape: tuple[int, int]

    @property
    def nnz(self) -> int:
        """Number of stored entries."""
        return len(self.columns)

    def matrix(self, values: Tensor) -> Tensor:
        """Sparse CSR tensor, differentiable in the values `[nnz]`."""
        return csr_matrix(self.rowptr, self.columns, values, self.shape)


def build_pattern(
    test: list[Tensor], trial: list[Tensor], shape: tuple[int, int], device: torch.device
) -> Pattern:
    """Pattern of all pairs of degrees of freedom that share a cell (or a pair of cells).

    With B the incidence of cells and degrees of freedom the pattern is that of B_test^T B_trial: a
    product of sparse matrices, linear in the local entries, instead of a sort of them.

    Args:
        test: `[n_cells, test functions]` of each group of cells.
        trial: `[n_cells, trial functions]` likewise.
        shape: rows and columns of the matrix.
        device: of the result.
    """
    same = shape[0] == shape[1] and all(
        v is u or torch.equal(v, u) for v, u in zip(test, trial, strict=True)
    )
    rows = [_indices(v, shape[0]) for v in test]
    columns = rows if same else [_indices(u, shape[1]) for u in trial]
    at_rows = _incidence(rows, shape[0])
    at_columns = at_rows if same else _incidence(columns, shape[1])
    pattern = at_rows.T.tocsr() @ at_columns
    pattern.sort_indices()
    index = np.int32 if pattern.nnz < 2**31 else np.int64
    places = sp.csr_matrix(
        (np.arange(pattern.nnz, dtype=index), pattern.indices, pattern.indptr), shape=shape
    )
    # A symmetric pattern read by columns: the place of (j, i) for each (i, j).
    mirrored = places.tocsc().data if same else None
    slots = tuple(
        torch.from_numpy(_slots(places, v, u, mirrored)).to(device)
        for v, u in zip(rows, columns, strict=True)
    )
    rowptr, column = (
        torch.from_numpy(a.astype(np.int64)).to(device) for a in (pattern.indptr, pattern.indices)
    )
    return Pattern(rowptr, column, slots, shape)


def _indices(dofs: Tensor, size: int) -> Ints:
    """Degrees of freedom function by function `[functions, n_cells]`."""
    small = max(size, dofs.numel()) < 2**31
    return dofs.T.to(torch.int32 if small else torch.int64).contiguous().cpu().numpy()


def _incidence(groups: list[Ints], size: int) -> sp.csr_matrix:
    """Which degrees of freedom each cell has `[n_cells, size]`."""
    width = np.concatenate([np.full(g.shape[1], g.shape[0]) for g in groups])
    indices = np.concatenate([g.T.reshape(-1) for g in groups])
    indptr = np.r_[0, np.cumsum(width)].astype(indices.dtype)
    return sp.csr_matrix((np.ones(len(indices), bool), indices, indptr), shape=(len(width), size))


def _slots(places: sp.csr_matrix, rows: Ints, columns: Ints, mirrored: Ints | None) -> Ints:
    """Place of each local entry; below the diagonal through `mirrored`, where it is given."""
    out = np.empty((len(rows), *columns.shape), places.dtype)
    for i, row in enumerate(rows):
        wanted = columns if mirrored is None else columns[i:]
        # Looked up by bisection within the row.
        at = places[np.broadcast_to(row, wanted.shape).reshape(-1), wanted.reshape(-1)]
        found = np.asarray(at).reshape(wanted.shape)
        if mirrored is None:
            out[i] = found
        else:
            out[i, i:], out[i:, i] = found, mirrored[found]
    return out
