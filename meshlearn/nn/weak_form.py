r"""Values and gradients at quadrature points, and their adjoints: what weak forms are made of.

    values     u -> u(x_q)            load        s -> sum over q of w_q s_q phi_i(x_q)
    gradients  u -> grad u(x_q)       divergence  F -> sum over q of w_q F_q . grad phi_i(x_q)

for scalar spaces of continuous elements; "divergence" is minus that of F where F . n = 0 or phi is
0. Fields have columns, which are treated alike. All are sparse products.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fem import FunctionSpace
from ..fem.elements import quadrature
from ..fem.mapping import mapping
from ..kernels import Sparsity, sparse_dense, sparse_transposed_dense
from ..mesh import Mesh


@dataclass(frozen=True)
class WeakForm:
    """Quadrature points of a space, exact for products of gradients on simplices.

    Attributes:
        dim: d.
        cell: that each of the points is in `[q]`.
        weight: of the points `[q]`, float64.
        at: where the entries of the values are, a row for each point.
        basis: the entries `[k]`, float64.
        along: where the entries of the gradients are, the points once for each axis.
        slope: the entries `[d k]`, float64.
    """

    dim: int
    cell: Tensor
    weight: Tensor
    at: Sparsity
    basis: Tensor
    along: Sparsity
    slope: Tensor

    def values(self, u: Tensor) -> Tensor:
        """`[n, k] -> [q, k]`."""
        return sparse_dense(self.basis.to(u.dtype), u, self.at)

    def gradients(self, u: Tensor) -> Tensor:
        """`[n, k] -> [d, q, k]`."""
        found = sparse_dense(self.slope.to(u.dtype), u, self.along)
        return found.reshape(self.dim, len(self.cell), -1)

    def load(self, source: Tensor) -> Tensor:
        """`[q, k] -> [n, k]`."""
        weighted = self.weight.to(source.dtype)[:, None] * source
        return sparse_transposed_dense(self.basis.to(source.dtype), weighted, self.at)

    def divergence(self, flux: Tensor) -> Tensor:
        """`[d, q, k] -> [n, k]`."""
        weighted = (self.weight.to(flux.dtype)[:, None] * flux).flatten(0, 1)
        return sparse_transposed_dense(self.slope.to(flux.dtype), weighted, self.along)


def weak_form(mesh: Mesh, element: str = "P1") -> WeakForm:
    """The quadrature points of a mesh or batch; make it once for many calls.

    Args:
        mesh: of cells that fill space.
        element: of scalar, continuous functions.
    """
    space, d = FunctionSpace(mesh, element), mesh.dim
    cells, weights, sites, basis = [], [], [], []
    slopes: list[list[Tensor]] = [[] for _ in range(d)]
    with torch.no_grad():
        for name in mesh.cells:
            reference = space.blocks[0].elements[name]
            points, weight = quadrature(name, max(2 * (reference.degree - 1), 0))
            value, slope = (x.to(mesh.pos) for x in reference.tabulate(points))
            geometry, count = mapping(mesh, name, points), len(points)
            ids = mesh.cell_ids[name].expand(count, -1)
            cells.append(ids.reshape(-1))
            weights.append((weight.to(mesh.pos)[:, None] * geometry.determinant.abs()).reshape(-1))
            sites.append(space.cell_dofs(name).repeat(count, 1).reshape(-1))
            basis.append(value[:, None, :].expand(-1, ids.shape[1], -1).reshape(-1))
            for i in range(d):
                parts = [
                    slope[:, None, :, a] * geometry.inverse[a][i][:, :, None] for a in range(d)
                ]
                slopes[i].append(torch.stack(parts).sum(dim=0).reshape(-1))
    widths = [len(b) // len(c) for b, c in zip(basis, cells, strict=True)]
    lengths = torch.cat([c.new_full((len(c),), w) for c, w in zip(cells, widths, strict=True)])
    column = torch.cat(sites)
    return WeakForm(
        d,
        torch.cat(cells),
        torch.cat(weights),
        _pattern(lengths, column, space.num_dofs),
        torch.cat(basis),
        _pattern(lengths.repeat(d), column.repeat(d), space.num_dofs),
        torch.cat([part for axis in slopes for part in axis]),
    )


def _pattern(lengths: Tensor, columns: Tensor, width: int) -> Sparsity:
    start = torch.zeros(1, dtype=torch.int64, device=columns.device)
    return Sparsity(torch.cat([start, lengths.cumsum(0)]), columns, width)
