"""Reader of VTK's legacy format: unstructured grids and polygons, text and binary, all versions.

VTK's own reader crashes on files that are cut off, so this one takes its place.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import meshio
import numpy as np
from numpy.typing import NDArray

from ..convert.encoding import decode
from ..convert.vtk_cells import blocks_of_cells
from ..errors import MeshError

_DTYPES = {
    "char": "i1",
    "signed_char": "i1",
    "unsigned_char": "u1",
    "short": "i2",
    "unsigned_short": "u2",
    "int": "i4",
    "unsigned_int": "u4",
    "long": "i8",
    "unsigned_long": "u8",
    "float": "f4",
    "double": "f8",
    "vtkidtype": "i4",
    "vtktypeint64": "i8",
    "vtktypeuint64": "u8",
    "vtktypeint32": "i4",
    "long_long": "i8",
}
_PER_TUPLE = {"VECTORS": 3, "NORMALS": 3, "TENSORS": 9, "TENSORS6": 6, "GLOBAL_IDS": 1}
_POLYDATA = {"VERTICES": 1, "LINES": 3, "POLYGONS": 7}
_PROMISE = re.compile(r"meshlearn; node arrays: (\d+); cell arrays: (\d+)")
Array = NDArray[Any]


class _Stream:
    """The lines and numbers of a file."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at, self.text = raw, 0, True

    def line(self) -> str | None:
        """The next line that is not blank, None at the end."""
        while self.at < len(self.raw):
            line = self.raw_line()
            if line:
                return line
        return None

    def raw_line(self) -> str:
        """The next line, stripped; blank at the end."""
        end = self.raw.find(b"\n", self.at)
        end = len(self.raw) if end < 0 else end
        line = self.raw[self.at : end].decode(errors="replace").strip()
        self.at = end + 1
        return line

    def numbers(self, kind: str, count: int) -> Array:
        """The next `count` numbers of the type VTK calls `kind`."""
        dtype = np.dtype(_DTYPES[kind.lower()])
        if count < 0:
            raise MeshError("a negative count")
        if not self.text:
            end = self.at + count * dtype.itemsize
            if end > len(self.raw):
                raise MeshError("the file ends inside an array")
            values = np.frombuffer(self.raw, dtype.newbyteorder(">"), count, self.at)
            self.at = end
            return values.astype(dtype)
        words: list[str] = []
        while len(words) < count:
            line = self.line()
            if line is None:
                raise MeshError("the file ends inside an array")
            words += line.split()
        if len(words) > count or self.at > len(self.raw):
            raise MeshError("an array does not end where it should")
        return np.array(words, dtype=np.float64 if dtype.kind == "f" else np.int64).astype(dtype)


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Blocks, sets and fields."""
    stream = _Stream(path.read_bytes())
    if not stream.raw_line().startswith("# vtk DataFile Version"):
        raise MeshError("it does not begin with '# vtk DataFile Version'")
    promise = _PROMISE.search(stream.raw_line())
    stream.text = (stream.line() or "").upper() == "ASCII"
    found = _Grid(stream, lost)
    while (line := stream.line()) is not None:
        found.section(line.split())
    if found.points is None or found.nodes is None or found.types is None:
        raise MeshError("the file ends before its points, cells or cell types")
    if len(found.types) != len(found.offsets) - 1:
        raise MeshError("there are not as many cell types as cells")
    if promise and (len(found.node) < int(promise[1]) or len(found.cell) < int(promise[2])):
        raise MeshError("the file ends before its last array")
    if "meshlearn" not in found.extra:
        lost.extend(f"field data {name!r}" for name in found.extra)
    blocks = list(blocks_of_cells(found.types, found.nodes, found.offsets))
    return decode(found.points, blocks, found.node, found.cell, found.extra)


def find_points(raw: bytes) -> tuple[int, int, np.dtype[Any], bool]:
    """Where the coordinates begin, how many points there are, their type, and whether it is text.

    Raises:
        MeshError: there are none.
    """
    stream = _Stream(raw)
    for _ in range(2):
        stream.raw_line()
    stream.text = (stream.line() or "").upper() == "ASCII"
    before = _Grid(stream, [])
    while (line := stream.line()) is not None:
        words = line.split()
        if words[0].upper() == "POINTS":
            return stream.at, int(words[1]), np.dtype(_DTYPES[words[2].lower()]), stream.text
        before.section(words)
    raise MeshError("there is no section POINTS")


class _Grid:
    """What the sections said so far."""

    def __init__(self, stream: _Stream, lost: list[str]) -> None:
        self.stream, self.lost = stream, lost
        self.points: Array | None = None
        self.nodes: Array | None = None
        self.types: Array | None = None
        self.offsets: Array = np.zeros(1, np.int64)
        self.node: dict[str, Array] = {}
        self.cell: dict[str, Array] = {}
        self.extra: dict[str, Array] = {}
        self.target, self.count = self.extra, 0

    def section(self, words: list[str]) -> None:
        """Read the section that begins with the line `words`."""
        key = words[0].upper()
        if key == "DATASET" and words[1].upper() not in ("UNSTRUCTURED_GRID", "POLYDATA"):
            raise MeshError(f"it is a {words[1].lower()}; save it as an unstructured grid (.vtu)")
        if key == "POINTS":
            self.points = self.stream.numbers(words[2], 3 * int(words[1])).reshape(-1, 3)
        elif key == "CELLS":
            self.nodes, self.offsets = self._cells(words)
        elif key in _POLYDATA:
            self._add_polygons(_POLYDATA[key], words)
        elif key == "CELL_TYPES":
            self.types = self.stream.numbers("int", int(words[1]))
        elif key in ("POINT_DATA", "CELL_DATA"):
            self.target = self.node if key == "POINT_DATA" else self.cell
            self.count = int(words[1])
        elif key == "FIELD":
            self._field(int(words[2]))
        elif key == "METADATA":
            while self.stream.raw_line():
                pass
        elif key == "LOOKUP_TABLE":
            self.stream.numbers("float" if self.stream.text else "unsigned_char", 4 * int(words[2]))
        elif key != "DATASET":
            self._attribute(key, words)

    def _cells(self, words: list[str]) -> tuple[Array, Array]:
        """Nodes and offsets, in the layout of version 5 or that before it."""
        start = self.stream.at
        header = (
            self.stream.raw_line() if self.stream.raw[start : start + 7] == b"OFFSETS" else ""
        ).split()
        if header:
            offsets = self.stream.numbers(header[1], int(words[1])).astype(np.int64)
            header = (self.stream.line() or "").split()
            if header[:1] != ["CONNECTIVITY"]:
                raise MeshError("the cells have no CONNECTIVITY")
            nodes = self.stream.numbers(header[1], int(words[2])).astype(np.int64)
        else:
            packed = self.stream.numbers("int", int(words[2])).astype(np.int64)
            nodes, offsets = _unpack(packed, int(words[1]))
        if len(offsets) == 0 or offsets[-1] != len(nodes) or (np.diff(offsets) < 0).any():
            raise MeshError("the cells are damaged")
        return nodes, offsets

    def _add_polygons(self, code: int, words: list[str]) -> None:
        nodes, offsets = self._cells(words)
        types = np.full(len(offsets) - 1, code)
        if code == 7:
            types[np.diff(offsets) == 3], types[np.diff(offsets) == 4] = 5, 9
        if self.nodes is not None and self.types is not None:
            nodes = np.concatenate([self.nodes, nodes])
            offsets = np.concatenate([self.offsets, offsets[1:] + self.offsets[-1]])
            types = np.concatenate([self.types, types])
        self.nodes, self.offsets, self.types = nodes, offsets, types

    def _field(self, arrays: int) -> None:
        for _ in range(arrays):
            line = self.stream.line()
            while line == "METADATA":
                while self.stream.raw_line():
                    pass
                line = self.stream.line()
            if line is None:
                raise MeshError("the file ends inside a FIELD")
            name, components, tuples, kind = line.split()
            if kind == "string":
                self._skip_strings(unquote(name), int(components) * int(tuples))
                continue
            values = self.stream.numbers(kind, int(components) * int(tuples))
            self._put(name, values.reshape(int(tuples), int(components)), int(components))

    def _skip_strings(self, name: str, count: int) -> None:
        if not self.stream.text:
            raise MeshError(
                f"the text array {name!r} in a binary file is not supported; save a .vtu"
            )
        for _ in range(count):
            self.stream.raw_line()
        self.lost.append(f"the text array {name!r}")

    def _attribute(self, key: str, words: list[str]) -> None:
        if key == "SCALARS":
            kind, width = words[2], int(words[3]) if len(words) > 3 else 1
            if not (self.stream.line() or "").startswith("LOOKUP_TABLE"):
                raise MeshError("scalars without LOOKUP_TABLE")
        elif key == "COLOR_SCALARS":
            kind, width = "float" if self.stream.text else "unsigned_char", int(words[2])
        elif key == "TEXTURE_COORDINATES":
            kind, width = words[3], int(words[2])
        elif key in _PER_TUPLE:
            kind, width = words[2], _PER_TUPLE[key]
        else:
            raise MeshError(f"unknown keyword {words[0][:40]!r}")
        values = self.stream.numbers(kind, width * self.count).reshape(self.count, width)
        self._put(words[1], values, width)

    def _put(self, name: str, values: Array, width: int) -> None:
        self.target[unquote(name)] = values[:, 0] if width == 1 else values


def _unpack(packed: Array, cells: int) -> tuple[Array, Array]:
    """Rows of count and nodes, one after the other, as nodes and offsets."""
    sizes, heads, at = np.empty(cells, np.int64), np.empty(cells, np.int64), 0
    if cells and len(packed) % cells == 0:
        table = packed.reshape(cells, -1)
        if (table[:, 0] == table.shape[1] - 1).all():
            width = table.shape[1] - 1
            return table[:, 1:].reshape(-1), np.arange(cells + 1) * width
    for i, size in enumerate(_sizes(packed, cells)):
        sizes[i], heads[i] = size, at
        at += size + 1
    if at != len(packed):
        raise MeshError("the cells are damaged")
    return np.delete(packed, heads), np.concatenate([[0], np.cumsum(sizes)])


def _sizes(packed: Array, cells: int) -> list[int]:
    """Number of nodes of each cell."""
    values, sizes, at = packed.tolist(), [], 0
    for _ in range(cells):
        sizes.append(values[at])
        at += max(0, values[at]) + 1
    return sizes
