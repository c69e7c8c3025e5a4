r"""Interpolation from one mesh to points, finite elements plus what is learned of the curvature.

At a point x with barycentric coordinates lambda_a(x) in the cell where it lies:

    I f(x)  = sum over corners a of lambda_a(x) ( f_a + mean over neighbours j of a of c_aj r_aj )
    r_aj    = f_j - f_a - g_a . (x_j - x_a)
    c_aj    = MLP((x - x_a) / h_a, (x_j - x_a) / h_a, their lengths)

with g_a the gradient by weighted least squares at node a, h_a its local size. The remainders r are
0 for a linear field, and a corner counts less the farther away it is: whatever the MLP, constants
and linear fields are reproduced, and the result does not jump where x enters another cell. With c =
0 it is the P1 interpolant.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..kernels import Segments, row_pointers, segment_sum
from ..kernels.matrices import inverse
from ..mesh import Mesh
from ..mesh.locate import Locator
from ..nn import local_size, mlp, segments

_NOTHING = 1e-12
"""Barycentric coordinates below are round-off."""


@dataclass(frozen=True)
class Place:
    """Where q points are in a mesh.

    Attributes:
        corners: nodes of their simplices `[q, c]`.
        weights: barycentric coordinates `[q, c]`, float64.
    """

    corners: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Stencil:
    """What the interpolation from a mesh to q points needs.

    Attributes:
        place: of the points, weights in float32.
        remainders: r from values: coefficients of `f_j - f_a` in g_a . h_a for the edges of the
            mesh `[m, d]`, and their offsets (x_j - x_a) / h_a `[m, d]`.
        source: edges of the mesh by receiver.
        sender: of each edge `[m]`.
        edges: neighbours that count: number of an edge `[k]`, a point's side by side.
        shares: lambda_a over the number of neighbours of a `[k]`.
        features: of the MLP `[k, 2 d + 2]`.
        by_point: the same k by point.
    """

    place: Place
    remainders: tuple[Tensor, Tensor]
    source: Segments
    sender: Tensor
    edges: Tensor
    shares: Tensor
    features: Tensor
    by_point: Segments


def places(mesh: Mesh, points: Tensor) -> Place:
    """The simplices of a mesh that hold some points; outside, the nearest point of the mesh.

    Args:
        mesh: a single one.
        points: `[q, d]`.
    """
    locator = Locator(mesh)
    found = locator.find(points.detach())
    return Place(locator.simplices[found.simplex], found.barycentric)


def own_places(mesh: Mesh) -> Place:
    """The nodes of a mesh in the mesh itself."""
    nodes = torch.arange(mesh.num_nodes, device=mesh.pos.device)[:, None]
    return Place(nodes, torch.ones_like(nodes, dtype=torch.float64))


def stencil(mesh: Mesh, points: Tensor, place: Place) -> Stencil:
    """What the interpolation from a mesh or batch to points needs.

    Args:
        mesh: where the values live.
        points: `[q, d]`.
        place: of the points.
    """
    source, pos = segments(mesh), mesh.pos.detach()
    sender, receiver = mesh.topology.edge_index
    size = local_size(mesh).detach()
    offset = (pos[sender] - pos[receiver]) / size[receiver, None]
    point, column = torch.nonzero(place.weights > _NOTHING, as_tuple=True)
    corner, weight = place.corners[point, column], place.weights[point, column]
    degree = mesh.rowptr.diff()[corner]
    count = torch.arange(len(corner), device=pos.device).repeat_interleave(degree)
    begin = degree.cumsum(0) - degree
    step = torch.arange(len(count), device=pos.device) - begin[count]
    edges = mesh.rowptr[corner][count] + step
    away = ((points.detach()[point] - pos[corner]) / size[corner, None])[count]
    along = offset[edges]
    lengths = torch.stack([away.norm(dim=1), along.norm(dim=1)], dim=1)
    owner = point[count]
    return Stencil(
        place=Place(place.corners, place.weights.float()),
        remainders=(_slopes(offset, source).float(), offset.float()),
        source=source,
        sender=sender,
        edges=edges,
        shares=(weight / degree)[count].float(),
        features=torch.cat([away, along, lengths], dim=1).float(),
        by_point=Segments(row_pointers(torch.bincount(owner, minlength=len(points))), owner),
    )


def _slopes(offset: Tensor, source: Segments) -> Tensor:
    """Coefficients `[m, d]` of the least-squares gradient, weights 1 / distance squared."""
    weighted = offset / offset.square().sum(dim=1, keepdim=True)
    columns, others = offset.unbind(dim=1), weighted.unbind(dim=1)
    moments = [[segment_sum(a * b, source) for b in others] for a in columns]
    return torch.stack(
        [
            sum((m[source.receiver] * w for m, w in zip(row, others, strict=True)), 0 * others[0])
            for row in inverse(moments)
        ],
        dim=1,
    )


class LearnedInterpolation(nn.Module):
    """The interpolation of this module with its MLP.

    Args:
        dim: dimension of space.
        width: of the hidden layer.
    """

    def __init__(self, dim: int, width: int = 16) -> None:
        super().__init__()
        self.weights = mlp([2 * dim + 2, width, 1], norm=False, between="silu")

    def forward(self, values: Tensor, where: Stencil) -> Tensor:
        """Nodal values `[n, k]` of the mesh of the stencil at its points `[q, k]`, float32."""
        slopes, offset = where.remainders
        rise = values[where.sender] - values[where.source.receiver]
        gradient = segment_sum(slopes[:, :, None] * rise[:, None, :], where.source)
        rest = rise - (offset[:, :, None] * gradient[where.source.receiver]).sum(dim=1)
        learned = where.shares[:, None] * self.weights(where.features) * rest[where.edges]
        corners, weights = where.place.corners, where.place.weights
        plain = (weights[:, :, None] * values[corners]).sum(dim=1)
        return plain + segment_sum(learned, where.by_point)
