"""Iterative solvers beside a factorisation: time, memory and steps, by the number of unknowns.

Run with `OMP_NUM_THREADS=1 pytest -s tests/benchmarks/bench_solvers.py`. Each figure comes from a
process of its own (`python bench_solvers.py JOB DIM N METHOD`): seconds from the matrix to the
solution, set-up included, and by how much the resident set grows at its peak. Jobs, on a unit
square or cube of n x n (x n) boxes:

- `stokes`: flow driven by a lid, P2-P1, relative residual 1e-10;
- `oseen`: the same with convection along that flow, Reynolds number 100;
- `elasticity`: a P2 body held on one side, under its weight.
"""

from __future__ import annotations

import gc
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import meshlearn as ml
from meshlearn.fem import (
    Dirichlet,
    Field,
    FunctionSpace,
    LinearSolver,
    assemble,
    assemble_linear,
    div,
    inner,
    solve,
    sym,
)
from meshlearn.fem.operators import grad
from meshlearn.problems import Stokes
from meshlearn.problems.flow import convection, creeping, discretised

SIZES = {2: (48, 96, 160), 3: (6, 9, 12)}
System = tuple[Any, Any, list[Any]]


def square(dim: int, n: int) -> ml.Mesh:
    return ml.generate.rectangle(n, n) if dim == 2 else ml.generate.box(n, n, n)


def lid(x: torch.Tensor) -> torch.Tensor:
    on = (x[:, -1] > 1 - 1e-9).double()
    return torch.stack([on, *[0 * on] * (x.shape[1] - 1)], dim=1)


def stokes(dim: int, n: int) -> System:
    problem = discretised(Stokes(0.01, {"boundary": lid}), square(dim, n), "taylor-hood")
    matrix = assemble(lambda u, v, w: creeping(0.01, u, v), problem.space)
    return matrix, assemble_linear(problem.load, problem.space, degree=4), problem.conditions


def oseen(dim: int, n: int) -> System:
    problem = discretised(Stokes(0.01, {"boundary": lid}), square(dim, n), "taylor-hood")
    matrix, right, bcs = stokes(dim, n)
    flow = Field(problem.space, solve(matrix, right, bcs, "block", 1e-8))

    def form(u: Any, v: Any, w: Any) -> Any:
        return creeping(0.01, u, v) + convection(w.flow[0], u[0], v[0])

    return assemble(form, problem.space, degree=5, flow=flow), right, bcs


def elasticity(dim: int, n: int) -> System:
    space = FunctionSpace(square(dim, n), ("P2", dim))
    matrix = assemble(
        lambda u, v, w: 0.8 * inner(sym(grad(u)), sym(grad(v))) + 0.6 * (div(u) * div(v)), space
    )
    load = assemble_linear(lambda v, w: -1.0 * v[dim - 1], space)
    return matrix, load, [Dirichlet(space, "left")]


JOBS: dict[str, tuple[Callable[[int, int], System], str]] = {
    "stokes": (stokes, "block"),
    "oseen": (oseen, "block"),
    "elasticity": (elasticity, "amg"),
}


def resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1e3
    raise OSError(f"this system does not report {field}")


def measured(job: str, dim: int, n: int, method: Any) -> str:
    """Unknowns, seconds, MB and steps."""
    torch.set_num_threads(1)
    make, iterative = JOBS[job]
    matrix, right, bcs = make(dim, 3)
    LinearSolver(matrix, bcs, iterative)(right)  # type: ignore[arg-type]  # imports
    matrix, right, bcs = make(dim, n)
    gc.collect()
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    begin = time.perf_counter()
    solver = LinearSolver(matrix, bcs, method)
    solver(right)
    seconds = time.perf_counter() - begin
    growth = resident("VmHWM") - before
    return f"{len(right)} {seconds:.2f} {growth:.0f} {solver.iterations or 0}"


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("job", JOBS)
def test_solvers(job: str, dim: int) -> None:
    print(f"\n{dim}D {job:12s} unknowns: seconds, MB (direct) | seconds, MB, steps (iterative)")
    for n in SIZES[dim]:
        rows = []
        for method in ("direct", JOBS[job][1]):
            command = [sys.executable, __file__, job, str(dim), str(n), method]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            rows.append(done.stdout.split())
        (count, *direct, _), (_, *iterative) = rows
        print(f"  {int(count):8d}: {' '.join(direct):>14s} | {' '.join(iterative):>18s}")


if __name__ == "__main__":
    name, *sizes, method = sys.argv[1:]
    print(measured(name, int(sizes[0]), int(sizes[1]), method))
