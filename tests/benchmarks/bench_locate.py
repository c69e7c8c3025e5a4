"""Point location on random Delaunay meshes of 100,000 nodes, on one core.

Run with `OMP_NUM_THREADS=1 pytest tests/benchmarks/bench_locate.py`. What each measures:

- `build`: a `Locator` from node positions and simplices, search trees excluded (built on demand);
- `find`: 1,000,000 random points, no hint;
- `find_hinted`: the mesh's own nodes after a motion of a tenth of the spacing, hints from before it
  (what a mesh mover asks for in each iteration);
- `find_outside`: 100,000 points, most of them outside the mesh;
- `interpolate` and `gradient` of a scalar field at 1,000,000 located points;
- `scipy`, `vtk`: `Delaunay.find_simplex` and pyvista's `find_containing_cell` for 100,000 of the
  same random points, build excluded. (scikit-fem's `element_finder` is not here: for points that
  are not in one of the elements with the nearest centres it tests all elements, in terabytes.)
"""

from __future__ import annotations

import numpy as np
import pytest
import pyvista
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from scipy.spatial import Delaunay

from meshlearn.mesh.locate import Locator

NODES, QUERIES, PEER_QUERIES = 100_000, 1_000_000, 100_000
ROUNDS = 3


class Case:
    """One random mesh with its locator and query points."""

    def __init__(self, d: int) -> None:
        torch.set_num_threads(1)
        rng = np.random.default_rng(0)
        self.d = d
        self.points = rng.random((NODES, d))
        self.delaunay = Delaunay(self.points)
        self.pos = torch.from_numpy(self.points)
        self.simplices = torch.from_numpy(self.delaunay.simplices.astype(np.int64))
        self.locator = Locator.from_simplices(self.pos, self.simplices)
        self.queries = torch.from_numpy(rng.random((QUERIES, d)))
        self.location = self.locator.find(self.queries)
        step = 0.1 * NODES ** (-1 / d) * rng.uniform(-1, 1, (NODES, d))
        self.moved = torch.from_numpy(self.points + step)
        self.hint = self.locator.find(self.pos).simplex


@pytest.fixture(scope="module", params=[2, 3], ids=["2d", "3d"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_build(case: Case, benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(Locator.from_simplices, (case.pos, case.simplices), rounds=ROUNDS)


def test_find(case: Case, benchmark: BenchmarkFixture) -> None:
    location = benchmark.pedantic(case.locator.find, (case.queries,), rounds=ROUNDS)
    assert location.outside.float().mean() < 0.01


def test_find_hinted(case: Case, benchmark: BenchmarkFixture) -> None:
    location = benchmark.pedantic(case.locator.find, (case.moved, case.hint), rounds=ROUNDS)
    assert location.outside.float().mean() < 0.01


def test_find_outside(case: Case, benchmark: BenchmarkFixture) -> None:
    points = 3 * case.queries[:PEER_QUERIES] - 1
    location = benchmark.pedantic(case.locator.find, (points,), rounds=ROUNDS)
    assert location.outside.float().mean() > 0.8


def test_interpolate(case: Case, benchmark: BenchmarkFixture) -> None:
    field = case.pos.sum(1)
    values = benchmark.pedantic(case.locator.interpolate, (field, case.location), rounds=ROUNDS)
    error = (values - case.queries.sum(1)).abs()
    assert error[~case.location.outside].max() < 1e-12


def test_gradient(case: Case, benchmark: BenchmarkFixture) -> None:
    benchmark.pedantic(case.locator.gradient, (case.pos.sum(1), case.location), rounds=ROUNDS)


def test_scipy(case: Case, benchmark: BenchmarkFixture) -> None:
    queries = case.queries[:PEER_QUERIES].numpy()
    found = benchmark.pedantic(case.delaunay.find_simplex, (queries,), rounds=1)
    inside = ~case.location.outside[:PEER_QUERIES].numpy()
    assert (found == case.location.simplex[:PEER_QUERIES].numpy())[inside].mean() > 0.999


def test_vtk(case: Case, benchmark: BenchmarkFixture) -> None:
    flat = np.zeros((NODES, 3))
    flat[:, : case.d] = case.points
    kind = 5 if case.d == 2 else 10
    grid = pyvista.UnstructuredGrid({kind: case.simplices.numpy()}, flat)
    at = np.zeros((PEER_QUERIES, 3))
    at[:, : case.d] = case.queries[:PEER_QUERIES].numpy()
    grid.find_containing_cell(at[:1])
    benchmark.pedantic(grid.find_containing_cell, (at,), rounds=1)
