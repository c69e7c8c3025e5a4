"""Run by mpiexec: NGSolve on a distributed mesh; rank 0 prints what was found as JSON."""

from __future__ import annotations

import json

import netgen.meshing
import ngsolve as ngs
import numpy as np
from mpi4py import MPI
from netgen.geom2d import unit_square
from ngsolve import dx, grad, x, y

from meshlearn.plugins import ngsolve as adaptation

comm = MPI.COMM_WORLD
generated = unit_square.GenerateMesh(maxh=0.045) if comm.rank == 0 else None
whole = ngs.Mesh(generated.Copy()) if generated is not None else None
mesh = ngs.Mesh(generated.Distribute(comm) if generated else netgen.meshing.Mesh.Receive(comm))

r = ngs.sqrt((x - 0.5) ** 2 + (y - 0.5) ** 2 + 1e-20)
exact = 2 / (1 + ngs.exp(-2 * (0.3 - r) / 0.04)) - 1
slope = (1 - exact**2) / 0.04
source = slope * (2 * exact / 0.04 + 1 / r)
V = ngs.H1(mesh, order=1, dirichlet=".*")
u, v = V.TnT()
uh = ngs.GridFunction(V)


def error() -> float:
    a = ngs.BilinearForm(grad(u) * grad(v) * dx)
    jacobi = ngs.Preconditioner(a, "local")
    a.Assemble()
    f = ngs.LinearForm(source * v * dx(bonus_intorder=8)).Assemble()
    uh.Set(exact, definedon=mesh.Boundaries(".*"))
    rest = (f.vec - a.mat * uh.vec).Evaluate()
    inverse = ngs.CGSolver(a.mat, jacobi.mat, maxiter=2000, tol=1e-12)
    uh.vec.data += inverse * rest
    return float(np.sqrt(ngs.Integrate((uh - exact) ** 2, mesh, order=10)))


before, coordinates = error(), mesh.ngmesh.Coordinates().copy()
constant, linear = ngs.GridFunction(ngs.L2(mesh, order=0)), ngs.GridFunction(ngs.H1(mesh))
constant.Set(1 + x + y)
linear.Set(x - 2 * y)
total = ngs.Integrate(constant, mesh)
report = adaptation.adapt(mesh, uh, transfer=[constant, linear], method="conservative")
moved = adaptation.to_mesh(mesh)
area = ngs.Integrate(ngs.CF(1), mesh)
carried = abs(ngs.Integrate(constant, mesh) - total)
carried += np.sqrt(ngs.Integrate((linear - (x - 2 * y)) ** 2, mesh))
after = error()
report.undo()
restored = comm.gather(np.array_equal(mesh.ngmesh.Coordinates(), coordinates))
error()
report = adaptation.adapt(mesh, exact)
serial = 0.0
if whole is not None:  # the same positions as without MPI, in another order of nodes
    alone = adaptation.adapt(whole, exact)
    serial = max(
        float(np.abs(np.sort(a) - np.sort(b)).max())
        for a, b in zip(alone.positions.T, report.positions.T, strict=True)
    )
refusal = ""
try:
    adaptation.adapt(mesh, uh, fixed=["nowhere"])
except ValueError as problem:
    refusal = str(problem)
refusals, on_rank = comm.gather(refusal), comm.gather(moved is not None)
if comm.rank == 0:
    found = {"before": before, "after": after, "restored": restored, "area": area}
    found |= {"carried": carried, "serial": serial, "refusals": refusals, "whole": on_rank}
    print(json.dumps(found))
