"""Items of a data set, made on demand by one or several processes and kept in a folder.

Item k of a seed is always the same. A file holds one item; it is written elsewhere and renamed, so
that it is whole or not there, and an interrupted run goes on where it was.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from ..mesh import MeshError
from ..mesh.files.replacing import replacing
from .checkpoint import DAMAGED

T = TypeVar("T")
State = dict[str, Any]
"""What a file holds: tensors and plain values by name."""
Prepared = Callable[[int, int], None]
"""Called after each item made, with how many are done and how many there are."""
HELD_OUT = 1_000_003
"""Added to the seed: held-out items are never those that are trained on."""


class CachedPool(ABC, Generic[T]):
    """The first `count` items of a data set.

    Args:
        folder: of the cache, one for each data set and seed.
        count: how many there are.
    """

    def __init__(self, folder: str | Path, count: int) -> None:
        self.folder, self.count = Path(folder), count
        self._loaded: dict[int, T] = {}

    @abstractmethod
    def maker(self) -> Callable[[int], T]:
        """A function, for other processes too, that makes item `number`."""

    @staticmethod
    @abstractmethod
    def state(item: T) -> State:
        """What is kept of an item."""

    @abstractmethod
    def restored(self, number: int, state: State) -> T:
        """Item `number` from what was kept of it."""

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> T:
        if not 0 <= number < self.count:
            raise IndexError(f"there are {self.count} cases, no case {number}")
        if number not in self._loaded:
            self._make()(number)
            self._loaded[number] = self.restored(number, _load(_file(self.folder, number)))
        return self._loaded[number]

    def __iter__(self) -> Iterator[T]:
        return (self[number] for number in range(self.count))

    def files(self) -> list[Path]:
        """Where the items are kept, in their order; a file is there once its item is made."""
        return [_file(self.folder, number) for number in range(self.count)]

    def prepare(self, workers: int, progress: Prepared | None = None) -> None:
        """Make all items that are not there yet, with so many processes."""
        missing = [k for k in range(self.count) if not _file(self.folder, k).exists()]
        if workers <= 1:
            _report(map(self._make(), missing), len(missing), progress)
            return
        with ProcessPoolExecutor(workers) as pool:
            _report(pool.map(self._make(), missing, chunksize=4), len(missing), progress)

    def _make(self) -> Callable[[int], None]:
        return partial(_cache, self.folder, self.maker(), self.state)


def _report(made: Iterator[None], total: int, progress: Prepared | None) -> None:
    for done, _ in enumerate(made, 1):
        if progress:
            progress(done, total)


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.pt"


def _cache(
    folder: Path, make: Callable[[int], T], state: Callable[[T], State], number: int
) -> None:
    """Make an item unless its file is there."""
    file = _file(folder, number)
    if file.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    kept = state(make(number))
    with replacing(file) as temporary:
        torch.save(kept, temporary)


def _load(file: Path) -> State:
    try:
        state: State = torch.load(file, weights_only=True)
    except DAMAGED as error:
        raise MeshError(f"the cached case {file} is damaged; delete it") from error
    return state
