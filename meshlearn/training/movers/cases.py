"""What movers are judged on: suites of held-out cases, none of them a training sample.

A case is a mesh and a problem whose exact solution is known. The square cases follow the tables of
UM2N (Zhang et al., NeurIPS 2024) and UGM2N (NeurIPS 2025); the others are domains that a mover was
not trained on, or not on this draw of them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...mesh import Mesh, generate
from ...monitors import Monitor
from ...movers import Mover
from ...problems import Helmholtz, named_problem
from ...problems.base import Solution
from ..shapes import edge_length
from .samples import manufactured
from .solutions import Exact, random_solution

_SQUARE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
_SEED = 20_000_003


Build = Callable[[Mesh, Tensor], Monitor]
"""Builds a monitor from a mesh and the solution at its nodes."""


@dataclass(frozen=True)
class Adapted:
    """What a mover made of a case.

    Attributes:
        error: that is to fall.
        seconds: of monitor and move; their means where there are several moves.
        inverted: cells.
        min_quality: smallest mean ratio.
        reason: what the report says.
    """

    error: float
    seconds: float
    inverted: int
    min_quality: float
    reason: str


class Trial(Protocol):
    """What movers are judged on."""

    @property
    def name(self) -> str:
        """Of the case."""

    @property
    def mesh(self) -> Mesh:
        """Before all moves."""

    @property
    def at_rest(self) -> float:
        """The error on the mesh as it is."""

    def adapted(self, mover: Mover, build: Build) -> Adapted:
        """The error after the moves.

        Raises:
            MeshError: the mover failed.
            SolveError: the problem cannot be solved on its mesh.
        """


@dataclass(frozen=True)
class Case:
    """One mesh and one problem.

    Attributes:
        name: of the case.
        mesh: before the move.
        problem: with its exact solution.
    """

    name: str
    mesh: Mesh
    problem: Helmholtz

    @cached_property
    def first(self) -> Solution:
        """The solution on the mesh as it is."""
        return self.problem.solve(self.mesh)

    @cached_property
    def at_rest(self) -> float:
        """Its L2 error."""
        return self.first.errors()["l2"]

    def adapted(self, mover: Mover, build: Build) -> Adapted:
        """The L2 error after one move."""
        u = self.first.u
        begin = time.perf_counter()
        moved = mover.move(self.mesh, build(self.mesh, u))
        seconds = time.perf_counter() - begin
        report = moved.report
        # A solve on inverted cells would raise: they count as a failure before that.
        error = math.inf if report.inverted_cells else self._error(moved.mesh)
        return Adapted(error, seconds, report.inverted_cells, report.min_quality, report.reason)

    def _error(self, mesh: Mesh) -> float:
        return self.problem.solve(mesh).errors()["l2"]


def cosines(count: int) -> Iterator[Case]:
    """-lap u = f, u = cos 2 pi x cos 2 pi y, on meshes of the square of about 560 nodes."""
    for k in range(count):
        yield Case(f"poisson cos {k}", square(k), manufactured(_cosine((1.0, 1.0))))


def gaussians(count: int) -> Iterator[Case]:
    """-lap u = f, u a sum of 1 to 6 Gaussians as in UM2N, on the square."""
    for k in range(count):
        rng = np.random.default_rng([_SEED, k])
        yield Case(f"poisson gaussians {k}", square(k), manufactured(um2n_gaussians(rng)))


def helmholtz(count: int) -> Iterator[Case]:
    """-lap u + u = f, u = cos 2 pi y, on the square."""
    for k in range(count):
        yield Case(f"helmholtz cos {k}", square(k), manufactured(_cosine((0.0, 1.0)), 1.0))


def polygons(count: int) -> Iterator[Case]:
    """Random polygons with random meshes (300 to 1200 nodes) and random solutions."""
    for k in range(count):
        rng = np.random.default_rng([_SEED + 1, k])
        corners = generate.random_polygon(int(rng.integers(3, 13)), seed=_SEED + k)
        nodes = int(rng.integers(300, 1201))
        x, y = corners.numpy().T
        area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
        mesh = generate.polygon(corners, h=edge_length(area, nodes), seed=k)
        exact = random_solution(rng, corners.numpy().min(0), corners.numpy().max(0))
        yield Case(f"polygon {k}", mesh, manufactured(exact))


def unseen_domains(count: int) -> Iterator[Case]:
    """L-shape (singular), channel with cylinder, aerofoil, plate with nine holes: zero-shot."""
    l_shape = generate.l_shape(14)
    yield Case("l-shape corner", l_shape, named_problem("corner", l_shape))
    channel = generate.channel_with_cylinder(0.05)
    aerofoil = generate.naca()
    spots = [(0.2 + 0.3 * i, 0.2 + 0.3 * j) for i in range(3) for j in range(3)]
    ring = 2 * np.pi * np.arange(12) / 12
    holes = [np.array(s) + 0.07 * np.stack([np.cos(ring), np.sin(ring)], 1) for s in spots]
    plate = generate.polygon(_SQUARE, 0.04, holes)
    for name, mesh in (("channel", channel), ("aerofoil", aerofoil), ("plate", plate)):
        for k in range(count):
            rng = np.random.default_rng([_SEED + 2, k])
            low, high = mesh.pos.amin(0).numpy(), mesh.pos.amax(0).numpy()
            yield Case(f"{name} {k}", mesh, manufactured(random_solution(rng, low, high)))


def boxes(count: int) -> Iterator[Case]:
    """3D: boxes of Kuhn tetrahedra and a channel with a cylinder, random solutions."""
    channel = generate.channel_with_cylinder_3d(0.12)
    for k in range(count):
        rng = np.random.default_rng([_SEED + 3, k])
        mesh = generate.box(10, 10, 10) if k % 4 else channel
        low, high = mesh.pos.amin(0).numpy(), mesh.pos.amax(0).numpy()
        name = "box" if k % 4 else "3D channel"
        yield Case(f"{name} {k}", mesh, manufactured(random_solution(rng, low, high)))


def square(seed: int) -> Mesh:
    """A mesh of the unit square of about 560 nodes."""
    return generate.polygon(_SQUARE, h=0.05, seed=_SEED + seed)


def _cosine(waves: tuple[float, float]) -> Exact:
    k = 2 * math.pi * torch.tensor(waves, dtype=torch.float64)

    def value(x: Tensor) -> Tensor:
        return torch.cos(x * k).prod(dim=1)

    return Exact(value, lambda x: -(k**2).sum() * value(x))


def um2n_gaussians(rng: np.random.Generator) -> Exact:
    """Centres U[0, 1], widths max(N(1/4, 1/6), 1/8), heights U[0, 1]."""
    count = int(rng.integers(1, 7))
    centres = torch.from_numpy(rng.uniform(0, 1, (count, 2)))
    widths = torch.from_numpy(np.maximum(rng.normal(1 / 4, 1 / 6, count), 1 / 8))
    heights = torch.from_numpy(rng.uniform(0, 1, count))

    def parts(x: Tensor) -> tuple[Tensor, Tensor]:
        square = ((x[:, None] - centres) ** 2).sum(dim=2) / widths**2
        return heights * torch.exp(-square), square

    def laplacian(x: Tensor) -> Tensor:
        bells, square = parts(x)
        return (bells * (4 * square - 4) / widths**2).sum(dim=1)

    return Exact(lambda x: parts(x)[0].sum(dim=1), laplacian)
