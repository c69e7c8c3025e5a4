"""Higher-order cells made straight: their corners are kept, their other nodes leave the mesh."""

from __future__ import annotations

import re
from dataclasses import dataclass

import meshio
import numpy as np
from numpy.typing import NDArray

from ..cells import CELL_TYPES
from ..errors import MeshError
from .arrays import IntArray

_FAMILIES = ("line", "triangle", "quad", "tetra", "hexahedron", "wedge", "pyramid")
_NUMBERED = re.compile(rf"({'|'.join(_FAMILIES)})\d+")
_LAGRANGE = {
    "VTK_LAGRANGE_CURVE": "line",
    "VTK_LAGRANGE_TRIANGLE": "triangle",
    "VTK_LAGRANGE_QUADRILATERAL": "quad",
    "VTK_LAGRANGE_TETRAHEDRON": "tetra",
    "VTK_LAGRANGE_HEXAHEDRON": "hexahedron",
    "VTK_LAGRANGE_WEDGE": "wedge",
    "VTK_LAGRANGE_PYRAMID": "pyramid",
}


@dataclass(frozen=True)
class Block:
    """Cells of one first-order type: `nodes [k, corners]`, at position `index` of the source."""

    type: str
    nodes: IntArray
    index: int

    @property
    def dim(self) -> int:
        """Topological dimension."""
        return 0 if self.type == "vertex" else CELL_TYPES[self.type].dim


def straighten(m: meshio.Mesh, lost: list[str]) -> tuple[list[Block], NDArray[np.bool_] | None]:
    """First-order blocks of a mesh, and which nodes stay.

    Args:
        m: any meshio mesh.
        lost: extended with the names of the cell types that were straightened.

    Returns:
        The non-empty blocks, still with the node numbers of `m`, and a mask of the nodes that
        stay `[n]`, or None where all do.
    """
    blocks, middles, curved = [], [], []
    for index, block in enumerate(m.cells):
        if len(block.data) == 0:
            continue
        name = _first_order(block.type, block.data)
        nodes = np.asarray(block.data).astype(np.int64, copy=False)
        corners = 1 if name == "vertex" else CELL_TYPES[name].num_nodes
        _check_range(block.type, nodes, len(m.points))
        if nodes.shape[1] > corners:
            numbered = block.type not in CELL_TYPES
            curved.append(block.type if numbered else f"{block.type}{nodes.shape[1]}")
            middles.append(nodes[:, corners:].ravel())
            nodes = nodes[:, :corners]
        blocks.append(Block(name, nodes, index))
    if not curved:
        return blocks, None
    keep = np.ones(len(m.points), bool)
    keep[np.concatenate(middles)] = False
    for straight in blocks:
        keep[straight.nodes] = True
    names = ", ".join(dict.fromkeys(curved))
    lost.append(f"the {int((~keep).sum())} nodes that are not corners of the {names} cells")
    return blocks, keep


def _first_order(name: str, data: IntArray) -> str:
    if name in CELL_TYPES or name == "vertex":
        return name
    if name in _LAGRANGE:
        return _LAGRANGE[name]
    numbered = _NUMBERED.fullmatch(name)
    if numbered:
        return numbered[1]
    if name == "polygon" and np.ndim(data) == 2 and np.shape(data)[1] in (3, 4):
        return "triangle" if np.shape(data)[1] == 3 else "quad"
    raise MeshError(
        f"cells of type {name!r} are not supported; split them into {', '.join(CELL_TYPES)} cells"
    )


def _check_range(name: str, nodes: IntArray, num_nodes: int) -> None:
    if nodes.ndim != 2:
        raise MeshError(
            f"the {name} cells must be an array [cells, nodes], got {nodes.ndim}-d data"
        )
    if nodes.min() < 0 or nodes.max() >= num_nodes:
        row = int(np.flatnonzero(((nodes < 0) | (nodes >= num_nodes)).any(axis=1))[0])
        raise MeshError(
            f"{name} cell {row} names a node outside 0 to {num_nodes - 1}: {nodes[row].tolist()}"
        )
