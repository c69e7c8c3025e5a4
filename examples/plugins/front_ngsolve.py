"""NGSolve: a mesh that follows a steep front (python examples/plugins/front_ngsolve.py)."""

import ngsolve as ngs
from netgen.geom2d import unit_square
from ngsolve import dx, grad, x, y

from meshlearn.plugins import ngsolve as adaptation

r = ngs.sqrt((x - 0.5) ** 2 + (y - 0.5) ** 2 + 1e-20)
exact = 2 / (1 + ngs.exp(-2 * (0.3 - r) / 0.04)) - 1  # tanh((0.3 - r) / 0.04)
slope = (1 - exact**2) / 0.04
source = slope * (2 * exact / 0.04 + 1 / r)

mesh = ngs.Mesh(unit_square.GenerateMesh(maxh=0.035))
V = ngs.H1(mesh, order=1, dirichlet=".*")
u, v = V.TnT()
uh = ngs.GridFunction(V)


def solve():
    a = ngs.BilinearForm(grad(u) * grad(v) * dx).Assemble()
    f = ngs.LinearForm(source * v * dx(bonus_intorder=8)).Assemble()
    uh.Set(exact, definedon=mesh.Boundaries(".*"))
    uh.vec.data += a.mat.Inverse(V.FreeDofs()) * (f.vec - a.mat * uh.vec)


def error():
    return ngs.sqrt(ngs.Integrate((uh - exact) ** 2, mesh, order=10))


solve()
before = error()
report = adaptation.adapt(mesh, uh, iterations=3, resolve=solve)
print(f"L2 error {before:.2e} -> {error():.2e} after {report.kept} moves")
