"""STL, text and binary: triangles and nothing else.

An STL file has no vertices, only three corners per triangle: corners at exactly the same place are
merged on reading, and numbered in the order in which they appear. The numbering of the nodes is
therefore kept only where it was in that order. Text holds all digits of a float64 and is the
default; binary holds float32.
"""

from __future__ import annotations

import re
from pathlib import Path

import meshio
import numpy as np
from numpy.typing import NDArray

from ..convert.arrays import as_numpy, points3
from ..errors import MeshError
from ..mesh import Mesh
from .losing import losing
from .text import EXACT, write_table

_RECORD = np.dtype([("normal", "<f4", (3,)), ("corner", "<f4", (3, 3)), ("attribute", "<u2")])
_HEAD = 84


def read(path: Path, lost: list[str]) -> meshio.Mesh:
    """Triangles with merged corners."""
    raw = path.read_bytes()
    count = int.from_bytes(raw[80:_HEAD], "little") if len(raw) >= _HEAD else -1
    if len(raw) == _HEAD + count * _RECORD.itemsize:
        corners = np.frombuffer(raw, _RECORD, count, _HEAD)["corner"].reshape(-1, 3)
    elif raw.lstrip()[:5].lower() == b"solid":
        corners = _text(raw.decode(errors="replace"))
    else:
        raise MeshError(f"it announces {count} triangles but has {len(raw)} bytes")
    if not len(corners):
        raise MeshError("there are no cells")
    corners = corners.astype(np.float64) + 0.0  # -0.0 and 0.0 are one place
    _, first, inverse = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    cells = place[inverse.ravel()].reshape(-1, 3)
    return meshio.Mesh(corners[first[order]], [("triangle", cells)])


def _text(text: str) -> NDArray[np.float64]:
    words = re.findall(r"^\s*(endsolid|solid|facet|endfacet|vertex)\b(.*)$", text, re.M | re.I)
    counts = {key: sum(word.lower() == key for word, _ in words) for key in ("facet", "endfacet")}
    if not words or words[-1][0].lower() != "endsolid":
        raise MeshError("the file ends before endsolid")
    corners = [rest.split() for word, rest in words if word.lower() == "vertex"]
    if counts["facet"] != counts["endfacet"] or len(corners) != 3 * counts["facet"]:
        raise MeshError("a facet does not have three vertices")
    return np.array(corners, dtype=np.float64).reshape(-1, 3)


def write(mesh: Mesh, path: Path, lost: list[str], binary: bool) -> None:
    """Triangles."""
    if list(mesh.cells) != ["triangle"]:
        raise MeshError(f"STL holds triangles only; this mesh has {', '.join(mesh.cells)} cells")
    losing(mesh, lost, facet_tags=True, cell_tags=True, point_tags=True, fields=True)
    cells = as_numpy(mesh.cells["triangle"])
    _, first = np.unique(cells.ravel(), return_index=True)
    if (np.diff(first) < 0).any():
        lost.append("the numbering of the nodes")
    corner = points3(mesh)[cells]
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), np.finfo(float).tiny)
    if binary:
        if (corner.astype(np.float32) != corner).any():
            lost.append("the digits of the positions beyond float32")
        records = np.zeros(len(cells), _RECORD)
        records["normal"], records["corner"] = normal, corner
        head = b"written by meshlearn".ljust(80) + len(cells).to_bytes(4, "little")
        path.write_bytes(head + records.tobytes())
        return
    three = f"{EXACT} {EXACT} {EXACT}"
    row = f"facet normal {three}\nouter loop\n" + f"vertex {three}\n" * 3 + "endloop\nendfacet\n"
    with path.open("wb") as file:
        file.write(b"solid meshlearn\n")
        write_table(file, row, normal, corner.reshape(-1, 9))
        file.write(b"endsolid meshlearn\n")
