"""Reader of VTK's XML unstructured grids (.vtu): text, base64, appended, compressed or not.

VTK's own reader ends the program on some damaged files, so this one takes its place.
"""

from __future__ import annotations

import base64
import lzma
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import meshio
import numpy as np
from numpy.typing import NDArray

from ..convert.encoding import decode
from ..convert.vtk_cells import blocks_of_cells
from ..convert.with_pyvista import TIME_DATA
from ..errors import MeshError

Array = NDArray[Any]

DTYPES = {
    **{
        f"{kind}{bits}": f"{kind[0].lower()}{bits // 8}"
        for kind in ("Int", "UInt")
        for bits in (8, 16, 32, 64)
    },
    "Float32": "f4",
    "Float64": "f8",
}
_INFLATE: dict[str, Callable[[Any], bytes]] = {
    "vtkZLibDataCompressor": zlib.decompress,
    "vtkLZMADataCompressor": lzma.decompress,
}


class Arrays:
    """Decodes the `DataArray` elements of a file.

    Attributes:
        root: the element `VTKFile`.
    """

    def __init__(self, raw: bytes) -> None:
        end = raw.rfind(b"</VTKFile>")
        if end < 0:
            raise MeshError("the file ends before </VTKFile>")
        begin = raw.find(b"<AppendedData")
        self.appended, self.raw = b"", False
        if begin < 0:
            self.root = ET.fromstring(raw[: end + len(b"</VTKFile>")])
        else:
            self.root = ET.fromstring(raw[:begin] + b"</VTKFile>")
            mark = raw.find(b"_", begin)
            self.raw = b'encoding="raw"' in raw[begin:mark]
            last = raw.rfind(b"</AppendedData>", begin, end)
            self.appended = raw[mark + 1 : last]
        self.order: Literal["<", ">"] = ">" if self.root.get("byte_order") == "BigEndian" else "<"
        self.head = np.dtype(self.order + DTYPES[self.root.get("header_type", "UInt32")])
        compressor = self.root.get("compressor")
        if compressor and compressor not in _INFLATE:
            raise MeshError(f"it is compressed by {compressor}, which is not supported; use zlib")
        self.inflate = _INFLATE[compressor] if compressor else None

    def numbers(self, element: ET.Element) -> Array:
        """Values `[k]`, or `[k, components]` where there are several."""
        kind = element.get("type", "")
        if kind not in DTYPES:
            raise MeshError(f"arrays of type {kind!r} are not supported")
        dtype = np.dtype(DTYPES[kind])
        form = element.get("format", "ascii")
        if form == "ascii":
            words = (element.text or "").split()
            values = np.array(words, dtype=np.float64 if dtype.kind == "f" else dtype).astype(dtype)
        else:
            blob = self._blob(element, form)
            values = np.frombuffer(blob, dtype.newbyteorder(self.order)).astype(dtype, copy=False)
        components = int(element.get("NumberOfComponents", "1"))
        return values.reshape(-1, components) if components > 1 else values

    def _blob(self, element: ET.Element, form: str) -> bytearray:
        """The bytes of an array (writable), without headers and decompressed."""
        if form == "appended" and self.raw:
            return self._unpack(memoryview(self.appended)[int(element.get("offset", "0")) :])
        text = (
            "".join((element.text or "").split()).encode()
            if form == "binary"
            else b"".join(self.appended.split())[int(element.get("offset", "0")) :]
        )
        if self.inflate is None:
            size = self._heads(base64.b64decode(text[: _coded(self.head.itemsize) + 4]), 1)[0]
            total = _coded(self.head.itemsize + int(size))
            return self._unpack(memoryview(base64.b64decode(text[:total])))
        first = base64.b64decode(text[: _coded(3 * self.head.itemsize)])
        count = int(self._heads(first, 1)[0])
        width = _coded((3 + count) * self.head.itemsize)
        head = base64.b64decode(text[:width])
        sizes = self._heads(head, 3 + count)[3:]
        body = base64.b64decode(text[width : width + _coded(int(sizes.sum()))])
        return self._unpack(memoryview(head + body))

    def _heads(self, blob: bytes | memoryview, count: int) -> Array:
        if len(blob) < count * self.head.itemsize:
            raise MeshError("the file ends inside an array")
        return np.frombuffer(blob, self.head, count).astype(np.int64)

    def _unpack(self, blob: memoryview) -> bytearray:
        """Drop the header; decompress the blocks."""
        first = int(self._heads(blob, 1)[0])
        if self.inflate is None:
            start = self.head.itemsize
            if first < 0 or len(blob) < start + first:
                raise MeshError("the file ends inside an array")
            return bytearray(blob[start : start + first])
        if first < 0 or first > len(blob):
            raise MeshError("an array is damaged")
        if first == 0:
            return bytearray()
        heads = self._heads(blob, 3 + first)
        starts = np.cumsum([(3 + first) * self.head.itemsize, *heads[3:]])
        if (heads[3:] < 0).any() or starts[-1] > len(blob):
            raise MeshError("the file ends inside an array")
        parts = [self.inflate(blob[a:b]) for a, b in pairwise(starts)]
        expected = (first - (heads[2] > 0)) * heads[1] + heads[2]
        joined = bytearray().join(parts)
        if len(joined) != expected:
            raise MeshError("an array is damaged")
        return joined


def _coded(size: int) -> int:
    """Length of `size` bytes in base64."""
    return 4 * -(-size // 3)


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Blocks, sets and fields."""
    arrays = Arrays(path.read_bytes())
    grid = arrays.root.find("UnstructuredGrid")
    if grid is None:
        raise MeshError(f"it holds {arrays.root.get('type')}, not an unstructured grid")
    extra = _group(arrays, grid.find("FieldData"), None, lost)
    if "meshlearn" not in extra:
        lost.extend(f"field data {name!r}" for name in extra if name not in TIME_DATA)
    pieces = [_piece(arrays, piece, lost) for piece in grid.findall("Piece")]
    pieces = [piece for piece in pieces if len(piece[0])] or pieces[:1]
    if not pieces:
        raise MeshError("there are no cells")
    points = np.concatenate([piece[0] for piece in pieces])
    shift, blocks = 0, []
    for piece in pieces:
        blocks += [(name, nodes + shift if shift else nodes) for name, nodes in piece[1]]
        shift += len(piece[0])
    node = _joined([piece[2] for piece in pieces], lost)
    cell = _joined([piece[3] for piece in pieces], lost)
    return decode(points, blocks, node, cell, extra)


Piece = tuple[Array, list[tuple[str, Array]], dict[str, Array], dict[str, Array]]


def _piece(arrays: Arrays, piece: ET.Element, lost: list[str]) -> Piece:
    n_points, n_cells = (int(piece.get(f"NumberOf{what}", "0")) for what in ("Points", "Cells"))
    found = {
        key: {e.get("Name", "points"): arrays.numbers(e) for e in piece.findall(f"{key}/DataArray")}
        for key in ("Points", "Cells")
    }
    points = next(iter(found["Points"].values()), np.empty((0, 3)))
    cells = found["Cells"]
    types, offsets, nodes = (cells[key].ravel() for key in ("types", "offsets", "connectivity"))
    offsets = np.concatenate([[0], offsets.astype(np.int64)])
    whole = len(points) == n_points and len(types) == n_cells == len(offsets) - 1
    if not whole or offsets[-1] != len(nodes) or (np.diff(offsets) < 0).any():
        raise MeshError("its points or cells are not as many as it says")
    blocks = (
        list(blocks_of_cells(types, nodes.astype(np.int64, copy=False), offsets)) if n_cells else []
    )
    node = _group(arrays, piece.find("PointData"), n_points, lost)
    cell = _group(arrays, piece.find("CellData"), n_cells, lost)
    return points, blocks, node, cell


def _group(
    arrays: Arrays, parent: ET.Element | None, count: int | None, lost: list[str]
) -> dict[str, Array]:
    """Arrays by name; text is lost."""
    found = {}
    for element in parent if parent is not None else ():
        name = element.get("Name", "")
        if element.tag != "DataArray" or element.get("type") not in DTYPES:
            lost.append(f"the array {name!r} of {element.get('type')}")
            continue
        values = arrays.numbers(element)
        tuples = int(element.get("NumberOfTuples", "-1")) if count is None else count
        if tuples >= 0 and len(values) != tuples:
            raise MeshError(f"array {name!r} has {len(values)} rows, not {tuples}")
        found[name] = values
    return found


def _joined(groups: list[dict[str, Array]], lost: list[str]) -> dict[str, Array]:
    common = [name for name in groups[0] if all(name in group for group in groups)]
    names = dict.fromkeys(name for group in groups for name in group)
    lost.extend(f"the array {name!r} (not in every piece)" for name in names if name not in common)
    if len(groups) == 1:
        return groups[0]
    return {name: np.concatenate([group[name] for group in groups]) for name in common}
