"""Observed orders of convergence, and meshes that the tests of problems share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from meshlearn.mesh import Mesh, generate


def last_order(errors: Callable[[int], dict[str, float]], sizes: Sequence[int]) -> dict[str, float]:
    """Order of each error between the two finest of some grids of `n` cells a side."""
    coarse, fine = (errors(n) for n in sizes)
    ratio = math.log(sizes[1] / sizes[0])
    return {name: math.log(coarse[name] / fine[name]) / ratio for name in fine}


def jiggled(mesh: Mesh, amount: float) -> Mesh:
    """Inner nodes moved by up to `amount` along each axis."""
    inner = torch.ones(mesh.num_nodes, dtype=torch.float64)
    inner[mesh.boundary_nodes] = 0
    return mesh.moved(mesh.pos + amount * (2 * torch.rand_like(mesh.pos) - 1) * inner[:, None])


def half_and_half(n: int) -> Mesh:
    """The unit square with quads on the left and triangles on the right, `n` (even) a side."""
    quads = generate.rectangle(n, n, cell="quad")
    right = quads.centroids()[:, 0] > 0.5
    cell = quads.cells["quad"]
    cut = cell[right]
    triangles = torch.cat([cut[:, [0, 1, 2]], cut[:, [0, 2, 3]]])
    return Mesh.from_cells(
        quads.pos, {"quad": cell[~right], "triangle": triangles}, facet_tags=quads.facet_tags
    )
