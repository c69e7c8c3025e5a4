"""Renumbering of nodes and cells, so that neighbours are near each other in memory.

Gathers along edges and products with sparse matrices read the neighbours of each node: where their
numbers are close, they are in the cache. Two orders:

- "rcm", reverse Cuthill-McKee (Cuthill & McKee, "Reducing the bandwidth of sparse symmetric
  matrices", 1969): a breadth-first walk of the graph; small bandwidth.
- "morton": nodes along the Z-curve through their positions (Morton, IBM report, 1966): every block
  of consecutive nodes is compact in space.

Cells follow their nodes: by smallest, then largest node. The node field `original_node` and the
cell field `original_cell` keep the numbers that the user gave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import reverse_cuthill_mckee
from torch import Tensor

from .cells import CELL_TYPES, NAMES
from .errors import MeshError
from .layout import STRUCTURE

if TYPE_CHECKING:
    from .mesh import Mesh

ORDERS = ("rcm", "morton", "original")
ORIGINAL = {"node": "original_node", "cell": "original_cell"}
"""Fields that hold the user's numbers."""


class Reordering:
    """The method of a mesh that renumbers it."""

    def reordered(self, order: str) -> Mesh:
        """The same mesh with other numbers of nodes and cells; all fields and tags follow.

        The node field `original_node` and the cell field `original_cell` of the result tell the
        numbers that this mesh has (or, where it was reordered before, that its first had): a nodal
        result `u` in them is `out[mesh.original_node] = u`. Values of a facet field follow their
        facet; its normal turns where the first of its two cells becomes the second.

        Args:
            order: "rcm" (reverse Cuthill-McKee, small bandwidth), "morton" (along the Z-curve), or
                "original": back to the user's numbers, exactly.

        Raises:
            MeshError: another order, "original" on a mesh that was not reordered, or a batch.
        """
        return reordered(cast("Mesh", self), order)


def reordered(mesh: Mesh, order: str) -> Mesh:
    """See `Mesh.reordered`."""
    if order not in ORDERS:
        raise MeshError(f"order must be one of {', '.join(ORDERS)}, got {order!r}")
    if "batch" in mesh._store or "ptr" in mesh._store:
        raise MeshError("a batch keeps its meshes apart: reorder them before they are batched")
    if order == "original":
        out = _permuted(mesh, *_original(mesh))
        for name in ORIGINAL.values():
            del out[name]
        out["field_kinds_"] = tuple(
            pair for pair in out.field_kinds.items() if pair[0] not in ORIGINAL.values()
        )
        return out
    node = rcm_order(mesh) if order == "rcm" else morton_order(mesh.pos)
    marked = mesh if _is_marked(mesh) else _marked(mesh)
    return _permuted(marked, node, _cell_order(mesh, inverse(node)))


def rcm_order(mesh: Mesh) -> Tensor:
    """Nodes in reverse Cuthill-McKee order `[n]`."""
    pointers, columns = mesh.rowptr.cpu().numpy(), mesh.topology.edge_index[0].cpu().numpy()
    size = len(mesh.pos)
    graph = sp.csr_matrix((np.ones(len(columns), np.int8), columns, pointers), shape=(size, size))
    order = reverse_cuthill_mckee(graph, symmetric_mode=True)
    return torch.as_tensor(order.astype(np.int64), device=mesh.pos.device)


def morton_order(pos: Tensor) -> Tensor:
    """Points along the Z-curve through their bounding box, cut into cubes `[n]`.

    62 bits are shared by the coordinates (52, the digits of a float64, on a line); points in one
    cube keep their order.
    """
    d = pos.shape[1]
    bits = min(62 // d, 52)
    low = pos.min(dim=0).values
    size = (pos.max(dim=0).values - low).max().clamp(min=torch.finfo(pos.dtype).tiny)
    cube = ((pos - low) / size * (2**bits - 1)).to(torch.int64)
    return torch.from_numpy(z_order(cube.cpu().numpy(), bits)).to(pos.device)


def z_order(cube: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Cubes of a grid of `2^bits` a side along the Z-curve `[n]`; equal ones keep their order.

    Args:
        cube: which cube `[n, d]`.
        bits: of each number.
    """
    d = cube.shape[1]
    key = np.zeros(len(cube), np.int64)
    for bit in range(bits):
        for axis in range(d):
            key |= ((cube[:, axis] >> bit) & 1) << (d * bit + axis)
    return np.argsort(key, kind="stable")


def inverse(order: Tensor) -> Tensor:
    """New number of each old one, of a permutation that gives the old number of each new one."""
    out = torch.empty_like(order)
    out[order] = torch.arange(len(order), device=order.device)
    return out


def _cell_order(mesh: Mesh, new: Tensor) -> Tensor:
    """Old index of each new cell; types stay where they are in the canonical order."""
    out = torch.empty(mesh.num_cells, dtype=torch.int64, device=new.device)
    for name, nodes in mesh.cells.items():
        ids, numbers = mesh.cell_ids[name], new[nodes]
        key = numbers.amin(dim=1) * len(new) + numbers.amax(dim=1)
        out[ids] = ids[torch.argsort(key, stable=True)]
    return out


def _is_marked(mesh: Mesh) -> bool:
    kinds = mesh.field_kinds
    return all(kinds.get(name) == kind and name in mesh for kind, name in ORIGINAL.items())


def _marked(mesh: Mesh) -> Mesh:
    """A copy with the fields that hold its numbers."""
    out = mesh.__copy__()
    for kind, count in (("node", len(mesh.pos)), ("cell", mesh.num_cells)):
        out.set_field(ORIGINAL[kind], torch.arange(count, device=mesh.pos.device), kind)
    return out


def _original(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Nodes and cells in the order of the user's numbers."""
    if not _is_marked(mesh):
        raise MeshError(
            "this mesh has no original numbers: it was not reordered, or lost its fields "
            f"{' and '.join(ORIGINAL.values())}"
        )
    return torch.argsort(mesh[ORIGINAL["node"]]), torch.argsort(mesh[ORIGINAL["cell"]])


def _permuted(mesh: Mesh, node: Tensor, cell: Tensor) -> Mesh:
    """The mesh whose node i is node `node[i]`, and whose cell i is cell `cell[i]`, of this one."""
    new, new_cell = inverse(node), inverse(cell)
    out = mesh.__copy__()
    out.__dict__.pop("_topology", None)
    out["pos"] = mesh.pos[node]
    out["cell_index"] = new[_moved_blocks(mesh, cell)]
    out["cell_type"] = mesh["cell_type"][cell]
    out["tagged_facets"] = new[mesh["tagged_facets"]]
    out["tagged_points"] = new[mesh["tagged_points"]]
    out["tagged_cells"] = new_cell[mesh["tagged_cells"]]
    for name, values in mesh.node_fields.items():
        out[name] = values[node]
    for name, values in mesh.cell_fields.items():
        out[name] = values[cell]
    if mesh.facet_fields:
        facet = mesh.topology.find_facets(node[out.topology.facets])
        for name, values in mesh.facet_fields.items():
            out[name] = values[facet]
    _permute_others(mesh, out, node, new)
    return out


def _moved_blocks(mesh: Mesh, cell: Tensor) -> Tensor:
    """`cell_index` with the cells in another order."""
    sizes = torch.tensor([CELL_TYPES[name].num_nodes for name in NAMES], device=cell.device)
    count = sizes[mesh["cell_type"].long()]
    start = torch.cumsum(count, 0) - count
    moved = count[cell]
    first = torch.cumsum(moved, 0) - moved
    shift = torch.repeat_interleave(start[cell] - first, moved)
    return mesh["cell_index"][shift + torch.arange(len(shift), device=shift.device)]


def _permute_others(mesh: Mesh, out: Mesh, node: Tensor, new: Tensor) -> None:
    """A graph that replaced the mesh's own, and what PyG knows to belong to nodes or edges."""
    given = mesh._store._mapping.get("edge_index")
    if given is not None:
        out.edge_index = new[given]  # its edges keep their order, and their attributes
    names = [k for k in mesh._store if k not in STRUCTURE and k not in mesh.field_kinds]
    edge = None
    for name in names:
        if not isinstance(mesh[name], Tensor):
            continue
        if mesh._store.is_node_attr(name):
            out[name] = mesh[name].index_select(mesh.__cat_dim__(name, mesh[name]), node)
        elif given is None and mesh._store.is_edge_attr(name):
            if edge is None:
                sender, receiver = new[mesh.topology.edge_index]
                edge = torch.argsort(receiver * len(new) + sender)
            out[name] = mesh[name].index_select(mesh.__cat_dim__(name, mesh[name]), edge)
