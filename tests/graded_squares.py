"""Nested graded meshes of the square, and a field on them: is an operator the same on all?"""

from __future__ import annotations

import torch
from torch import Tensor

from meshlearn.mesh import Mesh, generate


def graded(n: int) -> Mesh:
    """Nested meshes, four times finer with every doubling of n, denser on the left."""
    mesh = generate.rectangle(n, n)
    return mesh.moved(torch.stack([mesh.pos[:, 0] ** 1.5, mesh.pos[:, 1]], dim=1))


def shared(n: int) -> Tensor:
    """Nodes that the mesh of n has in common with that of 8."""
    along = torch.arange(0, n + 1, n // 8)
    return (along[:, None] * (n + 1) + along[None, :]).reshape(-1)


def wave(mesh: Mesh) -> Tensor:
    return (4 * mesh.pos[:, :1]).sin() + mesh.pos[:, 1:]


def off(found: Tensor, exact: Tensor) -> float:
    """Relative difference."""
    return float((found - exact).norm() / exact.norm())
