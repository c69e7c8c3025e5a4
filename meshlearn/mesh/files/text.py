"""Numbers to text and back, many rows at a time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import MeshError

END = "end of mesh"
EXACT = "%.17g"
"""Enough digits to give every float64 back."""

_ROWS = 1 << 15


def write_table(file: BinaryIO, row: str, *columns: NDArray[Any]) -> None:
    """Write arrays side by side.

    Args:
        file: open for binary writing.
        row: %-format of one row, with its line end.
        columns: `[k]` or `[k, m]`, as many numbers per row as `row` takes.
    """
    flat = [part for column in columns for part in _split(column)]
    for start in range(0, len(flat[0]), _ROWS):
        rows = list(zip(*(part[start : start + _ROWS].tolist() for part in flat), strict=True))
        file.write((row * len(rows) % tuple(chain.from_iterable(rows))).encode())


def _split(column: NDArray[Any]) -> list[NDArray[Any]]:
    return [column] if column.ndim == 1 else list(column.T)


def table(lines: Sequence[str], dtype: type, what: str) -> NDArray[Any]:
    """Rows of equally many numbers `[k, m]`; anything else is a `MeshError` about `what`."""
    if not lines:
        raise MeshError(f"there are no {what}")
    width = len(lines[0].split())
    try:
        values: NDArray[Any] = np.array(" ".join(lines).split(), dtype=dtype)
    except ValueError as error:
        raise MeshError(f"cannot understand the {what} ({error})") from error
    if len(values) != width * len(lines):
        raise MeshError(f"the {what} are not equally many numbers a line")
    return values.reshape(len(lines), width)


def runs(keys: Sequence[Hashable]) -> list[tuple[int, int]]:
    """Begin and end of the runs of equal keys."""
    starts = [i for i in range(len(keys)) if i == 0 or keys[i] != keys[i - 1]]
    return list(zip(starts, [*starts[1:], len(keys)], strict=True))


def read_lines(path: Path, comment: str) -> list[str]:
    """Stripped lines, without blank ones and those that begin with `comment`."""
    lines = (line.strip() for line in path.read_text(errors="replace").splitlines())
    return [line for line in lines if line and not line.startswith(comment)]


def check_complete(path: Path, comment: str) -> None:
    """Where this package wrote the file, see that its last line is there.

    For formats in which a file cut after any line is a valid smaller one.
    """
    with path.open("rb") as file:
        first = file.readline().decode(errors="replace")
        if END not in first:
            return
        file.seek(max(0, path.stat().st_size - 200))
        last = file.read().decode(errors="replace").splitlines()[-1]
    if last.strip() != f"{comment} {END}":
        raise MeshError(f"the file ends before its last line, {comment} {END}")


def first_line(comment: str) -> bytes:
    """The line that `check_complete` looks for first."""
    return f"{comment} written by meshlearn, complete to the line: {END}\n".encode()


def last_line(comment: str) -> bytes:
    """The line that `check_complete` looks for last."""
    return f"{comment} {END}\n".encode()
