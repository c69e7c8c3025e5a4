"""Any solver between moves: here a script of scikit-fem that reads case.mesh, writes result.vtu."""

import sys
from pathlib import Path

import meshlearn as ml
from meshlearn.plugins.loop import adapt_loop

SOLVER = """
import numpy as np, skfem
from skfem.helpers import dot, grad
mesh = skfem.MeshTri.load("case.mesh")
basis = skfem.Basis(mesh, skfem.ElementTriP1())
A = skfem.BilinearForm(lambda u, v, w: 1e-3 * dot(grad(u), grad(v)) + u * v).assemble(basis)
b = skfem.LinearForm(lambda v, w: 1.0 * v).assemble(basis)
u = skfem.solve(*skfem.condense(A, b, D=basis.get_dofs()))  # layers at the sides
mesh.save("result.vtu", point_data={"u": u})
"""
folder = Path("loop")
folder.mkdir(exist_ok=True)
ml.generate.rectangle(24, 24).write(folder / "case.mesh")
(folder / "solver.py").write_text(SOLVER)

command = [sys.executable, "solver.py"]
found = adapt_loop(folder, command, "u", mesh="case.mesh", result="result.vtu", iterations=2)

for run in found.runs:
    print(f"{run.log}: {run.seconds:.1f} s")
estimates = found.adaptation.estimates
print(f"estimated error {estimates[0]:.2e} -> {estimates[found.adaptation.kept]:.2e}")
