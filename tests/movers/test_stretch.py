"""The barrier on edges of curved sides."""

from __future__ import annotations

import pytest
import torch

from meshlearn.mesh import generate
from meshlearn.movers.stretch import stretch


@pytest.mark.parametrize("dim", [2, 3])
def test_the_gradient_is_that_of_the_energy(dim: int) -> None:
    mesh = generate.disk(4) if dim == 2 else generate.ball(3)
    facets = mesh.topology.facets[mesh.topology.boundary_facets]
    barrier = stretch(mesh, facets, mesh.boundary_nodes, 2.0)
    generator = torch.Generator().manual_seed(0)
    pos = mesh.pos * (1.1 + 0.02 * torch.rand(mesh.pos.shape, generator=generator).double())
    way = torch.randn(mesh.pos.shape, generator=generator, dtype=torch.float64)
    slope = float((barrier.gradient(pos) * way).sum())
    step = 1e-6
    ahead, behind = barrier.energy(pos + step * way), barrier.energy(pos - step * way)
    assert slope == pytest.approx((ahead - behind) / (2 * step), rel=1e-6)


def test_it_is_nothing_where_edges_shrink_and_infinite_at_the_limit() -> None:
    mesh = generate.disk(4)
    facets = mesh.topology.facets[mesh.topology.boundary_facets]
    barrier = stretch(mesh, facets, mesh.boundary_nodes, 2.0)
    assert barrier.energy(0.5 * mesh.pos) == 0
    assert float(barrier.gradient(0.5 * mesh.pos).abs().max()) == 0
    assert barrier.energy(2.01 * mesh.pos) == float("inf")
    assert torch.equal(barrier.beyond(2.01 * mesh.pos), mesh.boundary_nodes)
    assert len(barrier.beyond(1.9 * mesh.pos)) == 0
