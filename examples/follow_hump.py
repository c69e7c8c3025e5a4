"""The nodes follow a hump that a vortex draws out and brings back: error, mass, an animation.

python examples/follow_hump.py [OUTPUT.gif]
"""

from __future__ import annotations

import sys
from pathlib import Path

import meshlearn as ml
from meshlearn.monitors import Constant
from meshlearn.plot import Panel, animate
from meshlearn.problems.swirl import bump

END, STEPS, FRAMES = 1.0, 100, 20
mesh = ml.generate.rectangle(16, 16)
hump = ml.problems.swirl(bump, period=END)

moved = ml.movers.adapt_in_time(hump, mesh, END, STEPS, every=5, keep=STEPS // FRAMES)
fixed = ml.movers.adapt_in_time(
    hump, mesh, END, STEPS, monitor=lambda m, u: Constant(), every=STEPS, settle=0, keep=STEPS
)

before, after = (series[-1].errors()["l2"] for series in (fixed, moved))
print(f"L2 error {before:.4f} with nodes at rest, {after:.4f} with nodes that follow")
print(f"mass changed by {moved.mass_defect:.0e}; inverted cells: {moved.steps[-1].inverted_cells}")

output = Path(sys.argv[1] if len(sys.argv) > 1 else "follow_hump.gif")
frames = [
    Panel(moved.meshes[k], f"t = {float(moved.times[k]):.2f}", moved[k].u.clamp(0, 0.5), "u")
    for k in range(len(moved))
]
animate(frames, output, width=260)
print(f"see {output} ({output.stat().st_size // 1000} kB)")
