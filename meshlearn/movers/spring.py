"""Springs along the edges, and against angles that close; sparse, in 2D and 3D."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..fem.p1 import simplex_volumes, simplices
from ..mesh import Mesh, MeshError
from .relaxation import Operator, Relaxation

Kind = Literal["lineal", "torsional"]


class Spring(Relaxation):
    """Each edge is a spring of stiffness m / length (Batina, AIAA J. 28 (1990)).

    "torsional" adds, for each simplex at an edge, 1 / sin^2 of the angle that faces it (dihedral in
    3D): flat angles resist being closed (semi-torsional springs, Zeng & Ethier, Finite Elem. Anal.
    Des. 41 (2005)). On periodic sides the edges of both are springs.

    Args:
        kind: "lineal" or "torsional".
        tol, max_iterations, damping: see `Relaxation`.
    """

    def __init__(
        self,
        kind: Kind = "torsional",
        tol: float = 1e-6,
        max_iterations: int = 100,
        damping: float = 0.5,
    ) -> None:
        super().__init__(tol, max_iterations, damping)
        if kind not in ("lineal", "torsional"):
            raise MeshError(f'kind must be "lineal" or "torsional", got {kind!r}')
        self.kind = kind

    def operator(self, mesh: Mesh) -> Operator:
        """Graph Laplacian of the springs of the reference mesh."""
        edges = mesh.topology.edges
        length = (mesh.pos[edges[:, 1]] - mesh.pos[edges[:, 0]]).norm(dim=1)
        parts = [(edges, length.mean() / length)]
        if self.kind == "torsional" and mesh.dim > 1:
            parts.append(_facing(mesh))
        stiffness = torch.cat([k for _, k in parts])
        along = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).to(stiffness)
        pairs = torch.cat([pair for pair, _ in parts])
        return Operator(pairs, stiffness[:, None, None] * along, len(mesh.pos))


def _facing(mesh: Mesh) -> tuple[Tensor, Tensor]:
    """Edges of all simplices `[k, 2]` and 1 / sin^2 of the angles that face them."""
    nodes = simplices(mesh)
    points = mesh.pos[nodes]
    volume = simplex_volumes(mesh.pos, nodes)
    pairs, stiffness = [], []
    width = nodes.shape[1]
    for i in range(width):
        for j in range(i + 1, width):
            others = [k for k in range(width) if k not in (i, j)]
            if width == 3:
                (k,) = others
                sides = (points[:, i] - points[:, k]).norm(dim=1) * (
                    points[:, j] - points[:, k]
                ).norm(dim=1)
                sine = 2 * volume / sides
            else:
                k, m = others
                hinge = points[:, m] - points[:, k]
                first = torch.linalg.cross(hinge, points[:, i] - points[:, k]).norm(dim=1) / 2
                second = torch.linalg.cross(hinge, points[:, j] - points[:, k]).norm(dim=1) / 2
                sine = 1.5 * volume * hinge.norm(dim=1) / (first * second)
            pairs.append(nodes[:, [i, j]])
            stiffness.append(1 / sine**2)
    return torch.cat(pairs), torch.cat(stiffness)
