"""Matrices of continuous piecewise-linear elements on the simplices of a mesh.

Quads, hexahedra, wedges and pyramids are split into simplices that match across cells, so that a
nodal field is continuous and piecewise linear on any mesh.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..mesh import Mesh, MeshError
from ..mesh._location.simplices import cut_mesh
from ..mesh.geometry import determinant


def simplices(mesh: Mesh) -> Tensor:
    """Nodes of simplices that partition the cells `[s, d + 1]`, matching across cells.

    Every quad facet is cut through its smallest node, whichever cell looks at it.
    """

    def cut() -> Tensor:
        nodes, _ = cut_mesh(mesh)
        return torch.from_numpy(np.ascontiguousarray(nodes)).to(mesh.pos.device)

    found: Tensor = mesh.topology.remember("simplices", cut)
    return found


def simplex_volumes(pos: Tensor, nodes: Tensor) -> Tensor:
    """Signed volumes `[s]` of simplices `[s, d + 1]`."""
    points = pos[nodes]
    factorial = {1: 1, 2: 2, 3: 6}[pos.shape[1]]
    return determinant(points[:, 1:] - points[:, :1]) / factorial


def basis_gradients(pos: Tensor, nodes: Tensor) -> Tensor:
    """Gradients of the barycentric coordinates `[s, d + 1, d]`."""
    points = pos[nodes]
    edges = points[:, 1:] - points[:, :1]
    inverse = torch.linalg.inv(edges).transpose(1, 2)
    return torch.cat([-inverse.sum(dim=1, keepdim=True), inverse], dim=1)


def lumped_mass(mesh: Mesh) -> Tensor:
    """Row sums of the mass matrix, the volume that belongs to each node `[n]`.

    Raises:
        MeshError: a surface or curve in a larger space.
    """
    if mesh.dim != mesh.cell_dim:
        raise MeshError(
            f"{mesh.cell_dim}D cells in {mesh.dim}D: P1 matrices need cells that fill it"
        )
    nodes = simplices(mesh)
    share = simplex_volumes(mesh.pos, nodes) / nodes.shape[1]
    mass = mesh.pos.new_zeros(len(mesh.pos))
    return mass.index_add(0, nodes.reshape(-1), share.repeat_interleave(nodes.shape[1]))


def stiffness(pos: Tensor, nodes: Tensor, weight: Tensor | None = None) -> sp.csr_array:
    """Stiffness matrix of the Laplacian `[n, n]`, a scipy CSR matrix on the CPU.

    Args:
        pos: `[n, d]`.
        nodes: simplices `[s, d + 1]`.
        weight: conductivity of each simplex `[s]`; 1 by default.
    """
    gradient = basis_gradients(pos, nodes)
    volume = simplex_volumes(pos, nodes).abs()
    volume = volume if weight is None else volume * weight
    local = (volume[:, None, None] * (gradient @ gradient.transpose(1, 2))).cpu().numpy()
    index = nodes.cpu().numpy()
    width = index.shape[1]
    row, column = (
        np.repeat(index, width, axis=1).reshape(-1),
        np.tile(index, (1, width)).reshape(-1),
    )
    matrix = sp.coo_array((local.reshape(-1), (row, column)), shape=(len(pos), len(pos)))
    return sp.csr_array(matrix)
