"""Sparsity pattern of two spaces and where local matrix entries go; kept per topology."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]

# torch says so once a process; what we use of it is tested.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")


@dataclass(frozen=True)
class Pattern:
    """CSR structure and scatter map.

    Attributes:
        rowptr: `[rows + 1]`.
        columns: `[nnz]`, sorted in each row.
        slots: for each group of cells, position in the values of each local entry
            `[test functions, trial functions, n_cells]`.
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
        return torch.sparse_csr_tensor(
            self.rowptr, self.columns, values, size=self.shape, check_invariants=False
        )


def build_pattern(
    test: list[Tensor], trial: list[Tensor], shape: tuple[int, int], device: torch.device
) -> Pattern:
    """Pattern of all pairs of degrees of freedom that share a cell (or a pair of cells).

    Args:
        test: `[n_cells, test functions]` of each group of cells.
        trial: `[n_cells, trial functions]` likewise.
        shape: rows and columns of the matrix.
        device: of the result.
    """
    rows, columns, shapes = [], [], []
    for v, u in zip(test, trial, strict=True):
        v_np, u_np = v.cpu().numpy().T, u.cpu().numpy().T
        size = (len(v_np), len(u_np), v_np.shape[1])
        rows.append(np.broadcast_to(v_np[:, None], size).reshape(-1))
        columns.append(np.broadcast_to(u_np[None], size).reshape(-1))
        shapes.append(size)
    row, column = np.concatenate(rows), np.concatenate(columns)
    entry = np.arange(len(row))
    # Counting sort by row, then a short sort within each row: linear in the entries.
    ordered = sp.coo_array((entry, (row, column)), shape=shape).tocsr(copy=False)
    if ordered.nnz != len(row):  # scipy has summed duplicates: number the entries itself
        return _by_sorting(row, column, shapes, shape, device)
    ordered.sort_indices()
    return _compressed(ordered.data, row, column, shapes, shape, device)


def _by_sorting(
    row: Ints,
    column: Ints,
    shapes: list[tuple[int, int, int]],
    shape: tuple[int, int],
    device: torch.device,
) -> Pattern:
    order = np.lexsort((column, row))
    return _compressed(order, row, column, shapes, shape, device)


def _compressed(
    order: Ints,
    row: Ints,
    column: Ints,
    shapes: list[tuple[int, int, int]],
    shape: tuple[int, int],
    device: torch.device,
) -> Pattern:
    """Join equal (row, column) pairs of entries given in row-major order."""
    r, c = row[order], column[order]
    new = np.ones(len(order), bool)
    new[1:] = (r[1:] != r[:-1]) | (c[1:] != c[:-1])
    slot = np.empty(len(order), np.int64)
    slot[order] = np.cumsum(new) - 1
    rowptr = np.r_[0, np.cumsum(np.bincount(r[new], minlength=shape[0]))]
    parts = np.split(slot, np.cumsum([a * b * n for a, b, n in shapes])[:-1])
    slots = tuple(
        torch.from_numpy(p.reshape(s)).to(device) for p, s in zip(parts, shapes, strict=True)
    )
    as_tensor = [torch.from_numpy(a.astype(np.int64)).to(device) for a in (rowptr, c[new])]
    return Pattern(as_tensor[0], as_tensor[1], slots, shape)
