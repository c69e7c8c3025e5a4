"""FEniCSx: a mesh that follows a steep front (python front_fenicsx.py [PYTHON of meshlearn])."""

import sys

import dolfinx_solver  # noqa: F401 - of the wheel: before dolfinx; leave it out elsewhere
import numpy as np
import ufl
from dolfinx import fem, mesh
from dolfinx.fem.petsc import LinearProblem
from mpi4py import MPI

from meshlearn.plugins import fenicsx as adaptation

domain = mesh.create_unit_square(MPI.COMM_WORLD, 32, 32)
V = fem.functionspace(domain, ("Lagrange", 1))
u, v, uh, g = ufl.TrialFunction(V), ufl.TestFunction(V), fem.Function(V), fem.Function(V)
x, dx = ufl.SpatialCoordinate(domain), ufl.Measure("dx", domain, metadata={"quadrature_degree": 8})
r = ufl.sqrt((x[0] - 0.5) ** 2 + (x[1] - 0.5) ** 2 + 1e-20)
f = (1 - (exact := ufl.tanh((0.3 - r) / 0.04)) ** 2) / 0.04 * (2 * exact / 0.04 + 1 / r)
domain.topology.create_connectivity(1, 2)
sides = fem.locate_dofs_topological(V, 1, mesh.exterior_facet_indices(domain.topology))
a, load, bc = ufl.inner(ufl.grad(u), ufl.grad(v)) * dx, f * v * dx, fem.dirichletbc(g, sides)
problem = LinearProblem(a, load, bcs=[bc], u=uh, petsc_options_prefix="front")
square = fem.form((uh - exact) ** 2 * dx)


def solve():
    g.interpolate(lambda x: np.tanh((0.3 - np.hypot(x[0] - 0.5, x[1] - 0.5)) / 0.04))
    problem.solve()


def error():
    return np.sqrt(domain.comm.allreduce(fem.assemble_scalar(square)))


solve(), (before := error())
python = sys.argv[1] if sys.argv[1:] else None  # None: meshlearn works in this process
report = adaptation.adapt(domain, uh, iterations=3, resolve=solve, remote=python)
print(f"L2 error {before:.2e} -> {error():.2e} after {report.kept} moves")
