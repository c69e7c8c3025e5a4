"""scikit-fem: a mesh that follows a steep front (python examples/plugins/front_skfem.py)."""

import numpy as np
import skfem
from skfem.helpers import dot, grad

from meshlearn.plugins import skfem as adaptation


def exact(x):
    return np.tanh((0.3 - np.hypot(x[0] - 0.5, x[1] - 0.5)) / 0.04)


def source(x):
    r = np.hypot(x[0] - 0.5, x[1] - 0.5)
    slope = (1 - exact(x) ** 2) / 0.04
    return slope * (2 * exact(x) / 0.04 + 1 / r)


def solve(mesh):
    basis = skfem.Basis(mesh, skfem.ElementTriP1(), intorder=8)
    A = skfem.BilinearForm(lambda u, v, w: dot(grad(u), grad(v))).assemble(basis)
    b = skfem.LinearForm(lambda v, w: source(w.x) * v).assemble(basis)
    sides = basis.get_dofs()
    u = basis.zeros()
    u[sides] = exact(basis.doflocs[:, sides.all()])
    u = skfem.solve(*skfem.condense(A, b, x=u, D=sides))
    square = skfem.Functional(lambda w: (w.u - exact(w.x)) ** 2)
    return (basis, u), np.sqrt(square.assemble(basis, u=u))


mesh = skfem.MeshTri.init_tensor(np.linspace(0, 1, 33), np.linspace(0, 1, 33))
u, before = solve(mesh)
report = adaptation.adapt(mesh, u, iterations=3, resolve=lambda: solve(mesh)[0])
print(f"L2 error {before:.2e} -> {solve(mesh)[1]:.2e} after {report.kept} moves")
