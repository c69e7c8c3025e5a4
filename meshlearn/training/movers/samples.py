"""Training samples of movers: a mesh, a problem with a known solution, and its first solve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...fem import integrate
from ...mesh import Mesh
from ...problems import Helmholtz
from ...problems.base import Solution
from ..pool import CachedPool, State
from .domains import random_mesh
from .solutions import Exact, random_solution

_DEGREE = 5
_VERSION = 1


@dataclass(frozen=True)
class Sample:
    """What a mover is trained on.

    Attributes:
        mesh: the mesh to adapt.
        problem: Poisson or Helmholtz-type, with the exact solution.
        u: its P1 solution at the nodes of the mesh `[n]`.
        error: squared L2 error of that solution.
    """

    mesh: Mesh
    problem: Helmholtz
    u: Tensor
    error: float


def manufactured(exact: Exact, reaction: float = 0.0) -> Helmholtz:
    """-lap u + c u = f with a solution whose Laplacian is known in closed form."""

    def source(x: Tensor) -> Tensor:
        return reaction * exact.value(x) - exact.laplacian(x)

    return Helmholtz(source, exact.value, reaction, exact.value)


def squared_error(problem: Helmholtz, solution: Solution) -> Tensor:
    """Squared L2 error, differentiable in the nodes of the mesh."""
    exact = problem.exact
    if exact is None:
        raise ValueError("the exact solution of this problem is not known")
    return integrate(
        lambda w: (w.u.value - exact(w.x)) ** 2,
        solution.mesh,
        degree=_DEGREE,
        u=solution.field,
    )


def make_sample(seed: int, number: int, dim: int, nodes: tuple[int, int]) -> Sample:
    """Sample `number` of a seed; meshes have about nodes[0] to nodes[1] nodes."""
    rng = np.random.default_rng([seed, number, dim, 0])
    mesh = random_mesh(rng, dim, int(rng.integers(nodes[0], nodes[1] + 1)))
    problem = _problem(mesh, seed, number)
    with torch.no_grad():
        solution = problem.solve(mesh)
        return Sample(mesh, problem, solution.u, float(squared_error(problem, solution)))


def _problem(mesh: Mesh, seed: int, number: int) -> Helmholtz:
    """Its own random stream: a mesh from the cache need not be made again to get here."""
    rng = np.random.default_rng([seed, number, mesh.dim, 1])
    low, high = mesh.pos.amin(dim=0).numpy(), mesh.pos.amax(dim=0).numpy()
    exact = random_solution(rng, low, high)
    return manufactured(exact, 0.0 if rng.random() < 0.7 else 1.0)


class SamplePool(CachedPool[Sample]):
    """The first `count` samples of a seed, kept in a folder.

    Args:
        folder: of the cache; it may be shared by runs with different seeds.
        seed, dim, nodes: see `make_sample`.
        count: how many there are.
    """

    def __init__(
        self, folder: str | Path, seed: int, count: int, dim: int, nodes: tuple[int, int]
    ) -> None:
        name = f"{dim}d_seed{seed}_{nodes[0]}-{nodes[1]}_v{_VERSION}"
        super().__init__(Path(folder) / name, count)
        self.seed, self.dim, self.nodes = seed, dim, nodes

    def maker(self) -> Callable[[int], Sample]:
        """See `CachedPool`."""
        return partial(make_sample, self.seed, dim=self.dim, nodes=self.nodes)

    @staticmethod
    def state(item: Sample) -> State:
        """See `CachedPool`."""
        return sample_state(item)

    def restored(self, number: int, state: State) -> Sample:
        """The functions are drawn again from the seed: only arrays are kept."""
        mesh = Mesh.from_cells(state["pos"], state["cells"])
        return Sample(mesh, _problem(mesh, self.seed, number), state["u"], state["error"])


def sample_state(sample: Sample) -> State:
    """The arrays of a sample."""
    return {
        "pos": sample.mesh.pos,
        "cells": dict(sample.mesh.cells),
        "u": sample.u,
        "error": sample.error,
    }
