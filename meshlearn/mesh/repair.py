"""Mending a mesh on request: orphan and duplicate nodes, inverted cells. Never done silently."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .cells import CELL_TYPES
from .construct import set_tags
from .errors import MeshError
from .geometry import corner_jacobians
from .validate import duplicate_nodes, orphan_nodes

if TYPE_CHECKING:
    from .mesh import Mesh

REPAIRS = ("orphan", "duplicate", "inverted")
_REVERSED = {
    "line": (1, 0),
    "triangle": (0, 2, 1),
    "quad": (0, 3, 2, 1),
    "tetra": (0, 2, 1, 3),
    "hexahedron": (4, 5, 6, 7, 0, 1, 2, 3),
    "wedge": (3, 4, 5, 0, 1, 2),
    "pyramid": (0, 3, 2, 1, 4),
}


def apply_repairs(mesh: Mesh, repair: Collection[str]) -> Mesh:
    """Mend the named defects, in the order merge, drop, turn round."""
    unknown = sorted(set(repair) - set(REPAIRS))
    if unknown:
        raise MeshError(f"cannot repair {unknown[0]!r}; repairs are {', '.join(REPAIRS)}")
    if "duplicate" in repair:
        mesh = merge_duplicates(mesh)
    if "orphan" in repair:
        mesh = drop_orphans(mesh)
    if "inverted" in repair:
        mesh = reorient(mesh)
    return mesh


def drop_orphans(mesh: Mesh) -> Mesh:
    """Without the nodes that belong to no cell (point tags lose them too)."""
    keep = torch.ones(len(mesh.pos), dtype=torch.bool)
    keep[orphan_nodes(mesh)] = False
    new = torch.where(keep, torch.cumsum(keep, 0) - 1, -1)
    return mesh if bool(keep.all()) else _renumber(mesh, new, keep)


def merge_duplicates(mesh: Mesh) -> Mesh:
    """Nodes at exactly the same place become the first of them; its field values are kept."""
    node, twin = duplicate_nodes(mesh)
    target = torch.arange(len(mesh.pos))
    target[node] = twin
    keep = target == torch.arange(len(target))
    return mesh if bool(keep.all()) else _renumber(mesh, (torch.cumsum(keep, 0) - 1)[target], keep)


def reorient(mesh: Mesh) -> Mesh:
    """Turn round the cells whose corners are all negative; partly negative ones stay.

    Surfaces and curves in a larger space have no sign and stay as they are.
    """
    if mesh.dim != mesh.cell_dim:
        return mesh
    index, start = mesh["cell_index"].clone(), 0
    turned = torch.zeros(mesh.num_cells, dtype=torch.bool)
    for name, cell in mesh.cells.items():
        turned[mesh.cell_ids[name]] = (corner_jacobians(name, mesh.pos[cell]) < 0).all(dim=1)
    for name, rows in _runs(mesh):
        width = CELL_TYPES[name].num_nodes
        block = index[start : start + width * len(rows)].view(-1, width)
        block[turned[rows]] = block[turned[rows]][:, list(_REVERSED[name])]
        start += width * len(rows)
    return _rebuilt(mesh, mesh.pos, index)


def _runs(mesh: Mesh) -> list[tuple[str, Tensor]]:
    """Runs of cells of one type in canonical order: type and canonical indices."""
    codes, counts = torch.unique_consecutive(mesh["cell_type"], return_counts=True)
    names = list(CELL_TYPES)
    ids = torch.split(torch.arange(mesh.num_cells), counts.tolist())
    return [(names[int(code)], rows) for code, rows in zip(codes, ids, strict=True)]


def _renumber(mesh: Mesh, new: Tensor, keep: Tensor) -> Mesh:
    """Keep the nodes `keep` and write `new[node]` for each node (-1: it is gone)."""
    out = _rebuilt(mesh, mesh.pos[keep], new[mesh["cell_index"]])
    points = {name: new[nodes] for name, nodes in mesh.point_tags.items()}
    points = {name: torch.unique(nodes[nodes >= 0]) for name, nodes in points.items()}
    set_tags(
        out, {name: new[nodes] for name, nodes in mesh.facet_tags.items()}, mesh.cell_tags, points
    )
    for name, values in mesh.node_fields.items():
        out[name] = values[keep]
    return out


def _rebuilt(mesh: Mesh, pos: Tensor, cell_index: Tensor) -> Mesh:
    """A copy with other positions and connectivity, and its own topology."""
    if mesh.facet_fields:
        raise MeshError("facet fields do not survive a repair of the mesh; remove them first")
    out = mesh.__copy__()
    out.__dict__.pop("_topology", None)
    out["pos"], out["cell_index"] = pos, cell_index
    return out
