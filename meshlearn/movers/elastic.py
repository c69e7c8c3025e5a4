"""The mesh as an elastic body: small cells are stiff and move along with the boundary."""

from __future__ import annotations

import torch
from torch import Tensor

from ..fem import Dirichlet, FunctionSpace, LinearSolver, assemble
from ..fem.operators import div, grad, inner, sym
from ..fem.p1 import simplices
from ..mesh import Mesh, MeshError
from ..mesh.validate import CHECKS
from .displace import Displacer


class Elastic(Displacer):
    """Linear elasticity with Jacobian-based stiffening.

    Young's modulus of a cell is its volume to the power of minus `stiffening`: the small cells of a
    boundary layer keep their shape and the large ones take the deformation (Stein, Tezduyar &
    Benney, J. Appl. Mech. 70 (2003)).

    Args:
        poisson_ratio: below 1/2; 0 allows cells to be squeezed freely.
        stiffening: 0 is a homogeneous body.
    """

    def __init__(self, poisson_ratio: float = 0.3, stiffening: float = 1.0) -> None:
        if not -1 < poisson_ratio < 0.5:
            raise MeshError(f"poisson_ratio must be in (-1, 1/2), got {poisson_ratio}")
        self.poisson_ratio, self.stiffening = poisson_ratio, stiffening

    def extend(self, mesh: Mesh, held: Tensor, displacement: Tensor) -> Tensor:
        """Displacement of all nodes `[n, d]` from that of the held nodes `[k]`, `[k, d]`."""
        d, nu = mesh.dim, self.poisson_ratio
        mesh = _with_elements(mesh)
        volume = mesh.volumes()
        modulus = (volume / volume.mean()) ** -self.stiffening
        shear, bulk = 1 / (2 * (1 + nu)), nu / ((1 + nu) * (1 - 2 * nu))
        space = FunctionSpace(mesh, ("P1", d))

        def energy(u, v, w):  # type: ignore[no-untyped-def]
            strain = 2 * shear * inner(sym(grad(u)), sym(grad(v)))
            return w.modulus * (strain + bulk * div(u) * div(v))

        matrix = assemble(energy, space, modulus=modulus)
        dofs = (held[:, None] * d + torch.arange(d, device=held.device)).reshape(-1)
        condition = Dirichlet(space, dofs, displacement.reshape(-1))
        right = torch.zeros(space.num_dofs, dtype=torch.float64, device=mesh.pos.device)
        return LinearSolver(matrix, [condition])(right).reshape(-1, d)


def _with_elements(mesh: Mesh) -> Mesh:
    """The mesh itself, or its simplices where a cell type has no linear element."""
    if not {"wedge", "pyramid"} & set(mesh.cells):
        return mesh
    name = "tetra" if mesh.dim == 3 else "triangle"
    return Mesh.from_cells(mesh.pos, {name: simplices(mesh)}, allow=list(CHECKS))
