"""MFEM: a mesh that follows a steep front (python examples/plugins/front_mfem.py)."""

import mfem.ser as mfem
import numpy as np

from meshlearn.plugins import mfem as adaptation

scalar = mfem.jit.scalar(td=False, interface="simple")
exact = scalar(lambda x: np.tanh((0.3 - np.hypot(x[0] - 0.5, x[1] - 0.5)) / 0.04))


@scalar
def source(x):
    r = np.hypot(x[0] - 0.5, x[1] - 0.5) + 1e-12
    u = np.tanh((0.3 - r) / 0.04)
    return (1 - u**2) / 0.04 * (2 * u / 0.04 + 1 / r)


mesh = mfem.Mesh.MakeCartesian2D(32, 32, mfem.Element.TRIANGLE, True, 1.0, 1.0)
V = mfem.FiniteElementSpace(mesh, linear := mfem.H1_FECollection(1, 2))  # linear: keep alive
u, sides = mfem.GridFunction(V), mfem.intArray([1, 1, 1, 1])


def solve():
    a, f, fixed = mfem.BilinearForm(V), mfem.LinearForm(V), mfem.intArray()
    a.AddDomainIntegrator(mfem.DiffusionIntegrator())
    f.AddDomainIntegrator(mfem.DomainLFIntegrator(source, 2, 6))
    a.Assemble(), f.Assemble(), V.GetEssentialTrueDofs(sides, fixed)
    u.Assign(0.0), u.ProjectBdrCoefficient(exact, sides)
    A, X, B = mfem.SparseMatrix(), mfem.Vector(), mfem.Vector()
    a.FormLinearSystem(fixed, u, f, A, X, B)
    mfem.PCG(A, mfem.GSSmoother(A), B, X, 0, 2000, 1e-24, 0.0)
    a.RecoverFEMSolution(X, f, u)


solve()
before = u.ComputeL2Error(exact)
report = adaptation.adapt(mesh, u, iterations=3, resolve=solve)
print(f"L2 error {before:.2e} -> {u.ComputeL2Error(exact):.2e} after {report.kept} moves")
