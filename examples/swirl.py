"""A slotted disc, a cone and a hump are drawn out by a vortex, and come back as it turns round.

python examples/swirl.py [OUTPUT.png]
"""

from __future__ import annotations

import sys

from torch import Tensor

import meshlearn as ml
from meshlearn.plot import Panel, save
from meshlearn.problems.swirl import bump, cone, slotted_disc


def shapes(x: Tensor) -> Tensor:
    """Three of them, each in its place."""
    return slotted_disc(x) + cone(x) + bump(x)


mesh = ml.generate.rectangle(50, 50)
series = ml.problems.swirl(shapes, period=1.5).solve(mesh, end=1.5, every=2)

errors = series.errors()
drift = (series.mass / series.mass[0] - 1).abs().max()
print(f"back at the start: error {errors['l1']:.3f} in L1, {errors['l2']:.3f} in L2")
print(f"mass changed by {drift:.0e} of itself")
middle = len(series) // 2
panels = [
    Panel(mesh, f"t = {float(series.times[k]):.2f}", series[k].u, "u") for k in (0, middle, -1)
]
print(f"see {save(panels, sys.argv[1] if len(sys.argv) > 1 else 'swirl.png')}")
