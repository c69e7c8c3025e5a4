"""Adapt a square to a solution that is steep on a circle, and draw both meshes.

python examples/adapt_ring.py [OUTPUT.png]
"""

from __future__ import annotations

import sys

import meshlearn as ml
from meshlearn.plot import Panel, save

mesh = ml.generate.rectangle(40, 40)
problem = ml.problems.named_problem("ring", mesh)

outcome = ml.adapt(problem, mesh, iterations=3)

first, best = outcome.steps[0], outcome.steps[outcome.best]
panels = [
    Panel(step.mesh, f"L2 error {step.errors['l2']:.2e}", step.solution.u, "u")
    for step in (first, best)
    if step.errors
]
picture = save(panels, sys.argv[1] if len(sys.argv) > 1 else "adapt_ring.png")
print(f"L2 error {first.errors['l2'] / best.errors['l2']:.1f} times smaller; see {picture}")
