"""PLY, text and binary: triangles and quads, scalar fields as properties.

Vectors are lost, as are tags. Properties keep their type; int64, which PLY lacks, is stored as
int32 where the values fit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import meshio
import numpy as np
from numpy.typing import NDArray

from ..convert.arrays import IntArray, cell_blocks, fields_of, points3
from ..errors import MeshError
from ..mesh import Mesh
from .losing import losing

_DTYPES = {
    "char": "i1",
    "uchar": "u1",
    "short": "i2",
    "ushort": "u2",
    "int": "i4",
    "uint": "u4",
    "float": "f4",
    "double": "f8",
    "int8": "i1",
    "uint8": "u1",
    "int16": "i2",
    "uint16": "u2",
    "int32": "i4",
    "uint32": "u4",
    "float32": "f4",
    "float64": "f8",
}
_NAMES = {dtype: name for name, dtype in reversed(_DTYPES.items())}
_TYPES = {3: "triangle", 4: "quad"}
_ORDER = {"ascii": "=", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class _Element:
    """A kind of element: its count and properties (name, dtype, dtype of a list's length)."""

    name: str
    count: int
    properties: list[tuple[str, str, str | None]] = field(default_factory=list)


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Vertices, faces and their scalar properties."""
    with path.open("rb") as file:
        order, elements = _header(file)
        body = file.read()
    if order == "=" and not body.endswith(b"\n"):
        raise MeshError("the file ends inside a line")
    words = body.split() if order == "=" else []
    at, points = 0, None
    blocks: list[tuple[str, IntArray]] = []
    node: dict[str, NDArray[Any]] = {}
    cell: dict[str, NDArray[Any]] = {}
    for element in elements:
        tables, at = (
            _text(words, at, element) if order == "=" else _binary(body, at, element, order)
        )
        if element.name == "vertex":
            columns = tables[0][0] if tables else {}
            points = np.stack([columns.pop(axis) for axis in "xyz"], axis=1).astype(np.float64)
            node = columns
        elif element.name == "face":
            blocks, cell = _faces(tables)
        elif element.count:
            lost.append(f"the elements {element.name!r}")
    if at != len(words if order == "=" else body):
        raise MeshError("it does not end where its header says")
    if points is None or not blocks:
        raise MeshError("there are no cells")
    cuts = np.cumsum([len(nodes) for _, nodes in blocks])[:-1]
    cell_data = {name: np.split(values, cuts) for name, values in cell.items()}
    return meshio.Mesh(points, blocks, point_data=node, cell_data=cell_data)


def _header(file: BinaryIO) -> tuple[str, list[_Element]]:
    order = ""
    elements: list[_Element] = []
    if file.readline().strip() != b"ply":
        raise MeshError("it does not begin with ply")
    while line := file.readline():
        words = line.decode(errors="replace").split()
        if words[:1] == ["end_header"]:
            if order not in _ORDER:
                raise MeshError(f"its format {order!r} is not known")
            return _ORDER[order], elements
        if words[:1] == ["format"]:
            order = words[1]
        elif words[:1] == ["element"]:
            elements.append(_Element(words[1], int(words[2])))
        elif words[:2] == ["property", "list"]:
            elements[-1].properties.append((words[4], _DTYPES[words[3]], _DTYPES[words[2]]))
        elif words[:1] == ["property"]:
            elements[-1].properties.append((words[2], _DTYPES[words[1]], None))
    raise MeshError("the file ends before end_header")


Table = tuple[dict[str, NDArray[Any]], int]
"""Columns by property (lists are `[k, m]`) of `k` rows."""


def _record(element: _Element, order: str, sizes: list[int]) -> np.dtype[Any]:
    """Type of a row whose lists have the lengths `sizes`."""
    fields: list[Any] = []
    lengths = iter(sizes)
    for i, (name, dtype, length) in enumerate(element.properties):
        if length is None:
            fields.append((name, order + dtype))
        else:
            fields += [(f"length of {i}", order + length), (name, order + dtype, (next(lengths),))]
    return np.dtype(fields)


def _binary(body: bytes, at: int, element: _Element, order: str) -> tuple[list[Table], int]:
    """Runs of rows whose lists have equal lengths."""
    tables, done = [], 0
    lists = [i for i, (_, _, length) in enumerate(element.properties) if length is not None]
    while done < element.count:
        sizes: list[int] = []
        for i in lists:
            partial = _Element("", 0, element.properties[: i + 1])
            begin = _record(partial, order, [*sizes, 0])
            sizes.append(int(np.frombuffer(body, begin, 1, at)[f"length of {i}"][0]))
        record = _record(element, order, sizes)
        fits = (len(body) - at) // record.itemsize if record.itemsize else 0
        rows = np.frombuffer(body, record, min(fits, element.count - done), at)
        same = np.ones(len(rows), bool)
        for i, size in zip(lists, sizes, strict=True):
            same &= rows[f"length of {i}"] == size
        alike = len(rows) if same.all() else int(np.argmin(same))
        if alike == 0:
            raise MeshError(f"it ends inside the {element.count} elements {element.name!r}")
        rows = rows[:alike]
        names = [name for name, _, _ in element.properties]
        tables.append(
            ({name: rows[name].astype(rows[name].dtype.newbyteorder("=")) for name in names}, alike)
        )
        at, done = at + alike * record.itemsize, done + alike
    return tables, at


def _text(words: list[bytes], at: int, element: _Element) -> tuple[list[Table], int]:
    """Rows word by word; runs of equal list lengths become one table."""
    tables: list[Table] = []
    rows: list[list[list[bytes]]] = []
    shape: list[int] = []
    for _ in range(element.count):
        row, sizes = [], []
        for _, _, length in element.properties:
            size = 1
            if length is not None:
                size, at = int(words[at]), at + 1
            row.append(words[at : at + size])
            sizes.append(size)
            at += size
        if at > len(words):
            raise MeshError(f"it ends inside the {element.count} elements {element.name!r}")
        if rows and sizes != shape:
            tables.append(_columns(rows, element))
            rows = []
        rows.append(row)
        shape = sizes
    return tables + ([_columns(rows, element)] if rows else []), at


def _columns(rows: list[list[list[bytes]]], element: _Element) -> Table:
    columns = {}
    for i, (name, dtype, length) in enumerate(element.properties):
        text = np.array([row[i] for row in rows]).astype(str)
        values = text.astype(np.float64 if dtype[0] == "f" else np.int64).astype(dtype)
        columns[name] = values if length is not None else values[:, 0]
    return columns, len(rows)


def _faces(tables: list[Table]) -> tuple[list[tuple[str, IntArray]], dict[str, NDArray[Any]]]:
    blocks = []
    for columns, _ in tables:
        key = next((k for k in ("vertex_indices", "vertex_index") if k in columns), None)
        if key is None:
            raise MeshError("its faces have no vertex_indices")
        nodes = columns.pop(key).astype(np.int64)
        if nodes.shape[1] not in _TYPES:
            raise MeshError(
                f"a face has {nodes.shape[1]} corners; split faces into triangles or quads"
            )
        blocks.append((_TYPES[nodes.shape[1]], nodes))
    scalars = [k for k, v in tables[0][0].items() if v.ndim == 1] if tables else []
    return blocks, {name: np.concatenate([c[name] for c, _ in tables]) for name in scalars}


def write(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """Vertices, faces and scalar fields."""
    if set(mesh.cells) - set(_TYPES.values()):
        raise MeshError(
            f"PLY holds triangles and quads; this mesh has {', '.join(mesh.cells)} cells"
        )
    losing(mesh, lost, facet_tags=True, cell_tags=True, point_tags=True)
    lost += [f"facet field {name!r}" for name in mesh.facet_fields]
    node, cell = (_scalars(mesh, kind, lost) for kind in ("node", "cell"))
    points = points3(mesh)
    vertex = {**{axis: points[:, i] for i, axis in enumerate("xyz")}, **node}
    head = ["ply", f"format {'binary_little_endian' if binary else 'ascii'} 1.0"]
    head += [f"element vertex {len(points)}", *_properties(vertex)]
    head += [f"element face {mesh.num_cells}", "property list uchar int vertex_indices"]
    head += [*_properties(cell), "end_header"]
    with path.open("wb") as file:
        file.write(("\n".join(head) + "\n").encode())
        _write_rows(file, vertex, None, binary)
        done = 0
        for _, nodes in cell_blocks(mesh):
            part = {name: values[done : done + len(nodes)] for name, values in cell.items()}
            _write_rows(file, part, nodes, binary)
            done += len(nodes)


def _scalars(mesh: Mesh, kind: str, lost: list[str]) -> dict[str, NDArray[Any]]:
    fields = {}
    for name, values in fields_of(mesh, kind).items():
        if values.dtype == bool:
            values = values.astype(np.uint8)
        if values.dtype == np.int64 and abs(values).max(initial=0) < 2**31:
            values = values.astype(np.int32)
        known = values.dtype.str[1:] in _NAMES and not re.search(r"\s", name)
        if values.ndim > 1 or not known or name in ("x", "y", "z"):
            lost.append(f"{kind} field {name!r}")
        else:
            fields[name] = values
    return fields


def _properties(columns: dict[str, NDArray[Any]]) -> list[str]:
    return [f"property {_NAMES[values.dtype.str[1:]]} {name}" for name, values in columns.items()]


def _write_rows(
    file: BinaryIO, columns: dict[str, NDArray[Any]], nodes: IntArray | None, binary: bool
) -> None:
    count = len(nodes) if nodes is not None else len(next(iter(columns.values())))
    if binary:
        lists: list[Any] = (
            [] if nodes is None else [("n", "u1"), ("nodes", "<i4", (nodes.shape[1],))]
        )
        scalars = [
            (f"f{i}", values.dtype.newbyteorder("<")) for i, values in enumerate(columns.values())
        ]
        rows = np.empty(count, lists + scalars)
        if nodes is not None:
            rows["n"], rows["nodes"] = nodes.shape[1], nodes
        for i, values in enumerate(columns.values()):
            rows[f"f{i}"] = values
        rows.tofile(file)
        return
    texts = (
        []
        if nodes is None
        else [f"{nodes.shape[1]} " + " ".join(map(str, row)) for row in nodes.tolist()]
    )
    scalars_text = zip(
        *([repr(v) for v in values.tolist()] for values in columns.values()), strict=True
    )
    tails = [" ".join(row) for row in scalars_text] or [""] * count
    lines = (
        tails if nodes is None else [f"{a} {b}".rstrip() for a, b in zip(texts, tails, strict=True)]
    )
    file.write(("\n".join(lines) + "\n").encode())
