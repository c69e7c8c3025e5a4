"""A graph network learns to solve Poisson's equation, and is asked on a mesh it has not seen.

python examples/learn_solution.py [OUTPUT.png]

Loads are bumps at random places of random polygons; the network sees the load and the boundary. It
has a hierarchy of coarser graphs, since the solution at a node depends on the load everywhere.
"""

from __future__ import annotations

import sys

import torch
from torch_geometric.loader import DataLoader

import meshlearn as ml
from meshlearn import nn
from meshlearn.plot import Panel, save

torch.manual_seed(0)


def case(seed: int) -> tuple[ml.Mesh, torch.Tensor, torch.Tensor]:
    """A polygon, the load at its nodes, and the solution."""
    mesh = ml.generate.polygon(ml.generate.random_polygon(6, seed=seed), h=0.12)
    generator = torch.Generator().manual_seed(seed)
    middle = mesh.pos[torch.randint(mesh.num_nodes, (1,), generator=generator)]

    def load(x: torch.Tensor) -> torch.Tensor:
        return (-40 * (x - middle.to(x)).square().sum(dim=-1)).exp()

    solved = ml.problems.Poisson(source=load, boundary=0.0).solve(mesh)
    return mesh, load(mesh.pos), solved.u


def features(mesh: ml.Mesh, load: torch.Tensor) -> torch.Tensor:
    inner = torch.ones(mesh.num_nodes, 1)
    inner[mesh.boundary_nodes] = 0
    return torch.cat([load.float()[:, None], inner, nn.local_size(mesh).float()[:, None]], dim=1)


data = []
for seed in range(96):
    mesh, load, exact = case(seed)
    mesh.set_field("given", features(mesh, load), "node")
    mesh.set_field("wanted", exact.float(), "node")
    data.append(mesh)
scale = torch.cat([mesh["wanted"] for mesh in data]).std()
net = nn.MultiscaleNet(3, 1, width=24, levels=3)
steps = 288
adam = torch.optim.Adam(net.parameters(), lr=4e-3)
slower = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
losses = []
while len(losses) < steps:
    for batch in DataLoader(data, batch_size=12, shuffle=True):
        adam.zero_grad()
        found = net(batch, batch["given"])[:, 0] * batch["given"][:, 1]
        loss = (found - batch["wanted"] / scale).square().mean()
        loss.backward()
        adam.step()
        slower.step()
        losses.append(loss.item())
        if len(losses) % 96 == 0:
            recent = sum(losses[-24:]) / 24
            print(f"step {len(losses):3}   {100 * recent**0.5:3.0f} % of the deviation off")

mesh, load, exact = case(1000)
with torch.no_grad():
    given = features(mesh, load)
    found = (scale * net(mesh, given)[:, 0] * given[:, 1]).double()
miss = float((found - exact).norm() / exact.norm())
print(f"a polygon it has not seen: {100 * miss:.0f} % off")
panels = [Panel(mesh, "solved", exact, "u"), Panel(mesh, "predicted", found, "u")]
print(f"see {save(panels, sys.argv[1] if len(sys.argv) > 1 else 'learn_solution.png')}")
