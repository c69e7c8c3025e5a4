"""The mesh as an elastic body: small cells are stiff and move along with the boundary."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..fem import Dirichlet, FunctionSpace, LinearSolver, assemble
from ..fem.elimination import Condition, Rows
from ..fem.operators import div, grad, inner, sym
from ..fem.p1 import simplices
from ..mesh import Mesh, MeshError
from ..mesh.validate import CHECKS
from .displace import Displacer
from .periodic import Ties


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

    def extend(
        self, mesh: Mesh, held: Tensor, displacement: Tensor, tied: Ties | None = None
    ) -> Tensor:
        """Elastic displacement of all nodes, see `Displacer.extend`."""
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
        conditions: list[Condition] = [Dirichlet(space, dofs, displacement.reshape(-1))]
        if tied is not None:
            conditions.append(_Tied(tied))
        right = torch.zeros(space.num_dofs, dtype=torch.float64, device=mesh.pos.device)
        return LinearSolver(matrix, conditions)(right).reshape(-1, d)


@dataclass(frozen=True)
class _Tied:
    """u_member = R u_root as a condition on a displacement."""

    ties: Ties

    def rows(self) -> Rows:
        """u_member - R u_root = 0 in each component."""
        ties, turn = self.ties, self.ties.rotations
        count, d = turn.shape[:2]
        component = torch.arange(d, device=turn.device)
        row = torch.arange(count * d, device=turn.device).reshape(count, d)
        return Rows(
            torch.cat([row.reshape(-1), row.repeat_interleave(d, dim=1).reshape(-1)]),
            torch.cat(
                [
                    (ties.members[:, None] * d + component).reshape(-1),
                    (ties.roots[:, None] * d + component).repeat(1, d).reshape(-1),
                ]
            ),
            torch.cat([torch.ones_like(turn[:, :, 0]).reshape(-1), -turn.reshape(-1)]),
            turn.new_zeros(count * d),
        )


def _with_elements(mesh: Mesh) -> Mesh:
    """The mesh itself, or its simplices where a cell type has no linear element."""
    if not {"wedge", "pyramid"} & set(mesh.cells):
        return mesh
    name = "tetra" if mesh.dim == 3 else "triangle"
    return Mesh.from_cells(mesh.pos, {name: simplices(mesh)}, allow=list(CHECKS))
