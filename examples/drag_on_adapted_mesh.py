"""The drag of the DFG cylinder (Re 20) on a mesh whose nodes go where the drag's error comes from.

The number of nodes stays; an adjoint flow tells what each cell contributes to the error.

python examples/drag_on_adapted_mesh.py [OUTPUT.png]
"""

from __future__ import annotations

import sys

from torch import Tensor

import meshlearn as ml
from meshlearn.monitors import Indicator
from meshlearn.movers import FromSolution
from meshlearn.plot import Panel, save
from meshlearn.problems import FlowSolution, cylinder_flow, drag_lift, force_estimate

PUBLISHED = 5.57953523384
flow, mesh = cylinder_flow(), ml.generate.channel_blocks(16, 6, 20)


def shares(s: FlowSolution) -> Tensor:
    """Contributions of the cells to the error of the drag coefficient."""
    return force_estimate(flow, s, "cylinder", scale=2 / (0.2**2 * 0.1)).cells


outcome = ml.adapt(
    flow,
    mesh,
    monitor=FromSolution(lambda s: Indicator(s.mesh, shares(s), order=4, strength=1.0)),
    iterations=2,
    estimate=lambda s: shares(s).abs().sum(),
)

panels = []
for step in (outcome.steps[0], outcome.steps[outcome.best]):
    drag = float(drag_lift(step.solution, "cylinder", speed=0.2, length=0.1)[0])
    title = f"{mesh.num_nodes} nodes, drag {drag:.4f}, error {drag - PUBLISHED:+.4f}"
    print(title)
    panels.append(Panel(step.mesh, title, step.solution.u.norm(dim=1), "speed"))
print(f"see {save(panels, sys.argv[1] if len(sys.argv) > 1 else 'drag_on_adapted_mesh.png')}")
