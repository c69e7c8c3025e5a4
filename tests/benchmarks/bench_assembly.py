"""Assembly against scikit-fem, TensorMesh and torch-fem: one run, one thread, ratios of medians.

Run with `OMP_NUM_THREADS=1 pytest -s tests/benchmarks/bench_assembly.py` (extra `bench`). The
contestants take turns in each round, so that a busy machine slows all of them. Jobs, on about
100,000 nodes in 2D and in 3D, P1 stiffness unless said otherwise:

- `moved`: new node positions, everything that depends on connectivity kept;
- `coefficient`: a new value per cell, nodes where they were; all but torch-fem keep geometry;
- `cold`: from arrays of nodes and cells to the matrix, sparsity pattern included; no contestant
  looks for bad cells, except in `ours, mesh checked`;
- `backward`: nodes moved, and the gradient of the sum of squares of the entries with respect to
  the nodes (scikit-fem has none);
- `elasticity`: isotropic, vector P2 on about 100,000 nodes, by the path of every form, nodes moved;
  `elasticity_varying`: with coefficients that vary inside the cells, integrated to degree 4;
- `memory`: growth of the resident set at its peak, first assembly after imports, each in its own
  process: `python bench_assembly.py NAME DIM`;
- `scaling`: `moved` on 10,000 to 1,000,000 nodes, nanoseconds per cell; in each turn the smaller
  meshes are assembled so often that all turns take alike.

`one point` is scikit-fem or TensorMesh with one quadrature point, exact here and their fastest.
All matrices are compared with scikit-fem's before anything is timed.
"""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import meshio
import numpy as np
import pytest
import scipy.sparse as sp
import skfem
import tensormesh
import torch
import torchfem
from skfem.helpers import ddot, div, dot, grad, sym_grad
from torchfem.materials import IsotropicConductivity2D, IsotropicConductivity3D

import meshlearn as ml
from meshlearn import fem
from meshlearn.fem.sparse import csr_values

ROUNDS = 7
Job = Callable[[], Any]

PLACES = {2: skfem.ElementTriP1, 3: skfem.ElementTetP1}
CHECKS = ("inverted", "degenerate", "duplicate", "orphan", "nonmanifold", "hanging", "nonfinite")
NONE = torch.empty(0, dtype=torch.int64)


def laplace(u: Any, v: Any, w: Any) -> Any:
    return fem.dot(fem.grad(u), fem.grad(v))


def diffusion(u: Any, v: Any, w: Any) -> Any:
    return w.k * fem.dot(fem.grad(u), fem.grad(v))


def elasticity(u: Any, v: Any, w: Any) -> Any:
    strain = fem.sym(fem.grad(u))
    return 1.5 * fem.div(u) * fem.div(v) + 0.7 * fem.inner(strain, fem.sym(fem.grad(v)))


def graded(u: Any, v: Any, w: Any) -> Any:
    return (1 + w.x[:, 0]) * elasticity(u, v, w)


@skfem.BilinearForm
def skfem_laplace(u: Any, v: Any, w: Any) -> Any:
    return dot(grad(u), grad(v))


@skfem.BilinearForm
def skfem_diffusion(u: Any, v: Any, w: Any) -> Any:
    return w.k * dot(grad(u), grad(v))


@skfem.BilinearForm
def skfem_elasticity(u: Any, v: Any, w: Any) -> Any:
    return 1.5 * div(u) * div(v) + 0.7 * ddot(sym_grad(u), sym_grad(v))


@skfem.BilinearForm
def skfem_graded(u: Any, v: Any, w: Any) -> Any:
    return (1 + w.x[0]) * (1.5 * div(u) * div(v) + 0.7 * ddot(sym_grad(u), sym_grad(v)))


class TensorMeshDiffusion(tensormesh.ElementAssembler):
    """k grad u . grad v with a value per cell."""

    def forward(self, gradu: Any, gradv: Any, k: Any) -> Any:
        return k * (gradu @ gradv)


class Case:
    """One mesh, moved node positions and a coefficient; what each contestant keeps of it."""

    def __init__(self, dim: int, nodes: int = 100_000) -> None:
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float64)  # torch-fem computes in it
        n = round(nodes ** (1 / dim)) - 1
        self.dim = dim
        self.mesh = ml.generate.rectangle(n, n) if dim == 2 else ml.generate.box(n, n, n)
        (self.cell,) = self.mesh.cells
        generator = torch.Generator().manual_seed(0)
        noise = torch.rand(self.mesh.pos.shape, generator=generator, dtype=torch.float64) - 0.5
        self.pos = self.mesh.pos + 0.3 / n * noise
        self.k = 1 + torch.rand(self.mesh.num_cells, generator=generator, dtype=torch.float64)
        self.cells = self.mesh.cells[self.cell]

    def new_pos(self) -> Any:
        """The positions as a new tensor: what is kept for known ones must not help."""
        return self.pos.clone()

    # -- ours ----------------------------------------------------------------------------------

    def ours(self) -> Job:
        space = fem.FunctionSpace(self.mesh, "P1")
        return lambda: fem.assemble(laplace, space.on(self.mesh.moved(self.new_pos())))

    def ours_coefficient(self) -> Job:
        space = fem.FunctionSpace(self.mesh.moved(self.pos), "P1")
        return lambda: fem.assemble(diffusion, space, k=self.k)

    def ours_cold(self, allow: tuple[str, ...] = CHECKS) -> Job:
        def job() -> Any:
            mesh = ml.Mesh.from_cells(self.pos, {self.cell: self.cells}, allow=allow)
            return fem.assemble(laplace, fem.FunctionSpace(mesh, "P1"))

        return job

    def ours_backward(self) -> Job:
        space = fem.FunctionSpace(self.mesh, "P1")

        def job() -> Any:
            pos = self.pos.clone().requires_grad_()
            matrix = fem.assemble(laplace, space.on(self.mesh.moved(pos)))
            csr_values(matrix).square().sum().backward()
            return pos.grad

        return job

    # -- scikit-fem ----------------------------------------------------------------------------

    def skfem_mesh(self) -> Any:
        return replace(self.mesh.to_skfem(), doflocs=self.pos.numpy().T.copy())

    def skfem(self, **options: int) -> Job:
        mesh, points = self.mesh.to_skfem(), self.pos.numpy().T.copy()

        def job() -> Any:
            basis = skfem.Basis(replace(mesh, doflocs=points), PLACES[self.dim](), **options)
            return skfem_laplace.assemble(basis)

        return job

    def skfem_coefficient(self, **options: int) -> Job:
        basis = skfem.Basis(self.skfem_mesh(), PLACES[self.dim](), **options)
        k = self.k.numpy()[:, None]
        return lambda: skfem_diffusion.assemble(basis, k=k)

    def skfem_cold(self, **options: int) -> Job:
        make = type(self.mesh.to_skfem())
        points, cells = self.pos.numpy().T.copy(), self.cells.numpy().T.copy()

        def job() -> Any:
            return skfem_laplace.assemble(
                skfem.Basis(make(points, cells), PLACES[self.dim](), **options)
            )

        return job

    # -- TensorMesh ----------------------------------------------------------------------------

    def tensormesh_assembler(self, kind: Any, order: int) -> Any:
        flat = meshio.Mesh(self.pos.numpy(), [(self.cell, self.cells.numpy())])
        return kind.from_mesh(tensormesh.Mesh(flat), quadrature_order=order)

    def tensormesh(self, order: int = 2) -> Job:
        assembler = self.tensormesh_assembler(tensormesh.LaplaceElementAssembler, order)
        return lambda: assembler(self.pos)

    def tensormesh_coefficient(self, order: int = 2) -> Job:
        assembler = self.tensormesh_assembler(TensorMeshDiffusion, order)
        return lambda: assembler(element_data={"k": self.k})

    def tensormesh_cold(self, order: int = 2) -> Job:
        return lambda: self.tensormesh(order)()

    def tensormesh_backward(self, order: int = 2) -> Job:
        assembler = self.tensormesh_assembler(tensormesh.LaplaceElementAssembler, order)

        def job() -> Any:
            pos = self.pos.clone().requires_grad_()
            assembler(pos).edata.square().sum().backward()
            return pos.grad

        return job

    # -- torch-fem -----------------------------------------------------------------------------

    def torchfem_model(self, k: Any = 1.0) -> Any:
        if self.dim == 2:
            return torchfem.PlanarHeat(self.pos, self.cells, IsotropicConductivity2D(k))
        return torchfem.SolidHeat(self.pos, self.cells, IsotropicConductivity3D(k))

    def torchfem(self) -> Job:
        model = self.torchfem_model()

        def job() -> Any:
            model.nodes = self.pos
            return model.assemble_matrix(model.k0(), NONE)

        return job

    def torchfem_coefficient(self) -> Job:
        model = self.torchfem_model()
        kind = IsotropicConductivity2D if self.dim == 2 else IsotropicConductivity3D

        def job() -> Any:
            model.material = kind(self.k)
            return model.assemble_matrix(model.k0(), NONE)

        return job

    def torchfem_cold(self) -> Job:
        return lambda: self.torchfem()()

    def torchfem_backward(self) -> Job:
        model = self.torchfem_model()

        def job() -> Any:
            pos = self.pos.clone().requires_grad_()
            model.nodes = pos
            # As in assemble_matrix; backward through its CSR tensor would be dense.
            values = torch.zeros(model.col.numel()).index_add(0, model.k_map, model.k0().ravel())
            values.square().sum().backward()
            return pos.grad

        return job


def medians(jobs: dict[str, Job], rounds: int = ROUNDS) -> dict[str, float]:
    """Median seconds of each job; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, job in jobs.items():
                begin = time.perf_counter()
                job()
                times[name].append(time.perf_counter() - begin)
    finally:
        gc.enable()
    return {name: float(np.median(t)) for name, t in times.items()}


def report(title: str, found: dict[str, float], unit: str = "ms", scale: float = 1e3) -> None:
    """Print each figure and how many times ours it is."""
    print(f"\n{title}")
    for name, value in found.items():
        print(f"  {name:24s} {value * scale:10.1f} {unit}  {value / found['ours']:6.2f}")


def scipy_matrix(matrix: Any) -> sp.csr_array:
    """Any contestant's matrix."""
    if isinstance(matrix, torch.Tensor):
        parts = (matrix.values(), matrix.col_indices(), matrix.crow_indices())
        return sp.csr_array(tuple(p.detach().numpy() for p in parts), shape=matrix.shape)
    if isinstance(matrix, tensormesh.sparse.SparseMatrix):
        parts = (matrix.edata.numpy(), (matrix.row.numpy(), matrix.col.numpy()))
        return sp.csr_array(sp.coo_array(parts, shape=matrix.shape))
    return sp.csr_array(matrix)


def agree(jobs: dict[str, Job], reference: str) -> None:
    """Whether all give the same matrix."""
    expected = scipy_matrix(jobs[reference]())
    for name, job in jobs.items():
        difference = abs(scipy_matrix(job()) - expected).max()
        assert difference <= 1e-12 * abs(expected).max(), f"{name} differs by {difference}"


@pytest.fixture(scope="module", params=[2, 3], ids=["2d", "3d"])
def case(request: pytest.FixtureRequest) -> Case:
    return Case(request.param)


def test_moved(case: Case) -> None:
    jobs = {
        "ours": case.ours(),
        "scikit-fem": case.skfem(),
        "scikit-fem one point": case.skfem(intorder=1),
        "TensorMesh": case.tensormesh(),
        "TensorMesh one point": case.tensormesh(1),
        "torch-fem": case.torchfem(),
    }
    agree(jobs, "scikit-fem")
    report(f"{case.dim}D nodes moved", medians(jobs))


def test_coefficient(case: Case) -> None:
    jobs = {
        "ours": case.ours_coefficient(),
        "scikit-fem": case.skfem_coefficient(),
        "scikit-fem one point": case.skfem_coefficient(intorder=1),
        "TensorMesh one point": case.tensormesh_coefficient(1),
        "torch-fem": case.torchfem_coefficient(),
    }
    agree(jobs, "scikit-fem")
    report(f"{case.dim}D new coefficient", medians(jobs))


def test_cold(case: Case) -> None:
    jobs = {
        "ours": case.ours_cold(),
        "ours, mesh checked": case.ours_cold(()),
        "scikit-fem": case.skfem_cold(),
        "scikit-fem one point": case.skfem_cold(intorder=1),
        "TensorMesh one point": case.tensormesh_cold(1),
        "torch-fem": case.torchfem_cold(),
    }
    agree(jobs, "scikit-fem")
    report(f"{case.dim}D cold", medians(jobs, 5))


def test_backward(case: Case) -> None:
    jobs = {
        "ours": case.ours_backward(),
        "TensorMesh one point": case.tensormesh_backward(1),
        "torch-fem": case.torchfem_backward(),
    }
    expected = jobs["ours"]()
    for name, job in jobs.items():
        torch.testing.assert_close(job(), expected, rtol=1e-9, atol=1e-9, msg=name)
    report(f"{case.dim}D forward + backward", medians(jobs))


@pytest.mark.parametrize("form", ["constant", "varying"])
@pytest.mark.parametrize("dim", [2, 3])
def test_elasticity(dim: int, form: str) -> None:
    small = Case(dim, 100_000 // 2**dim)
    mine, theirs = (elasticity, skfem_elasticity) if form == "constant" else (graded, skfem_graded)
    space = fem.FunctionSpace(small.mesh, ("P2", dim))
    mesh, points = small.mesh.to_skfem(), small.pos.numpy().T.copy()
    element = skfem.ElementVector(skfem.ElementTriP2() if dim == 2 else skfem.ElementTetP2())

    def peer() -> Any:
        return theirs.assemble(skfem.Basis(replace(mesh, doflocs=points), element, intorder=4))

    jobs: dict[str, Job] = {
        "ours": lambda: fem.assemble(mine, space.on(small.mesh.moved(small.new_pos())), degree=4),
        "scikit-fem": peer,
    }
    # Numberings differ: the same eigenvalues have the same sums and sums of squares.
    mine_at, theirs_at = (scipy_matrix(job()) for job in jobs.values())
    assert np.isclose(mine_at.diagonal().sum(), theirs_at.diagonal().sum(), rtol=1e-12)
    assert np.isclose((mine_at.data**2).sum(), (theirs_at.data**2).sum(), rtol=1e-12)
    report(f"{dim}D P2 elasticity, {form}", medians(jobs, 3))


PEAK = {
    "ours": Case.ours_cold,
    "scikit-fem": Case.skfem_cold,
    "scikit-fem one point": lambda case: case.skfem_cold(intorder=1),
    "TensorMesh one point": lambda case: case.tensormesh_cold(1),
    "torch-fem": Case.torchfem_cold,
}
"""Job of each contestant whose memory is measured."""


def resident(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"this system does not report {field}")


def peak(name: str, dim: int) -> int:
    """Bytes by which a first assembly raises the resident set at its peak."""
    Case(dim, 1000)  # torch's own first allocations
    PEAK[name](Case(dim, 1000))()
    case = Case(dim)
    job = PEAK[name](case)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # pages that are free but not given back would hide growth
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    kept = job()
    found = resident("VmHWM") - before
    del kept
    return found


@pytest.mark.parametrize("dim", [2, 3])
def test_memory(dim: int) -> None:
    found = {}
    for name in PEAK:
        command = [sys.executable, __file__, name, str(dim)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[name] = float(done.stdout.split()[-1])
    report(f"{dim}D peak memory, cold", found, "MB", 1e-6)


@pytest.mark.parametrize("dim", [2, 3])
def test_scaling(dim: int) -> None:
    sizes = (10_000, 100_000, 1_000_000)
    cases = {nodes: Case(dim, nodes) for nodes in sizes}
    times = {nodes: max(sizes) // nodes for nodes in sizes}

    def repeated(nodes: int) -> Job:
        job = cases[nodes].ours()

        def several() -> None:
            for _ in range(times[nodes]):
                job()

        return several

    found = medians({str(nodes): repeated(nodes) for nodes in sizes}, 5)
    print(f"\n{dim}D scaling, nodes moved")
    for nodes, case in cases.items():
        cells = case.mesh.num_cells * times[nodes]
        print(f"  {nodes:9d} nodes {found[str(nodes)] / cells * 1e9:8.1f} ns per cell")


if __name__ == "__main__":
    print(peak(sys.argv[1], int(sys.argv[2])))
