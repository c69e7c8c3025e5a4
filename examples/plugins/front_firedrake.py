"""Firedrake: a mesh that follows a steep front; not run by the tests of this package."""

import firedrake as fd

from meshlearn.plugins import firedrake as adaptation

mesh = fd.UnitSquareMesh(32, 32)
V = fd.FunctionSpace(mesh, "CG", 1)
u, v, uh = fd.TrialFunction(V), fd.TestFunction(V), fd.Function(V)
x, y = fd.SpatialCoordinate(mesh)
r = fd.sqrt((x - 0.5) ** 2 + (y - 0.5) ** 2 + 1e-20)
exact = fd.tanh((0.3 - r) / 0.04)
source = (1 - exact**2) / 0.04 * (2 * exact / 0.04 + 1 / r)


def solve():
    bc = fd.DirichletBC(V, fd.Function(V).interpolate(exact), "on_boundary")
    fd.solve(fd.inner(fd.grad(u), fd.grad(v)) * fd.dx == source * v * fd.dx(degree=8), uh, bcs=bc)


solve()
before = fd.errornorm(exact, uh, degree_rise=4)
report = adaptation.adapt(mesh, uh, iterations=3, resolve=solve)
after = fd.errornorm(exact, uh, degree_rise=4)
print(f"L2 error {before:.2e} -> {after:.2e} after {report.kept} moves")
