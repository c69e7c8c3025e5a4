"""A tsunami in a bay with an island: the sea floor lifts the water far out, the waves run ashore.

Lengths in kilometres, time in minutes. The western side is open sea, the rest is coast.

python examples/tsunami.py [OUTPUT.png]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

import meshlearn as ml
from meshlearn.plot import Panel, save

COAST = [(0, 0), (90, -15), (150, 5), (205, -5), (240, 40), (215, 75), (245, 110), (200, 150)]
COAST += [(140, 135), (95, 160), (0, 150)]
ISLAND = [(140, 60), (152, 52), (163, 64), (156, 80), (143, 76)]
GRAVITY = 9.81e-3 * 60**2


def depth(x: Tensor) -> Tensor:
    """From 4 km in the west to 400 m at the eastern shore."""
    return 0.4 + 3.6 * torch.sigmoid((110 - x[:, 0]) / 18)


def uplift(x: Tensor) -> Tensor:
    """Metres of water above the rest, along a fault that runs north and south."""
    return 2 * torch.exp(-(((x[:, 0] - 55) / 10) ** 2) - ((x[:, 1] - 70) / 30) ** 2)


plain = ml.generate.polygon(COAST, h=4.0, holes=[ISLAND])
outer = plain.facet_tags["outer"]
west = (plain.pos[outer][:, :, 0] < 1e-6).all(dim=1)
mesh = ml.Mesh.from_cells(
    plain.pos,
    plain.cells,
    facet_tags={"sea": outer[west], "coast": outer[~west], "island": plain.facet_tags["hole_0"]},
)
sea = ml.problems.ShallowWater(depth, uplift, gravity=GRAVITY, open_sides=["sea"])
waves = sea.solve(mesh, end=45.0, steps=450, every=15)

shore = mesh.tagged_nodes("coast")
highest = shore[waves.crest[shore].argmax()]
x, y = mesh.pos[highest].tolist()
print(f"highest at the coast: {waves.crest[highest]:.1f} m at ({x:.0f}, {y:.0f}) km")

picture = Path(sys.argv[1] if len(sys.argv) > 1 else "tsunami.png")
frames = [4, 10, 20]
panels = [
    Panel(mesh, f"{waves.times[k]:.0f} min", waves.elevations[k, : mesh.num_nodes], "elevation, m")
    for k in frames
]
print(f"see {save(panels, picture)} and {waves.write(picture.with_suffix('.pvd'))}")
