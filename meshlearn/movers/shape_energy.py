"""The regularised shape energy of a mesh, tangled or not, with its gradient and a Laplacian.

With A the map from the corner of a regular cell to that of the mesh, D = det A, and
chi(D) = (D + sqrt(eps^2 + D^2)) / 2, positive for every D,

    E = sum |A|^2 / (d chi^(2/d)) + lambda (D^2 + 1) / (2 chi)

Garanzha, Kaporin, Kudryavtseva, Protais, Ray & Sokolov, ACM Trans. Graph. 40 (2021).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from ..kernels.matrices import Matrix, adjugate, determinant, inverse, product, transposed
from ..mesh import CELL_TYPES, Mesh
from ..mesh.cells import CellType
from .base import scatter_to_nodes
from .corners import Corners

_LEAST_MEAN = 0.1
"""Of the mean size without signs, should those be mostly negative."""


@dataclass(frozen=True)
class _Maps:
    """From the corners of regular cells: the map, its determinant, |A|^2, chi and chi'."""

    matrix: Matrix
    determinant: Tensor
    norm: Tensor
    chi: Tensor
    slope: Tensor


class ShapeEnergy:
    """How far cells are from regular ones of one size.

    Args:
        mesh: its cells; their mean size is that of the regular ones.
        size_weight: lambda.

    Attributes:
        nodes: the simplices at the corners of the cells `[s, d + 1]`.
    """

    def __init__(self, mesh: Mesh, size_weight: float) -> None:
        self.dim, self.size_weight, self._num_nodes = mesh.dim, size_weight, len(mesh.pos)
        self._corners = Corners(mesh)
        self.nodes = self._corners.nodes
        targets = [
            _regular_corners(CELL_TYPES[name]).repeat(len(cell), 1, 1)
            for name, cell in mesh.cells.items()
        ]
        target = torch.cat(targets).to(mesh.pos)
        before = self._corners.shapes(mesh.pos).determinant
        # Tangled cells fill the domain with signs: the sum of their volumes is that of valid ones.
        mean = max(float(before.mean()), _LEAST_MEAN * float(before.abs().mean()))
        scale = mean ** (1 / self.dim) / float(torch.linalg.det(target).abs().mean()) ** (
            1 / self.dim
        )
        axes = range(self.dim)
        self._from_target = inverse([[scale * target[:, i, j] for j in axes] for i in axes])

    def determinants(self, pos: Tensor) -> Tensor:
        """Of the corners at positions `[n, d]`, 1 for regular cells `[s]`."""
        return determinant(self._map(pos))

    def energy(self, pos: Tensor, eps: float) -> float:
        """At positions `[n, d]`."""
        return float(self._parts(self._maps(pos, eps)).sum())

    def evaluate(self, pos: Tensor, eps: float) -> tuple[float, Tensor]:
        """Energy, and its derivative by the positions `[n, d]`."""
        maps, axes = self._maps(pos, eps), range(self.dim)
        shape = 2 * self._stretched(maps) / self.dim
        size = self._by_determinant(maps)
        cofactors = transposed(adjugate(maps.matrix))
        stress = [[shape * maps.matrix[i][k] + size * cofactors[i][k] for k in axes] for i in axes]
        pull = product(self._from_target, transposed(stress))  # corner by component
        others = torch.stack([torch.stack(row, dim=1) for row in pull], dim=1)
        local = torch.cat([-others.sum(dim=1, keepdim=True), others], dim=1)
        gradient = scatter_to_nodes(local, self.nodes, self._num_nodes)
        return float(self._parts(maps).sum()), gradient

    def laplacian(self, pos: Tensor, eps: float) -> sp.csr_array:
        """A Laplacian near the Hessian of the energy, for each component of the positions `[n, n]`.

        On regular cells, with the mean eigenvalue of the convex part of the Hessian by A (without
        the second derivatives of chi and of the determinant) as conductivity.
        """
        d, maps = self.dim, self._maps(pos, eps)
        det, chi, slope = maps.determinant, maps.chi, maps.slope
        stretched, cofactors = self._stretched(maps), adjugate(maps.matrix)
        crossed = -2 * 2 / d**2 * stretched * slope / chi
        curved = 2 / d * (2 / d + 1) * stretched * maps.norm / d * (slope / chi) ** 2
        bent = 1 - 2 * det * slope / chi + (det**2 + 1) * (slope / chi) ** 2
        by_det = curved + self.size_weight * bent / chi
        weight = 2 / d * stretched + (2 * d * crossed * det + by_det * _square(cofactors)) / d**2
        weight = torch.maximum(weight, stretched / d)
        rows = [torch.stack(row, dim=1) for row in self._from_target]
        gradients = torch.stack([-torch.stack(rows).sum(dim=0), *rows], dim=1)
        local = weight[:, None, None] * (gradients @ gradients.transpose(1, 2))
        index = self.nodes.cpu().numpy()
        row = np.repeat(index, d + 1, axis=1).reshape(-1)
        column = np.tile(index, (1, d + 1)).reshape(-1)
        size = (self._num_nodes, self._num_nodes)
        entries = local.reshape(-1).cpu().numpy()
        return sp.csr_array(sp.coo_array((entries, (row, column)), shape=size))

    def _map(self, pos: Tensor) -> Matrix:
        return product(self._corners.edges(pos), self._from_target)

    def _maps(self, pos: Tensor, eps: float) -> _Maps:
        matrix = self._map(pos)
        det = determinant(matrix)
        root = torch.sqrt(eps**2 + det**2)
        # D + sqrt(eps^2 + D^2) without cancellation
        chi = torch.where(det > 0, det + root, eps**2 / (root - det.clamp(max=0.0))) / 2
        return _Maps(matrix, det, _square(matrix), chi, chi / root)

    def _parts(self, maps: _Maps) -> Tensor:
        """Energy of each corner `[s]`."""
        shape = maps.norm * self._stretched(maps) / self.dim
        return shape + self.size_weight * (maps.determinant**2 + 1) / maps.chi / 2

    def _stretched(self, maps: _Maps) -> Tensor:
        return maps.chi ** (-2 / self.dim)

    def _by_determinant(self, maps: _Maps) -> Tensor:
        """Derivative of the energy of each corner by its determinant `[s]`."""
        det, chi, slope, d = maps.determinant, maps.chi, maps.slope, self.dim
        shape = -2 / d**2 * maps.norm * self._stretched(maps) * slope / chi
        return shape + self.size_weight * (det - (det**2 + 1) * slope / chi / 2) / chi


def _square(m: Matrix) -> Tensor:
    """Sum of the squares of the entries."""
    return sum((entry**2 for row in m for entry in row), torch.zeros_like(m[0][0]))


def _regular_corners(cell: CellType) -> Tensor:
    """Edge vectors (columns) at each corner of a regular cell `[corners, d, d]`."""
    d = cell.dim
    half = math.sqrt(3) / 2
    shapes: dict[str, list[tuple[float, ...]]] = {
        "line": [(0.0,), (1.0,)],
        "triangle": [(0, 0), (1, 0), (0.5, half)],
        "quad": [(0, 0), (1, 0), (1, 1), (0, 1)],
        "tetra": [(0, 0, 0), (1, 0, 0), (0.5, half, 0), (0.5, half / 3, math.sqrt(2 / 3))],
        "hexahedron": [
            *((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)),
            *((0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)),
        ],
        "wedge": [(0, 0, 0), (1, 0, 0), (0.5, half, 0), (0, 0, 1), (1, 0, 1), (0.5, half, 1)],
        "pyramid": [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0.5, 0.5, math.sqrt(0.5))],
    }
    at = torch.tensor(shapes[cell.name], dtype=torch.float64).reshape(-1, d)[
        torch.tensor(cell.corners)
    ]
    return (at[:, 1:] - at[:, :1]).transpose(1, 2)
