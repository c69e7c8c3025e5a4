r"""Relative errors of finite-element fields in their own norms.

    L2:  e^T M e / u^T M u            H1:  e^T (M + K) e / u^T (M + K) u

with mass matrix M and stiffness matrix K of the space: the norms of the functions, which do not
depend on the mesh, in place of sums over nodes, which count fine regions more.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fem import FunctionSpace, assemble, dot, grad, multiply
from ..mesh import Mesh, MeshError
from ..operators import Variable
from ..operators.sites import site_graph

NORMS = ("l2", "h1")


@dataclass(frozen=True)
class Norm:
    """A norm of the fields of one variable on a mesh or batch.

    Attributes:
        variable: whose fields.
        matrix: M or M + K of the scalar space, sparse CSR `[n, n]`; for vectors, of each component.
        graph: mesh of the batch that each site belongs to `[n]`.
        count: number of meshes.
    """

    variable: Variable
    matrix: Tensor
    graph: Tensor
    count: int

    def squared(self, columns: Tensor) -> Tensor:
        """Squared norm on each mesh `[graphs]` of coefficients `[n, width]`."""
        density = (columns * multiply(self.matrix, columns)).sum(dim=1)
        return density.new_zeros(self.count).index_add(0, self.graph, density)


def norm(mesh: Mesh, variable: Variable, kind: str = "l2") -> Norm:
    """The L2 or H1 norm of a variable; make it once for a mesh that stays.

    Raises:
        MeshError: unknown kind, or H1 of a P0 field.
    """
    if kind not in NORMS:
        raise MeshError(f"the norm must be one of {NORMS}, got {kind!r}")
    if kind == "h1" and variable.element == "P0":
        raise MeshError(f"field {variable.name!r} is P0: it has no H1 norm")
    space = FunctionSpace(mesh, variable.element)
    if kind == "l2":
        matrix = assemble(lambda u, v, w: u * v, space)
    else:
        matrix = assemble(lambda u, v, w: u * v + dot(grad(u), grad(v)), space)
    graph = site_graph(mesh, variable.element)
    return Norm(variable, matrix.detach(), graph, int(graph.max()) + 1)


def relative_error(found: Tensor, exact: Tensor, norm: Norm) -> Tensor:
    """Relative error on each mesh of a batch `[graphs]`, differentiable in `found`.

    Args:
        found: coefficients of the field, `[n]` or `[n, k]`.
        exact: likewise; not 0 on any mesh.
        norm: of the variable on this mesh.

    Raises:
        MeshError: fields of other shapes, or an exact field that is 0.
    """
    if found.shape != exact.shape:
        raise MeshError(f"fields of one shape are compared, got {found.shape} and {exact.shape}")
    columns = exact.reshape(-1, norm.variable.width).double()
    scale = norm.squared(columns)
    if bool((scale <= 0).any()):
        raise MeshError(f"the exact field {norm.variable.name!r} is 0: no relative error")
    miss = found.reshape(columns.shape).double() - columns
    # the root has no derivative at 0: a tiny number keeps a perfect result differentiable
    return (norm.squared(miss) / scale + torch.finfo(torch.float64).tiny).sqrt()
