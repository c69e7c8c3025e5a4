"""Where the coordinates of a file are, and the file with others in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import MeshError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Splice = tuple[int, int, bytes]
"""Begin, end, and what takes the place of the bytes between them."""


class Slots(Protocol):
    """The coordinates of one file."""

    @property
    def points(self) -> FloatArray:
        """As they are in the file `[n, d]`, in the order in which `read` gives nodes."""

    def write(self, target: Path, points: FloatArray) -> None:
        """The file with other coordinates `[n, d]`."""


@dataclass(frozen=True)
class TextSlots:
    """Coordinates as text.

    Attributes:
        raw: the file.
        begin, end: of each number `[n, d]`.
        form: text of a number, given its width.
        parse: the number of a text.
        width: of each number where fields are narrow `[n, d]`; 0 elsewhere.
    """

    raw: bytes
    begin: IntArray
    end: IntArray
    form: Callable[[float, int], str] = lambda value, width: repr(value)
    parse: Callable[[str], float] = float
    width: IntArray | None = None

    @cached_property
    def points(self) -> FloatArray:
        """Coordinates `[n, d]`."""
        places = zip(self.begin.ravel().tolist(), self.end.ravel().tolist(), strict=True)
        words = [self.raw[a:b].decode("ascii", "replace").strip() for a, b in places]
        return np.array([self.parse(word) for word in words]).reshape(self.begin.shape)

    def write(self, target: Path, points: FloatArray) -> None:
        """The file with other coordinates; a number that is the same keeps its text."""
        new = checked(points, self.points)
        changed = new != self.points
        begin, end = self.begin[changed], self.end[changed]
        order = np.argsort(begin)
        width = np.zeros_like(self.begin) if self.width is None else self.width
        columns = (begin, end, new[changed], width[changed])
        rows = zip(*(column[order].tolist() for column in columns), strict=True)
        splices = [(a, b, self.form(x, w).encode()) for a, b, x, w in rows]
        target.write_bytes(spliced(self.raw, splices))


@dataclass(frozen=True)
class BinarySlots:
    """Coordinates as numbers.

    Attributes:
        raw: the file.
        points: coordinates `[n, d]`.
        encode: what takes which place for other coordinates.
    """

    raw: bytes
    points: FloatArray
    encode: Callable[[FloatArray], Sequence[Splice]]

    def write(self, target: Path, points: FloatArray) -> None:
        """The file with other coordinates."""
        new = checked(points, self.points)
        same = bool((new == self.points).all())
        target.write_bytes(self.raw if same else spliced(self.raw, self.encode(new)))


def checked(points: FloatArray, old: FloatArray) -> FloatArray:
    """Coordinates that fit into a file.

    Raises:
        MeshError: another shape than the old ones, or not finite.
    """
    new = np.asarray(points, dtype=np.float64)
    if new.shape != old.shape:
        raise MeshError(f"the file has coordinates {list(old.shape)}, got {list(new.shape)}")
    bad = np.flatnonzero(~np.isfinite(new).all(axis=1))
    if len(bad):
        raise MeshError(f"the new coordinates of node {int(bad[0])} are not finite")
    return new


def spliced(raw: bytes, splices: Sequence[Splice]) -> bytes:
    """The bytes with some stretches replaced.

    Args:
        raw: the file.
        splices: in ascending order.
    """
    parts: list[bytes | memoryview] = []
    at, view = 0, memoryview(raw)
    for begin, end, text in splices:
        parts += [view[at:begin], text]
        at = end
    return b"".join([*parts, view[at:]])


@dataclass(frozen=True)
class Tokens:
    """Words of a text, by their places in the file.

    Attributes:
        begin, end: of each word `[k]`.
        line: number of the line of each word `[k]`.
    """

    begin: IntArray
    end: IntArray
    line: IntArray

    def rows(self, width: int, count: int, what: str) -> tuple[IntArray, IntArray]:
        """Begin and end of the first `width` words of each of the first `count` lines.

        Raises:
            MeshError: there are fewer lines, or one has fewer words.
        """
        first = np.flatnonzero(np.diff(self.line, prepend=-1))[:count]
        sizes = np.diff(np.r_[first, len(self.line)])[: len(first)]
        if count and (len(first) < count or (sizes[:-1] < width).any()):
            raise MeshError(f"cannot find the coordinates of {what}")
        index = first[:, None] + np.arange(width)
        if count and index.max() >= len(self.line):
            raise MeshError(f"cannot find the coordinates of {what}")
        return self.begin[index], self.end[index]


def tokens(
    raw: bytes, start: int, stop: int, *, separators: bytes = b"", comment: bytes = b""
) -> Tokens:
    """Words between two places of a file.

    Args:
        raw: the file.
        start, stop: where to look.
        separators: characters that part words, beside white space.
        comment: lines whose first word begins so are left out.
    """
    data = np.frombuffer(raw, np.uint8, stop - start, start)
    gap_table = np.zeros(256, bool)
    gap_table[np.frombuffer(b" \t\r\n\v\f" + separators, np.uint8)] = True
    gap = gap_table[data]
    edges = np.flatnonzero(np.diff(np.r_[True, gap, True]))
    begin, end = edges[0::2], edges[1::2]
    line = np.searchsorted(np.flatnonzero(data == ord("\n")), begin)
    if comment:
        first = np.diff(line, prepend=-1) != 0
        is_comment = np.ones(len(begin), bool)
        for k, byte in enumerate(comment):
            inside = begin + k < len(data)
            is_comment &= inside & (data[np.minimum(begin + k, len(data) - 1)] == byte)
        keep = ~np.isin(line, line[first & is_comment])
        begin, end, line = begin[keep], end[keep], line[keep]
    return Tokens(begin + start, end + start, line)
