"""Depth of graph networks: GraphDiffusion against graph convolutions, a table in docs/operators.md.

    python docs/scripts/depth.py

The nodes of a mesh belong to the four corners of a square; each node sees its class under noise of
twice the signal, and one node in twenty is labelled. A network of L graph convolutions (PyG's
GCNConv, ReLU) and a GraphDiffusion of L steps of length 1 are trained alike.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import GCNConv

from meshlearn.mesh import Mesh, generate
from meshlearn.operators import GraphDiffusion

DEPTHS = (2, 4, 8, 16, 32, 64)
SEEDS = (0, 1, 2)
CLASSES, NOISE, STEPS, WIDTH = 4, 2.0, 150, 32


class Convolutions(nn.Module):
    """Encoder, graph convolutions, decoder."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.encode, self.decode = nn.Linear(CLASSES, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.layers = nn.ModuleList(GCNConv(WIDTH, WIDTH) for _ in range(depth))

    def forward(self, mesh: Mesh, seen: Tensor) -> Tensor:
        h = self.encode(seen.float()).relu()
        for layer in self.layers:
            h = layer(h, mesh.edge_index).relu()
        return self.decode(h)


class Diffusion(nn.Module):
    """A GraphDiffusion as a classifier."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.model = GraphDiffusion(
            [("seen", "P1", CLASSES)],
            [("score", "P1", CLASSES)],
            width=WIDTH,
            steps=depth,
            time=float(depth),
        )

    def forward(self, mesh: Mesh, seen: Tensor) -> Tensor:
        return self.model(mesh, {"seen": seen})["score"]


def accuracy(kind: type[nn.Module], depth: int, seed: int) -> float:
    """Share of the unlabelled nodes that are classified right after training."""
    mesh = generate.polygon([[0, 0], [1, 0], [1, 1], [0, 1]], h=0.045, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    label = 2 * (mesh.pos[:, 0] > 0.5).long() + (mesh.pos[:, 1] > 0.5).long()
    noise = torch.randn(len(label), CLASSES, generator=generator, dtype=torch.float64)
    seen = nn.functional.one_hot(label, CLASSES).double() + NOISE * noise
    known = torch.rand(len(label), generator=generator) < 0.05
    torch.manual_seed(seed)
    model = kind(depth)
    optimiser = torch.optim.AdamW(model.parameters(), 5e-3, weight_decay=1e-2)
    for _ in range(STEPS):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(mesh, seen)[known], label[known])
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        right = model(mesh, seen).argmax(dim=1) == label
    return float(right[~known].double().mean())


def main() -> None:
    """Train all and print the table."""
    print("| depth | " + " | ".join(str(depth) for depth in DEPTHS) + " |")
    print("|---" * (1 + len(DEPTHS)) + "|")
    for name, kind in (("graph convolutions", Convolutions), ("GraphDiffusion", Diffusion)):
        cells = []
        for depth in DEPTHS:
            found = torch.tensor([accuracy(kind, depth, seed) for seed in SEEDS])
            cells.append(f"{100 * float(found.mean()):.0f} ({100 * float(found.min()):.0f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
