"""`Mesh` <-> `skfem.Mesh` (line, triangle, quad, tetra and hexahedron, first order).

Node and cell numbering are kept, and with them every vector of nodal values. scikit-fem has no
place for fields and point tags: fields are left with the caller, point tags are lost with a
`LossWarning`. Its hexahedra number their nodes differently; the rows are permuted both ways.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import MeshError
from ..mesh import Mesh
from .arrays import Array, IntArray, as_numpy, tags_of
from .losses import quoted, warn_lost

if TYPE_CHECKING:
    import skfem

_CLASSES = {
    "line": "MeshLine1",
    "triangle": "MeshTri1",
    "quad": "MeshQuad1",
    "tetra": "MeshTet1",
    "hexahedron": "MeshHex1",
}
_HEX = [0, 3, 6, 2, 1, 5, 7, 4]
"""scikit-fem's local index of each node of a hexahedron in our order."""


def to_skfem(mesh: Mesh) -> skfem.Mesh:
    """The mesh for scikit-fem; facet tags are `boundaries`, cell tags `subdomains`.

    The nodes of a triangle keep their order (`sort_t=False`); scikit-fem sorts them for elements
    that need edges oriented alike in both cells, such as those of Raviart, Thomas and Nedelec.

    Raises:
        MeshError: more than one cell type, wedges or pyramids, or a surface in space.
    """
    import skfem

    name = next(iter(mesh.cells))
    if len(mesh.cells) > 1 or name not in _CLASSES:
        raise MeshError(
            f"scikit-fem meshes have one cell type of {', '.join(_CLASSES)}; "
            f"this one has {', '.join(mesh.cells)}"
        )
    if mesh.dim != mesh.cell_dim:
        raise MeshError(f"scikit-fem has no {name} meshes in {mesh.dim}D space")
    cells = as_numpy(mesh.cells[name]).T
    if name == "hexahedron":
        cells = cells[np.argsort(_HEX)]
    options: dict[str, Any] = {"sort_t": False} if name == "triangle" else {}
    make = getattr(skfem, _CLASSES[name])
    points = np.array(as_numpy(mesh.pos).T, order="C")
    plain = make(points, np.ascontiguousarray(cells, dtype=np.int32), **options)
    boundaries = {
        tag: _match(as_numpy(nodes), plain.facets.T, mesh.num_nodes)
        for tag, nodes in mesh.facet_tags.items()
    }
    subdomains = {tag: ids.astype(np.int32) for tag, ids in tags_of(mesh, "cell").items()}
    points_lost = [f"point tags {quoted(mesh.point_tags)}"] if mesh.point_tags else []
    warn_lost("to_skfem", points_lost)
    return make(
        plain.p, plain.t, _boundaries=boundaries or None, _subdomains=subdomains or None, **options
    )


def from_skfem(m: skfem.Mesh, *, allow: Collection[str] = (), repair: Collection[str] = ()) -> Mesh:
    """A `Mesh` with the same numbering; `boundaries` are facet tags, `subdomains` cell tags.

    The cells of scikit-fem have no orientation; inverted ones are turned round.

    Raises:
        MeshError: another class of mesh, or a mesh that is not usable.
    """
    import skfem

    known = {getattr(skfem, cls): name for name, cls in _CLASSES.items()}
    if type(m) not in known:
        raise MeshError(
            f"{type(m).__name__} is not supported; convert it to {' or '.join(_CLASSES.values())}"
        )
    name = known[type(m)]
    cells = m.t[_HEX].T if name == "hexahedron" else m.t.T
    facets = m.facets.T.astype(np.int64)
    if name == "hexahedron":  # theirs are sorted; ours run round the facet
        facets = _cyclic(cells.astype(np.int64), facets, m.p.shape[1])
    return Mesh.from_cells(
        np.ascontiguousarray(m.p.T),
        {name: np.ascontiguousarray(cells, dtype=np.int64)},
        facet_tags={
            tag: facets[np.asarray(ids, dtype=np.int64)]
            for tag, ids in (m.boundaries or {}).items()
        },
        cell_tags={
            tag: np.asarray(ids, dtype=np.int64) for tag, ids in (m.subdomains or {}).items()
        },
        allow=allow,
        repair={*repair, "inverted"},
    )


def _match(rows: Array, known: Array, num_nodes: int) -> IntArray:
    """Row of `known` with the same nodes, in any order, for each of `rows`."""
    both = np.sort(np.concatenate([known, rows]), axis=1)
    _, first, inverse = np.unique(both, axis=0, return_index=True, return_inverse=True)
    found = first[inverse.ravel()[len(known) :]]
    if (found >= len(known)).any():
        bad = rows[np.flatnonzero(found >= len(known))[0]].tolist()
        raise MeshError(f"the tagged facet of nodes {bad} is not a facet of any cell")
    return found.astype(np.int32)


def _cyclic(cells: IntArray, facets: IntArray, num_nodes: int) -> IntArray:
    """The same quadrilaterals with their nodes in cyclic order."""
    from ..topology import Topology

    codes = torch.full((len(cells),), 4, dtype=torch.uint8)
    topology = Topology(torch.as_tensor(cells).reshape(-1).contiguous(), codes, num_nodes)
    return as_numpy(topology.facets[topology.find_facets(torch.as_tensor(facets))])
