"""Memory of large arrays that is used again.

An array of hundreds of megabytes is new memory every time it is made: the allocator returns it to
the system when it is freed, and the system clears its pages, one by one, when they are written
again. On layers of large meshes that takes a fifth of the time. Here the memory of an array that
nobody refers to any more is kept for the next of about its size. What is kept and what is in use
are together hardly more than what was in use at once before: before new memory is made, as much of
what is kept goes back to the system. (`meshlearn --keep-memory` keeps all memory of a process.)
"""

from __future__ import annotations

import os
import threading
import weakref
from math import prod

import numpy as np
import torch
from torch import Tensor

LARGE = 4 << 20
"""Bytes from which memory is kept."""

SHARE = 1 / 8
"""Most that is kept, as a share of the machine's memory."""

_SLACK = 1.25
"""A kept piece of memory may be this much larger than the array."""

_ALIGNED = 64


class Pool:
    """Pieces of memory that are free, the oldest first."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._free: list[np.ndarray] = []
        self._lock = threading.RLock()  # an array may be freed at any moment, in any thread

    @property
    def size(self) -> int:
        """Bytes that are free."""
        return sum(piece.nbytes for piece in self._free)

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """An uninitialised tensor, whose memory comes back once nobody refers to it."""
        held = torch.int16 if dtype == torch.bfloat16 else dtype  # which numpy does not know
        kind = torch.empty(0, dtype=held).numpy().dtype
        size = prod(shape) * kind.itemsize
        piece = self._fitting(size)
        first = -piece.ctypes.data % _ALIGNED
        array = piece[first : first + size].view(kind).reshape(shape)
        # What torch refers to is this view itself; a view of it would only refer to the piece.
        weakref.finalize(array, self._give, piece).atexit = False
        out = torch.from_numpy(array)
        return out if held == dtype else out.view(dtype)

    def release(self, size: int | None = None) -> None:
        """Return at least `size` bytes, or all, to the system, the oldest first."""
        gone = 0
        with self._lock:
            while self._free and (size is None or gone < size):
                gone += self._free.pop(0).nbytes

    def _fitting(self, size: int) -> np.ndarray:
        wanted = size + _ALIGNED
        with self._lock:
            sizes = [piece.nbytes for piece in self._free]
            fitting = [k for k, n in enumerate(sizes) if wanted <= n <= _SLACK * wanted]
            if fitting:
                return self._free.pop(min(fitting, key=sizes.__getitem__))
            self.release(wanted)
        return np.empty(wanted, np.uint8)

    def _give(self, piece: np.ndarray) -> None:
        with self._lock:
            self._free.append(piece)
            self.release(max(0, self.size - self.limit))


def _limit() -> int:
    """Most bytes that are kept."""
    if not hasattr(os, "sysconf"):
        return 1 << 30
    return int(SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


POOL = Pool(_limit())


def release_memory() -> None:
    """Return what is kept to the system."""
    POOL.release()


def new_empty(like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """`like.new_empty(shape)`; on the CPU in memory of the pool, if it is large."""
    dtype = like.dtype if dtype is None else dtype
    if prod(shape) * dtype.itemsize < LARGE or like.device.type != "cpu":
        return like.new_empty(shape, dtype=dtype)
    return POOL.take(shape, dtype)


def new_zeros(like: Tensor, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
    """The same, cleared."""
    return new_empty(like, *shape, dtype=dtype).zero_()
