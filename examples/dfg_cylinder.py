"""The DFG benchmark: forces on a cylinder in a channel, steady (Re 20) and shedding (Re 100).

python examples/dfg_cylinder.py [OUTPUT.png]              the steady case, seconds
python examples/dfg_cylinder.py OUTPUT.png --shedding     also the unsteady one, minutes
"""

from __future__ import annotations

import sys
import time

import meshlearn as ml
from meshlearn.plot import Panel, save
from meshlearn.problems import (
    Stokes,
    UnsteadyNavierStokes,
    cylinder_flow,
    drag_lift,
    frequency,
    pressure_difference,
)

print("Re 20: drag 5.57953523, lift 0.01061895, pressure difference 0.11752017 are published")
for h in (0.06, 0.04, 0.03):
    mesh = ml.generate.channel_with_cylinder(h, h / 10)
    begin = time.perf_counter()
    flow = cylinder_flow().solve(mesh)
    seconds = time.perf_counter() - begin
    drag, lift = drag_lift(flow, "cylinder", speed=0.2, length=0.1)
    gap = pressure_difference(flow, (0.15, 0.2), (0.25, 0.2))
    print(
        f"{flow.field.space.num_dofs:7} unknowns  drag {drag:.8f}  lift {lift:.8f}  "
        f"pressure difference {gap:.8f}  {seconds:.1f} s"
    )

output = sys.argv[1] if len(sys.argv) > 1 else "dfg_cylinder.png"
panels = [Panel(mesh, f"Re 20, drag {drag:.4f}", flow.u.norm(dim=1), "speed")]

if "--shedding" in sys.argv:
    problem, mesh = cylinder_flow(peak=1.5), ml.generate.channel_with_cylinder(0.03, 0.003)
    unsteady = UnsteadyNavierStokes(problem)
    start = Stokes(problem.viscosity, problem.velocities).solve(mesh)
    # Long steps until the wake is periodic, then short ones for the record.
    developed = unsteady.solve(mesh, 4.0, 400, start=start)[-1]
    series = unsteady.solve(mesh, 1.5, 600, start=developed, bodies=("cylinder",))
    drags, lifts = (c[100:] for c in series.drag_lift("cylinder", speed=1.0, length=0.1))
    strouhal = 0.1 * frequency(series.step_times[100:], lifts)
    print("Re 100: Strouhal number 0.300, largest drag 3.230, largest lift 1.00 are published")
    print(
        f"{start.field.space.num_dofs:7} unknowns  Strouhal {strouhal:.4f}  "
        f"largest drag {drags.max():.4f}  largest lift {lifts.max():.4f}"
    )
    panels.append(Panel(mesh, "Re 100", series[-1].u.norm(dim=1), "speed"))

print(f"see {save(panels, output)}")
