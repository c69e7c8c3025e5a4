"""Geometric features of edges and nodes, in local units: invariant to translation and scale.

Lengths are in units of the *local size*, the mean length of the edges at a node. `edge_features`
turns with the mesh; `invariant_features` does not change when the mesh turns or is mirrored.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..kernels import Segments, segment_mean
from ..mesh import Mesh
from ..mesh.geometry import facet_normals

INVARIANTS = 10
"""Columns of `invariant_features`."""


def segments(mesh: Mesh) -> Segments:
    """The edges of a mesh (or batch) by receiver; kept with the topology."""
    found: Segments = mesh.topology.remember("segments", lambda: _segments(mesh))
    return found


def _segments(mesh: Mesh) -> Segments:
    sender, receiver = mesh.topology.edge_index
    return Segments(mesh.rowptr, receiver, sender)


def local_size(mesh: Mesh) -> Tensor:
    """Mean length of the edges at each node `[n]`, in the mesh's units."""
    return mean_distances(mesh.pos, mesh.topology.edge_index, segments(mesh))


def mean_distances(pos: Tensor, edge_index: Tensor, by_receiver: Segments) -> Tensor:
    """`local_size` of any graph on points `pos [n, d]`: `[n]`."""
    sender, receiver = edge_index
    return segment_mean((pos[sender] - pos[receiver]).norm(dim=1), by_receiver)


def edge_features(mesh: Mesh) -> Tensor:
    """Relative position over the receiver's local size, and its length `[m, d + 1]`, float32.

    Invariant to translation and scale; it turns with the mesh.
    """
    return relative_positions(mesh.pos, mesh.topology.edge_index, segments(mesh))


def relative_positions(pos: Tensor, edge_index: Tensor, by_receiver: Segments) -> Tensor:
    """`edge_features` of any graph on points `pos [n, d]`: `[m, d + 1]`, float32."""
    sender, receiver = edge_index
    offset = pos[sender] - pos[receiver]
    size = segment_mean(offset.norm(dim=1), by_receiver)
    scaled = offset / size[receiver, None]
    # Geometry is float64, networks are float32: the border is here.
    return torch.cat([scaled, scaled.norm(dim=1, keepdim=True)], dim=1).float()


def invariant_features(mesh: Mesh) -> Tensor:
    """Numbers of each edge that no rotation, reflection, translation or scaling changes.

    With h the local size, t the unit vector to the sender, M = mean of r r^T / h^2 and b = mean of
    r / h over the edges r of a node, and n its boundary normal (0 inside), receiver i, sender j:

        |r|/h_i, |r|/h_j, t.M_i t, t.M_j t, t.b_i, t.b_j, log h_j/h_i, t.n_i, t.n_j, n_i.n_j

    The ellipse M and the pull b of the patch take the place of a local frame, which would jump
    where the patch is symmetric.

    Returns:
        `[m, 10]`, float32.
    """
    sender, receiver = mesh.topology.edge_index
    by_receiver, size = segments(mesh), local_size(mesh)
    offset = mesh.pos[sender] - mesh.pos[receiver]
    length = offset.norm(dim=1)
    unit, scaled = offset / length[:, None], offset / size[receiver, None]
    moment = segment_mean(scaled[:, :, None] * scaled[:, None, :], by_receiver)
    pull = segment_mean(scaled, by_receiver)
    normal = boundary_normals(mesh).double()
    columns = [
        length / size[receiver],
        length / size[sender],
        torch.einsum("md,mde,me->m", unit, moment[receiver], unit),
        torch.einsum("md,mde,me->m", unit, moment[sender], unit),
        (unit * pull[receiver]).sum(dim=1),
        (unit * pull[sender]).sum(dim=1),
        (size[sender] / size[receiver]).log(),
        (unit * normal[receiver]).sum(dim=1),
        (unit * normal[sender]).sum(dim=1),
        (normal[receiver] * normal[sender]).sum(dim=1),
    ]
    return torch.stack(columns, dim=1).float()


def boundary_normals(mesh: Mesh) -> Tensor:
    """Outward unit normal at boundary nodes, 0 inside `[n, d]`, float32.

    The mean of the normals of the boundary facets at the node, weighted by their measure. Surfaces
    and curves in a larger space have none: 0 everywhere.
    """
    total = torch.zeros_like(mesh.pos)
    if mesh.dim == mesh.cell_dim:
        facets = mesh.topology.boundary_facets
        nodes, normal = mesh.topology.facets[facets], facet_normals(mesh, facets)
        for column in range(nodes.shape[1]):
            # a triangle among quads repeats its last node, which must count once
            repeated = column > 0 and nodes.shape[1] == 4
            first = nodes[:, column] != nodes[:, column - 1] if repeated else None
            part = normal if first is None else normal * first[:, None]
            total = total.index_add(0, nodes[:, column], part)
    length = total.norm(dim=1, keepdim=True)
    return (total / torch.where(length > 0, length, 1.0)).float()
