"""Our spaces beside scikit-fem's: the same basis, with degrees of freedom matched by place.

Raviart-Thomas and Nedelec functions may point the other way: `Peer.sign` turns them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
import skfem
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from meshlearn.fem import FunctionSpace, assemble_linear, dot
from meshlearn.fem.elements import quadrature
from meshlearn.mesh import Mesh

Array = NDArray[Any]

ELEMENTS: dict[str, dict[str, Any]] = {
    "line": {"P0": "LineP0", "P1": "LineP1", "P2": "LineP2"},
    "triangle": {
        "P0": "TriP0",
        "P1": "TriP1",
        "P2": "TriP2",
        "P3": "TriP3",
        "CR": "TriCR",
        "RT": "TriRT0",
        "N": "TriN1",
        "MINI": "TriMini",
    },
    "tetra": {
        "P0": "TetP0",
        "P1": "TetP1",
        "P2": "TetP2",
        "CR": "TetCR",
        "RT": "TetRT0",
        "N": "TetN0",
        "MINI": "TetMini",
    },
    "quad": {"P0": "Quad0", "Q1": "Quad1", "Q2": "Quad2"},
    "hexahedron": {"P0": "Hex0", "Q1": "Hex1", "Q2": "Hex2"},
}
"""scikit-fem's class of each of our elements, by cell type."""

SCALAR = [
    (cell, name) for cell, names in ELEMENTS.items() for name in names if name not in ("RT", "N")
]


@dataclass(frozen=True)
class Peer:
    """scikit-fem's basis for one of our spaces.

    Attributes:
        basis: scikit-fem's.
        ours: our degree of freedom for each of scikit-fem's `[n]`.
        sign: factor of our functions `[n]`.
    """

    basis: skfem.Basis
    ours: Array
    sign: Array

    def matrix(self, ours: Tensor, columns: Peer | None = None) -> sp.csr_array:
        """Our matrix in scikit-fem's numbering."""
        right = self if columns is None else columns
        plain = scipy_matrix(ours)[self.ours][:, right.ours]
        return sp.csr_array(sp.diags_array(self.sign) @ plain @ sp.diags_array(right.sign))

    def vector(self, ours: Tensor) -> Array:
        """Our vector in scikit-fem's numbering."""
        return self.sign * ours.detach().numpy()[self.ours]


def scipy_matrix(matrix: Tensor) -> sp.csr_array:
    """A CSR tensor in scipy."""
    parts = (matrix.values(), matrix.col_indices(), matrix.crow_indices())
    return sp.csr_array(tuple(part.detach().numpy() for part in parts), shape=matrix.shape)


def distance(ours: sp.csr_array, theirs: Any) -> float:
    """Largest difference of entries relative to the largest entry."""
    return float(abs(ours - sp.csr_array(theirs)).max() / abs(theirs).max())


def peer(space: FunctionSpace, degree: int) -> Peer:
    """scikit-fem's basis of a space of one element on one cell type, with our quadrature.

    (scikit-fem's own on tetrahedra is inexact above degree 4.)
    """
    mesh = space.mesh
    (cell,), (block,) = mesh.cells, space.blocks
    element = getattr(skfem, "Element" + ELEMENTS[cell][block.name])()
    if block.components:
        element = skfem.ElementVector(element)
    theirs = mesh.to_skfem()
    if cell == "triangle":  # edges oriented alike from both cells
        theirs = skfem.MeshTri1(theirs.p, theirs.t)
    points, weights = quadrature(cell, degree)
    rule = (points.numpy().T.copy(), weights.numpy())
    basis = skfem.Basis(theirs, element, quadrature=rule)
    places = _places(basis, block.name)
    tree = cKDTree(space.dof_points.detach().numpy()[:: max(block.components, 1)])
    gap, found = tree.query(places.T)
    assert gap.max() < 1e-9
    count = max(block.components, 1)
    component = np.zeros(len(found), int)
    for dofs in (basis.nodal_dofs, basis.edge_dofs, basis.facet_dofs, basis.interior_dofs):
        if dofs is not None and count > 1:
            for row, numbers in enumerate(dofs):
                component[numbers] = row % count
    ours = found * count + component
    assert len(np.unique(ours)) == len(ours) == space.num_dofs
    sign = np.ones(len(ours))
    if block.kind != "scalar":
        sign = _signs(space, basis, ours)
    return Peer(basis, ours, sign)


def _places(basis: skfem.Basis, name: str) -> Array:
    """Middle of what each of scikit-fem's degrees of freedom sits on `[d, n]`."""
    if name == "P3":  # two on an edge
        return basis.doflocs
    mesh = basis.mesh
    out = np.full((mesh.p.shape[0], basis.N), np.nan)
    for dofs, nodes in (
        (basis.nodal_dofs, np.arange(mesh.p.shape[1])[None]),
        (basis.edge_dofs, getattr(mesh, "edges", None) if mesh.dim() == 3 else None),
        (basis.facet_dofs, mesh.facets),
        (basis.interior_dofs, mesh.t),
    ):
        if dofs is not None and nodes is not None:
            for numbers in dofs:
                out[:, numbers] = mesh.p[:, nodes].mean(axis=1)
    return out


def _signs(space: FunctionSpace, basis: skfem.Basis, ours: Array) -> Array:
    """Signs that make the moments of one vector field equal."""
    d = space.mesh.dim
    direction = np.array([1.0, 0.618, -0.377])[:d]

    @skfem.LinearForm
    def moments(v: Any, w: Any) -> Any:
        return sum(direction[i] * (1 + (i + 1) * w.x[0]) * v[i] for i in range(d))

    def field(x: Tensor) -> Tensor:
        scale = 1 + torch.arange(1, d + 1) * x[:, :1]
        return torch.from_numpy(direction) * scale

    theirs = moments.assemble(basis)
    mine = assemble_linear(lambda v, w: dot(field(w.x), v), space, degree=4).numpy()[ours]
    np.testing.assert_allclose(abs(mine), abs(theirs), rtol=1e-10, atol=1e-14)
    return np.sign(mine * theirs)


def jittered(mesh: Mesh, amount: float = 0.2) -> Mesh:
    """The mesh with its inner nodes displaced by a share of their mean spacing."""
    generator = torch.Generator().manual_seed(1)
    spacing = float(mesh.volumes().abs().mean()) ** (1 / mesh.dim)
    step = torch.rand(mesh.pos.shape, generator=generator, dtype=torch.float64) - 0.5
    step[mesh.boundary_nodes] = 0
    return mesh.moved(mesh.pos + 2 * amount * spacing * step)
