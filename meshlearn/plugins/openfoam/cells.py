"""What of a case a mover moves: a mesh whose nodes are points of the case, or centres between them.

- *2-D* (patches of type empty) and *axisymmetric* (wedge): the faces of one side, as triangles and
  quads; those with more corners are cut about a centre.
- *3-D*: tetrahedra, hexahedra, prisms and pyramids as they are; where there are other cells, all
  are cut into tetrahedra about the centres of faces and cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import FloatArray, IntArray
from .plane import Plane
from .polymesh import PolyMesh

_KINDS = {(4, 0): "tetra", (4, 1): "pyramid", (2, 3): "wedge", (0, 6): "hexahedron"}
_BOTTOM = {"tetra": 3, "pyramid": 4, "wedge": 3, "hexahedron": 4}


@dataclass(frozen=True)
class Moving:
    """The mesh that moves.

    Attributes:
        pos: node positions `[m, d]`.
        cells: nodes by type `{name: [k, nodes]}`.
        parent: cell of the case of each cell, the types one after the other.
        numbering: point of the case of each node, -1 for centres `[m]`.
        centre_of_cell: nodes that are centres of cells, and the cells `[k, 2]`.
        centre_of_face: the same for faces.
        facets: nodes of the facets of each patch `{name: [k, nodes]}`.
    """

    pos: FloatArray
    cells: dict[str, IntArray]
    parent: IntArray
    numbering: IntArray
    centre_of_cell: IntArray
    centre_of_face: IntArray
    facets: dict[str, IntArray]


def in_plane(mesh: PolyMesh, plane: Plane) -> Moving:
    """The faces of one side of a 2-D mesh."""
    sides = [patch for patch in mesh.patches if patch.type in ("empty", "wedge")]
    front = np.zeros(len(mesh.points), bool)
    front[plane.points] = True
    candidates = np.concatenate([np.arange(p.faces.start, p.faces.stop) for p in sides])
    off = np.bincount(mesh.face_of, ~front[mesh.nodes], mesh.num_faces)
    faces = candidates[off[candidates] == 0]
    pos = plane.flatten(mesh.points)
    turned = _area(pos, plane.node[mesh.face(int(faces[0]))]) < 0
    cells: dict[str, IntArray] = {}
    parents = []
    for name, size in (("triangle", 3), ("quad", 4)):
        own = faces[mesh.sizes[faces] == size]
        if len(own):
            nodes = plane.node[mesh.nodes[mesh.offsets[own][:, None] + np.arange(size)]]
            cells[name] = nodes[:, ::-1].copy() if turned else nodes
            parents.append(mesh.owner[own])
    many = faces[mesh.sizes[faces] > 4]
    centres = np.stack([len(pos) + np.arange(len(many)), mesh.owner[many]], axis=1)
    if len(many):
        entry, row = _entries(mesh, many)
        here, after = plane.node[mesh.nodes[entry]], plane.node[mesh.following[entry]]
        first, second = (after, here) if turned else (here, after)
        fans = np.stack([first, second, centres[row, 0]], axis=1)
        cells["triangle"] = np.concatenate([cells.get("triangle", fans[:0]), fans])
        of_quads = parents[1:] if len(parents) == 2 or "quad" not in cells else parents
        of_triangles = parents[: len(parents) - len(of_quads)]
        parents = [*of_triangles, mesh.owner[many][row], *of_quads]
        cells = {name: cells[name] for name in ("triangle", "quad") if name in cells}
        total = np.stack([np.bincount(row, c) for c in pos[here].T], axis=1)
        pos = np.concatenate([pos, total / mesh.sizes[many][:, None]])
    facets = {}
    for patch in mesh.patches:
        if patch.type not in ("empty", "wedge") and len(patch.faces):
            facets[patch.name] = _edges(mesh, plane, np.array(patch.faces), front)
    return Moving(
        pos,
        cells,
        np.concatenate(parents),
        np.concatenate([plane.points, np.full(len(many), -1)]),
        centres,
        np.empty((0, 2), np.int64),
        facets,
    )


def in_space(mesh: PolyMesh) -> Moving:
    """The cells of a 3-D mesh."""
    standard = _standard(mesh)
    if standard is None:
        return cut(mesh)
    cells, parent = standard
    facets = {}
    for patch in mesh.patches:
        faces = np.array(patch.faces, np.int64)
        column = np.minimum(np.arange(4), mesh.sizes[faces][:, None] - 1)
        facets[patch.name] = mesh.nodes[mesh.offsets[faces][:, None] + column]
    none = np.empty((0, 2), np.int64)
    return Moving(
        mesh.points.copy(), cells, parent, np.arange(len(mesh.points)), none, none, facets
    )


def _area(pos: FloatArray, polygon: IntArray) -> float:
    x, y = pos[polygon].T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _entries(mesh: PolyMesh, faces: IntArray) -> tuple[IntArray, IntArray]:
    """Entries of `mesh.nodes` of some faces, and the position of the face of each."""
    row = np.full(mesh.num_faces, -1)
    row[faces] = np.arange(len(faces))
    entry = np.flatnonzero(row[mesh.face_of] >= 0)
    return entry, row[mesh.face_of[entry]]


def _edges(mesh: PolyMesh, plane: Plane, faces: IntArray, front: IntArray) -> IntArray:
    """The edges in which faces meet the plane mesh `[k, 2]`."""
    entry, row = _entries(mesh, faces)
    here, after = mesh.nodes[entry], mesh.following[entry]
    inside = front[here] & front[after] & (here != after)
    edges = np.full((len(faces), 2), -1)
    edges[row[inside], 0] = plane.node[here[inside]]
    edges[row[inside], 1] = plane.node[after[inside]]
    return edges[(edges[:, 0] >= 0) & (edges[:, 0] != edges[:, 1])]


def _standard(mesh: PolyMesh) -> tuple[dict[str, IntArray], IntArray] | None:
    """Cells of the four simple types, and the cell of each; None where there are others."""
    face, cell, _ = mesh.cell_faces
    triangles = np.bincount(cell, mesh.sizes[face] == 3, mesh.num_cells).astype(int)
    quads = np.bincount(cell, mesh.sizes[face] == 4, mesh.num_cells).astype(int)
    count = np.bincount(cell, minlength=mesh.num_cells)
    cells, parents, done = {}, [], 0
    for (three, four), name in _KINDS.items():
        ids = np.flatnonzero((triangles == three) & (quads == four) & (count == three + four))
        if len(ids):
            nodes = _ordered(mesh, ids, name)
            if nodes is None:
                return None
            cells[name] = nodes
            parents.append(ids)
            done += len(ids)
    return (cells, np.concatenate(parents)) if done == mesh.num_cells else None


def _ordered(mesh: PolyMesh, ids: IntArray, name: str) -> IntArray | None:
    """Nodes in meshio's order: a face whose normal points inwards, then what is over it."""
    face, cell, sign = mesh.cell_faces
    size = _BOTTOM[name]
    wanted = np.full(mesh.num_cells, -1)
    wanted[ids] = np.arange(len(ids))
    mine = wanted[cell] >= 0
    face, row, sign = face[mine], wanted[cell[mine]], sign[mine]
    bottoms = np.flatnonzero(mesh.sizes[face] == size)
    _, first = np.unique(row[bottoms], return_index=True)
    first = bottoms[first]
    bottom = mesh.nodes[mesh.offsets[face[first]][:, None] + np.arange(size)]
    outward = sign[first] > 0
    bottom = np.where(outward[:, None], bottom[:, ::-1], bottom)  # turned: it points inwards
    top = size if name in ("wedge", "hexahedron") else 1
    # directed edges of the cells that leave the bottom, by cell and bottom node
    repeat = mesh.sizes[face]
    entry = np.repeat(mesh.offsets[face], repeat) + _ramp(repeat)
    owner_row = np.repeat(row, repeat)
    ends = np.stack([mesh.nodes[entry], mesh.following[entry]], axis=1)
    ends = np.concatenate([ends, ends[:, ::-1]])
    owner_row = np.concatenate([owner_row, owner_row])
    start = (bottom[owner_row] == ends[:, :1]).argmax(axis=1)
    starts = (bottom[owner_row] == ends[:, :1]).any(axis=1)
    leaves = starts & ~(bottom[owner_row] == ends[:, 1:]).any(axis=1)
    over = np.full((len(ids), size), -1)
    over[owner_row[leaves], start[leaves]] = ends[leaves, 1]
    nodes = np.concatenate([bottom, over[:, :top]], axis=1)
    distinct = (np.diff(np.sort(nodes, axis=1), axis=1) > 0).all() and (nodes >= 0).all()
    return nodes if distinct else None


def _ramp(sizes: IntArray) -> IntArray:
    """0 to size - 1 for each size."""
    begin = np.cumsum(sizes) - sizes
    return np.arange(int(sizes.sum())) - np.repeat(begin, sizes)


def cut(mesh: PolyMesh) -> Moving:
    """All cells as tetrahedra from the cell's centre over triangles of its faces."""
    n = len(mesh.points)
    many = np.flatnonzero(mesh.sizes > 3)
    node_of_face = np.full(mesh.num_faces, -1)
    node_of_face[many] = n + np.arange(len(many))
    node_of_cell = n + len(many) + np.arange(mesh.num_cells)
    # one triangle per edge of a larger face; of a triangle, its first entry stands for it
    use = (mesh.sizes[mesh.face_of] > 3) | (
        mesh.offsets[mesh.face_of] == np.arange(len(mesh.nodes))
    )
    entry = np.flatnonzero(use)
    of = mesh.face_of[entry]
    third = np.where(mesh.sizes[of] > 3, node_of_face[of], mesh.nodes[mesh.offsets[of + 1] - 1])
    triangle = np.stack([mesh.nodes[entry], mesh.following[entry], third], axis=1)
    inner = of < len(mesh.neighbour)
    own = np.concatenate([triangle[:, [0, 2, 1]], node_of_cell[mesh.owner[of]][:, None]], axis=1)
    beyond = node_of_cell[mesh.neighbour[of[inner]]][:, None]
    cells = np.concatenate([own, np.concatenate([triangle[inner], beyond], axis=1)])
    parent = np.concatenate([mesh.owner[of], mesh.neighbour[of[inner]]])
    facets = {}
    for patch in mesh.patches:
        member = (of >= patch.faces.start) & (of < patch.faces.stop)
        facets[patch.name] = triangle[member]
    centre = mesh.face_geometry[0][many]
    pos = np.concatenate([mesh.points, centre, mesh.cell_geometry[0]])
    numbering = np.concatenate([np.arange(n), np.full(len(pos) - n, -1)])
    return Moving(
        pos,
        {"tetra": cells},
        parent,
        numbering,
        np.stack([node_of_cell, np.arange(mesh.num_cells)], axis=1),
        np.stack([node_of_face[many], many], axis=1),
        facets,
    )
