"""XDMF: a small XML file that describes the arrays in an HDF5 file beside it.

ParaView sees points, cells and fields. Tags and facet fields, which XDMF has no place for, are in
the group `meshlearn` of the HDF5 file, in the encoding of `meshlearn.mesh.convert.encoding`;
files of other codes (meshio, FEniCS) are read as plain meshes. The two files carry the same
checksum, so that a pair that does not belong together is noticed.
"""

from __future__ import annotations

import hashlib
import io
import xml.etree.ElementTree as ET
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import meshio
import numpy as np
from numpy.typing import NDArray

from ..cells import CELL_TYPES, NAMES
from ..convert.encoding import Encoded, decode, encode
from ..errors import MeshError
from ..mesh import Mesh

_TOPOLOGY = {
    "line": ("Polyline", 2),
    "triangle": ("Triangle", 4),
    "quad": ("Quadrilateral", 5),
    "tetra": ("Tetrahedron", 6),
    "pyramid": ("Pyramid", 7),
    "wedge": ("Wedge", 8),
    "hexahedron": ("Hexahedron", 9),
}
_NAMES = {"f": "Float", "i": "Int", "u": "UInt"}
_MARK = "meshlearn "


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Blocks, sets and fields of the one grid of a file."""
    domain = ET.parse(path).getroot().find("Domain")
    mark = domain.get("Name", "") if domain is not None else ""
    if mark.startswith(_MARK):
        return _read_own(path, mark.removeprefix(_MARK))
    from meshio import xdmf

    silence = io.StringIO()
    with redirect_stdout(silence), redirect_stderr(silence):
        try:
            m = xdmf.read(str(path))
        except meshio.ReadError as error:
            raise MeshError(str(error) or "its layout is not supported") from error
    return decode(m.points, [(b.type, b.data) for b in m.cells], m.point_data, _joined(m), {})


def _joined(m: meshio.Mesh) -> dict[str, NDArray[Any]]:
    return {name: np.concatenate(parts) for name, parts in m.cell_data.items()}


def _read_own(path: Path, checksum: str) -> meshio.Mesh:
    import h5py

    companion = path.with_suffix(".h5")
    if not companion.exists():
        raise MeshError(f"its companion {companion.name} is not beside it")
    with h5py.File(companion, "r") as file:
        if file.attrs.get("checksum") != checksum:
            raise MeshError(f"{companion.name} belongs to another mesh")
        code, stream = file["meshlearn/code"][()], file["topology"][()]
        arrays = Encoded(file["points"][()], code, _without_markers(stream, code))
        for group in ("node", "cell", "extra"):
            for item in file[f"meshlearn/{group}"].values():
                getattr(arrays, group)[item.attrs["name"]] = item[()]
    blocks = _blocks(arrays)
    return decode(arrays.points, blocks, arrays.node, arrays.cell, arrays.extra)


def write(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """Write `path` and, beside it, the .h5 file."""
    import h5py

    if not binary:
        raise MeshError("XDMF is written with an HDF5 file only; leave binary=False out")
    arrays = encode(mesh, lost)
    checksum = _checksum(arrays)
    companion = path.with_suffix(".h5")
    root = ET.Element("Xdmf", Version="3.0")
    domain = ET.SubElement(root, "Domain", Name=_MARK + checksum)
    grid = ET.SubElement(domain, "Grid", Name="mesh", GridType="Uniform")
    with h5py.File(companion, "w") as file:
        file.attrs["checksum"] = checksum
        own = file.create_group("meshlearn")
        _store(own, "code", arrays.code)
        geometry = ET.SubElement(grid, "Geometry", GeometryType="XYZ")
        _item(geometry, companion.name, _store(file, "points", arrays.points))
        topology, stream = _topology(arrays)
        grid.append(topology)
        _item(topology, companion.name, _store(file, "topology", stream))
        for group, center in (("node", "Node"), ("cell", "Cell"), ("extra", None)):
            folder = own.create_group(group)
            for i, (name, values) in enumerate(getattr(arrays, group).items()):
                stored = _store(folder, str(i), values)
                stored.attrs["name"] = name
                if center is not None:
                    kind = _attribute_type(values)
                    options = {"Name": name, "AttributeType": kind, "Center": center}
                    attribute = ET.SubElement(grid, "Attribute", options)
                    _item(attribute, companion.name, stored)
    ET.indent(root)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _store(group: Any, name: str, values: NDArray[Any]) -> Any:
    options = {"compression": "gzip", "compression_opts": 1, "shuffle": True} if values.size else {}
    return group.create_dataset(name, data=values, **options)


def _item(parent: ET.Element, companion: str, stored: Any) -> None:
    item = ET.SubElement(
        parent,
        "DataItem",
        DataType=_NAMES[stored.dtype.kind],
        Precision=str(stored.dtype.itemsize),
        Dimensions=" ".join(map(str, stored.shape)),
        Format="HDF",
    )
    item.text = f"{companion}:{stored.name}"


def _topology(arrays: Encoded) -> tuple[ET.Element, NDArray[np.int64]]:
    """The element and its numbers: rows of nodes, or for mixed cells a stream of type and nodes."""
    names = _types(arrays.code)
    count = str(len(arrays.code))
    if len(names) == 1:
        size = CELL_TYPES[names[0]].num_nodes
        kind = _TOPOLOGY[names[0]][0]
        options = {"TopologyType": kind, "NumberOfElements": count, "NodesPerElement": str(size)}
        return ET.Element("Topology", options), arrays.nodes.reshape(-1, size)
    marker = np.array([_TOPOLOGY[name][1] for name in NAMES])[arrays.code]
    begin = np.cumsum(_sizes(arrays.code)) - _sizes(arrays.code)
    options = {"TopologyType": "Mixed", "NumberOfElements": count}
    return ET.Element("Topology", options), np.insert(arrays.nodes, begin, marker)


def _without_markers(stream: NDArray[np.int64], code: NDArray[np.uint8]) -> NDArray[np.int64]:
    if len(_types(code)) == 1:
        return stream.reshape(-1)
    begin = np.cumsum(_sizes(code) + 1) - _sizes(code) - 1
    return np.delete(stream, begin)


def _blocks(arrays: Encoded) -> list[tuple[str, NDArray[np.int64]]]:
    starts = np.flatnonzero(np.r_[True, np.diff(arrays.code.astype(int)) != 0])
    ends = np.cumsum(_sizes(arrays.code))
    stops = ends[np.r_[starts[1:] - 1, len(arrays.code) - 1]]
    names = [NAMES[c] for c in arrays.code[starts]]
    parts = np.split(arrays.nodes, stops[:-1])
    return [
        (name, part.reshape(-1, CELL_TYPES[name].num_nodes))
        for name, part in zip(names, parts, strict=True)
    ]


def _types(code: NDArray[np.uint8]) -> list[str]:
    return [NAMES[c] for c in np.unique(code)]


def _sizes(code: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.array([CELL_TYPES[name].num_nodes for name in NAMES])[code]


def _attribute_type(values: NDArray[Any]) -> str:
    width = 1 if values.ndim == 1 else values.shape[1]
    return {1: "Scalar", 2: "Vector", 3: "Vector", 6: "Tensor6", 9: "Tensor"}.get(width, "Matrix")


def _checksum(arrays: Encoded) -> str:
    digest = hashlib.blake2b(digest_size=12)
    parts = [arrays.points, arrays.code, arrays.nodes]
    for group in (arrays.node, arrays.cell, arrays.extra):
        for name, values in group.items():
            digest.update(name.encode())
            parts.append(values)
    for part in parts:
        digest.update(np.ascontiguousarray(part).data)
    return digest.hexdigest()
