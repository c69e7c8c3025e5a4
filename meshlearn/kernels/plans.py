"""What a reduction needs to know besides its numbers: which entries each row adds up.

All of it is CSR: where the entries of each row begin, and which they are. Indices are int64, so
more than 2^31 entries are addressable where memory allows; on the CPU 32-bit copies are kept beside
them where they suffice, because half the bytes of the index are read faster.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

with warnings.catch_warnings():
    # torch says once a process that CSR tensors are in beta; what we use of them is tested.
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 1], [0], [1.0], check_invariants=False)

_SMALL = 2**31 - 1
"""Largest index that an int32 holds."""


@dataclass(frozen=True)
class Rows:
    """The entries of each row.

    Attributes:
        rowptr: where each row's entries begin `[n + 1]`, int64.
        columns: which row of the source each entry is `[m]`, or None: entry k is row k.
        source: number of rows of the source.
    """

    rowptr: Tensor
    columns: Tensor | None
    source: int

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.rowptr) - 1

    @cached_property
    def entries(self) -> int:
        """Number of entries."""
        return self.source if self.columns is None else len(self.columns)

    @cached_property
    def owner(self) -> Tensor:
        """Row of each entry `[m]`."""
        return entry_rows(self.rowptr)

    @cached_property
    def compact(self) -> tuple[Tensor, Tensor]:
        """`rowptr` and `columns`, of 32 bits where they fit."""
        columns = self.columns
        if columns is None:
            columns = torch.arange(self.source, device=self.rowptr.device)
        small = max(self.source, self.entries) <= _SMALL
        dtype = torch.int32 if small else torch.int64
        return self.rowptr.to(dtype), columns.to(dtype)

    def part(self, low: int, high: int, begin: int, end: int) -> Rows:
        """Rows `low` to `high` of rows in order, whose entries are `begin` to `end`."""
        out = Rows(self.rowptr[low : high + 1] - begin, None, end - begin)
        rowptr, columns = self.compact
        out.__dict__["compact"] = rowptr[low : high + 1] - begin, columns[: end - begin]
        out.__dict__["_ones"] = {dtype: ones[: end - begin] for dtype, ones in self._ones.items()}
        return out

    @cached_property
    def empty(self) -> Tensor:
        """Rows without entries `[k]`."""
        return torch.nonzero(self.rowptr.diff() == 0).squeeze(1)

    @cached_property
    def _ones(self) -> dict[torch.dtype, Tensor]:
        return {}

    def matrix(self, weights: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Sparse CSR tensor of the weights (1 where there are none) `[n, source]`."""
        if weights is None and dtype not in self._ones:
            self._ones[dtype] = torch.ones(self.entries, dtype=dtype, device=self.rowptr.device)
        values = self._ones[dtype] if weights is None else weights
        shape = (self.size, self.source)
        return torch.sparse_csr_tensor(*self.compact, values, size=shape, check_invariants=False)


@dataclass(frozen=True)
class Scatter:
    """Where each of m entries is added: the permutation that sorts them, computed once.

    Attributes:
        index: target of each entry `[m]`, in any order.
        size: number of targets.
    """

    index: Tensor
    size: int

    def __post_init__(self) -> None:
        if self.index.dim() != 1 or self.index.dtype not in (torch.int64, torch.int32):
            raise ValueError(
                f"targets of a scatter must be integers [m], got {self.index.dtype} "
                f"{list(self.index.shape)}"
            )

    @cached_property
    def order(self) -> Tensor:
        """Entries sorted by target, in their order where targets are equal `[m]`."""
        return torch.argsort(self.index, stable=True)

    @cached_property
    def rowptr(self) -> Tensor:
        """Where each target's entries begin in `order` `[size + 1]`.

        Raises:
            ValueError: a target is outside.
        """
        if len(self.index):
            low, high = (int(x) for x in self.index.aminmax())
            if low < 0 or high >= self.size:
                bad = low if low < 0 else high
                raise ValueError(f"a scatter to {self.size} targets names target {bad}")
        return row_pointers(torch.bincount(self.index, minlength=self.size))

    @cached_property
    def rows(self) -> Rows:
        """The entries of each target."""
        return Rows(self.rowptr, self.order, len(self.index))


@dataclass(frozen=True)
class Sparsity:
    """Places of the stored entries of a sparse matrix, and what its transpose needs.

    Attributes:
        rowptr: where each row's entries begin `[n + 1]`, int64.
        columns: column of each entry `[m]`.
        width: number of columns.
    """

    rowptr: Tensor
    columns: Tensor
    width: int

    @classmethod
    def of(cls, matrix: Tensor) -> Sparsity:
        """Of a sparse CSR tensor."""
        rowptr, columns = matrix.crow_indices().long(), matrix.col_indices().long()
        return cls(rowptr, columns, matrix.shape[1])

    @property
    def height(self) -> int:
        """Number of rows."""
        return len(self.rowptr) - 1

    @property
    def row(self) -> Tensor:
        """Row of each entry `[m]`."""
        return self.rows.owner

    @cached_property
    def by_column(self) -> Scatter:
        """The entries sorted by column."""
        return Scatter(self.columns, self.width)

    @cached_property
    def rows(self) -> Rows:
        """The entries of each row."""
        return Rows(self.rowptr, self.columns, self.width)

    @cached_property
    def transposed_rows(self) -> Rows:
        """The entries of each column, in the order of `by_column.order`."""
        plan = self.by_column
        return Rows(plan.rowptr, self.row.index_select(0, plan.order), self.height)


@dataclass(frozen=True)
class Segments:
    """Edges grouped by receiver.

    Attributes:
        rowptr: where each receiver's edges begin `[n + 1]`, int64.
        receiver: receiver of each edge `[m]`, ascending.
        sender: sender of each edge `[m]`; optional: with it, sums over the edges that leave a node
            (`outgoing`) are planned once.
    """

    rowptr: Tensor
    receiver: Tensor
    sender: Tensor | None = None

    @classmethod
    def from_rowptr(cls, rowptr: Tensor, sender: Tensor | None = None) -> Segments:
        """Receivers from where their edges begin."""
        return cls(rowptr, entry_rows(rowptr), sender)

    @property
    def size(self) -> int:
        """Number of receivers."""
        return len(self.rowptr) - 1

    @property
    def index(self) -> Tensor:
        """Where each entry goes: its receiver."""
        return self.receiver

    @cached_property
    def counts(self) -> Tensor:
        """Edges of each receiver `[n]`."""
        return self.rowptr.diff()

    @cached_property
    def rows(self) -> Rows:
        """The edges of each receiver."""
        rows = Rows(self.rowptr, None, len(self.receiver))
        rows.__dict__["owner"] = self.receiver  # already known
        return rows

    @cached_property
    def sparsity(self) -> Sparsity:
        """The graph as a matrix, receivers by senders (`sender` must be given)."""
        if self.sender is None:
            raise ValueError("these segments do not know the senders of their edges")
        pattern = Sparsity(self.rowptr, self.sender, self.size)
        pattern.rows.__dict__["owner"] = self.receiver  # already known
        return pattern

    @property
    def outgoing(self) -> Scatter:
        """The edges sorted by sender (`sender` must be given)."""
        return self.sparsity.by_column

    def divisor(self, dtype: torch.dtype) -> Tensor:
        """Edges of each receiver, 1 where there are none `[n]`."""
        if torch.compiler.is_compiling():  # the compiler cannot look into a cached property
            return self.rowptr.diff().clamp(min=1).to(dtype)
        if dtype not in self._divisors:
            self._divisors[dtype] = self.counts.clamp(min=1).to(dtype)
        return self._divisors[dtype]

    @cached_property
    def _divisors(self) -> dict[torch.dtype, Tensor]:
        return {}

    @cached_property
    def _tiles(self) -> dict[int, list[tuple[int, int, int, int]]]:
        return {}

    def tiles(self, edges: int) -> list[tuple[int, int, int, int]]:
        """Ranges of receivers, and of their edges, of about `edges` edges each."""
        if edges not in self._tiles:
            self._tiles[edges] = self._cut(edges)
        return self._tiles[edges]

    def _cut(self, edges: int) -> list[tuple[int, int, int, int]]:
        count = max(len(self.receiver), edges)
        wanted = torch.arange(edges, count, edges, device=self.rowptr.device)
        cut = torch.unique(torch.searchsorted(self.rowptr, wanted)).tolist()
        nodes = [0, *(c for c in cut if 0 < c < self.size), self.size]
        begin = self.rowptr[torch.tensor(nodes, device=self.rowptr.device)].tolist()
        return list(zip(nodes, nodes[1:], begin, begin[1:], strict=False))


def row_pointers(counts: Tensor) -> Tensor:
    """Where each row's entries begin `[n + 1]`, from how many each has `[n]`."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])


def entry_rows(rowptr: Tensor) -> Tensor:
    """Row of each entry `[m]`, from where each row's entries begin `[n + 1]`."""
    rows = torch.arange(len(rowptr) - 1, device=rowptr.device)
    return torch.repeat_interleave(rows, rowptr.diff())
