"""Training samples of movers: a mesh, a problem with a known solution, and its first solve.

Sample k of a seed is always the same; samples are made when asked for, by several processes if
wanted, and kept on disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
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


class SamplePool:
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
        self.folder = Path(folder) / name
        self.seed, self.count, self.dim, self.nodes = seed, count, dim, nodes
        self._loaded: dict[int, Sample] = {}

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Sample:
        if number not in self._loaded:
            _cached(self.folder, self.seed, self.dim, self.nodes, number)
            self._loaded[number] = self._read(number)
        return self._loaded[number]

    def __iter__(self) -> Iterator[Sample]:
        return (self[number] for number in range(self.count))

    def prepare(self, workers: int, progress: Callable[[int, int], None] | None = None) -> None:
        """Make all samples that are not there yet, with so many processes."""
        make = partial(_cached, self.folder, self.seed, self.dim, self.nodes)
        missing = [k for k in range(self.count) if not _file(self.folder, k).exists()]
        if workers <= 1:
            for done, number in enumerate(missing, 1):
                make(number)
                if progress:
                    progress(done, len(missing))
            return
        with ProcessPoolExecutor(workers) as pool:
            for done, _ in enumerate(pool.map(make, missing, chunksize=4), 1):
                if progress:
                    progress(done, len(missing))

    def _read(self, number: int) -> Sample:
        state = torch.load(_file(self.folder, number), weights_only=True)
        mesh = Mesh.from_cells(state["pos"], state["cells"])
        # The functions are drawn again from the seed: only arrays are kept.
        problem = _problem(mesh, self.seed, number)
        return Sample(mesh, problem, state["u"], state["error"])


def _file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.pt"


def _cached(folder: Path, seed: int, dim: int, nodes: tuple[int, int], number: int) -> None:
    """Make a sample unless its file is there."""
    file = _file(folder, number)
    if file.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    sample = make_sample(seed, number, dim, nodes)
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    state = {
        "pos": sample.mesh.pos,
        "cells": dict(sample.mesh.cells),
        "u": sample.u,
        "error": sample.error,
    }
    torch.save(state, temporary)
    temporary.replace(file)
