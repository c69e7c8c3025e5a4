r"""Darcy flow with rough coefficients, on three domains with holes.

    -div(k grad u) = f in the domain,   u = g on its outer boundary and on the holes

log k = sigma z with a stationary Gaussian field z of covariance exp(-r / l), whose paths are
continuous and nowhere differentiable (see `random_fields`); f is a sum of bumps, g of a few waves.
u is the P1 solution with k constant in each cell.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field as Setting
from torch import Tensor

from ...fem import Dirichlet, FunctionSpace, assemble, dot, grad, solve
from ...mesh import Mesh
from ...operators import Variable
from ..shapes import Floats, circle, meshed_polygon
from .pool import Case, DataSettings, Pool
from .random_fields import gaussian_field

Rng = np.random.Generator


class DarcySettings(DataSettings):
    """What the cases are like.

    Attributes:
        nodes: about how many a mesh has.
        variance: sigma^2 of log k.
        length: l, the correlation length; the domains are about 1 wide.
        grading: a of the density of the nodes, which along each axis is 1 / (1 + a cos 2 pi x):
            above 0 they gather in the middle, below 0 at the sides.
    """

    title: ClassVar[str] = "Darcy flow (meshlearn.training.data.darcy)"
    kind: Literal["darcy"] = "darcy"
    nodes: int = Setting(400, ge=60)
    variance: float = Setting(0.5, ge=0)
    length: float = Setting(0.2, gt=0)
    grading: float = Setting(0.0, gt=-1, lt=1)

    def pool(self, count: int, folder: str | Path) -> Darcy:
        """See `DataSettings`."""
        return Darcy(self, count, folder)


class Darcy(Pool):
    """The first `count` cases; case k has domain k mod 3.

    Args:
        settings: of the cases.
        count: how many there are.
        folder: of the cache; it may be shared by data sets with other settings.
    """

    settings: DarcySettings
    inputs = (Variable("log_k", "P0"), Variable("f"))
    outputs = (Variable("u"),)

    def maker(self) -> Callable[[int], Case]:
        """See `Pool`."""
        return partial(make_darcy, self.settings)

    def baseline(self, case: Case) -> dict[str, Tensor]:
        """The solution with one coefficient everywhere, the geometric mean of k."""
        (held,) = case.bcs["u"]
        boundary = torch.zeros_like(case.inputs["f"]).index_copy(0, held.dofs, held.values)
        log_k = case.inputs["log_k"]
        constant = log_k.mean().expand(len(log_k))
        return solve_darcy(case.mesh, constant, case.inputs["f"], boundary)[2]


def make_darcy(settings: DarcySettings, number: int) -> Case:
    """Case `number`: always the same for the same settings."""
    rng = np.random.default_rng([settings.seed, number])
    kind = list(DOMAINS)[number % len(DOMAINS)]
    mesh = DOMAINS[kind](rng, settings.nodes, settings.grading)
    middle = mesh.centroids()
    log_k = math.sqrt(settings.variance) * gaussian_field(rng, middle, settings.length)
    load, boundary = _bumps(rng, mesh.pos), _waves(rng, mesh.pos)
    with torch.no_grad():
        case = solve_darcy(mesh, log_k, load, boundary)
    return Case(kind, *case)


def solve_darcy(
    mesh: Mesh, log_k: Tensor, load: Tensor, boundary: Tensor
) -> tuple[Mesh, dict[str, Tensor], dict[str, Tensor], dict[str, list[Dirichlet]]]:
    """The P1 solution, with what belongs to a case.

    Args:
        mesh: of simplices.
        log_k: of each cell `[n_cells]`.
        load: f at the nodes `[n]`.
        boundary: g at the nodes `[n]`; those of the boundary count.

    Returns:
        Mesh, inputs, outputs and conditions.
    """
    space = FunctionSpace(mesh, "P1")
    matrix = assemble(lambda u, v, w: w.k * dot(grad(u), grad(v)), space, k=log_k.exp())
    mass = assemble(lambda u, v, w: u * v, space)
    held = Dirichlet(space, "boundary", boundary[mesh.boundary_nodes])
    u = solve(matrix, mass @ load, [held])
    return mesh, {"log_k": log_k, "f": load}, {"u": u}, {"u": [held]}


def _bumps(rng: Rng, pos: Tensor) -> Tensor:
    """Three Gaussian bumps of either sign at nodes drawn at random."""
    total = torch.zeros_like(pos[:, 0])
    for _ in range(3):
        middle = pos[int(rng.integers(len(pos)))]
        width, height = rng.uniform(0.08, 0.25), rng.normal() * 20
        total = total + height * (-(pos - middle).square().sum(dim=1) / (2 * width**2)).exp()
    return total


def _waves(rng: Rng, pos: Tensor) -> Tensor:
    """Three plane waves."""
    frequency = torch.from_numpy(rng.normal(size=(2, 3)) * 3)
    phase, height = (
        torch.from_numpy(rng.uniform(0, 2 * np.pi, 3)),
        torch.from_numpy(rng.normal(size=3)),
    )
    return (pos @ frequency + phase).sin() @ height


def _square(rng: Rng, nodes: int, grading: float) -> Mesh:
    hole = circle(0.5 + rng.uniform(-0.15, 0.15, 2), rng.uniform(0.12, 0.2))
    return _meshed(rng, np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float), [hole], nodes, grading)


def _l_shape(rng: Rng, nodes: int, grading: float) -> Mesh:
    hole = circle(0.25 + rng.uniform(-0.04, 0.04, 2), rng.uniform(0.08, 0.14))
    corners = np.array([[0, 0], [1, 0], [1, 0.5], [0.5, 0.5], [0.5, 1], [0, 1]])
    return _meshed(rng, corners, [hole], nodes, grading)


def _disk(rng: Rng, nodes: int, grading: float) -> Mesh:
    turn = rng.uniform(0, np.pi)
    offset = 0.24 * np.array([np.cos(turn), np.sin(turn)])
    holes = [circle(0.5 + s * offset, rng.uniform(0.07, 0.13)) for s in (-1, 1)]
    return _meshed(rng, circle(np.array([0.5, 0.5]), 0.55, 24), holes, nodes, grading)


DOMAINS = {"square": _square, "l_shape": _l_shape, "disk": _disk}
"""Random domains by name: a hole in a square, one in an L, two in a disk."""


def _meshed(rng: Rng, outer: Floats, holes: list[Floats], nodes: int, grading: float = 0.0) -> Mesh:
    """A polygon with holes; a graded mesh is the image of an even one of the polygon's preimage."""
    outer, holes = _graded(outer, grading, -1), [_graded(hole, grading, -1) for hole in holes]
    mesh = meshed_polygon(rng, outer, holes, nodes)
    if not grading:
        return mesh
    return mesh.moved(torch.from_numpy(_graded(mesh.pos.numpy(), grading, 1)))


def _graded(points: Floats, grading: float, direction: int) -> Floats:
    """x + a sin(2 pi x) / 2 pi along each axis, or (direction -1) the x of which it is that."""
    if not grading:
        return points
    x = np.linspace(-0.5, 1.5, 20_001)
    image = x + grading * np.sin(2 * np.pi * x) / (2 * np.pi)
    known, wanted = (x, image) if direction > 0 else (image, x)
    return np.asarray(np.interp(points, known, wanted))
