"""Move the cylinder of the DFG channel: the mesh follows as an elastic body and never tangles.

python examples/moving_cylinder.py [OUTPUT.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

import meshlearn as ml
from meshlearn.plot import Panel, save

mesh = ml.read(Path(__file__).parents[1] / "meshes" / "channel_cylinder.msh")
shift = torch.tensor([0.15, 0.05], dtype=torch.float64)

result = ml.movers.Elastic().displace(mesh, {"cylinder": lambda x: shift.expand(len(x), 2)})

print(result.report)
panels = [
    Panel(m, f"smallest quality {m.quality().min():.2f}", m.quality(), "mean ratio")
    for m in (mesh, result.mesh)
]
print(f"see {save(panels, sys.argv[1] if len(sys.argv) > 1 else 'moving_cylinder.png')}")
