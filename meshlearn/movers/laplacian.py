"""Diffusion: as a mover of x with the monitor as conductivity, and to extend boundary motion."""

from __future__ import annotations

from ..fem.p1 import basis_gradients, simplex_volumes, simplices
from ..mesh import Mesh
from .relaxation import Operator, Relaxation


class Laplacian(Relaxation):
    """Node positions that solve div(m grad x) = 0 on the reference mesh.

    In one dimension that is equidistribution; in more it follows a monitor mildly and cheaply, and
    may ask for tangled meshes in non-convex domains (then the steps are shortened there). As
    `displace` it extends a boundary motion harmonically.
    """

    def operator(self, mesh: Mesh) -> Operator:
        """Stiffness matrix of the reference mesh with the density as conductivity."""
        nodes = simplices(mesh)
        gradient = basis_gradients(mesh.pos, nodes)
        volume = simplex_volumes(mesh.pos, nodes).abs()
        local = volume[:, None, None] * (gradient @ gradient.transpose(1, 2))
        return Operator(nodes, local, len(mesh.pos))
