"""Gather, move on rank 0, scatter: the pieces, on mpi4py communicators. Needs numpy only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from .arrays import Array, PluginError

Result = TypeVar("Result")

FAILURES = (ArithmeticError, LookupError, OSError, RuntimeError, TypeError, ValueError)
"""What work that is given a wrong mesh or setting raises."""


def size(comm: Any) -> int:
    """Number of ranks."""
    return 1 if comm is None else int(comm.size)


def is_root(comm: Any) -> bool:
    """Whether this is rank 0."""
    return comm is None or comm.rank == 0


def rows_before(comm: Any, count: int) -> int:
    """How many rows the ranks before this one have, of which this one has `count`."""
    return 0 if size(comm) == 1 else sum(comm.allgather(count)[: comm.rank])


def on_root(comm: Any, work: Callable[[], Result]) -> Result:
    """The result of `work` on rank 0, on every rank.

    Raises:
        PluginError: on the other ranks where it fails on rank 0, so that none waits for ever.
    """
    if size(comm) == 1:
        return work()
    result: Any = None
    failure: BaseException | None = None
    if comm.rank == 0:
        try:
            result = work()
        except FAILURES as error:
            failure = error
    said = comm.bcast(None if failure is None else str(failure), root=0)
    if failure is not None:
        raise failure
    if said is not None:
        raise PluginError(f"on rank 0: {said}")
    shared: Result = comm.bcast(result, root=0)
    return shared


def gather_rows(comm: Any, rows: Array) -> Array | None:
    """The rows of all ranks after each other on rank 0, None elsewhere."""
    if size(comm) == 1:
        return rows
    parts = comm.gather(np.ascontiguousarray(rows), root=0)
    return np.concatenate(parts) if comm.rank == 0 else None


def gather_numbered(comm: Any, numbers: Array, rows: Array, count: int) -> Array | None:
    """Rows by their global number on rank 0 `[count, ...]`, None elsewhere.

    Args:
        comm: communicator.
        numbers: global number of each local row `[k]`; a number may come from several ranks.
        rows: `[k, ...]`.
        count: how many numbers there are.
    """
    all_numbers, all_rows = gather_rows(comm, numbers), gather_rows(comm, rows)
    if all_numbers is None or all_rows is None:
        return None
    out = np.empty((count, *all_rows.shape[1:]), all_rows.dtype)
    out[all_numbers] = all_rows
    return out
