"""Coordinates in MSH 2.2 and 4.1 files, text and binary."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import MeshError
from ..gmsh.source import Source
from .slots import BinarySlots, FloatArray, IntArray, Splice, TextSlots, Tokens, tokens


def gmsh(path: Path) -> TextSlots | BinarySlots:
    """The section $Nodes."""
    with path.open("rb") as file:
        source = Source(file)
        while (section := source.next_section()) != "Nodes":
            if section is None:
                raise MeshError("the file ends before $Nodes")
            source.skip()
        start = file.tell()
    raw = path.read_bytes()
    old = source.version < 3
    if source.text:
        words = tokens(raw, start, raw.find(b"$EndNodes", start))
        index, number = (_text22 if old else _text41)(raw, words)
        order = np.argsort(number, kind="stable")
        return TextSlots(raw, words.begin[index][order], words.end[index][order])
    return (_binary22 if old else _binary41)(raw, start, source)


def _text22(raw: bytes, words: Tokens) -> tuple[IntArray, IntArray]:
    """Words of the coordinates `[n, 3]`, and the number of each node."""
    count = _integer(raw, words, 0)
    first = 1 + 4 * np.arange(count)
    number = np.array([_integer(raw, words, k) for k in first.tolist()], np.int64)
    return first[:, None] + np.arange(1, 4), number


def _text41(raw: bytes, words: Tokens) -> tuple[IntArray, IntArray]:
    """The same, from blocks: a head of four, node numbers, then rows of coordinates."""
    blocks, at = _integer(raw, words, 0), 4
    index, number = [np.empty((0, 3), np.int64)], [np.empty(0, np.int64)]
    for _ in range(blocks):
        dim, _, parametric, count = (_integer(raw, words, at + k) for k in range(4))
        width, at = 3 + (dim if parametric else 0), at + 4
        number.append(np.array([_integer(raw, words, at + k) for k in range(count)], np.int64))
        at += count
        index.append(at + width * np.arange(count)[:, None] + np.arange(3))
        at += width * count
    return np.concatenate(index), np.concatenate(number)


def _integer(raw: bytes, words: Tokens, k: int) -> int:
    return int(raw[words.begin[k] : words.end[k]])


def _binary22(raw: bytes, start: int, source: Source) -> BinarySlots:
    line = raw.find(b"\n", start)
    count = int(raw[start:line])
    order = ">" if source.swapped else "<"
    record = np.dtype([("number", f"{order}i4"), ("x", f"{order}f8", (3,))])
    table = np.frombuffer(raw, record, count, line + 1)
    rank = np.argsort(table["number"], kind="stable")

    def encode(points: FloatArray) -> list[Splice]:
        new = table.copy()
        new["x"][rank] = points
        return [(line + 1, line + 1 + new.nbytes, new.tobytes())]

    return BinarySlots(raw, table["x"][rank].astype(np.float64), encode)


def _binary41(raw: bytes, start: int, source: Source) -> BinarySlots:
    order = ">" if source.swapped else "<"
    size = np.dtype(f"{order}u{source.size_t}")
    real, integer = np.dtype(f"{order}f8"), np.dtype(f"{order}i4")
    blocks, at = int(np.frombuffer(raw, size, 1, start)[0]), start + 4 * size.itemsize
    places: list[tuple[int, int, int]] = []  # begin, nodes, numbers per node
    number = [np.empty(0, np.int64)]
    for _ in range(blocks):
        dim, _, parametric = np.frombuffer(raw, integer, 3, at).tolist()
        count = int(np.frombuffer(raw, size, 1, at + 12)[0])
        at += 12 + size.itemsize
        number.append(np.frombuffer(raw, size, count, at).astype(np.int64))
        at += count * size.itemsize
        places.append((at, count, 3 + (dim if parametric else 0)))
        at += count * places[-1][2] * real.itemsize
    rank = np.argsort(np.concatenate(number), kind="stable")
    tables = [np.frombuffer(raw, real, n * w, begin).reshape(n, w) for begin, n, w in places]
    stored = np.concatenate([np.empty((0, 3)), *(table[:, :3] for table in tables)])

    def encode(points: FloatArray) -> list[Splice]:
        inverse = np.empty_like(points)
        inverse[rank] = points
        parts = np.split(inverse, np.cumsum([n for _, n, _ in places])[:-1])
        out = []
        for (begin, *_), table, part in zip(places, tables, parts, strict=True):
            new = table.copy()
            new[:, :3] = part
            out.append((begin, begin + new.nbytes, new.tobytes()))
        return out

    return BinarySlots(raw, stored[rank].astype(np.float64), encode)
