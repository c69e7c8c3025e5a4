"""The graph of the degrees of freedom, and interpolation between the spaces of one mesh.

Scalar degrees of freedom are called sites: nodes (P1), nodes and edge middles (P2), cells (P0).
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from ..fem import FunctionSpace
from ..fem.assemble import cell_pattern
from ..kernels import Segments, Sparsity, entry_rows, row_pointers
from ..mesh import Mesh, MeshError
from ..nn import Hierarchy, Level, Prolongation, segments


def site_level(mesh: Mesh, element: str) -> Level:
    """Graph of the sites of P1 (the mesh's own) or P2 (sites that share a cell)."""
    if element == "P1":
        return Level(mesh.topology.edge_index, segments(mesh))
    key = ("site_level", element)
    return cast("Level", mesh.topology.remember(key, lambda: _level(mesh, element)))


def site_points(mesh: Mesh, element: str) -> Tensor:
    """Positions of the sites `[n, d]`."""
    return mesh.pos if element == "P1" else FunctionSpace(mesh, element).dof_points


def site_graph(mesh: Mesh, element: str) -> Tensor:
    """Which mesh of a batch each site belongs to `[n]`; 0 on a single mesh."""
    if "batch" in mesh:
        own: Tensor = mesh["batch"]
    else:
        own = torch.zeros(mesh.num_nodes, dtype=torch.int64, device=mesh.pos.device)
    if element == "P1":
        return own
    space = FunctionSpace(mesh, element)
    cells = {
        name: own[nodes[:, :1]].expand(-1, space.cell_dofs(name).shape[1])
        for name, nodes in mesh.cells.items()
    }
    return space.from_cells(cells)


def with_sites(mesh: Mesh, element: str, coarser: Hierarchy) -> Hierarchy:
    """A hierarchy whose finest level is the sites of an element.

    P1 lies in P2: the step between them is exact, a node keeps its value and the middle of an edge
    takes the mean of its ends.

    Args:
        mesh: of the finest level of `coarser`.
        element: "P1" (nothing is added) or "P2".
        coarser: levels of the nodes.
    """
    if element == "P1":
        return coarser
    step = mesh.topology.remember("edges_from_nodes", lambda: _edges_from_nodes(mesh))
    finest = site_level(mesh, element)
    return Hierarchy((finest, *coarser.levels), (step, *coarser.prolongations))


def resampled(mesh: Mesh, source: str, target: str, values: Tensor) -> Tensor:
    """Interpolate from one element to another on the same mesh.

    A site of the target takes the value of the source there; where the source jumps (P0), the mean
    over the cells that meet, weighted by their volumes.

    Args:
        mesh: a mesh or batch.
        source: element of the values.
        target: element of the result.
        values: `[n, k]`.

    Returns:
        `[m, k]`, in the precision of the values.
    """
    if source == target:
        return values
    first, second = FunctionSpace(mesh, source), FunctionSpace(mesh, target)
    volume = mesh.volumes().abs().detach()
    total = values.new_zeros(second.num_dofs, values.shape[1])
    weight = values.new_zeros(second.num_dofs)
    for cell in mesh.cells:
        at = second.blocks[0].elements[cell].points
        basis = first.blocks[0].elements[cell].tabulate(at)[0].to(values)
        local = torch.einsum("ts,csk->ctk", basis, values[first.cell_dofs(cell)])
        share = volume[mesh.cell_ids[cell]].to(values)[:, None].expand(local.shape[:2])
        into = second.cell_dofs(cell).reshape(-1)
        total = total.index_add(0, into, (local * share[:, :, None]).flatten(0, 1))
        weight = weight.index_add(0, into, share.reshape(-1))
    return total / weight[:, None]


def _level(mesh: Mesh, element: str) -> Level:
    space = FunctionSpace(mesh, element)
    if space.num_dofs != mesh.num_nodes + len(mesh.topology.edges):
        raise MeshError("operators on P2 need triangles or tetrahedra")
    pattern = cell_pattern(space, space)
    rows = pattern.rowptr.diff()
    receiver = entry_rows(pattern.rowptr)
    others = pattern.columns != receiver  # every row has its diagonal
    rowptr = row_pointers(rows - 1)
    edge_index = torch.stack([pattern.columns[others], receiver[others]])
    sender, receiver = edge_index.long()
    return Level(torch.stack([sender, receiver]), Segments(rowptr.long(), receiver, sender))


def _edges_from_nodes(mesh: Mesh) -> Prolongation:
    edges, n = mesh.topology.edges, mesh.num_nodes
    nodes = torch.arange(n, device=edges.device)
    coarse = torch.cat([nodes, edges.reshape(-1)])
    weight = torch.ones(len(coarse), dtype=torch.float64, device=edges.device)
    weight[n:] = 0.5
    ends = n + 2 * torch.arange(len(edges) + 1, device=edges.device)
    return Prolongation(Sparsity(torch.cat([nodes, ends]), coarse, n), weight, nodes)
