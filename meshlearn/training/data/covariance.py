r"""More cases from each solved one: diffusion looks the same in other coordinates.

With x = x(xi), J = dx / dxi and u' = u o x,

    -div(A grad u) = f   becomes   -div(A' grad u') = f',   A' = |J| J^-1 A J^-T,   f' = |J| f

(Fanaskov, Yu, Rudikov and Oseledets, "General covariance data augmentation for neural PDE solvers",
ICML 2023, there on grids). Here x(xi) = xi + d(xi) with a P1 field d that is 0 on the boundary and
whose gradient is nowhere longer than `strength` < 1: x is then monotone, a map of the domain onto
itself that keeps the boundary values, and J is constant in each cell. On the unit square d is a sum
of sines; on other domains it is waves times the solution b of -lap b = 1, b = 0 on the boundary.

A' is a tensor: operators read the three entries of log A', which for the cases as they are is
log k times the identity.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import Discriminator
from pydantic import Field as Setting
from torch import Tensor

from ...fem import Dirichlet, FunctionSpace, assemble, assemble_linear, dot, grad, solve
from ...fem.p1 import basis_gradients, lumped_mass, simplices
from ...mesh import Mesh
from ...mesh.locate import Locator
from ...operators import Variable
from .darcy import DarcySettings
from .diffusion import DiffusionSettings
from .pool import Case, DataSettings, Pool

Rng = np.random.Generator
_MODES = 2


class CovarianceSettings(DataSettings):
    """What the cases are like.

    Attributes:
        data: the cases that are solved: of `diffusion` or `darcy`.
        copies: warped cases beside each of them; none among the held-out ones.
        strength: largest length of the gradient of d.
        seed: of the warps.
    """

    title: ClassVar[str] = "diffusion in other coordinates (meshlearn.training.data.covariance)"
    kind: Literal["covariance"] = "covariance"
    data: Annotated[DarcySettings | DiffusionSettings, Discriminator("kind")] = DiffusionSettings(
        covariance="gaussian", load="smooth"
    )
    copies: int = Setting(8, ge=0)
    strength: float = Setting(0.5, gt=0, lt=1)

    def pool(self, count: int, folder: str | Path) -> Covariance:
        """The first `count` solved cases, each followed by its copies."""
        return Covariance(self, count, folder)

    def others(self) -> Self:
        """Cases that are not warped, and none of the first ones."""
        return super().others().model_copy(update={"data": self.data.others(), "copies": 0})

    def resized(self, nodes: int) -> Self:
        """See `DataSettings`."""
        return self.model_copy(update={"data": self.data.resized(nodes)})


class Covariance(Pool):
    """Cases with tensor coefficients; see `Pool`. There are `count (1 + copies)`."""

    settings: CovarianceSettings
    inputs = (Variable("log_tensor", "P0", 3), Variable("f"))
    outputs = (Variable("u"),)

    def __init__(self, settings: CovarianceSettings, count: int, folder: str | Path) -> None:
        super().__init__(settings, count * (1 + settings.copies), folder)
        self.solved = settings.data.pool(count, folder)

    def maker(self) -> Callable[[int], Case]:
        """See `Pool`."""
        return partial(_made, self.settings, self.solved)

    def baseline(self, case: Case) -> dict[str, Tensor]:
        """The solution with the mean of log A everywhere."""
        log_tensor = case.inputs["log_tensor"]
        constant = log_tensor.mean(dim=0).expand_as(log_tensor)
        return {"u": solve_tensor(case.mesh, constant, case.inputs["f"], case.bcs["u"])}


def _made(settings: CovarianceSettings, solved: Pool, number: int) -> Case:
    source, copy = divmod(number, 1 + settings.copies)
    case = with_tensor(solved[source])
    if copy == 0:
        return case
    rng = np.random.default_rng([settings.seed, source, copy])
    draw = square_warp if settings.data.kind == "diffusion" else warp
    return warped(case, draw(case.mesh, rng, settings.strength))


def with_tensor(case: Case) -> Case:
    """A case with the coefficient `log_k` as one with `log_tensor [n_cells, 3]`: xx, xy, yy."""
    log_k = case.inputs["log_k"]
    log_tensor = torch.stack([log_k, torch.zeros_like(log_k), log_k], dim=1)
    inputs = {"log_tensor": log_tensor, "f": case.inputs["f"]}
    return Case(case.kind, case.mesh, inputs, case.outputs, case.bcs)


def warped(case: Case, displacement: Tensor) -> Case:
    """The case in other coordinates, on the same mesh.

    A and u are those at the points xi + d(xi): of the cell there, and interpolated.

    Args:
        case: with the inputs `log_tensor` and `f`, on a mesh of triangles.
        displacement: d at the nodes `[n, 2]`, 0 on the boundary.
    """
    mesh, pos = case.mesh, case.mesh.pos
    locator, nodes = Locator(mesh), simplices(mesh)
    at_nodes = locator.find(pos + displacement)
    there = locator.find((pos + displacement)[nodes].mean(dim=1))
    found = tensor_of(case.inputs["log_tensor"])[locator.parent[there.simplex]]
    jacobian = torch.eye(2).to(pos) + _gradient(mesh, displacement)
    size = lumped_mass(mesh.moved(pos + displacement)) / lumped_mass(mesh)  # |J| of each node
    u = locator.interpolate(case.outputs["u"], at_nodes)
    for held in case.bcs["u"]:
        u = u.index_copy(0, held.dofs, held.values)
    inputs = {
        "log_tensor": log_of(pulled_back(found, jacobian)),
        "f": size * locator.interpolate(case.inputs["f"], at_nodes),
    }
    return Case(case.kind, mesh, inputs, {"u": u}, case.bcs)


def pulled_back(tensor: Tensor, jacobian: Tensor) -> Tensor:
    """|J| J^-1 A J^-T `[m, d, d]` of tensors A and Jacobians J `[m, d, d]`."""
    inverse = torch.linalg.inv(jacobian)
    size = torch.linalg.det(jacobian)[:, None, None]
    return size * inverse @ tensor @ inverse.transpose(1, 2)


def square_warp(mesh: Mesh, rng: Rng, strength: float) -> Tensor:
    """A random displacement of the nodes `[n, 2]` of a mesh of the unit square: a sum of sines."""
    modes = torch.arange(1, _MODES + 1).to(mesh.pos)
    x, y = (torch.pi * mesh.pos[:, k, None] * modes for k in (0, 1))
    height = torch.from_numpy(rng.normal(size=(_MODES, _MODES, 2)))
    waves = torch.einsum("ni,nj,ijk->nk", x.sin(), y.sin(), height)
    waves[mesh.boundary_nodes] = 0  # where the sine of pi is not quite 0
    return _limited(mesh, waves, strength)


def warp(mesh: Mesh, rng: Rng, strength: float) -> Tensor:
    """A random displacement of the nodes `[n, 2]` of any plane mesh, 0 on its boundary."""
    space = FunctionSpace(mesh, "P1")
    matrix = assemble(lambda u, v, w: dot(grad(u), grad(v)), space)
    right = assemble_linear(lambda v, w: 1.0 * v, space)
    hill = solve(matrix, right, [Dirichlet(space, "boundary", 0.0)])
    width = (mesh.pos.max(dim=0).values - mesh.pos.min(dim=0).values).max()
    frequency = torch.from_numpy(rng.normal(size=(2, 2 * _MODES)) * np.pi) / width
    phase, height = (
        torch.from_numpy(rng.uniform(0, 2 * np.pi, 2 * _MODES)),
        torch.from_numpy(rng.normal(size=(2 * _MODES, 2))),
    )
    return _limited(mesh, hill[:, None] * (mesh.pos @ frequency + phase).cos() @ height, strength)


def solve_tensor(mesh: Mesh, log_tensor: Tensor, load: Tensor, bcs: list[Dirichlet]) -> Tensor:
    """The P1 solution `[n]` of -div(A grad u) = f.

    Args:
        mesh: of triangles.
        log_tensor: log A of each cell, xx, xy, yy `[n_cells, 3]`.
        load: f at the nodes `[n]`.
        bcs: Dirichlet conditions.
    """
    space = FunctionSpace(mesh, "P1")
    matrix = assemble(
        lambda u, v, w: dot(dot(w.a, grad(u)), grad(v)), space, a=tensor_of(log_tensor)
    )
    mass = assemble(lambda u, v, w: u * v, space)
    return solve(matrix, mass @ load, bcs)


def tensor_of(log_tensor: Tensor) -> Tensor:
    """A `[m, 2, 2]` from the entries xx, xy, yy of log A `[m, 3]`."""
    return torch.linalg.matrix_exp(log_tensor[:, [0, 1, 1, 2]].reshape(-1, 2, 2))


def log_of(tensor: Tensor) -> Tensor:
    """Entries xx, xy, yy `[m, 3]` of log A of symmetric positive definite A `[m, 2, 2]`."""
    values, vectors = torch.linalg.eigh(tensor)
    log = (vectors * values.log()[:, None]) @ vectors.transpose(1, 2)
    return log.reshape(-1, 4)[:, [0, 1, 3]]


def _gradient(mesh: Mesh, displacement: Tensor) -> Tensor:
    """dd_i / dxi_j in each triangle `[n_cells, 2, 2]`."""
    nodes = simplices(mesh)
    return torch.einsum("csi,csj->cij", displacement[nodes], basis_gradients(mesh.pos, nodes))


def _limited(mesh: Mesh, displacement: Tensor, strength: float) -> Tensor:
    largest = torch.linalg.matrix_norm(_gradient(mesh, displacement), ord=2).max()
    return displacement * (strength / largest)
