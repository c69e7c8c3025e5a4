"""Let nodes slide around the cylinder of the DFG channel: more of them where the flow meets it.

python examples/slide_on_cylinder.py [OUTPUT.png]
"""

from __future__ import annotations

import sys

import torch

import meshlearn as ml
from meshlearn.plot import Panel, save

mesh = ml.generate.polygon(
    [[-1, -0.8], [1.4, -0.8], [1.4, 0.8], [-1, 0.8]],
    h=0.14,
    holes=[[[0.4 * torch.cos(a).item(), 0.4 * torch.sin(a).item()] for a in
            torch.arange(24, dtype=torch.float64) * 2 * torch.pi / 24]],
    seed=0,
)  # fmt: skip


def layer(x: torch.Tensor) -> torch.Tensor:
    """Fifteen times denser at the front of the cylinder, less so in its wake."""
    front = torch.exp(-(((x - x.new_tensor([-0.4, 0.0])) / 0.25) ** 2).sum(dim=1))
    wake = torch.sigmoid(x[:, 0] / 0.1) * torch.exp(-((x[:, 1] / 0.25) ** 2))
    return 1 + 14 * front + 3 * wake


monitor = ml.monitors.Function(layer)
mover = ml.movers.Variational(theta=0.1)
panels = [Panel(mesh, "before", monitor(mesh), "monitor")]
for slide, title in (("flat", "cylinder held"), ("curved", "nodes slide on it")):
    result = mover.move(mesh, monitor, slide=slide)
    report = result.report
    print(
        f"{title}: std/mean {report.equidistribution_after:.3f}, worst quality "
        f"{report.min_quality:.2f}, area changed by {report.volume_error:.1e}, "
        f"distance from the curve {report.boundary_error:.0e}"
    )
    panels.append(Panel(result.mesh, title, monitor(result.mesh), "monitor"))
print(f"see {save(panels, sys.argv[1] if len(sys.argv) > 1 else 'slide_on_cylinder.png')}")
