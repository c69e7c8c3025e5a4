"""Cook's membrane: a tapered panel bends in its plane; the tip moves up by 23.96.

python examples/cook_membrane.py [OUTPUT.png]
"""

from __future__ import annotations

import sys

import torch

import meshlearn as ml
from meshlearn.plot import Panel, save

TIP = torch.tensor([48.0, 52.0], dtype=torch.float64)
membrane = ml.problems.Elasticity(
    young=1.0,
    poisson=1 / 3,
    plane="stress",
    displacements={"left": 0.0},
    tractions={"right": (0.0, 1 / 16)},
)

for n in (4, 8, 16, 32):
    square = ml.generate.rectangle(n, n, cell="quad")
    x, y = square.pos.unbind(dim=1)
    mesh = square.moved(torch.stack([48 * x, 44 * x + (44 - 28 * x) * y], dim=1))
    tip = (mesh.pos - TIP).norm(dim=1).argmin()
    linear, quadratic = (membrane.solve(mesh, degree) for degree in (1, 2))
    print(f"{n:3} x {n:<3} Q1 {linear.u[tip, 1]:7.3f}   Q2 {quadratic.u[tip, 1]:7.3f}")

bent = mesh.moved(mesh.pos + quadratic.u)
panel = Panel(bent, f"the tip rises by {quadratic.u[tip, 1]:.2f}", quadratic.von_mises, "von Mises")
print(f"see {save([panel], sys.argv[1] if len(sys.argv) > 1 else 'cook_membrane.png')}")
