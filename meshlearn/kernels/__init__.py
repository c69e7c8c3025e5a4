"""Lowest layer: reductions over the edges of each node, sparse products, small matrices as arrays.

Rows of a tensor are gathered along edges, combined, and added up at the nodes: `segment` for edges
sorted by receiver, `scatter_add` for any order, `sparse` for products with sparse matrices, `fused`
for a first layer and its sum in one go. `backend` tells who computes.
"""

from __future__ import annotations

from .backend import KernelError, use_backend
from .fused import gather_combine, gather_combine_reduce
from .memory import release_memory
from .plans import Scatter, Segments, Sparsity, entry_rows, row_pointers
from .segment import (
    gather,
    scatter_add,
    segment_max,
    segment_mean,
    segment_min,
    segment_softmax,
    segment_sum,
)
from .sparse import entry_dot, sparse_dense, sparse_transposed_dense
from .torch_rows import add_at, widened

__all__ = [
    "KernelError",
    "Scatter",
    "Segments",
    "Sparsity",
    "add_at",
    "entry_dot",
    "entry_rows",
    "gather",
    "gather_combine",
    "gather_combine_reduce",
    "release_memory",
    "row_pointers",
    "scatter_add",
    "segment_max",
    "segment_mean",
    "segment_min",
    "segment_softmax",
    "segment_sum",
    "sparse_dense",
    "sparse_transposed_dense",
    "use_backend",
    "widened",
]
