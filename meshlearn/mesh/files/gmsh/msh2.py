"""Nodes and elements of MSH 2.2."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeshError
from .source import Source
from .types import Elements, IntArray, Msh, element_type

_FIRST_GUESS = 256


def read_nodes(source: Source, msh: Msh) -> None:
    """Section `$Nodes`: number, x, y, z of each node."""
    count = source.integer()
    if source.text:
        table = source.take("f8", 4 * count).reshape(count, 4)
        msh.node_number = table[:, 0].astype(np.int64)
        msh.points = np.ascontiguousarray(table[:, 1:])
    else:
        order = ">" if source.swapped else "<"
        record = np.dtype([("number", f"{order}i4"), ("x", f"{order}f8", (3,))])
        raw = source.take("u1", count * record.itemsize).view(record)
        msh.node_number = raw["number"].astype(np.int64)
        msh.points = raw["x"].astype(np.float64, order="C")
    source.close()


def read_elements(source: Source, msh: Msh) -> None:
    """Section `$Elements`: rows `number, type, tags, nodes`; the first tag is the physical group.

    Rows of one shape that follow each other are cut out together: the length of each is only
    known from itself, so a first row is read and all that look alike go with it.
    """
    total = source.integer()
    if source.text:
        with_text = np.fromstring(source.text_section(), np.int64, sep=" ")
        _read_rows(with_text, total, msh)
    else:
        _read_blocks(source, total, msh)
    source.close()


def _read_rows(values: IntArray, total: int, msh: Msh) -> None:
    """Text: rows `number, type, number of tags, tags, nodes`."""
    at = done = 0
    while done < total:
        if at + 3 > len(values):
            raise MeshError(f"$Elements announces {total} elements but holds {done}")
        kind, tags = int(values[at + 1]), int(values[at + 2])
        family, nodes = element_type(kind)
        width, size, rows = 3 + tags + nodes, _FIRST_GUESS, 0
        while rows < total - done:  # look at twice as many rows each time
            size = min(2 * size, total - done - rows)
            begin = at + rows * width
            size = min(size, (len(values) - begin) // width)
            part = values[begin : begin + size * width].reshape(size, width)
            alike = _leading((part[:, 1] == kind) & (part[:, 2] == tags))
            rows += alike
            if alike < size or size == 0:
                break
        if rows == 0:
            raise MeshError(f"$Elements announces {total} elements but holds {done}")
        table = values[at : at + rows * width].reshape(rows, width)
        _append(msh, family, table[:, 0], table[:, 3 : 3 + tags], table[:, 3 + tags :])
        at, done = at + rows * width, done + rows
    if at != len(values):
        raise MeshError(f"$Elements announces {total} elements but holds more numbers")


def _read_blocks(source: Source, total: int, msh: Msh) -> None:
    """Binary: blocks `type, count, number of tags`, then rows; gmsh writes a block per element."""
    done = 0
    while done < total:
        kind, count, tags = (int(v) for v in source.take("i4", 3))
        family, nodes = element_type(kind)
        if count < 1 or count > total - done or tags < 0:
            raise MeshError("a block of $Elements is damaged")
        width = 1 + tags + nodes
        table = source.take("i4", count * width).reshape(count, width)
        if count == 1:
            more = _alike(source, (kind, count, tags), width, total - done - 1)
            table = np.concatenate([table, *more])
        number, group, corner = table[:, 0], table[:, 1 : 1 + tags], table[:, 1 + tags :]
        _append(msh, family, number, group, corner)
        done += len(table)


def _alike(
    source: Source, header: tuple[int, int, int], width: int, limit: int
) -> list[NDArray[Any]]:
    """Rows that follow with the same `header` each, at most `limit` of them."""
    parts, found, size = [], 0, _FIRST_GUESS
    while found < limit:
        size = min(2 * size, limit - found, source.left() // (4 * (3 + width)))
        start = source.file.tell()
        part = source.take("i4", size * (3 + width)).reshape(size, 3 + width)
        alike = _leading((part[:, :3] == header).all(axis=1))
        parts.append(part[:alike, 3:])
        found += alike
        if alike < size or size == 0:
            source.file.seek(start + alike * 4 * (3 + width))
            break
    return parts


def _leading(same: NDArray[np.bool_]) -> int:
    """Number of leading True."""
    return len(same) if same.all() else int(np.argmin(same))


def _append(msh: Msh, family: str, number: IntArray, tags: IntArray, nodes: IntArray) -> None:
    group = tags[:, 0].astype(np.int64) if tags.shape[1] else np.zeros(len(number), np.int64)
    msh.elements.append(Elements(family, nodes, number.astype(np.int64), group=group))
