"""Diffusion: as a mover of x with the monitor as conductivity, and to extend boundary motion."""

from __future__ import annotations

import scipy.sparse as sp
from torch import Tensor

from ..fem.p1 import simplices, stiffness
from ..mesh import Mesh
from .relaxation import Relaxation


class Laplacian(Relaxation):
    """Node positions that solve div(m grad x) = 0 on the reference mesh.

    In one dimension that is equidistribution; in more it follows a monitor mildly and cheaply, and
    may ask for tangled meshes in non-convex domains (then the steps are shortened there). As
    `displace` it extends a boundary motion harmonically.
    """

    def operator(self, mesh: Mesh, value: Tensor) -> sp.csr_array:
        """Stiffness matrix of the reference mesh with the density as conductivity."""
        nodes = simplices(mesh)
        return stiffness(mesh.pos, nodes, value[nodes].mean(dim=1))
